"""The parts that a YOLO dataset's ``data.yaml`` lists: folders, or files that list pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from edgehaul_tools.dataset.faults import FaultBook, shown_name
from edgehaul_tools.dataset.parts import PARTS
from edgehaul_tools.dataset.pictures import SUFFIXES, find_pictures, is_there
from edgehaul_tools.dataset.samples import Part


def listed_parts(root: Path, content: Mapping[str, object], faults: FaultBook) -> dict[Path, Part]:
    """Return the part of each picture that ``data.yaml`` lists.

    Args:
        root: Folder of the file.
        content: What is in the file.
        faults: Is told of lists that are not there, and of pictures in two parts.
    """
    base = root / str(content.get("path") or "")
    parts: dict[Path, Part] = {}
    for part in PARTS:
        entries = content.get(part) or content.get("valid" if part == "val" else part) or []
        for entry in entries if isinstance(entries, list) else [entries]:
            place = _place([base, root], str(entry))
            if place is None:
                faults.mended.append(
                    f"{root}: {part}: there is no {shown_name(entry)!r}; passed over"
                )
                continue
            for path in _pictures(place):
                if parts.setdefault(path, part) != part:
                    faults.fatal.append(f"{path}: the picture is in {parts[path]} and in {part}")
    return parts


def _place(bases: list[Path], entry: str) -> Path | None:
    """Return what an entry names; some exporters write ``../train`` for ``train``."""
    entries = [entry, entry.removeprefix("../")]
    found = (base / name for name in entries for base in bases)
    return next((_plain(place) for place in found if is_there(place)), None)


def _pictures(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from find_pictures(place)
    elif place.suffix.lower() in SUFFIXES:
        yield place
    else:
        lines = place.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        for line in filter(None, map(str.strip, lines)):
            yield _place([place.parent], line) or place.parent / line


def _plain(place: Path) -> Path:
    """Return a path without ``..``, so that one picture has one path."""
    parts: list[str] = []
    for part in place.parts:
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        else:
            parts.append(part)
    return Path(*parts)
