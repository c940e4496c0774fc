"""Constant-velocity Kalman filters for boxes, one row for each track, all in one call.

The model is that of SORT and ByteTrack (github.com/ifzhang/ByteTrack): a box is its centre
and its size, each with a velocity. Motion and measurement act on each of the four
coordinates alone, so the 8-state filter falls apart into four filters of two states. They are
kept as arrays of shape (tracks, 4): no matrix is ever inverted.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Motion:
    """What is believed about the boxes of all tracks; every array is (tracks, 4).

    Attributes:
        position: Centre x, centre y, width and height in pixels.
        velocity: Their change in one frame.
        position_variance: Variance of ``position``.
        covariance: Covariance of ``position`` with ``velocity``.
        velocity_variance: Variance of ``velocity``.
    """

    position: Array
    velocity: Array
    position_variance: Array
    covariance: Array
    velocity_variance: Array

    @classmethod
    def started_at(cls, boxes: Array) -> Motion:
        """Return the belief after one detection each, ``boxes`` being (tracks, 4) x1 y1 x2 y2."""
        position = _to_centers(boxes)
        size = _sizes(position)
        spread = np.array([FIRST_VELOCITY, FIRST_VELOCITY, FIRST_GROWTH, FIRST_GROWTH])
        zeros = np.zeros_like(position)
        return cls(
            position, zeros, (MEASUREMENT_NOISE * size) ** 2 + zeros, zeros, (spread * size) ** 2
        )

    @property
    def boxes(self) -> Array:
        """The boxes, (tracks, 4) x1 y1 x2 y2 in pixels."""
        half = self.position[:, 2:] / 2
        return np.hstack([self.position[:, :2] - half, self.position[:, :2] + half])

    @property
    def innovation_variance(self) -> Array:
        """Variance of the difference between a detection and the belief, (tracks, 4)."""
        measured: Array = (MEASUREMENT_NOISE * _sizes(self.position)) ** 2
        return self.position_variance + measured

    def predicted(self, frames: float) -> Motion:
        """Return the belief ``frames`` frames later."""
        size = _sizes(self.position)
        position = self.position + self.velocity * frames
        position[:, 2:] = np.maximum(position[:, 2:], 1.0)
        return Motion(
            position,
            self.velocity,
            self.position_variance
            + (2 * self.covariance + self.velocity_variance * frames) * frames
            + (POSITION_NOISE * size) ** 2 * frames,
            self.covariance + self.velocity_variance * frames,
            self.velocity_variance + (VELOCITY_NOISE * size) ** 2 * frames,
        )

    def corrected(self, rows: list[int], boxes: Array, spread: Array | float = 1.0) -> Motion:
        """Return the belief after detecting boxes for some of the tracks.

        Args:
            rows: These tracks.
            boxes: Their detections, (rows, 4) x1 y1 x2 y2 in pixels.
            spread: How much less exact than usual the boxes are, as a factor of their standard
                deviation, (rows, 1) or one for all.
        """
        position = self.position[rows]
        noise = (spread * MEASUREMENT_NOISE * _sizes(position)) ** 2
        gain_base = 1.0 / (self.position_variance[rows] + noise)
        gain = self.position_variance[rows] * gain_base
        velocity_gain = self.covariance[rows] * gain_base
        surprise = _to_centers(boxes) - self.position[rows]
        after = Motion(*(array.copy() for array in self._arrays()))
        after.position[rows] += gain * surprise
        after.velocity[rows] += velocity_gain * surprise
        after.position_variance[rows] *= 1 - gain
        after.velocity_variance[rows] -= velocity_gain * self.covariance[rows]
        after.covariance[rows] *= 1 - gain
        return after

    def without_growth(self, rows: list[int]) -> Motion:
        """Return the belief with the sizes of the tracks ``rows`` at rest.

        An object that is not seen would otherwise swell or vanish on the last noise.
        """
        velocity = self.velocity.copy()
        velocity[np.ix_(rows, [2, 3])] = 0.0
        return Motion(
            self.position,
            velocity,
            self.position_variance,
            self.covariance,
            self.velocity_variance,
        )

    def kept(self, rows: list[int]) -> Motion:
        """Return the belief for the tracks ``rows`` alone."""
        return Motion(*(array[rows] for array in self._arrays()))

    def joined(self, other: Motion) -> Motion:
        """Return the belief for these tracks and then those of ``other``."""
        pairs = zip(self._arrays(), other._arrays(), strict=True)
        return Motion(*(np.vstack(pair) for pair in pairs))

    def _arrays(self) -> tuple[Array, ...]:
        return (
            self.position,
            self.velocity,
            self.position_variance,
            self.covariance,
            self.velocity_variance,
        )


def _to_centers(boxes: Array) -> Array:
    return np.hstack([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]])


def _sizes(position: Array) -> Array:
    """Return the side of a square of each box's area, (tracks, 1), at least one pixel."""
    sizes: Array = np.sqrt(np.maximum(position[:, 2:3] * position[:, 3:4], 1.0))
    return sizes
