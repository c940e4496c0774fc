"""The part of a picture around an object."""

from __future__ import annotations

import math

from edgehaul.geometry import Box
from edgehaul.values import Image


def crop(picture: Image, box: Box, margin: float) -> Image:
    """Return a view of the part of a picture around a box, as far as the picture goes.

    Args:
        picture: (height, width) or (height, width, channels).
        box: In pixels of the picture.
        margin: Part of the box's width and height that is added on each side.
    """
    height, width = picture.shape[:2]
    extra_x, extra_y = margin * (box.x2 - box.x1), margin * (box.y2 - box.y1)
    x1, y1 = max(0, math.floor(box.x1 - extra_x)), max(0, math.floor(box.y1 - extra_y))
    x2, y2 = min(width, math.ceil(box.x2 + extra_x)), min(height, math.ceil(box.y2 + extra_y))
    return picture[y1:y2, x1:x2]
