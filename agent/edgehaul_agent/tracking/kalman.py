"""Constant-velocity Kalman filters for boxes, one row for each track, all in one call.

The model is that of SORT and ByteTrack (github.com/ifzhang/ByteTrack): a box is its centre
and its size, each with a velocity. Motion and measurement act on each of the four
coordinates alone, so the 8-state filter falls apart into four filters of two states. They are
kept in one array, so that tracks are chosen and joined at once: no matrix is ever inverted. Since
what is unsure about x is so about y, and all of it is a part of the object's size, variances
come from the area without a square root.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MEASUREMENT_NOISE = 0.05
"""Standard deviation of a detector's box, as a part of the object's size (as ByteTrack)."""
POSITION_NOISE = 0.05
"""Standard deviation of a position's own wander in one frame, part of the size."""
VELOCITY_NOISE = 1 / 160
"""Standard deviation of a velocity's change in one frame, part of the size (as ByteTrack)."""
FIRST_VELOCITY = 0.35
"""Standard deviation of a new object's velocity a frame, part of its size: belts are fast."""
FIRST_GROWTH = 0.05
"""Standard deviation of a new object's growth a frame, part of its size."""

_POSITION, _VELOCITY, _POSITION_VARIANCE, _COVARIANCE, _VELOCITY_VARIANCE = range(5)
_FIRST_SPREAD = np.array([FIRST_VELOCITY, FIRST_VELOCITY, FIRST_GROWTH, FIRST_GROWTH]) ** 2


class Motion:
    """What is believed about the boxes of all tracks.

    Args:
        state: (5, tracks, 4): position (centre x, centre y, width and height in pixels), velocity
            (their change in one frame), variance of the position, its covariance with the velocity,
            and variance of the velocity.
    """

    def __init__(self, state: Array) -> None:
        self._state = state

    @classmethod
    def started_at(cls, boxes: Array) -> Motion:
        """Return the belief after one detection each, ``boxes`` being (tracks, 4) x1 y1 x2 y2."""
        state = np.zeros((5, len(boxes), 4))
        state[_POSITION] = centers_of(boxes)
        area = _areas(state[_POSITION])
        state[_POSITION_VARIANCE] = MEASUREMENT_NOISE**2 * area
        state[_VELOCITY_VARIANCE] = _FIRST_SPREAD * area
        return cls(state)

    def __len__(self) -> int:
        return len(self._state[_POSITION])

    @property
    def position(self) -> Array:
        """Centre x, centre y, width and height in pixels, (tracks, 4)."""
        position: Array = self._state[_POSITION]
        return position

    @property
    def velocity(self) -> Array:
        """Change of the position in one frame, (tracks, 4)."""
        velocity: Array = self._state[_VELOCITY]
        return velocity

    @property
    def center_variance(self) -> Array:
        """Variance of the difference between a detection's centre and the belief, (tracks,).

        It is the same in x and in y.
        """
        measured = MEASUREMENT_NOISE**2 * _areas(self.position)[:, 0]
        variance: Array = self._state[_POSITION_VARIANCE, :, 0] + measured
        return variance

    def predict(self, frames: float) -> None:
        """Go ``frames`` frames on."""
        position, velocity, variance, covariance, velocity_variance = self._state
        area = _areas(position)
        position += velocity * frames
        np.maximum(position[:, 2:], 1.0, out=position[:, 2:])
        variance += (2 * covariance + velocity_variance * frames) * frames
        variance += (POSITION_NOISE**2 * frames) * area
        covariance += velocity_variance * frames
        velocity_variance += (VELOCITY_NOISE**2 * frames) * area

    def correct(self, rows: list[int], centers: Array, spread: Array | float = 1.0) -> None:
        """Take in detections of some of the tracks.

        Args:
            rows: These tracks.
            centers: Their detections, (rows, 4) centre x, centre y, width, height in pixels.
            spread: How much less exact than usual the boxes are, as a factor of their standard
                deviation, (rows, 1) or one for all.
        """
        chosen = self._state[:, rows]
        position, velocity, variance, covariance, velocity_variance = chosen
        inverse = 1.0 / (variance + (spread * MEASUREMENT_NOISE) ** 2 * _areas(position))
        velocity_gain = covariance * inverse
        gain = variance * inverse
        surprise = centers - position
        position += gain * surprise
        velocity += velocity_gain * surprise
        velocity_variance -= velocity_gain * covariance
        rest = 1 - gain
        variance *= rest
        covariance *= rest
        self._state[:, rows] = chosen

    def stop_growth(self, rows: list[int]) -> None:
        """Let the sizes of some tracks rest.

        An object that is not seen would otherwise swell or vanish on the last noise.
        """
        self._state[_VELOCITY, rows, 2:] = 0.0

    def keep(self, rows: list[int]) -> None:
        """Forget all tracks but some."""
        self._state = self._state[:, rows]

    def add(self, other: Motion) -> None:
        """Append the tracks of another belief."""
        self._state = np.concatenate([self._state, other._state], axis=1)


def centers_of(boxes: Array) -> Array:
    """Return centre x, centre y, width and height of (N, 4) boxes x1 y1 x2 y2."""
    centers = np.empty_like(boxes)
    low, high = boxes[:, :2], boxes[:, 2:]
    np.subtract(high, low, out=centers[:, 2:])
    np.add(low, high, out=centers[:, :2])
    centers[:, :2] *= 0.5
    return centers


def _areas(position: Array) -> Array:
    """Return each box's area, (tracks, 1), at least one square pixel."""
    areas: Array = np.maximum(position[:, 2:3] * position[:, 3:4], 1.0)
    return areas
