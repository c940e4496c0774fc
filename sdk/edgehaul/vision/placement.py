"""Where a picture lies on a model's canvas, and the way of boxes there and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from edgehaul.bundle.spec import ImageInput
from edgehaul.geometry import Box

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
class Fit:
    """A source rectangle of the picture and the canvas rectangle it fills, as x, y, w, h."""

    source: tuple[int, int, int, int]
    target: tuple[int, int, int, int]

    def placement(self, width: int, height: int) -> Placement:
        """Return where a picture of this size lies on the canvas."""
        source_x, source_y, source_width, source_height = self.source
        x, y, target_width, target_height = self.target
        # The true ratios after rounding, so that boxes come back exactly.
        scale_x, scale_y = target_width / source_width, target_height / source_height
        return Placement(
            scale_x, scale_y, x - source_x * scale_x, y - source_y * scale_y, width, height
        )


def fit_of(spec: ImageInput, width: int, height: int) -> Fit:
    """Return which part of a picture of this size fills which part of the canvas."""
    whole_picture, whole_canvas = (0, 0, width, height), (0, 0, spec.width, spec.height)
    if spec.resize == "stretch":
        return Fit(whole_picture, whole_canvas)
    ratio_x, ratio_y = spec.width / width, spec.height / height
    if spec.resize == "crop":
        ratio = max(ratio_x, ratio_y)
        part_width = min(width, max(1, round(spec.width / ratio)))
        part_height = min(height, max(1, round(spec.height / ratio)))
        part = ((width - part_width) // 2, (height - part_height) // 2, part_width, part_height)
        return Fit(part, whole_canvas)
    ratio = min(ratio_x, ratio_y)
    fitted_width = min(spec.width, max(1, round(width * ratio)))
    fitted_height = min(spec.height, max(1, round(height * ratio)))
    x, y = 0, 0
    if spec.anchor == "center":
        x, y = (spec.width - fitted_width) // 2, (spec.height - fitted_height) // 2
    return Fit(whole_picture, (x, y, fitted_width, fitted_height))
