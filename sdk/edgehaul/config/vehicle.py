"""What a device tells of a vehicle's motion: trips, geofences, routes, driving."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Annotated, Self

import msgspec
from msgspec import Meta

from edgehaul.config.section import Section

_DAY_S = 86_400.0
MAX_LATITUDE_DEG = 89.0
"""Polygons and routes end here: around a pole a line in degrees is no line on the ground."""
MAX_CORNERS = 2_000
MAX_ROUTE_PLACES = 20_000
MAX_FENCES = 10_000

Seconds = Annotated[float, Meta(ge=0, le=_DAY_S)]
SpeedMps = Annotated[float, Meta(gt=0, le=100)]
HarshMps2 = Annotated[float, Meta(ge=1, le=15)]
RadiusM = Annotated[float, Meta(gt=0, le=100_000)]
Name = Annotated[str, Meta(min_length=1)]


class Place(msgspec.Struct, frozen=True, array_like=True):
    """A place, written as ``[latitude, longitude]`` in degrees (WGS 84)."""

    latitude_deg: Annotated[float, Meta(ge=-90, le=90)]
    longitude_deg: Annotated[float, Meta(ge=-180, le=180)]


class TripsSection(Section, frozen=True):
    """Trips and stops.

    Attributes:
        stop_after_s: A vehicle that stands so long has ended its trip, when it began to stand.
        gap_after_s: A pause between two fixes from which on it is a gap: what was driven in it
            is not counted but declared. Of slow receivers three of their usual intervals, where
            that is longer.
        gap_ends_after_s: A gap so long ends the trip, at the last fix before it.
        least_distance_m: A trip is told once it is so long: what is shorter is no trip.
        least_duration_s: The same in time.
        save_every_s: During a trip odometer and trip are written to the disk so often: a power
            cut loses no more of them. After a restart the trip goes on, with what lies between as
            a pause in the signal. A recording without ``realtime`` keeps nothing.
    """

    stop_after_s: Annotated[float, Meta(ge=10, le=_DAY_S)] = 300.0
    gap_after_s: Annotated[float, Meta(ge=2, le=3600)] = 15.0
    gap_ends_after_s: Annotated[float, Meta(ge=2, le=_DAY_S)] = 600.0
    least_distance_m: Annotated[float, Meta(ge=0, le=100_000)] = 50.0
    least_duration_s: Seconds = 10.0
    save_every_s: Annotated[float, Meta(ge=1, le=3600)] = 10.0

    def __post_init__(self) -> None:
        """Refuse a gap that ends a trip before it is a gap."""
        if self.gap_ends_after_s < self.gap_after_s:
            raise ValueError("gap_ends_after_s must not be less than gap_after_s")


class Circle(Section, frozen=True):
    """All places within a distance.

    Attributes:
        center: The middle.
        radius_m: The distance, over the ellipsoid.
    """

    center: Place
    radius_m: RadiusM


class Geofence(Section, frozen=True):
    """An area with a name; either a circle or a polygon.

    Attributes:
        name: Name in the events.
        circle: The area, where it is a circle.
        polygon: Its corners, where it is a polygon: the last is joined to the first. Edges are
            straight in latitude and longitude, as GeoJSON has them, and take the shorter way
            round across 180 degrees.
        rings: More rings of a polygon: holes in it, and parts apart from it.
        dwell_after_s: Time inside after which that is told, once; 0 for never.
        speed_limit_mps: Limit inside, where it has one; it takes the place of the general one,
            and of several areas the lowest holds.
    """

    name: Name
    circle: Circle | None = None
    polygon: tuple[Place, ...] = ()
    rings: tuple[tuple[Place, ...], ...] = ()
    dwell_after_s: Annotated[float, Meta(ge=0, le=30 * _DAY_S)] = 0.0
    speed_limit_mps: SpeedMps | None = None

    def __post_init__(self) -> None:
        """Refuse an area that is both or neither, and polygons that are none."""
        if (self.circle is not None) == bool(self.polygon):
            raise ValueError(f"geofence {self.name!r}: give either a circle or a polygon")
        if self.rings and not self.polygon:
            raise ValueError(f"geofence {self.name!r}: rings belong to a polygon")
        for ring in (self.polygon, *self.rings) if self.polygon else ():
            check_ring(ring, f"the polygon of geofence {self.name!r}")


class GeofencesSection(Section, frozen=True):
    """Areas whose borders are watched.

    Attributes:
        file: GeoJSON file with more areas, relative to the configuration file; empty for none.
        fences: The areas.
        sigmas: So many times its accuracy a fix must be away from a border to say on which
            side it is; nearer ones change nothing.
        confirm_s: So long the fixes must say the same before it is believed.
    """

    file: str = ""
    fences: tuple[Geofence, ...] = ()
    sigmas: Annotated[float, Meta(ge=0, le=10)] = 2.0
    confirm_s: Annotated[float, Meta(ge=0, le=3600)] = 3.0

    def __post_init__(self) -> None:
        """Refuse areas that share a name, and more than a box can watch."""
        check_names([fence.name for fence in self.fences], "fences")
        if len(self.fences) > MAX_FENCES:
            raise ValueError(f"fences: {len(self.fences)} are more than {MAX_FENCES}")


class Route(Section, frozen=True):
    """A way that the vehicle should keep to.

    Attributes:
        name: Name in the events.
        points: The way, at least two places; straight between them.
        corridor_m: A fix further away than this is off the way.
        deviated_after_s: Time off the way after which that is told.
    """

    name: Name
    points: tuple[Place, ...]
    corridor_m: Annotated[float, Meta(ge=10, le=50_000)] = 100.0
    deviated_after_s: Seconds = 30.0

    def __post_init__(self) -> None:
        """Refuse a way without length."""
        if len(set(self.points)) < 2:  # noqa: PLR2004 - two ends
            raise ValueError(f"points of route {self.name!r}: at least two places are needed")
        if len(self.points) > MAX_ROUTE_PLACES:
            raise ValueError(
                f"points of route {self.name!r}: more than {MAX_ROUTE_PLACES}; thin it"
            )
        check_latitudes(self.points, f"points of route {self.name!r}")


class DrivingSection(Section, frozen=True):
    """How the vehicle is driven.

    The thresholds of harsh driving are means over about 1 s, as GPS gives them. In the trips that
    people have labelled (Ferreira et al. 2017, "Driver behavior profiling") such means reach 3.2
    to 4.0 m/s2 in aggressive braking, 3.0 to 3.9 in aggressive turns, 1.4 to 2.6 in aggressive
    acceleration, and 2.2 in what is not aggressive. Accelerometers, which see shorter peaks, are
    set to 3.0 to 4.4 and 3.5 to 5.5 (Digital Matter, "Harsh event setup").

    Attributes:
        speed_limit_mps: Limit where no geofence has its own; none for none.
        tolerance_mps: So much more is not told: receivers and speedometers differ.
        speeding_after_s: Time above limit and tolerance after which it is told.
        idling_after_s: Time of standing within a trip after which it is told. Whether the
            engine runs GPS does not know.
        braking_mps2: From this deceleration on braking is harsh.
        acceleration_mps2: The same of speeding up.
        cornering_mps2: The same across the way: speed times rate of turn.
    """

    speed_limit_mps: SpeedMps | None = None
    tolerance_mps: Annotated[float, Meta(ge=0, le=20)] = 1.4
    speeding_after_s: Seconds = 5.0
    idling_after_s: Annotated[float, Meta(ge=10, le=_DAY_S)] = 120.0
    braking_mps2: HarshMps2 = 3.0
    acceleration_mps2: HarshMps2 = 2.2
    cornering_mps2: HarshMps2 = 3.0


class VehicleConfig(Section, frozen=True):
    """All that is to be told of one vehicle, its geofences read; see :class:`GpsConfig`."""

    trips: TripsSection | None = None
    geofences: GeofencesSection | None = None
    routes: tuple[Route, ...] = ()
    driving: DrivingSection | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be told."""
        return self == type(self)()

    def with_fences(self, more: tuple[Geofence, ...]) -> Self:
        """Return the same with the areas of a file.

        Raises:
            ValueError: Areas share a name.
        """
        section = self.geofences or GeofencesSection()
        section = msgspec.structs.replace(section, fences=section.fences + more)
        return msgspec.structs.replace(self, geofences=section)


def check_names(names: list[str], what: str) -> None:
    """Refuse names that stand twice.

    Raises:
        ValueError: One does.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f"{what} need names that differ from each other: {twice[0]!r} stands twice"
        )


def check_latitudes(places: tuple[Place, ...], what: str) -> None:
    """Refuse lines near a pole.

    Raises:
        ValueError: A place is there.
    """
    worst = max(abs(place.latitude_deg) for place in places)
    if worst > MAX_LATITUDE_DEG:
        raise ValueError(
            f"{what}: latitude {worst:g} is too near a pole for straight lines (at most "
            f"{MAX_LATITUDE_DEG:g}); use a circle"
        )


def check_ring(places: tuple[Place, ...], what: str) -> None:
    """Refuse corners that make no polygon, or one around a pole.

    Raises:
        ValueError: They do not.
    """
    if len(set(places)) < 3:  # noqa: PLR2004 - a triangle
        raise ValueError(f"{what}: at least three different places are needed")
    if len(places) > MAX_CORNERS:
        raise ValueError(f"{what}: {len(places)} corners are more than {MAX_CORNERS}; thin it")
    check_latitudes(places, what)
    corners = unwrapped(places)
    (first_x, _), (last_x, _) = corners[0], corners[-1]
    if any(abs(b[0] - a[0]) == 180 for a, b in itertools.pairwise([*corners, corners[0]])):  # noqa: PLR2004 - degrees
        raise ValueError(f"{what}: an edge over 180 degrees of longitude may go either way round")
    if abs(last_x - first_x) > 180:  # noqa: PLR2004 - degrees
        raise ValueError(f"{what}: it goes round a pole; use a circle")
    crossing = _crossing_edges(corners)
    if crossing is not None:
        raise ValueError(
            f"{what}: the edges after corners {crossing[0] + 1} and {crossing[1] + 1} cross; "
            "give the corners in order"
        )


def unwrapped(places: tuple[Place, ...]) -> list[tuple[float, float]]:
    """Return (longitude, latitude) in degrees, each step the shorter way round: none jumps."""
    longitude_deg = places[0].longitude_deg
    corners = []
    for place in places:
        longitude_deg += (place.longitude_deg - longitude_deg + 180) % 360 - 180
        corners.append((longitude_deg, place.latitude_deg))
    return corners


def _crossing_edges(corners: list[tuple[float, float]]) -> tuple[int, int] | None:
    """Return two edges of a ring that truly cross, by the number of their first corner."""
    edges = list(zip(corners, [*corners[1:], corners[0]], strict=True))
    for (i, (a, b)), (j, (c, d)) in itertools.combinations(enumerate(edges), 2):
        apart = max(a[0], b[0]) < min(c[0], d[0]) or max(c[0], d[0]) < min(a[0], b[0])
        if (
            not apart
            and _side(a, b, c) * _side(a, b, d) < 0
            and _side(c, d, a) * _side(c, d, b) < 0
        ):
            return i, j
    return None


def _side(start: tuple[float, float], end: tuple[float, float], to: tuple[float, float]) -> float:
    return (end[0] - start[0]) * (to[1] - start[1]) - (end[1] - start[1]) * (to[0] - start[0])
