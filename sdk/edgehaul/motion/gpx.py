"""The track points of a GPX file (topografix.com/GPX/1/1), read with line numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.parsers import expat

from edgehaul.errors import DataError

# Local names, whatever their namespace: Garmin's and others' extensions carry speed and course.
_FIELDS: Final = {
    "time": "time",
    "ele": "altitude_m",
    "speed": "speed_mps",
    "course": "heading_deg",
}


@dataclass(frozen=True, slots=True)
class GpxPoint:
    """One track point as it is written.

    Attributes:
        line: Line of the file on which it begins.
        fields: Texts by the name of the field of :class:`edgehaul.values.Fix`, and ``time``.
    """

    line: int
    fields: Mapping[str, str]


def read_gpx_points(path: Path) -> list[GpxPoint]:
    """Read the track points of a GPX file in the file's order.

    Raises:
        DataError: The file cannot be read or is no well-formed XML; names ``file:line``.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot read the trace: {error.strerror}", where=path, remedy="check the path"
        ) from error
    reader = _GpxReader(path)
    try:
        # Some programs write a byte-order mark, or a blank before the XML declaration.
        reader.parser.Parse(content.removeprefix(b"\xef\xbb\xbf").lstrip(), True)  # noqa: FBT003 - expat takes it by position
    except expat.ExpatError as error:
        raise DataError(
            f"this is no well-formed XML: {expat.ErrorString(error.code)}",
            where=f"{path}:{error.lineno}",
            remedy="export the track again",
        ) from error
    return reader.points


class _GpxReader:
    """Collects the points while expat reads; declared entities are refused, not expanded."""

    def __init__(self, path: Path) -> None:
        self.points: list[GpxPoint] = []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.EntityDeclHandler = self._refuse_entity
        self._path = path
        self._fields: dict[str, str] | None = None
        self._line = 0
        self._texts: list[str] = []

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._texts.clear()
        if _local(name) == "trkpt":
            self._line = self.parser.CurrentLineNumber
            names = {"lat": "latitude_deg", "lon": "longitude_deg"}
            self._fields = {names[key]: v for key, v in attributes.items() if key in names}

    def _end(self, name: str) -> None:
        if self._fields is None:
            return
        local, text = _local(name), "".join(self._texts).strip()
        if local in _FIELDS and text:
            self._fields[_FIELDS[local]] = text
        elif local == "trkpt":
            self.points.append(GpxPoint(self._line, self._fields))
            self._fields = None
        self._texts.clear()

    def _text(self, text: str) -> None:
        self._texts.append(text)

    def _refuse_entity(self, name: str, *_: object) -> None:
        raise DataError(
            f"entity {name!r} is declared; no GPX needs one",
            where=f"{self._path}:{self.parser.CurrentLineNumber}",
            remedy="export the track again",
        )


def _local(name: str) -> str:
    return name.rpartition(":")[2]
