"""Parts of pictures, large enough to see a mistake in them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import msgspec
import numpy as np

from edgehaul.geometry import Box
from edgehaul.values import Detection
from edgehaul.vision.draw import draw_detections
from edgehaul_tools.evaluate.examined import Image

_SIDE_PX = (360, 270)
_CONTEXT = 3.0
"""A crop is so many times as wide as what it shows."""
_HIGHLIGHT = (60, 60, 240)


def close_up(picture: Image, box: Box, found: Sequence[Detection], truth: Sequence[Box]) -> Image:
    """Return the surroundings of a box, with a red frame around it, 360 x 270 pixels BGR.

    Args:
        picture: The whole picture.
        box: What is to be seen.
        found: What was found in the picture.
        truth: What is really there; drawn thin and white.
    """
    height, width = picture.shape[:2]
    part_width = min(width, max(_CONTEXT * box.width, _CONTEXT * box.height * 4 / 3, 96.0))
    part_height = min(height, part_width * 3 / 4)
    part_width = min(part_width, part_height * 4 / 3)
    left = round(min(max(0.0, box.center.x - part_width / 2), width - part_width))
    top = round(min(max(0.0, box.center.y - part_height / 2), height - part_height))
    part = picture[top : top + round(part_height), left : left + round(part_width)]
    scale_x, scale_y = _SIDE_PX[0] / part.shape[1], _SIDE_PX[1] / part.shape[0]
    how = cv2.INTER_AREA if scale_x < 1 else cv2.INTER_CUBIC
    resized = np.asarray(cv2.resize(part, _SIDE_PX, interpolation=how), dtype=np.uint8)

    def seen(place: Box) -> Box:
        return Box(
            (place.x1 - left) * scale_x,
            (place.y1 - top) * scale_y,
            (place.x2 - left) * scale_x,
            (place.y2 - top) * scale_y,
        )

    shown = [msgspec.structs.replace(one, box=seen(one.box)) for one in found]
    within = [one for one in shown if one.box.clipped(*_SIDE_PX).area > 0]
    image = draw_detections(resized, within, truth=[seen(place) for place in truth])
    frame = seen(box)
    corner, other = (
        (round(frame.x1) - 4, round(frame.y1) - 4),
        (round(frame.x2) + 4, round(frame.y2) + 4),
    )
    cv2.rectangle(image, corner, other, _HIGHLIGHT, 2, cv2.LINE_AA)
    return image


def enlarged(picture: Image, least_px: int = 220) -> Image:
    """Return a whole picture, at least so wide and at most 480 pixels."""
    height, width = picture.shape[:2]
    wanted = min(max(width, least_px), 480)
    size = (wanted, max(1, round(height * wanted / width)))
    how = cv2.INTER_NEAREST if width * 2 < wanted else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture, size, interpolation=how), dtype=np.uint8)


def heat(picture: Image, error: np.ndarray) -> Image:
    """Return a picture with its error map (h, w) over it: the redder, the less expected."""
    height, width = picture.shape[:2]
    values = np.nan_to_num(error.astype(np.float32))
    values /= max(float(values.max()), 1e-9)
    grey = cv2.resize((values * 255).astype(np.uint8), (width, height))
    colored = cv2.applyColorMap(np.asarray(grey, dtype=np.uint8), cv2.COLORMAP_JET)
    return np.asarray(cv2.addWeighted(picture, 0.5, colored, 0.5, 0), dtype=np.uint8)
