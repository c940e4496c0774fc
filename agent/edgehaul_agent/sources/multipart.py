"""The parts of a ``multipart/x-mixed-replace`` stream, within limits."""

from __future__ import annotations

from collections.abc import Callable
from email.message import Message

from edgehaul.errors import SourceError

_MOST_HEADER_BYTES = 8192
_MOST_BOUNDARY = 200
_PIECE_BYTES = 65_536
_HEADER_END = b"\r\n\r\n"


def boundary_of(content_type: str, *, where: str) -> bytes:
    """Return what stands between two parts, with its leading dashes.

    Raises:
        SourceError: The content type is none of such a stream.
    """
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    kind = message.get_content_type()
    if not kind.startswith("multipart/") or not boundary or len(boundary) > _MOST_BOUNDARY:
        raise SourceError(
            f"this is no MJPEG stream but {kind[:80]!r}",
            where=where,
            remedy="give the url of the camera's MJPEG stream",
        )
    # Some cameras write the dashes into the name already.
    return b"--" + boundary.strip().removeprefix("--").encode("latin-1", "replace")


class PartReader:
    """Reads one part after the other.

    A part ends after its ``Content-Length``; where it gives none, at the next boundary.

    Args:
        read: Returns some bytes, at most so many; none at the end.
        boundary: What stands between two parts, with its leading dashes.
        most_bytes: Largest part.
        where: The camera as errors may show it.
    """

    def __init__(
        self, read: Callable[[int], bytes], boundary: bytes, *, most_bytes: int, where: str
    ) -> None:
        self._read = read
        self._boundary = boundary
        self._most_bytes = most_bytes
        self._where = where
        self._buffer = bytearray()

    def next_part(self) -> bytes:
        """Return the body of the next part.

        Raises:
            SourceError: The stream has ended, or is larger than the limits.
        """
        self._take_until(self._boundary, self._most_bytes, "a part")
        header = self._take_until(_HEADER_END, _MOST_HEADER_BYTES, "a header")
        length = self._length_in(header)
        if length is None:
            # The boundary stays: the next part begins with it.
            body = self._take_until(self._boundary, self._most_bytes, "a picture", leave=True)
            return body.removesuffix(b"\r\n")
        while len(self._buffer) < length:
            self._fill()
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def _length_in(self, header: bytes) -> int | None:
        for line in header.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length":
                text = value.strip()
                if not text.isdigit() or len(text) > len(str(self._most_bytes)):
                    raise self._too_large("a picture", self._most_bytes)
                if int(text) > self._most_bytes:
                    raise self._too_large("a picture", self._most_bytes)
                return int(text)
        return None

    def _take_until(self, mark: bytes, most_bytes: int, what: str, *, leave: bool = False) -> bytes:
        """Return what comes before ``mark``, and pass over the mark unless it is left."""
        searched = 0
        while (at := self._buffer.find(mark, searched)) < 0:
            searched = max(0, len(self._buffer) - len(mark) + 1)
            if len(self._buffer) > most_bytes:
                raise self._too_large(what, most_bytes)
            self._fill()
        taken = bytes(self._buffer[:at])
        del self._buffer[: at if leave else at + len(mark)]
        return taken

    def _fill(self) -> None:
        piece = self._read(_PIECE_BYTES)
        if not piece:
            raise SourceError("the camera has ended the stream", where=self._where)
        self._buffer += piece

    def _too_large(self, what: str, most_bytes: int) -> SourceError:
        return SourceError(
            f"{what} of this stream is larger than {most_bytes} bytes, or of no size",
            where=self._where,
            remedy="raise max_picture_mb, if the camera is to be trusted",
        )
