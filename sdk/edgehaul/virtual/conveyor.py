"""A camera over a conveyor belt: pictures of parcels with exact truth, from a seed alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from edgehaul.errors import UsageError
from edgehaul.geometry import Box, Line, Point
from edgehaul.values import Image
from edgehaul.virtual.belt import build_scene
from edgehaul.virtual.parcels import (
    PARCEL_LABELS,
    ParcelLabel,
    ParcelShape,
    Sprite,
    draw_parcel,
)

__all__ = ["PARCEL_LABELS", "Conveyor", "ConveyorFrame", "TrueParcel"]

MIN_VISIBLE = 0.8
"""Share of a parcel's box that must be in the picture before its class can be told."""

_SCENE, _SLOT, _LOOK, _SENSOR = range(4)
_LABEL_SHARES = (0.5, 0.25, 0.25)
_EMPTY_SHARE = 0.12
_PAIR_SHARE = 0.25
_PITCH = 0.43
_JITTER = 0.035
_SPEED_PER_S = 0.27
_REACH = 0.28
_NEAR_LINE = 0.05
_SPRITES_KEPT = 48
_MIN_SIDE_PX = 96


@dataclass(frozen=True)
class TrueParcel:
    """One parcel of a frame.

    Attributes:
        parcel_id: Identity over all frames.
        box: Its extent without the shadow, in pixels, clipped to the picture.
        label: Its class.
    """

    parcel_id: int
    box: Box
    label: ParcelLabel


@dataclass(frozen=True)
class ConveyorFrame:
    """One picture with its truth.

    Attributes:
        index: Number of the frame, from 0.
        image: The picture, (height, width, 3) uint8 BGR.
        truth: Parcels of which at least 80 % is in the picture.
        partial: Parcels at the edges of which less is: too little to tell the class, so
            neither finding nor missing them is a fault.
    """

    index: int
    image: Image
    truth: tuple[TrueParcel, ...]
    partial: tuple[TrueParcel, ...]


@dataclass(frozen=True)
class _Placed:
    """A parcel of the plan: where its centre stands on the belt, in pixels."""

    parcel_id: int
    along_px: float
    across_px: float
    shape: ParcelShape


class Conveyor:
    """An endless belt that carries parcels from left to right under a fixed camera.

    Every frame depends on the seed and its index alone, so that frames can be taken in any
    order. The belt is empty at frame 0. Not safe for use by several threads at once.

    Args:
        seed: Chooses the belt, lamps, camera and parcels.
        width: Width of the pictures in pixels.
        height: Height of the pictures in pixels; parcels and speed scale with it.
        fps: Frames per second.

    Raises:
        UsageError: The picture is smaller than 96 pixels, or ``fps`` is not positive.
    """

    def __init__(
        self, *, seed: int, width: int = 640, height: int = 480, fps: float = 25.0
    ) -> None:
        if min(width, height) < _MIN_SIDE_PX or width < height or not fps > 0 or seed < 0:
            raise UsageError(
                f"no conveyor of {width}x{height} pixels at {fps} fps with seed {seed}",
                remedy=f"width >= height >= {_MIN_SIDE_PX}, fps > 0 and seed >= 0 are needed",
            )
        self.seed = seed
        self.width = width
        self.height = height
        self.fps = fps
        self._scene = build_scene(self._rng(_SCENE), width, height)
        self._phase = float(self._rng(_SCENE, 1).uniform(0, 2 * math.pi))
        self._sprites: dict[int, Sprite] = {}
        self._slots: dict[int, tuple[_Placed, ...]] = {}

    def __iter__(self) -> Iterator[ConveyorFrame]:
        """Yield the frames from 0 on, without end."""
        index = 0
        while True:
            yield self.frame(index)
            index += 1

    def frame(self, index: int) -> ConveyorFrame:
        """Return frame ``index`` (>= 0) with its truth."""
        travel = self._travel_px(index)
        image = self._scene.background(math.floor(travel))
        truth: list[TrueParcel] = []
        partial: list[TrueParcel] = []
        for parcel in self._parcels_near(travel):
            sprite, left, top = self._lay(parcel, travel)
            _blend(image, sprite, left, top)
            full = _moved(sprite.box, left, top)
            box = full.clipped(self.width, self.height)
            if box.area > 0:
                enough = box.area >= MIN_VISIBLE * full.area
                seen = TrueParcel(parcel.parcel_id, box, parcel.shape.label)
                (truth if enough else partial).append(seen)
        rng = self._rng(_SENSOR, index)
        gain = 1 + 0.07 * math.sin(index / self.fps * 0.9 + self._phase) + rng.normal(0, 0.012)
        image = self._scene.expose(image, gain, rng)
        return ConveyorFrame(index, image, tuple(truth), tuple(partial))

    def counting_line(self) -> Line:
        """Return the vertical line in the middle; parcels cross it as +1 (to its right side)."""
        middle = self.width / 2
        return Line(Point(middle, float(self.height)), Point(middle, 0.0))

    def true_crossings(self, first_frame: int, last_frame: int) -> dict[ParcelLabel, int]:
        """Count the parcels whose box centre crosses the counting line.

        Counted are the steps from each frame to the next within ``first_frame`` to
        ``last_frame``, both included, by ``Line.crossed_by``: exactly what a perfect tracker
        sees of these frames.

        Returns:
            The number of crossings by label; every label is there.
        """
        counts = dict.fromkeys(PARCEL_LABELS, 0)
        line = self.counting_line()
        before: dict[int, Point] = {}
        for index in range(first_frame, last_frame + 1):
            now = self._centers(index)
            for parcel_id, (center, label) in now.items():
                if parcel_id in before:
                    counts[label] += line.crossed_by(before[parcel_id], center)
            before = {parcel_id: center for parcel_id, (center, _) in now.items()}
        return counts

    def frame_clear_of_line(self, from_frame: int) -> int:
        """Return the first frame, from ``from_frame`` on, with no parcel's centre near the line.

        A run that ends there can be compared with :meth:`true_crossings` to the parcel: no
        crossing hangs on a pixel of a detector's error in the last frame.
        """
        index, near_px = from_frame, _NEAR_LINE * self.height
        while any(
            abs(center.x - self.width / 2) < near_px for center, _ in self._centers(index).values()
        ):
            index += 1
        return index

    def _centers(self, index: int) -> dict[int, tuple[Point, ParcelLabel]]:
        """Return the centres of the parcels near the middle of a frame, by parcel id."""
        travel = self._travel_px(index)
        centers = {}
        for parcel in self._parcels_near(travel):
            if abs(travel - parcel.along_px - self.width / 2) < self.height / 4:
                sprite, left, top = self._lay(parcel, travel)
                centers[parcel.parcel_id] = (
                    _moved(sprite.box, left, top).center,
                    parcel.shape.label,
                )
        return centers

    def _rng(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, *purpose))

    def _travel_px(self, index: int) -> float:
        """Return how far the belt has moved; its speed swings by 13 % and never turns back."""
        time_s = index / self.fps
        swing_s = 0.15 * (math.sin(2 * math.pi * time_s / 7 + self._phase) - math.sin(self._phase))
        return _SPEED_PER_S * self.height * (time_s + swing_s)

    def _parcels_near(self, travel: float) -> Iterator[_Placed]:
        """Yield the parcels that may show in the picture at this travel of the belt."""
        pitch, reach = _PITCH * self.height, _REACH * self.height
        first = max(0, math.floor((travel - self.width) / pitch) - 2)
        last = math.floor(travel / pitch) + 1
        for slot in range(first, last + 1):
            for parcel in self._slot(slot):
                if -reach < travel - parcel.along_px < self.width + reach:
                    yield parcel

    def _slot(self, slot: int) -> tuple[_Placed, ...]:
        """Return the parcels planned for one stretch of the belt: none, one, or two abreast."""
        if slot not in self._slots:
            if len(self._slots) > _SPRITES_KEPT:
                self._slots.pop(next(iter(self._slots)))
            rng = self._rng(_SLOT, slot)
            kind = rng.random()
            if kind < _EMPTY_SHARE:
                lanes: tuple[float, ...] = ()
            elif kind < _EMPTY_SHARE + _PAIR_SHARE:
                lanes = (-0.19, 0.17)
            else:
                lanes = (float(rng.uniform(-0.19, 0.17)),)
            self._slots[slot] = tuple(
                self._plan(rng, slot * 2 + lane, offset, paired=len(lanes) > 1)
                for lane, offset in enumerate(lanes)
            )
        return self._slots[slot]

    def _plan(
        self, rng: np.random.Generator, parcel_id: int, offset: float, *, paired: bool
    ) -> _Placed:
        unit = self.height
        sizes = (0.165, 0.225) if paired else (0.19, 0.30)
        length, width = (round(v * unit) for v in rng.uniform(*sizes, size=2))
        label = PARCEL_LABELS[int(rng.choice(len(PARCEL_LABELS), p=_LABEL_SHARES))]
        turn = 8.0 if paired else 14.0
        shape = ParcelShape(
            label=label,
            length_px=length,
            width_px=width,
            angle_deg=float(rng.uniform(-turn, turn)),
            side_px=max(2, round(unit * rng.uniform(0.012, 0.024))),
        )
        # The first slot begins beyond the left edge, so that frame 0 is empty.
        along = (parcel_id // 2 * _PITCH + 0.24 + rng.uniform(-_JITTER, _JITTER)) * unit
        return _Placed(parcel_id, along, (0.5 + offset) * unit, shape)

    def _lay(self, parcel: _Placed, travel: float) -> tuple[Sprite, int, int]:
        """Return the parcel's sprite and where its top left corner lies in the picture."""
        sprite = self._sprite(parcel)
        rows, columns = sprite.keep.shape[:2]
        left = math.floor(travel - parcel.along_px - columns / 2)
        return sprite, left, math.floor(parcel.across_px - rows / 2)

    def _sprite(self, parcel: _Placed) -> Sprite:
        sprite = self._sprites.get(parcel.parcel_id)
        if sprite is None:
            if len(self._sprites) >= _SPRITES_KEPT:
                self._sprites.pop(next(iter(self._sprites)))
            motion_px = round(self._scene.shutter_s * _SPEED_PER_S * self.height)
            sprite = draw_parcel(
                parcel.shape,
                self._rng(_LOOK, parcel.parcel_id),
                blur_px=self._scene.blur_px,
                motion_px=motion_px,
            )
            self._sprites[parcel.parcel_id] = sprite
        return sprite


def _moved(box: Box, dx: int, dy: int) -> Box:
    return Box(box.x1 + dx, box.y1 + dy, box.x2 + dx, box.y2 + dy)


def _blend(image: Image, sprite: Sprite, left: int, top: int) -> None:
    """Lay a sprite on the picture in place, cut to the picture's borders."""
    height, width = image.shape[:2]
    rows, columns = sprite.keep.shape[:2]
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + columns, width), min(top + rows, height)
    if x1 >= x2 or y1 >= y2:
        return
    cut = np.s_[y1 - top : y2 - top, x1 - left : x2 - left]
    area = image[y1:y2, x1:x2]
    dimmed = cv2.multiply(area, sprite.keep[cut], scale=1 / 255)
    image[y1:y2, x1:x2] = cv2.add(dimmed, sprite.paint[cut])
