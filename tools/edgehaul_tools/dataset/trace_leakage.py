"""What one part of a dataset of trips or series tells about another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.findings import Finding
from edgehaul_tools.dataset.manifest import SPLIT_FILE
from edgehaul_tools.dataset.recordings import Recording
from edgehaul_tools.dataset.trace_split import read_trace_split

_REMEDY = "divide the dataset again with `edgehaul data split`"


def divided_traces(path: Path, recordings: Sequence[Recording]) -> Iterator[Finding]:
    """Yield vehicles and copies of a trip that ``split.json`` puts into more than one part."""
    if not (path / SPLIT_FILE).exists():
        return
    try:
        part_of = read_trace_split(path, {one.name for one in recordings})
    except DatasetError as error:
        yield Finding(
            kind="split",
            severity="error",
            where=error.where,
            what=error.message,
            remedy=error.remedy,
        )
        return
    placed = [one for one in recordings if one.name in part_of]
    for vehicle, parts in _parts_by([(one.group, one) for one in placed if one.group], part_of):
        yield Finding(
            kind="leak_group",
            severity="warning",
            where=vehicle,
            what=f"this vehicle is in {', '.join(parts)}: figures on the one are better than on "
            "new vehicles, as the other was learnt from",
            remedy=_REMEDY,
        )
    names: dict[str, list[str]] = defaultdict(list)
    for one in placed:
        names[one.digest].append(f"{one.name} ({part_of[one.name]})")
    for digest, parts in _parts_by([(one.digest, one) for one in placed], part_of):
        yield Finding(
            kind="leak",
            severity="error",
            where=names[digest][0],
            what=f"the same recording is in {', '.join(parts)}: {', '.join(names[digest][1:])}",
            remedy=f"remove the copy, or {_REMEDY}",
        )


def _parts_by(
    keyed: Sequence[tuple[str, Recording]], part_of: Mapping[str, str]
) -> Iterator[tuple[str, list[str]]]:
    """Yield what is in more than one part, and these parts."""
    found: dict[str, set[str]] = defaultdict(set)
    for key, one in keyed:
        found[key].add(part_of[one.name])
    for key, parts in found.items():
        if len(parts) > 1:
            yield key, sorted(parts)
