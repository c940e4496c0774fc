"""The day on which a photo was taken, as the camera wrote it into the file (EXIF 2.32)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

_READ_BYTES = 1 << 17
"""The notes come first in a file, in a segment of at most 64 KiB."""
_TAGS_IFD, _TAKEN_AT = 0x8769, 0x9003
_ENTRY_BYTES = 12


def exif_day(path: Path) -> str:
    """Return the day of a photo as ``YYYY:MM:DD``; nothing where the file tells none."""
    with path.open("rb") as stream:
        _, found, tiff = stream.read(_READ_BYTES).partition(b"Exif\0\0")
    if not found:
        return ""
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"
    tags = _value(tiff, int.from_bytes(tiff[4:8], order), _TAGS_IFD, order)
    taken = _value(tiff, tags, _TAKEN_AT, order) if tags else 0
    return tiff[taken : taken + len("YYYY:MM:DD")].decode("ascii", "replace") if taken else ""


def _value(tiff: bytes, directory: int, tag: int, order: Literal["little", "big"]) -> int:
    """Return what an entry of a directory holds, or where; 0 where there is no such entry."""
    first = directory + 2
    for number in range(int.from_bytes(tiff[directory:first], order)):
        entry = tiff[first + _ENTRY_BYTES * number :][:_ENTRY_BYTES]
        if int.from_bytes(entry[:2], order) == tag:
            return int.from_bytes(entry[8:12], order)
    return 0
