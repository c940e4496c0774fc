"""JPEG files to pictures."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np

from edgehaul.values import Image


class JpegDecoder(Protocol):
    """Makes pictures of JPEG files."""

    def decode(self, content: bytes) -> Image | None:
        """Return a picture, (height, width, 3) uint8 BGR; none where this is no picture.

        Raises:
            SourceError: The decoder is gone.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class OwnJpegs:
    """Decodes in this process."""

    def decode(self, content: bytes) -> Image | None:
        """Return a picture; none where this is no picture."""
        return decode_jpeg(content)

    def close(self) -> None:
        """Do nothing: it holds nothing."""


def decode_jpeg(content: bytes) -> Image | None:
    """Return a picture, (height, width, 3) uint8 BGR; none where this is no picture."""
    try:
        # OpenCV asserts on an empty buffer, and raises on sizes beyond its limits.
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if image is None else image.astype(np.uint8, copy=False)
