"""Parcels as the conveyor's camera sees them: cardboard, tape, label, damage and shadow.

Each parcel is drawn once, its face at twice its size, and then laid on frames with two
integer operations; that is what makes the conveyor fast.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehaul.geometry import Box
from edgehaul.virtual.damage import Face, draw_damage

ParcelLabel = Literal["parcel", "parcel_damaged", "parcel_unlabelled"]
PARCEL_LABELS: tuple[ParcelLabel, ...] = ("parcel", "parcel_damaged", "parcel_unlabelled")
"""Classes by id. Damage counts before a missing label: a damaged parcel may have none."""

_SUPERSAMPLING = 2
_CARDBOARD_BGR = (
    (92.0, 140.0, 182.0),
    (78.0, 122.0, 162.0),
    (112.0, 158.0, 196.0),
    (66.0, 102.0, 138.0),
    (128.0, 166.0, 192.0),
    (172.0, 186.0, 196.0),
)
_TAPE_BGR = (
    (140.0, 180.0, 205.0),
    (60.0, 100.0, 140.0),
    (190.0, 200.0, 205.0),
    (70.0, 70.0, 190.0),
    (170.0, 110.0, 60.0),
)
_STICKER_BGR = (
    (40.0, 60.0, 215.0),
    (30.0, 150.0, 240.0),
    (60.0, 210.0, 235.0),
    (80.0, 160.0, 60.0),
)
_INK_BGR = (46.0, 52.0, 62.0)
_DAMAGED_WITHOUT_LABEL = 0.2


@dataclass(frozen=True)
class Sprite:
    """A drawn parcel, ready to be laid on a frame as ``frame * keep / 255 + paint``.

    Attributes:
        paint: Colour times opacity, (height, width, 3) uint8 BGR.
        keep: What shines through, 0 inside the parcel, less than 255 in its shadow; same shape.
        box: Extent of the parcel (without its shadow) within the sprite, in pixels.
    """

    paint: NDArray[np.uint8]
    keep: NDArray[np.uint8]
    box: Box


@dataclass(frozen=True)
class ParcelShape:
    """Size and pose of a parcel.

    Attributes:
        label: Its class.
        length_px: Extent along the belt before the turn.
        width_px: Extent across the belt before the turn.
        angle_deg: Turn, clockwise on screen.
        side_px: How much of the near side face shows below the top face.
    """

    label: ParcelLabel
    length_px: int
    width_px: int
    angle_deg: float
    side_px: int


def draw_parcel(
    shape: ParcelShape, rng: np.random.Generator, *, blur_px: float, motion_px: int
) -> Sprite:
    """Draw one parcel.

    Args:
        shape: Class, size and pose.
        rng: Source of all other choices.
        blur_px: Sigma of the lens blur.
        motion_px: Way of the belt during one exposure.
    """
    face, mask = _draw_face(shape, rng, _SUPERSAMPLING)
    side_px = shape.side_px
    margin = round(0.09 * max(mask.shape)) + 2 * side_px + motion_px + 2
    face, mask = _turn(face, mask, shape.angle_deg, margin)

    # The near side is a part of the box; it hangs below each point of the top face.
    below = np.ones((side_px + 1, 1), np.uint8)
    solid = np.asarray(cv2.dilate(mask, below, anchor=(0, side_px)), np.float32)
    side_colour = np.array(cv2.mean(face)[:3], np.float32) / max(cv2.mean(mask)[0], 1e-3) * 0.5
    paint = face + side_colour * (solid - mask)[..., None]

    step = np.array([[1, 0, 0.9 * side_px], [0, 1, 0.7 * side_px]], np.float32)
    shadow = cv2.warpAffine(solid, step, (solid.shape[1], solid.shape[0]))
    shadow = 0.62 * cv2.GaussianBlur(shadow, (0, 0), 0.55 * side_px + 0.5)
    keep = (1.0 - solid) * (1.0 - shadow)
    return _finish(paint, keep, solid, blur_px=blur_px, motion_px=motion_px)


def _finish(paint: Face, keep: Face, solid: Face, *, blur_px: float, motion_px: int) -> Sprite:
    """Blur as lens and exposure do, and measure the parcel."""
    exposure = (max(1, motion_px), 1)
    soft_paint, soft_keep = (
        cv2.GaussianBlur(cv2.blur(layer, exposure), (0, 0), blur_px) for layer in (paint, keep)
    )
    rows, columns = np.nonzero(solid > 0.5)  # noqa: PLR2004 - at least half of the pixel
    box = Box(
        float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)
    )
    keep_bytes = np.clip(soft_keep * 255.0 + 0.5, 0, 255).astype(np.uint8)
    return Sprite(
        paint=np.clip(soft_paint + 0.5, 0, 255).astype(np.uint8),
        keep=np.asarray(cv2.merge([keep_bytes] * 3), np.uint8),
        box=box,
    )


def _turn(face: Face, mask: Face, angle_deg: float, margin: int) -> tuple[Face, Face]:
    """Turn a face and its mask, and shrink them to the real size with a margin around them.

    Returns:
        The face, black and fading out where there is none, and its mask.
    """
    height, width = mask.shape
    wide = 2 * margin
    size = (width + 2 * wide, height + 2 * wide)
    size = (size[0] // 2 * 2, size[1] // 2 * 2)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -angle_deg, 1.0)
    turn[:, 2] += wide
    small = (size[0] // _SUPERSAMPLING, size[1] // _SUPERSAMPLING)
    layers = np.dstack([face * mask[..., None], mask])
    turned = cv2.resize(cv2.warpAffine(layers, turn, size), small, interpolation=cv2.INTER_AREA)
    turned = np.asarray(turned, np.float32)
    return np.ascontiguousarray(turned[..., :3]), np.ascontiguousarray(turned[..., 3])


def _draw_face(shape: ParcelShape, rng: np.random.Generator, zoom: int) -> tuple[Face, Face]:
    """Draw the top face before its turn; return it and its mask."""
    height, width = shape.width_px * zoom, shape.length_px * zoom
    face = _cardboard(height, width, rng)
    mask = np.ones((height, width), np.float32)
    _print_symbols(face, rng)
    _tape(face, rng)
    labelled = shape.label == "parcel" or (
        shape.label == "parcel_damaged" and rng.random() >= _DAMAGED_WITHOUT_LABEL
    )
    if rng.random() < 0.4:  # noqa: PLR2004 - share of the parcels with a sticker, of any class
        _sticker(face, rng)
    if labelled:
        _shipping_label(face, rng)
    if shape.label == "parcel_damaged":
        draw_damage(face, mask, rng)
    return face, mask


def _cardboard(height: int, width: int, rng: np.random.Generator) -> Face:
    base = np.array(_CARDBOARD_BGR[int(rng.integers(len(_CARDBOARD_BGR)))], np.float32)
    base *= np.float32(rng.uniform(0.86, 1.1))
    coarse = rng.normal(0, 1, (6, 6)).astype(np.float32)
    blotches = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    fibres = cv2.blur(rng.normal(0, 1, (height, width)).astype(np.float32), (9, 1))
    flutes = np.sin(np.arange(width, dtype=np.float32) * np.float32(rng.uniform(0.5, 0.9)))
    tone = 1.0 + 0.025 * blotches + 0.06 * fibres + 0.012 * flutes
    rows = np.linspace(0.05, -0.06, height, dtype=np.float32)[:, None]
    columns = np.linspace(0.04, -0.05, width, dtype=np.float32)
    face = base * (tone + rows + columns)[..., None]
    edge = max(2, min(height, width) // 40)
    face[:edge] *= 1.13
    face[:, :edge] *= 1.1
    face[-edge:] *= 0.82
    face[:, -edge:] *= 0.84
    return np.asarray(face, np.float32)


def _tape(face: Face, rng: np.random.Generator) -> None:
    """Lay one strip of tape along the seam of the flaps, sometimes one across it."""
    height, width = face.shape[:2]
    colour = np.array(_TAPE_BGR[int(rng.integers(len(_TAPE_BGR)))], np.float32)
    strip = max(6, round(height * rng.uniform(0.1, 0.17)))
    top = height // 2 - strip // 2 + int(rng.integers(-3, 4))
    face[height // 2 - 1 : height // 2 + 1] *= 0.6
    opacity = np.float32(rng.uniform(0.45, 0.8))
    _cover(face[top : top + strip], colour, opacity)
    face[top] *= 0.9
    face[top + strip - 1] *= 0.85
    if rng.random() < 0.3:  # noqa: PLR2004 - share of the parcels taped crosswise too
        left = round(width * rng.uniform(0.15, 0.75))
        _cover(face[:, left : left + strip], colour, opacity)


def _cover(area: Face, colour: NDArray[np.float32], opacity: np.float32) -> None:
    """Lay a translucent, glossy layer over an area, in place."""
    gloss = 1.0 + 0.08 * np.sin(np.linspace(0, 9, area.shape[1], dtype=np.float32))
    area *= 1.0 - opacity
    area += opacity * colour * gloss[:, None]


def _shipping_label(face: Face, rng: np.random.Generator) -> None:
    """Stick a white label with a bar code and lines of print on the face."""
    height, width = face.shape[:2]
    label_w, label_h = round(width * rng.uniform(0.4, 0.56)), round(height * rng.uniform(0.36, 0.5))
    x = round(rng.uniform(0.07, 0.93 - label_w / width) * width)
    y = round(rng.uniform(0.07, 0.93 - label_h / height) * height)
    white = np.float32(rng.uniform(214, 242))
    area = face[y : y + label_h, x : x + label_w]
    face[y + 2 : y + label_h + 3, x + 2 : x + label_w + 3] *= 0.8
    area[:] = white
    pad = max(2, label_h // 10)
    bars_h = round(label_h * rng.uniform(0.38, 0.52))
    _bars(area[pad : pad + bars_h, 2 * pad : label_w - 2 * pad], rng)
    line_h = max(2, label_h // 14)
    for line_y in range(2 * pad + bars_h, label_h - pad - line_h, 2 * line_h + 1):
        length = round((label_w - 3 * pad) * rng.uniform(0.35, 0.9))
        area[line_y : line_y + line_h, pad : pad + length] *= 0.45


def _bars(area: Face, rng: np.random.Generator) -> None:
    x, width = 0, area.shape[1]
    while x < width:
        bar, gap = (int(v) for v in rng.integers(2, 7, size=2))
        area[:, x : min(x + bar, width)] = _INK_BGR
        x += bar + gap


def _sticker(face: Face, rng: np.random.Generator) -> None:
    """Stick a small coloured note on the face; it is no shipping label."""
    height, width = face.shape[:2]
    size = round(min(height, width) * rng.uniform(0.16, 0.24))
    x, y = int(rng.integers(4, width - size - 4)), int(rng.integers(4, height - size - 4))
    face[y : y + size, x : x + size] = _STICKER_BGR[int(rng.integers(len(_STICKER_BGR)))]
    face[y + size // 3 : y + size // 2, x + size // 6 : x + size - size // 6] *= 0.35


def _print_symbols(face: Face, rng: np.random.Generator) -> None:
    """Print "this way up" arrows and a line of text in ink, on some parcels."""
    height, width = face.shape[:2]
    size = round(min(height, width) * 0.2)
    ink = tuple(0.45 * value for value in cv2.mean(face)[:3])
    if rng.random() < 0.45:  # noqa: PLR2004 - share of the parcels with arrows
        x, y = int(rng.integers(6, width - 2 * size)), int(rng.integers(6, height - size - 6))
        for left in (x, x + size * 3 // 4):
            cv2.arrowedLine(
                face, (left + 8, y + size), (left + 8, y), ink, 4, cv2.LINE_AA, tipLength=0.45
            )
        cv2.line(face, (x, y + size + 4), (x + size * 5 // 4, y + size + 4), ink, 4)
    if rng.random() < 0.4:  # noqa: PLR2004 - share of the parcels with a printed name
        at = (int(width * rng.uniform(0.06, 0.3)), int(height * rng.uniform(0.7, 0.82)))
        _lettering(face, rng, at, size // 2, ink)


def _lettering(
    face: Face, rng: np.random.Generator, at: tuple[int, int], size: int, ink: tuple[float, ...]
) -> None:
    """Draw six made-up letters, each of three strokes on a small grid."""
    x, y = at
    for letter in range(6):
        left = x + letter * size * 5 // 6
        corners = [
            (left + int(column) * size // 4, y + int(row) * size // 2)
            for column, row in rng.integers(0, 3, size=(4, 2))
        ]
        for start, end in itertools.pairwise(corners):
            cv2.line(face, start, end, ink, 3, cv2.LINE_AA)
