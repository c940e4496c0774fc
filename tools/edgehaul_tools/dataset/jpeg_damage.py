"""JPEG files that decode, but not to the picture that was taken.

Decoders fill what is missing with grey and go on; they only write a line that names no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

_START, _END = b"\xff\xd8", b"\xff\xd9"
_SCAN, _TABLES, _FILL = 0xDA, 0xC4, 0xFF
_SEQUENTIAL, _PROGRESSIVE = frozenset({0xC0, 0xC1}), 0xC2
_FRAMES = _SEQUENTIAL | {_PROGRESSIVE}
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
"""A marker that ends coded data: no byte that is stuffed, and no restart (ITU-T T.81, B.1.1)."""

_SECTOR_BYTES = 512
_COEFFICIENTS = 64
_MISSING_GREY = 128
_EDGE_PX, _SMALLEST_PX = 32, 64
_CUT_BYTES = 4


class _Segment(NamedTuple):
    marker: int
    head: bytes
    coded: bytes = b""


def jpeg_damage(content: bytes, image: NDArray[np.uint8]) -> str:
    """Return what is wrong with a file that was decoded; nothing where it is whole.

    Stretches of zeros, scans that are not there and pictures that end early are found. Other
    bytes in the place of the right ones are not.

    Args:
        content: The file, of any form.
        image: The picture as OpenCV decodes it.
    """
    segments = list(_segments(content)) if content.startswith(_START) else []
    frame = next((segment for segment in segments if segment.marker in _FRAMES), None)
    if frame is None or len(frame.head) < 6:  # noqa: PLR2004 - up to the number of components
        return ""
    zeros = bytes(_longest_zeros(frame, segments) + 1)
    if any(zeros in segment.coded for segment in segments):
        return "a part of its file is overwritten with zeros"
    if frame.marker == _PROGRESSIVE:
        return "its last scans are missing" if _lacks_scans(frame, segments) else ""
    return "the file ends before the picture does" if _ends_early(content, image) else ""


def _segments(content: bytes) -> Iterator[_Segment]:
    at = len(_START)
    while at + 4 <= len(content) and content[at] == _FILL:
        marker = content[at + 1]
        if marker == _FILL:
            at += 1
            continue
        if marker == _END[1]:
            return
        head = at + 4
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        begin = at
        if marker == _SCAN:
            found = _AFTER_SCAN.search(content, begin)
            at = found.start() if found else len(content)
        yield _Segment(marker, content[head:begin], content[begin:at])


def _longest_zeros(frame: _Segment, segments: Sequence[_Segment]) -> int:
    """Return how many zeros in a row may be meant.

    Where the shortest code does not say that a block is at its end, as in the tables that most
    cameras use, no picture has many. Else a black one may be of zeros alone, a bit for each
    of the two codes of a block.
    """
    height, width = (int.from_bytes(frame.head[at : at + 2], "big") for at in (1, 3))
    tables = b"".join(s.head for s in segments if s.marker == _TABLES)
    if frame.marker in _SEQUENTIAL and any(_first_symbols(tables)):
        return _SECTOR_BYTES - 1
    blocks = 3 * (height // 8 + 2) * (width // 8 + 2)
    return max(_SECTOR_BYTES - 1, 2 * blocks // 8)


def _first_symbols(tables: bytes) -> Iterator[int]:
    """Yield what the code of zeros alone stands for in each table of AC coefficients."""
    at = 0
    while at + 17 < len(tables):
        if tables[at] >> 4:
            yield tables[at + 17]
        at += 17 + sum(tables[at + 1 : at + 17])


def _lacks_scans(frame: _Segment, segments: Sequence[_Segment]) -> bool:
    """Return whether a coefficient of a progressive picture never comes to its last bit."""
    whole: set[tuple[int, int]] = set()
    for segment in segments:
        head = segment.head
        if segment.marker != _SCAN or len(head) < 6 or head[-1] & 0x0F:  # noqa: PLR2004 - one component
            continue
        names = head[1 : 1 + 2 * head[0] : 2]
        whole |= {(name, number) for name in names for number in range(head[-3], head[-2] + 1)}
    return len(whole) < _COEFFICIENTS * frame.head[5]


def _ends_early(content: bytes, image: NDArray[np.uint8]) -> bool:
    """Return whether grey at the bottom is what the decoder put in the place of missing data.

    Grey that was meant is coded up to the end: without the last bytes the picture above it
    stays as it is. Where data is missing, the last bytes are those of the blocks before the grey.
    """
    # A photo taken upright is turned: then what is missing is not at the bottom.
    sides = (image[-_EDGE_PX:], image[:_EDGE_PX], image[:, :_EDGE_PX], image[:, -_EDGE_PX:])
    if min(image.shape[:2]) < _SMALLEST_PX or not any(map(_is_missing, sides)):
        return False
    end = content.rfind(_END)
    stored, shorter = _as_stored(content), _as_stored(content[: end - _CUT_BYTES] + _END)
    rows = np.flatnonzero((stored != _MISSING_GREY).any(axis=(1, 2)))
    above = int(rows[-1]) + 1 if rows.size else 0
    return above <= len(stored) - _EDGE_PX and not np.array_equal(shorter[:above], stored[:above])


def _is_missing(strip: NDArray[np.uint8]) -> bool:
    return bool((strip == _MISSING_GREY).all())


def _as_stored(content: bytes) -> NDArray[np.uint8]:
    """Decode a picture without turning it."""
    held, how = np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(held, cv2.IMREAD_COLOR | how)
    return np.zeros((0, 0, 3), np.uint8) if image is None else np.asarray(image, dtype=np.uint8)
