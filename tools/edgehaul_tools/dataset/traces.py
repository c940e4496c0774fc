"""Labelled GPS traces: trips with the spans in which something was wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgehaul.clock import format_utc, parse_utc
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import DataError, DatasetError
from edgehaul.motion.fixes import read_trace
from edgehaul.values import Fix
from edgehaul_tools.dataset.faults import FaultBook


@dataclass(frozen=True)
class AnomalySpan:
    """A span of a trip in which something was wrong.

    Attributes:
        label: What.
        started_at_s: UTC seconds of its beginning.
        ended_at_s: UTC seconds of its end.
    """

    label: str
    started_at_s: float
    ended_at_s: float


@dataclass(frozen=True)
class LabelledTrace:
    """One trip.

    Attributes:
        name: Name of the trip.
        fixes: What the receiver said, by time.
        anomalies: The spans in which something was wrong, by time.
        group: The vehicle, which no split tears apart; empty where nothing names it.
    """

    name: str
    fixes: tuple[Fix, ...]
    anomalies: tuple[AnomalySpan, ...]
    group: str = ""


class _Span(msgspec.Struct):
    label: str
    started_at: str
    ended_at: str


class LabelFile(msgspec.Struct):
    """What ``labels.json`` holds.

    Attributes:
        labels: All labels that a span may have.
        trips: The spans of each trip or series by its name.
        groups: The vehicle of each trip or series whose vehicle is known.
    """

    labels: tuple[str, ...]
    trips: dict[str, list[_Span]]
    groups: dict[str, str] = msgspec.field(default_factory=dict)


def read_truck_dataset(path: str | Path) -> tuple[LabelledTrace, ...]:
    """Read trips in the form that ``edgehaul data virtual truck`` writes.

    Args:
        path: Folder with ``labels.json`` and ``trips/NAME.csv`` or ``trips/NAME.gpx``.

    Raises:
        DatasetError: A file is missing or wrong, or a label is not listed; all at once.
    """
    root = Path(path)
    content = read_labels(root / "labels.json")
    faults = FaultBook()
    traces = []
    for name, spans in sorted(content.trips.items()):
        kept = spans_of(name, spans, content.labels, faults)
        csv, gpx = root / "trips" / f"{name}.csv", root / "trips" / f"{name}.gpx"
        try:
            fixes = read_trace(csv if csv.is_file() or not gpx.is_file() else gpx)
        except DataError as error:
            faults.fatal.append(str(error))
            continue
        traces.append(LabelledTrace(name, fixes, kept, content.groups.get(name, "")))
    faults.raise_fatal(root)
    if not traces:
        raise DatasetError("no trips are here", where=root, remedy="list them in labels.json")
    return tuple(traces)


def read_labels(path: Path) -> LabelFile:
    """Read ``labels.json``.

    Raises:
        DatasetError: It is missing or wrong.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=LabelFile)
    except FileNotFoundError as error:
        raise DatasetError(
            "there is no such file",
            where=path,
            remedy="make one with `edgehaul data virtual truck`, or list your trips in it",
        ) from error
    except UNREADABLE_JSON as error:
        raise DatasetError(
            f"these are no labels: {error}",
            where=path,
            remedy="write labels, and trips with label, started_at and ended_at",
        ) from error


def write_labels(
    path: Path, spans: Mapping[str, Sequence[AnomalySpan]], groups: Mapping[str, str]
) -> None:
    """Write ``labels.json``.

    Args:
        path: The file.
        spans: The spans of each trip or series by its name.
        groups: The vehicle of each; empty where it is not known.
    """
    content: dict[str, object] = {
        "labels": sorted({span.label for own in spans.values() for span in own}),
        "trips": {name: [_record(span) for span in own] for name, own in sorted(spans.items())},
    }
    if known := {name: group for name, group in sorted(groups.items()) if group}:
        content["groups"] = known
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content)))


def _record(span: AnomalySpan) -> dict[str, str]:
    return {
        "label": span.label,
        "started_at": format_utc(span.started_at_s),
        "ended_at": format_utc(span.ended_at_s),
    }


def spans_of(
    name: str, spans: list[_Span], labels: tuple[str, ...], faults: FaultBook
) -> tuple[AnomalySpan, ...]:
    """Return the spans of one trip or series by time; wrong ones are noted as fatal."""
    found = [_span(name, span, labels, faults) for span in spans]
    return tuple(sorted((span for span in found if span), key=lambda span: span.started_at_s))


def _span(name: str, span: _Span, labels: tuple[str, ...], faults: FaultBook) -> AnomalySpan | None:
    if span.label not in labels:
        faults.fatal.append(f"trip {name}: label {span.label!r} is not one of {', '.join(labels)}")
        return None
    try:
        started_at_s, ended_at_s = parse_utc(span.started_at), parse_utc(span.ended_at)
    except ValueError as error:
        faults.fatal.append(f"trip {name}: {error}")
        return None
    if ended_at_s < started_at_s:
        faults.fatal.append(f"trip {name}: {span.label} ends at {span.ended_at}, before it starts")
        return None
    return AnomalySpan(span.label, started_at_s, ended_at_s)
