"""From a picture to a model's input tensor.

In two steps, which may be taken by two threads: a :class:`Canvas` holds the scaled picture in
bytes; a :class:`TensorBuffer` turns it into numbers, four times as large, just before the model
reads them. :class:`Preprocessor` does both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edgehaul.bundle.spec import ImageInput
from edgehaul.errors import DataError
from edgehaul.vision.placement import Fit, Placement, fit_of

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


class Canvas:
    """A picture scaled to a model's input, in bytes, in a buffer that is used again.

    One thread at a time.

    Args:
        spec: What the model's input is.
    """

    def __init__(self, spec: ImageInput) -> None:
        self.spec = spec
        self.channels = 0
        """Of the last picture: 1, 3 or 4."""
        self.target = (0, 0, 0, 0)
        """The rectangle that the last picture fills: x, y, width, height."""
        self._buffers: dict[int, NDArray[np.uint8]] = {}
        self._padded: dict[int, tuple[int, int, int, int]] = {}

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The last picture with its padding: (height, width) or (height, width, channels)."""
        return self._buffers[self.channels]

    @property
    def picture(self) -> NDArray[np.uint8]:
        """The part of :attr:`pixels` that the last picture fills, without the padding."""
        x, y, width, height = self.target
        return self.pixels[y : y + height, x : x + width]

    def place(self, image: NDArray[np.uint8]) -> Placement:
        """Scale a picture onto the canvas, and return where it lies there.

        Args:
            image: (height, width, 3) BGR, (height, width) grey or (height, width, 4) BGRA.

        Raises:
            DataError: The array is no such picture.
        """
        channels = _channels(image)
        height, width = image.shape[:2]
        fit = fit_of(self.spec, width, height)
        self._scale(image, channels, fit)
        self.channels, self.target = channels, fit.target
        return fit.placement(width, height)

    def into(self, tensor: TensorBuffer) -> NDArray[Any]:
        """Return the picture as the model takes it; see :meth:`TensorBuffer.fill`."""
        return tensor.fill(self)

    def _scale(self, image: NDArray[np.uint8], channels: int, fit: Fit) -> None:
        x, y, width, height = fit.target
        canvas = self._buffer(channels, fit.target)
        source_x, source_y, source_width, source_height = fit.source
        part = image[source_y : source_y + source_height, source_x : source_x + source_width]
        if channels == 1:
            part = part.reshape(source_height, source_width)
        target = canvas[y : y + height, x : x + width]
        if (source_width, source_height) == (width, height):
            np.copyto(target, part)
        else:
            cv2.resize(part, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)

    def _buffer(self, channels: int, target: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        """Return the buffer for pictures of so many channels, padded around ``target``."""
        canvas = self._buffers.get(channels)
        if canvas is None:
            shape = (self.spec.height, self.spec.width)
            canvas = np.empty(shape if channels == 1 else (*shape, channels), dtype=np.uint8)
            self._buffers[channels] = canvas
        if self._padded.get(channels) != target:
            canvas.fill(self.spec.pad_value)
            self._padded[channels] = target
        return canvas


class TensorBuffer:
    """Turns canvases into a model's input tensor, in a buffer that is used again.

    One thread at a time.

    Args:
        spec: What the model's input is.
    """

    def __init__(self, spec: ImageInput) -> None:
        self.spec = spec
        self._tensor = np.empty(spec.tensor_shape, dtype=spec.dtype)
        self._scratch = np.empty(0, dtype=np.uint8)
        self._tables = _value_tables(spec)
        self._converted: tuple[int, tuple[int, int, int, int]] | None = None

    def fill(self, canvas: Canvas) -> NDArray[Any]:
        """Return the picture on a canvas as the model takes it.

        Of the padding only what is not there yet is converted. Where the model takes bytes just
        as they lie on the canvas, the tensor is the canvas.

        Args:
            canvas: Holds a picture; made for the same input.

        Returns:
            The tensor of ``spec.tensor_shape`` and ``spec.dtype``, **valid until the next
            call** or until the canvas takes another picture (``copy()`` it to keep it).
        """
        conversion = _CONVERSIONS[canvas.channels, self.spec.color]
        if conversion is None and not self._tables and self._is_interleaved:
            return canvas.pixels.reshape(self.spec.tensor_shape)
        part: _Part = np.s_[:, :]
        if self._converted == (canvas.channels, canvas.target):
            x, y, width, height = canvas.target
            part = np.s_[y : y + height, x : x + width]
        self._converted = (canvas.channels, canvas.target)
        if self._is_interleaved:
            self._convert_interleaved(canvas.pixels[part], conversion, part)
        else:
            self._convert_planes(canvas.pixels[part], part)
        return self._tensor

    @property
    def _is_interleaved(self) -> bool:
        return self.spec.layout == "nhwc" or self.spec.channels == 1

    def _convert_interleaved(
        self, canvas: NDArray[np.uint8], conversion: int | None, part: _Part
    ) -> None:
        spec = self.spec
        shape = (spec.height, spec.width, spec.channels)[: 2 if spec.channels == 1 else 3]
        ordered = canvas
        if conversion is not None:
            # Where bytes are taken, colours are ordered right in the tensor.
            buffer = self._bytes(shape) if self._tables else self._tensor.reshape(shape)
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
            bytes_of = self._bytes(canvas.shape[:2])
            _take_channel(canvas, source, bytes_of)
            cv2.LUT(bytes_of, self._tables[channel], dst=plane)

    def _bytes(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return a buffer for what lies between the canvas and the tensor."""
        if self._scratch.shape != shape:
            self._scratch = np.empty(shape, dtype=np.uint8)
        return self._scratch


class Preprocessor:
    """Turns pictures into a model's input tensor, in buffers that are used again.

    Not safe to share between threads: each worker makes its own.

    Args:
        spec: What the model's input is.
    """

    def __init__(self, spec: ImageInput) -> None:
        self.spec = spec
        self._canvas = Canvas(spec)
        self._tensor = TensorBuffer(spec)

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
        placement = self._canvas.place(image)
        return self._tensor.fill(self._canvas), placement


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
