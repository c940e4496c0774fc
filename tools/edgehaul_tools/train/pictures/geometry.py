"""One warp of a picture for all that moves it, and where its boxes are afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehaul.config.recipe_sections import AugmentSection
from edgehaul_tools.train.pictures.canvases import IGNORED

LEAST_VISIBLE = 0.7
"""An object of which a smaller share is left is no longer asked for."""
_LEAST_SIDE_PX = 1.0
"""What is left of a box must be this large to be kept at all."""
_CORNERS = (0, 1, 2, 1, 2, 3, 0, 3)
"""Columns of x1, y1, x2, y2 that make the four corners of a box, clockwise."""

Matrix = NDArray[np.float64]
"""A 3x3 homography from canvas to canvas, in pixels from the top left edge."""


@dataclass(frozen=True)
class Picture:
    """One picture and its objects.

    Attributes:
        image: (height, width, channels) uint8.
        boxes: (k, 4) float32 x1, y1, x2, y2 in pixels.
        classes: (k,) int64, ``IGNORED`` among them.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]


def _translation(x: float, y: float) -> Matrix:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def about(x: float, y: float, matrix: Matrix) -> Matrix:
    """Return a homography that does about the point (x, y) what ``matrix`` does about 0."""
    return _translation(x, y) @ matrix @ _translation(-x, -y)


def placed(matrix: Matrix, *, zoom: float, x: float, y: float) -> Matrix:
    """Return ``matrix`` with its result shrunk by ``zoom`` and laid with its corner at (x, y)."""
    return np.array([[zoom, 0.0, x], [0.0, zoom, y], [0.0, 0.0, 1.0]]) @ matrix


def random_turn(
    section: AugmentSection, width: int, height: int, random: np.random.Generator
) -> Matrix:
    """Return a chance mirroring, size, turn, shear and depth about the canvas's middle.

    Args:
        section: How much of each.
        width: Width of the canvas in pixels.
        height: Height of the canvas in pixels.
        random: Where the chance comes from.
    """
    zoom = 1 + random.uniform(-section.scale, section.scale)
    mirror_x = -1.0 if random.random() < section.flip else 1.0
    mirror_y = -1.0 if random.random() < section.flip_vertical else 1.0
    angle = math.radians(random.uniform(-section.rotate_deg, section.rotate_deg))
    shears = np.tan(np.radians(random.uniform(-section.shear_deg, section.shear_deg, 2)))
    depth_x, depth_y = random.uniform(-section.perspective, section.perspective, 2)
    cosine, sine = math.cos(angle) * zoom, math.sin(angle) * zoom
    turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    shear = np.array([[1.0, shears[0], 0.0], [shears[1], 1.0, 0.0], [0.0, 0.0, 1.0]])
    mirror = np.diag([mirror_x, mirror_y, 1.0])
    # The depth of the middle is 1 and changes linearly; it stays above 0 on the whole canvas.
    depth = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [depth_x / width, depth_y / height, 1.0]])
    return about(width / 2, height / 2, turn @ shear @ mirror @ depth)


def random_warp(
    section: AugmentSection, width: int, height: int, random: np.random.Generator
) -> Matrix:
    """Return :func:`random_turn`, shifted by chance."""
    matrix = random_turn(section, width, height, random)
    shift_x, shift_y = random.uniform(-section.shift, section.shift, 2)
    return _translation(shift_x * width, shift_y * height) @ matrix


def warp_image(
    image: NDArray[np.uint8], matrix: Matrix, width: int, height: int, pad_value: int
) -> NDArray[np.uint8]:
    """Return ``image`` moved by ``matrix``, resampled once.

    Args:
        image: (h, w, 3) uint8.
        matrix: From the picture to the result, in pixels from the edge.
        width: Width of the result in pixels.
        height: Height of the result in pixels.
        pad_value: Grey value where the picture does not reach.
    """
    if image.shape[:2] == (height, width) and np.array_equal(matrix, np.eye(3)):
        return image
    # OpenCV counts from the middle of the first pixel, boxes from its edge.
    pixels = _translation(-0.5, -0.5) @ matrix @ _translation(0.5, 0.5)
    border = (pad_value, pad_value, pad_value)
    if _is_affine(matrix):
        moved = cv2.warpAffine(image, pixels[:2], (width, height), borderValue=border)
    else:
        moved = cv2.warpPerspective(image, pixels, (width, height), borderValue=border)
    return np.asarray(moved, np.uint8).reshape(height, width, -1)


def warp_objects(
    boxes: NDArray[np.float32],
    classes: NDArray[np.int64],
    matrix: Matrix,
    frame: tuple[float, float, float, float],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the boxes that enclose what is visible of the moved ones, and their classes.

    An object of which less than :data:`LEAST_VISIBLE` is left becomes ``IGNORED``; one of
    which less than a pixel is left is gone.

    Args:
        boxes: (k, 4) x1, y1, x2, y2 in pixels.
        classes: (k,) the classes.
        matrix: From the picture to the result.
        frame: x1, y1, x2, y2 of the part of the result in which the picture is shown.
    """
    if not len(boxes):
        return boxes, classes
    corners = _moved_corners(boxes, matrix)
    low, high = corners.min(axis=1), corners.max(axis=1)
    left_top, right_bottom = np.maximum(low, frame[:2]), np.minimum(high, frame[2:])
    visible = np.concatenate((left_top, right_bottom), axis=1)
    inside = (visible == np.concatenate((low, high), axis=1)).all(axis=1)
    sides = np.maximum(right_bottom - left_top, 0)
    share = sides.prod(axis=1) / np.maximum((high - low).prod(axis=1), 1e-9)
    if not _is_upright(matrix):
        # A turned object that is cut has its sides where the border cuts them.
        for number in np.flatnonzero(~inside & (sides.min(axis=1) > 0)):
            visible[number], share[number] = _cut(corners[number], frame)
    kept = (visible[:, 2:] - visible[:, :2]).min(axis=1) >= _LEAST_SIDE_PX
    result = np.where(share >= LEAST_VISIBLE, classes, IGNORED)
    return visible[kept].astype(np.float32), result[kept]


def _moved_corners(boxes: NDArray[np.float32], matrix: Matrix) -> NDArray[np.float64]:
    """Return the four corners (k, 4, 2) of each box after the warp."""
    corners = boxes[:, _CORNERS].reshape(-1, 2).astype(np.float64)
    moved = corners @ matrix[:2, :2].T + matrix[:2, 2]
    if not _is_affine(matrix):
        moved = moved / (corners @ matrix[2, :2] + matrix[2, 2])[:, None]
    return moved.reshape(-1, 4, 2)


def _cut(
    corners: NDArray[np.float64], frame: tuple[float, float, float, float]
) -> tuple[NDArray[np.float64], float]:
    """Return the box around a convex shape (4, 2) inside a frame, and its visible share."""
    window = np.array(frame, dtype=np.float32)[list(_CORNERS)].reshape(4, 2)
    shape = corners.astype(np.float32)
    area, points = cv2.intersectConvexConvex(shape, window)
    if points is None or area <= 0:
        return np.zeros(4), 0.0
    outline = points.reshape(-1, 2)
    box = np.concatenate((outline.min(axis=0), outline.max(axis=0))).astype(np.float64)
    return box, area / max(cv2.contourArea(shape), 1e-9)


def _is_affine(matrix: Matrix) -> bool:
    return bool(matrix[2, 0] == 0 and matrix[2, 1] == 0)


def _is_upright(matrix: Matrix) -> bool:
    """Return whether boxes stay boxes: neither a turn nor a shear nor a depth."""
    return bool(_is_affine(matrix) and matrix[0, 1] == 0 and matrix[1, 0] == 0)
