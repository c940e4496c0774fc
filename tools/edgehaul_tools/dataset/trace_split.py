"""Splits of trips and series: a vehicle, and copies of a trip, stay in one part."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgehaul.config.recipe_sections import SplitSection
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import DatasetError, UsageError
from edgehaul_tools.dataset.assignment import assigned
from edgehaul_tools.dataset.clusters import clusters, pairs_of_equals
from edgehaul_tools.dataset.manifest import SPLIT_FILE
from edgehaul_tools.dataset.parts import PARTS
from edgehaul_tools.dataset.recordings import Recording, read_traces, recording_of
from edgehaul_tools.dataset.series import Series
from edgehaul_tools.dataset.traces import LabelledTrace

_LOGGER = logging.getLogger(__name__)
_SHOWN = 5

Trace = TypeVar("Trace", bound=LabelledTrace | Series)


def split_traces(
    traces: Sequence[Trace], shares: SplitSection
) -> tuple[list[Trace], list[Trace], list[Trace]]:
    """Divide trips or series into train, val and test; none is ever torn apart.

    All of a vehicle, and trips with the same positions, go to the same part. Each part gets
    its share of every label, as far as that leaves it possible.

    Raises:
        DatasetError: There are fewer vehicles, or trips without one, than parts.
    """
    recordings = [recording_of(trace) for trace in traces]
    units = _inseparable(recordings)
    fractions = np.array([shares.train, shares.val, shares.test])
    wanted = int((fractions > 0).sum())
    if len(units) < wanted:
        joined = f" of {len(units)} vehicles" if len(units) < len(traces) else ""
        raise DatasetError(
            f"{len(traces)} trips{joined} cannot make {wanted} parts",
            remedy="add trips of other vehicles, or set split.val and split.test to 0",
        )
    parts = assigned(_counts(recordings, units), fractions, shares.seed)
    train, val, test = (
        [traces[index] for index in sorted(i for unit in part for i in units[unit])]
        for part in parts
    )
    return train, val, test


def split_trace_dataset(
    dataset: Path, out: Path | None, fractions: tuple[float, float, float], seed: int
) -> dict[str, object]:
    """Divide a dataset of trips or series and return what is in each part, as JSON holds it.

    Args:
        dataset: The dataset.
        out: Where to write ``split.json``; None writes nothing.
        fractions: Shares of train, val and test.
        seed: The same seed gives the same parts.

    Raises:
        UsageError: The fractions are no shares.
        DatasetError: The dataset cannot be read or divided.
    """
    try:
        shares = SplitSection("made", *fractions, seed=seed)
    except ValueError as error:
        raise UsageError(str(error), remedy="give e.g. --fractions 0.7 0.15 0.15") from error
    parts = split_traces(read_traces(dataset), shares)
    if out is not None:
        write_trace_split(out, parts)
    return {name: _summary(part) for name, part in zip(PARTS, parts, strict=True)}


def _summary(part: Sequence[LabelledTrace | Series]) -> dict[str, object]:
    recordings = [recording_of(trace) for trace in part]
    return {
        "recordings": len(part),
        "vehicles": len({one.group for one in recordings if one.group}),
        "spans": dict(sorted(Counter(s.label for one in recordings for s in one.spans).items())),
    }


def given_traces(
    traces: Sequence[Trace], dataset: Path
) -> tuple[list[Trace], list[Trace], list[Trace]]:
    """Return the parts that the ``split.json`` of a dataset names.

    Raises:
        DatasetError: There is none, it cannot be read, or it does not fit the dataset.
    """
    part_of = read_trace_split(dataset, {trace.name for trace in traces})
    left = sum(trace.name not in part_of for trace in traces)
    if left:
        _LOGGER.warning("%s: %d of %d are in no part, and left out", dataset, left, len(traces))
    train, val, test = (
        [trace for trace in traces if part_of.get(trace.name) == part] for part in PARTS
    )
    if not train:
        raise DatasetError(
            "no train part is named",
            where=dataset / SPLIT_FILE,
            remedy=f"run: edgehaul data split {dataset} --out {dataset}",
        )
    return train, val, test


def write_trace_split(folder: Path, parts: Sequence[Sequence[LabelledTrace | Series]]) -> Path:
    """Write ``split.json``, with the names of train, val and test, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {name: [trace.name for trace in part] for name, part in zip(PARTS, parts, strict=True)}
    file = folder / SPLIT_FILE
    partial = file.with_name(SPLIT_FILE + ".partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(names)) + b"\n")
    return partial.replace(file)


def read_trace_split(folder: Path, known: Collection[str]) -> dict[str, str]:
    """Return the part of each trip or series that the ``split.json`` of a folder names.

    Args:
        folder: The dataset.
        known: The names that it may name.

    Raises:
        DatasetError: There is none, it cannot be read, or it names a recording twice or one
            that is not there.
    """
    file = folder / SPLIT_FILE
    remedy = f"run: edgehaul data split {folder} --out {folder}"
    try:
        given = msgspec.json.decode(file.read_bytes(), type=dict[str, list[str] | dict[str, str]])
    except FileNotFoundError as error:
        told = "it does not come in parts: nothing says which trips are for train, val, test"
        raise DatasetError(told, where=file, remedy=remedy) from error
    except (OSError, *UNREADABLE_JSON) as error:
        raise DatasetError(f"this is no split: {error}", where=file, remedy=remedy) from error
    # A run's own split also says what each recording holds.
    named = {part: names for part, names in given.items() if isinstance(names, list)}
    places = Counter(name for part in PARTS for name in named.get(part, ()))
    wrong = [
        *(f"{part} is no part" for part in named if part not in PARTS),
        *(f"{name} is named twice" for name, count in places.items() if count > 1),
        *(f"{name} is not here" for name in places if name not in known),
    ]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        told = f"this split is of another dataset: {', '.join(wrong[:_SHOWN])}{more}"
        raise DatasetError(told, where=file, remedy=remedy)
    return {name: part for part in PARTS for name in named.get(part, ())}


def _inseparable(recordings: Sequence[Recording]) -> list[list[int]]:
    """Return sets of indices that must stay together."""
    same_vehicle = pairs_of_equals(
        ("vehicle", one.group) if one.group else ("trip", one.name) for one in recordings
    )
    same_trip = pairs_of_equals(one.digest for one in recordings)
    return clusters(len(recordings), np.concatenate([same_vehicle, same_trip]))


def _counts(recordings: Sequence[Recording], units: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Return how many trips, and how many spans of each label, each of the sets has."""
    columns: Mapping[str, int] = {
        label: 1 + number
        for number, label in enumerate(sorted({s.label for one in recordings for s in one.spans}))
    }
    counts = np.zeros((len(units), 1 + len(columns)))
    for row, unit in enumerate(units):
        counts[row, 0] = len(unit)
        for index in unit:
            for span in recordings[index].spans:
                counts[row, columns[span.label]] += 1
    return counts
