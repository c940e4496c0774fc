"""Four pictures as one, so that a step sees more objects, smaller and beside others.

Source: Bochkovskiy et al. 2020, "YOLOv4". Here each picture is warped straight to its place.
"""

from __future__ import annotations

import numpy as np

from edgehaul.config.recipe_sections import AugmentSection
from edgehaul_tools.train.pictures.canvases import CanvasSet
from edgehaul_tools.train.pictures.geometry import (
    Picture,
    placed,
    random_turn,
    warp_image,
    warp_objects,
)

_MIDDLE = (0.3, 0.7)
"""Where the four meet, as a share of the canvas."""


def random_mosaic(
    canvases: CanvasSet, number: int, section: AugmentSection, random: np.random.Generator
) -> Picture:
    """Return the picture with this number and three others by chance on one canvas.

    Args:
        canvases: Where they come from.
        number: One of them; where it comes to lie is left to chance too.
        section: How each of the four is varied; it is not shifted but laid into its corner.
        random: Where the chance comes from.
    """
    height, width = canvases.images[number].shape[:2]
    middle_x, middle_y = (round(random.uniform(*_MIDDLE) * side) for side in (width, height))
    columns, rows = ((0, middle_x), (middle_x, width)), ((0, middle_y), (middle_y, height))
    members = random.permutation([number, *random.integers(0, len(canvases), 3)])
    image = np.empty_like(canvases.images[number])
    boxes, classes = [], []
    for place, member in enumerate(members):
        (x1, x2), (y1, y2) = columns[place % 2], rows[place // 2]
        matrix = random_turn(section, width, height, random)
        # As much of the picture as fills its corner, or less of it and larger.
        zoom = random.uniform(max((x2 - x1) / width, (y2 - y1) / height), 1.0)
        x = random.uniform(x2 - x1 - zoom * width, 0)
        y = random.uniform(y2 - y1 - zoom * height, 0)
        matrix = placed(matrix, zoom=zoom, x=x, y=y)
        image[y1:y2, x1:x2] = warp_image(
            canvases.images[member], matrix, x2 - x1, y2 - y1, canvases.pad_value
        )
        its_boxes, its_classes = warp_objects(
            canvases.boxes[member],
            canvases.classes[member],
            matrix,
            (0.0, 0.0, float(x2 - x1), float(y2 - y1)),
        )
        boxes.append(its_boxes + np.array([x1, y1, x1, y1], dtype=np.float32))
        classes.append(its_classes)
    return Picture(image, np.concatenate(boxes), np.concatenate(classes))
