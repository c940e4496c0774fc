"""From a picture to a model's input tensor, and back from its canvas to the picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edgehaul.bundle.spec import ImageInput
from edgehaul.errors import DataError
from edgehaul.geometry import Box

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BGRA_CHANNELS = 4

# OpenCV's conversion from the picture's channels to the tensor's colour; None: nothing to do.
_CONVERSIONS: dict[tuple[int, str], int | None] = {
    (1, "gray"): None,
    (1, "bgr"): cv2.COLOR_GRAY2BGR,
    (1, "rgb"): cv2.COLOR_GRAY2RGB,
    (3, "gray"): cv2.COLOR_BGR2GRAY,
    (3, "bgr"): None,
    (3, "rgb"): cv2.COLOR_BGR2RGB,
    (4, "gray"): cv2.COLOR_BGRA2GRAY,
    (4, "bgr"): cv2.COLOR_BGRA2BGR,
    (4, "rgb"): cv2.COLOR_BGRA2RGB,
}


# Which channel of a picture each plane of the tensor is, by the picture's axes and its colour.
_PLANES = {
    (3, "bgr"): (0, 1, 2),
    (3, "rgb"): (2, 1, 0),
    (2, "bgr"): (0, 0, 0),
    (2, "rgb"): (0, 0, 0),
}
_Part = tuple[slice, slice]
"""Rows and columns of the canvas."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a picture lies on the canvas: ``canvas = original * scale + offset``.

    Attributes:
        scale_x: Canvas pixels for one pixel of the picture, in x.
        scale_y: The same in y; differs from ``scale_x`` by rounding, or by ``stretch``.
        offset_x: Canvas x of the picture's left edge; negative where it is cropped.
        offset_y: Canvas y of the picture's top edge.
        width: Width of the original picture in pixels.
        height: Height of the original picture in pixels.
    """

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float
    width: int
    height: int

    def boxes_to_original(self, boxes: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return canvas boxes (N, 4) in pixels of the original picture, clipped to it."""
        scale, offset, limit = _numbers_of(self)
        original = (boxes - offset) / scale
        np.maximum(original, 0.0, out=original)
        np.minimum(original, limit, out=original)
        result: NDArray[np.float32] = original.astype(np.float32)
        return result

    def boxes_to_canvas(self, boxes: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return boxes (N, 4) of the original picture in canvas pixels, not clipped."""
        scale, offset, _ = _numbers_of(self)
        result: NDArray[np.float32] = (boxes * scale + offset).astype(np.float32)
        return result

    def box_to_canvas(self, box: Box) -> Box:
        """Return one box of the original picture in canvas pixels, not clipped."""
        return Box(
            box.x1 * self.scale_x + self.offset_x,
            box.y1 * self.scale_y + self.offset_y,
            box.x2 * self.scale_x + self.offset_x,
            box.y2 * self.scale_y + self.offset_y,
        )

    def within(self, x: int, y: int, width: int, height: int) -> Placement:
        """Return where a whole picture lies of which this one is the part at ``(x, y)``.

        Args:
            x: Left edge of the part, in pixels of the whole.
            y: Its upper edge.
            width: Width of the whole.
            height: Height of the whole.
        """
        return replace(
            self,
            offset_x=self.offset_x - x * self.scale_x,
            offset_y=self.offset_y - y * self.scale_y,
            width=width,
            height=height,
        )


@lru_cache(maxsize=64)
def _numbers_of(placement: Placement) -> NDArray[np.float64]:
    """Return scale, offset and limit of a box's four numbers, (3, 4).

    In float64: a large picture's coordinates times a small scale would lose pixels.
    """
    scale = (placement.scale_x, placement.scale_y)
    offset = (placement.offset_x, placement.offset_y)
    return np.array([scale * 2, offset * 2, (placement.width, placement.height) * 2], np.float64)


@dataclass(frozen=True, slots=True)
class _Fit:
    """A source rectangle of the picture and the canvas rectangle it fills, as x, y, w, h."""

    source: tuple[int, int, int, int]
    target: tuple[int, int, int, int]

    def placement(self, width: int, height: int) -> Placement:
        source_x, source_y, source_width, source_height = self.source
        x, y, target_width, target_height = self.target
        # The true ratios after rounding, so that boxes come back exactly.
        scale_x, scale_y = target_width / source_width, target_height / source_height
        return Placement(
            scale_x, scale_y, x - source_x * scale_x, y - source_y * scale_y, width, height
        )


def _fit(spec: ImageInput, width: int, height: int) -> _Fit:
    whole_picture, whole_canvas = (0, 0, width, height), (0, 0, spec.width, spec.height)
    if spec.resize == "stretch":
        return _Fit(whole_picture, whole_canvas)
    ratio_x, ratio_y = spec.width / width, spec.height / height
    if spec.resize == "crop":
        ratio = max(ratio_x, ratio_y)
        part_width = min(width, max(1, round(spec.width / ratio)))
        part_height = min(height, max(1, round(spec.height / ratio)))
        part = ((width - part_width) // 2, (height - part_height) // 2, part_width, part_height)
        return _Fit(part, whole_canvas)
    ratio = min(ratio_x, ratio_y)
    fitted_width = min(spec.width, max(1, round(width * ratio)))
    fitted_height = min(spec.height, max(1, round(height * ratio)))
    x, y = 0, 0
    if spec.anchor == "center":
        x, y = (spec.width - fitted_width) // 2, (spec.height - fitted_height) // 2
    return _Fit(whole_picture, (x, y, fitted_width, fitted_height))


class Preprocessor:
    """Turns pictures into a model's input tensor, in buffers that are used again.

    Not safe to share between threads: each worker makes its own.

    Args:
        spec: What the model's input is.
    """

    def __init__(self, spec: ImageInput) -> None:
        self.spec = spec
        self._canvases: dict[int, NDArray[np.uint8]] = {}
        self._fitted: dict[int, tuple[int, int]] = {}
        self._channels = 0
        self._target = (0, 0, 0, 0)
        self._converted: tuple[int, tuple[int, int, int, int]] | None = None
        height, width = spec.height, spec.width
        shape = (height, width) if spec.channels == 1 else (height, width, spec.channels)
        self._ordered = np.empty(shape, dtype=np.uint8)
        self._plane = np.empty((height, width), dtype=np.uint8)
        self._tensor = np.empty(spec.tensor_shape, dtype=spec.dtype)
        self._tables = _value_tables(spec)

    @property
    def canvas(self) -> NDArray[np.uint8]:
        """The last picture as it lies on the canvas, before colours and numbers are changed."""
        return self._canvases[self._channels]

    @property
    def picture(self) -> NDArray[np.uint8]:
        """The part of :attr:`canvas` that the last picture fills, without the padding around it."""
        x, y, width, height = self._target
        return self.canvas[y : y + height, x : x + width]

    def __call__(self, image: NDArray[np.uint8]) -> tuple[NDArray[Any], Placement]:
        """Return the tensor for one picture, and where the picture lies on its canvas.

        Args:
            image: (height, width, 3) BGR, (height, width) grey or (height, width, 4) BGRA.

        Returns:
            The tensor of ``spec.tensor_shape`` and ``spec.dtype``, **valid until the next
            call** (``copy()`` it to keep it), and the placement.

        Raises:
            DataError: The array is no such picture.
        """
        channels = _channels(image)
        height, width = image.shape[:2]
        fit = _fit(self.spec, width, height)
        canvas = self._resized(image, channels, fit)
        self._channels, self._target = channels, fit.target
        return self._to_tensor(canvas, channels, fit.target), fit.placement(width, height)

    def _resized(self, image: NDArray[np.uint8], channels: int, fit: _Fit) -> NDArray[np.uint8]:
        x, y, width, height = fit.target
        canvas = self._canvas(channels, fit.target)
        source_x, source_y, source_width, source_height = fit.source
        part = image[source_y : source_y + source_height, source_x : source_x + source_width]
        if channels == 1:
            part = part.reshape(source_height, source_width)
        target = canvas[y : y + height, x : x + width]
        if (source_width, source_height) == (width, height):
            np.copyto(target, part)
        else:
            cv2.resize(part, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)
        return canvas

    def _canvas(self, channels: int, target: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        """Return the canvas for pictures of so many channels, padded around ``target``."""
        size = (target[2], target[3])
        canvas = self._canvases.get(channels)
        if canvas is None:
            shape = (self.spec.height, self.spec.width)
            canvas = np.empty(shape if channels == 1 else (*shape, channels), dtype=np.uint8)
            self._canvases[channels] = canvas
        if self._fitted.get(channels) != size:
            canvas.fill(self.spec.pad_value)
            self._fitted[channels] = size
        return canvas

    def _to_tensor(
        self, canvas: NDArray[np.uint8], channels: int, target: tuple[int, int, int, int]
    ) -> NDArray[Any]:
        """Return the canvas as the model takes it; of the padding only what is not there yet."""
        spec = self.spec
        conversion = _CONVERSIONS[channels, spec.color]
        if conversion is None and not self._tables and self._is_interleaved:
            return canvas.reshape(spec.tensor_shape)
        part: _Part = np.s_[:, :]
        if self._converted == (channels, target):
            x, y, width, height = target
            part = np.s_[y : y + height, x : x + width]
        self._converted = (channels, target)
        if self._is_interleaved:
            self._convert_interleaved(canvas[part], conversion, part)
        else:
            self._convert_planes(canvas[part], part)
        return self._tensor

    @property
    def _is_interleaved(self) -> bool:
        return self.spec.layout == "nhwc" or self.spec.channels == 1

    def _convert_interleaved(
        self, canvas: NDArray[np.uint8], conversion: int | None, part: _Part
    ) -> None:
        shape = self._ordered.shape
        ordered = canvas
        if conversion is not None:
            # Where bytes are taken, colours are ordered right in the tensor.
            buffer = self._ordered if self._tables else self._tensor.reshape(shape)
            ordered = buffer[part]
            cv2.cvtColor(canvas, conversion, dst=ordered)
        if self._tables:
            cv2.LUT(ordered, self._tables[0], dst=self._tensor.reshape(shape)[part])

    def _convert_planes(self, canvas: NDArray[np.uint8], part: _Part) -> None:
        """Split a colour picture into the planes of the tensor, in the model's order."""
        for channel, source in enumerate(_PLANES[canvas.ndim, self.spec.color]):
            plane = self._tensor[0, channel][part]
            if not self._tables:
                _take_channel(canvas, source, plane)
                continue
            bytes_of = self._plane[: canvas.shape[0], : canvas.shape[1]]
            _take_channel(canvas, source, bytes_of)
            cv2.LUT(bytes_of, self._tables[channel], dst=plane)


def _take_channel(canvas: NDArray[np.uint8], channel: int, plane: NDArray[np.uint8]) -> None:
    if canvas.ndim == 2:  # noqa: PLR2004 - grey
        np.copyto(plane, canvas)
    else:
        cv2.extractChannel(canvas, channel, dst=plane)


def _channels(image: NDArray[np.uint8]) -> int:
    shape: tuple[int, ...] = getattr(image, "shape", ())
    dtype = getattr(image, "dtype", type(image).__name__)
    channels = {2: 1, 3: shape[-1] if shape else 0}.get(len(shape), 0)
    if dtype != np.uint8 or channels not in {1, 3, _BGRA_CHANNELS} or 0 in shape:
        raise DataError(
            f"an array of shape {shape} and type {dtype} is no picture",
            remedy="give (height, width, 3) uint8 in BGR order, as cv2.imread returns it",
        )
    return channels


def _value_tables(spec: ImageInput) -> list[NDArray[np.float32]]:
    """Return what each byte becomes: looking up is faster than arithmetic, and exact."""
    if spec.dtype == "uint8":
        return []
    values = np.arange(256, dtype=np.float64)[:, None] * spec.scale
    values = values - np.array(spec.mean or [0.0] * spec.channels)
    values = (values / np.array(spec.std or [1.0] * spec.channels)).astype(np.float32)
    if spec.layout == "nhwc" or spec.channels == 1:
        return [np.ascontiguousarray(values[None])]
    return [np.ascontiguousarray(values[:, c : c + 1]) for c in range(spec.channels)]
