"""Which points are inside which polygons: all of them in a few array operations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgehaul.geometry import Polygon

Array = NDArray[np.float64]

MOST_POLYGONS = 62
"""As many as have a bit each in a signed 64-bit number."""


class PolygonSet:
    """Several polygons, asked together.

    The rule is the even-odd one of ``Polygon.contains``, in the same arithmetic, so that both
    agree to the last bit: a point is inside if a ray from it to the right meets an odd number of
    sides (Shimrat 1962, Algorithm 112; Haines, "Point in Polygon Strategies", Graphics Gems IV).

    Args:
        polygons: At most 62 polygons.
    """

    def __init__(self, polygons: Sequence[Polygon]) -> None:
        if len(polygons) > MOST_POLYGONS:
            raise ValueError(f"{len(polygons)} polygons; at most {MOST_POLYGONS} have a bit each")
        counts = [len(polygon.points) for polygon in polygons]
        self._firsts = np.cumsum([0, *counts[:-1]]) if counts else np.zeros(0, np.int64)
        sides = [
            (a.x, a.y, b.x, b.y)
            for polygon in polygons
            for a, b in zip(polygon.points, polygon.points[-1:] + polygon.points, strict=False)
        ]
        table = np.array(sides, dtype=np.float64).reshape(-1, 4, 1)
        self._ax, self._ay, bx, self._by = (table[:, column] for column in range(4))
        self._dx, dy = bx - self._ax, self._by - self._ay
        self._dy = np.where(dy == 0, 1.0, dy)  # a level side meets no level ray
        self._bits = 1 << np.arange(len(polygons), dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of polygons."""
        return len(self._firsts)

    def memberships(self, x: Array, y: Array) -> list[int]:
        """Return for each point the polygons that it is inside of, one bit each.

        Args:
            x: x of the points, (points,).
            y: y of the points, (points,).
        """
        if not len(self):
            return [0] * len(x)
        meets = (self._ay > y) != (self._by > y)
        meets &= x < self._dx * (y - self._ay) / self._dy + self._ax
        inside = np.bitwise_xor.reduceat(meets, self._firsts, axis=0)
        bits: list[int] = (self._bits @ inside).tolist()
        return bits
