"""Areas and ways on the ground, and how far a place is from their borders."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edgehaul.config.vehicle import Circle, Geofence, Place, unwrapped
from edgehaul.motion.ellipsoid import geodesic_m, radii_m, wrapped_deg

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WHOLE_TURN_DEG = 180.0
_SLACK = 1.01
"""Boxes are a little larger than what is in them: a degree is not equally long everywhere."""


class Area(Protocol):
    """Where something is inside or outside."""

    box: tuple[float, float, float, float]
    """Middle and half of the width, then of the height, in degrees of longitude and latitude."""

    def depth_m(self, latitude_deg: float, longitude_deg: float) -> float:
        """Return how far inside a place is: its distance to the border, below 0 outside."""
        ...


def area_of(fence: Geofence) -> Area:
    """Return the area of a geofence."""
    if fence.circle is not None:
        return CircleArea(fence.circle)
    return PolygonArea((fence.polygon, *fence.rings))


class CircleArea:
    """All places within a distance over the ellipsoid, exact to 1 cm up to 100 km."""

    def __init__(self, circle: Circle) -> None:
        self._latitude_deg = circle.center.latitude_deg
        self._longitude_deg = circle.center.longitude_deg
        self._radius_m = circle.radius_m
        half_lat_deg = math.degrees(circle.radius_m * _SLACK / radii_m(0.0)[1])
        self.box = (
            self._longitude_deg,
            _half_longitude_deg(self._latitude_deg, half_lat_deg),
            self._latitude_deg,
            half_lat_deg,
        )

    def depth_m(self, latitude_deg: float, longitude_deg: float) -> float:
        """Return the radius less the distance to the centre."""
        return self._radius_m - geodesic_m(
            self._latitude_deg, self._longitude_deg, latitude_deg, longitude_deg
        )


class PolygonArea:
    """What rings enclose, by the even-odd rule.

    Membership is exact for edges that are straight in longitude and latitude. The distance to
    the border is taken in the plane that touches the ellipsoid at the place asked for: its error
    is 0.01 % at 1 km from the border and at most 1.4 % at 100 km (60 degrees of latitude).

    Args:
        rings: Corners of each ring; the last is joined to the first.
    """

    def __init__(self, rings: Sequence[tuple[Place, ...]]) -> None:
        corners = _aligned(rings)
        self._edges = np.array(
            [(*a, *b) for ring in corners for a, b in zip(ring, [*ring[1:], ring[0]], strict=True)]
        ).T
        # Where a map was cut at 180 degrees there is no border.
        x1, _, x2, _ = self._edges
        on_seam = (np.abs(x1) == _WHOLE_TURN_DEG) & (x1 == x2)
        self._borders = self._edges[:, ~on_seam] if len(rings) > 1 else self._edges
        x, y = self._edges[0], self._edges[1]
        self.box = (
            float(x.min() + x.max()) / 2,
            float(x.max() - x.min()) / 2,
            float(y.min() + y.max()) / 2,
            float(y.max() - y.min()) / 2,
        )

    def depth_m(self, latitude_deg: float, longitude_deg: float) -> float:
        """Return the distance to the border, below 0 outside."""
        x = self.box[0] + wrapped_deg(longitude_deg - self.box[0])
        x1, y1, x2, y2 = self._edges
        spans = (y1 > latitude_deg) != (y2 > latitude_deg)
        # Only edges that span the latitude are divided by their height.
        height = np.where(spans, y2 - y1, 1.0)
        right = x1 + (x2 - x1) * (latitude_deg - y1) / height > x
        inside = bool(np.count_nonzero(spans & right) % 2)
        away_m = nearest_m(self._borders, x, latitude_deg)
        return away_m if inside else -away_m


class Way:
    """A line on the ground, straight in longitude and latitude between its places.

    Args:
        places: At least two.
    """

    def __init__(self, places: tuple[Place, ...]) -> None:
        points = unwrapped(places)
        self._segments = np.array([(*a, *b) for a, b in itertools.pairwise(points)]).T
        low = min(x for x, _ in points)
        self._middle_deg = (low + max(x for x, _ in points)) / 2

    def distance_m(self, latitude_deg: float, longitude_deg: float) -> float:
        """Return the distance of a place from the line."""
        x = self._middle_deg + wrapped_deg(longitude_deg - self._middle_deg)
        return nearest_m(self._segments, x, latitude_deg)


def nearest_m(segments: NDArray[np.float64], x_deg: float, y_deg: float) -> float:
    """Return the distance to the nearest of the segments.

    Args:
        segments: (4, N) float64: x and y of one end, x and y of the other, in degrees.
        x_deg: Longitude, unwrapped as theirs.
        y_deg: Latitude.
    """
    east_m, north_m = radii_m(y_deg)
    scale = np.radians([[east_m], [north_m]])
    start = (segments[:2] - [[x_deg], [y_deg]]) * scale
    along = (segments[2:] - segments[:2]) * scale
    square = np.maximum((along * along).sum(axis=0), 1e-12)
    part = np.clip(-(start * along).sum(axis=0) / square, 0.0, 1.0)
    off = start + part * along
    return math.sqrt(float((off * off).sum(axis=0).min()))


class BoxIndex:
    """Finds the areas whose box a place is in, all at once.

    Args:
        areas: They; a place is told by their numbers.
    """

    def __init__(self, areas: Sequence[Area]) -> None:
        boxes = np.array([area.box for area in areas], dtype=np.float64).reshape(-1, 4).T
        self._x, self._half_x, self._y, self._half_y = boxes

    def near(self, latitude_deg: float, longitude_deg: float, reach_m: float) -> list[int]:
        """Return the areas that may be within ``reach_m`` of a place."""
        east_m, north_m = radii_m(latitude_deg)
        reach_y = math.degrees(reach_m * _SLACK / north_m)
        reach_x = math.degrees(reach_m * _SLACK / max(east_m, 1.0))
        aside = np.abs((longitude_deg - self._x + 180.0) % 360.0 - 180.0)
        is_near = (np.abs(latitude_deg - self._y) <= self._half_y + reach_y) & (
            aside <= self._half_x + reach_x
        )
        found: list[int] = np.flatnonzero(is_near).tolist()
        return found


def _half_longitude_deg(latitude_deg: float, half_lat_deg: float) -> float:
    """Return half of the width of a circle's box; all longitudes where a pole is in it."""
    if abs(latitude_deg) + half_lat_deg >= 90:  # noqa: PLR2004 - degrees
        return _WHOLE_TURN_DEG
    sine = math.sin(math.radians(half_lat_deg)) / math.cos(math.radians(latitude_deg))
    return math.degrees(math.asin(min(1.0, sine)))


def _aligned(rings: Sequence[tuple[Place, ...]]) -> list[list[tuple[float, float]]]:
    """Return the rings in one range of longitudes: parts on both sides of 180 degrees meet."""
    corners = [unwrapped(ring) for ring in rings]
    first = corners[0][0][0]
    aligned = []
    for ring in corners:
        turn = first + wrapped_deg(ring[0][0] - first) - ring[0][0]
        aligned.append([(x + turn, y) for x, y in ring])
    return aligned
