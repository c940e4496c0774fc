"""Damage drawn on the top face of a virtual parcel: crushed corners, torn holes and dents."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Face = NDArray[np.float32]
"""A parcel's top face: (height, width, 3) BGR, or its mask (height, width) in 0..1."""

_INTERIOR = (26.0, 32.0, 42.0)
_TORN_PAPER = (150.0, 186.0, 214.0)


def draw_damage(face: Face, mask: Face, rng: np.random.Generator) -> None:
    """Damage a face in place: always a crushed corner or a torn hole, often a dent too.

    Args:
        face: Top face, (height, width, 3) float32 BGR 0..255.
        mask: What of the face is there, (height, width) float32 0..1.
        rng: Source of all choices.
    """
    kind = rng.random()
    if kind < 0.45:  # noqa: PLR2004 - share of the parcels with a corner alone
        _crush_corner(face, mask, rng)
    elif kind < 0.85:  # noqa: PLR2004 - share of the parcels with a hole alone
        _tear_hole(face, rng)
    else:
        _crush_corner(face, mask, rng)
        _tear_hole(face, rng)
    if rng.random() < 0.5:  # noqa: PLR2004 - every other one
        _dent(face, rng)


def _crush_corner(face: Face, mask: Face, rng: np.random.Generator) -> None:
    """Cut the tip of one corner off and crease the cardboard behind it."""
    height, width = mask.shape
    corner = np.array([rng.integers(2) * width, rng.integers(2) * height], np.float64)
    inward = np.where(corner == 0, 1.0, -1.0)
    side = min(height, width)
    reach = side * rng.uniform(0.38, 0.55, size=2)
    along_x = corner + inward * (reach[0], 0.0)
    along_y = corner + inward * (0.0, reach[1])
    middle = corner + inward * reach * rng.uniform(0.42, 0.55)

    crushed = np.zeros_like(mask)
    cv2.fillPoly(crushed, [_pixels([corner, along_x, middle, along_y])], 1.0)
    soft = cv2.GaussianBlur(crushed, (0, 0), side * 0.02)
    face *= 1.0 - 0.45 * soft[..., None]

    tip = [
        corner - inward,
        corner + inward * (reach[0] * 0.62, 0.0),
        corner + inward * reach * rng.uniform(0.16, 0.3),
        corner + inward * (0.0, reach[1] * 0.62),
    ]
    cv2.fillPoly(mask, [_pixels(tip)], 0.0)
    thickness = max(2, round(side * 0.02))
    for _ in range(int(rng.integers(3, 6))):
        toward = corner + inward * reach * rng.uniform(0.55, 1.15, size=2)
        start = corner + inward * reach * rng.uniform(0.05, 0.45, size=2)
        _crease(face, start, toward, thickness)
    _crease(face, along_x, middle, thickness)
    _crease(face, middle, along_y, thickness)


def _tear_hole(face: Face, rng: np.random.Generator) -> None:
    """Tear a ragged hole with light paper fibres around a dark inside."""
    height, width = face.shape[:2]
    side = min(height, width)
    center = np.array([width, height]) * rng.uniform(0.28, 0.72, size=2)
    radius = side * rng.uniform(0.19, 0.27)
    stretch = np.array([rng.uniform(1.0, 1.5), rng.uniform(0.75, 1.0)])
    count = int(rng.integers(11, 17))
    angles = np.sort(rng.uniform(0, 2 * math.pi, count))
    ragged = radius * rng.uniform(0.6, 1.15, size=(count, 1))
    rim = center + np.stack([np.cos(angles), np.sin(angles)], axis=1) * ragged * stretch
    torn = center + (rim - center) * rng.uniform(1.12, 1.4, size=(count, 1))
    cv2.fillPoly(face, [_pixels(torn)], _TORN_PAPER)
    cv2.fillPoly(face, [_pixels(rim)], _INTERIOR)
    flap = [rim[0], rim[1], (rim[0] + rim[1]) / 2 + (center - rim[0]) * 0.55]
    cv2.fillPoly(face, [_pixels(flap)], tuple(c * 0.75 for c in _TORN_PAPER))
    for index in range(0, count, 3):
        outward = rim[index] + (rim[index] - center) * rng.uniform(0.4, 0.9)
        _crease(face, torn[index], outward, max(1, round(side * 0.012)))


def _dent(face: Face, rng: np.random.Generator) -> None:
    """Push a hollow in: its wall towards the light is dark, the far wall bright."""
    height, width = face.shape[:2]
    x, y = rng.uniform(0.25, 0.75) * width, rng.uniform(0.25, 0.75) * height
    radius = min(height, width) * rng.uniform(0.16, 0.26)
    columns = (np.arange(width, dtype=np.float32) - x) / radius
    rows = (np.arange(height, dtype=np.float32)[:, None] - y) / radius
    hollow = np.exp(-(columns**2 + rows**2))
    slope = (columns + rows) * hollow
    face *= (1.0 + 0.42 * slope - 0.12 * hollow)[..., None]


def _crease(face: Face, start: NDArray[np.float64], end: NDArray[np.float64], width: int) -> None:
    """Press a fold in: a dark line with a bright one beside it, in the cardboard's own tone."""
    tone = np.ones(face.shape[:2], np.float32)
    offset = np.array([width, width], np.float64)
    cv2.line(tone, _point(start + offset), _point(end + offset), 1.25, width, cv2.LINE_AA)
    cv2.line(tone, _point(start), _point(end), 0.42, width, cv2.LINE_AA)
    face *= tone[..., None]


def _pixels(points: list[NDArray[np.float64]] | NDArray[np.float64]) -> NDArray[np.int32]:
    return np.round(np.asarray(points)).astype(np.int32)


def _point(point: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
