"""Pictures as a model's inputs, again and again, without decoding them each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.vision.placement import Placement
from edgehaul.vision.preprocess import Preprocessor
from edgehaul_tools.quantize.answers import Prepared
from edgehaul_tools.quantize.inputs import InputSource

Picture = NDArray[np.uint8]

CACHE_BYTES = 256 << 20
"""What all canvases together may take in memory; more pictures are read again each time."""


def kept_inputs(source: InputSource, spec: ModelSpec) -> Callable[[], Iterator[Prepared]]:
    """Return what gives the inputs of a folder, a video or traces, pictures kept as above."""
    if not isinstance(spec.input, ImageInput):
        return source.prepared
    return Canvases(source.raw, source.count, spec.input).__iter__


class Canvases:
    """Inputs made of pictures, exactly as the box makes them.

    Decoding and resizing cost as much as a small model. So the resized pictures are kept, as
    bytes before any arithmetic, where all of them fit; else every pass reads them again, and
    memory does not grow with their number.

    Args:
        pictures: Gives the pictures from the start: (height, width, 3) uint8 BGR.
        count: How many there are.
        spec: What the model takes.
        limit_bytes: What the canvases may take in memory.
    """

    def __init__(
        self,
        pictures: Callable[[], Iterator[Picture]],
        count: int,
        spec: ImageInput,
        limit_bytes: int = CACHE_BYTES,
    ) -> None:
        self._pictures = pictures
        self._whole = Preprocessor(spec)
        # The canvas before colours are put in order: that step runs again on it, and changes
        # nothing else, for the size is right already.
        self._resize = Preprocessor(
            msgspec.structs.replace(
                spec, color="bgr", layout="nhwc", dtype="uint8", scale=1.0, mean=(), std=()
            )
        )
        self.is_kept = count * spec.height * spec.width * 3 <= limit_bytes
        self._kept: list[tuple[Picture, Placement]] | None = None

    def __iter__(self) -> Iterator[Prepared]:
        """Yield each input; its tensor stays as it is.

        Raises:
            DataError: A picture cannot be decoded.
        """
        for canvas, placement in self._canvases():
            tensor, own = self._whole(canvas)
            yield Prepared(tensor.copy(), placement or own)

    def _canvases(self) -> Iterator[tuple[Picture, Placement | None]]:
        if self._kept is not None:
            yield from self._kept
            return
        if not self.is_kept:
            yield from ((picture, None) for picture in self._pictures())
            return
        kept = []  # a pass that is given up half way leaves none
        for picture in self._pictures():
            canvas, placement = self._resize(picture)
            kept.append((canvas[0].copy(), placement))
            yield kept[-1]
        self._kept = kept
