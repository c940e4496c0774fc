"""Distances on the ellipsoid agree with Vincenty's."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehaul.geometry import haversine_m
from edgehaul.motion.ellipsoid import geodesic_m, moved, offset_m, wrapped_deg
from tests.fakes.vincenty import vincenty_m

latitudes = st.floats(-89.9, 89.9)
longitudes = st.floats(-180, 180)
bearings = st.floats(0, 2 * math.pi)


@given(latitudes, longitudes, bearings, st.floats(1, 100_000))
def test_the_geodesic_is_exact_to_a_centimetre_within_100_km(
    latitude_deg: float, longitude_deg: float, bearing: float, way_m: float
) -> None:
    # Roughly so far: near a pole the plane is bent, and the far end is anywhere near it.
    north_deg = math.degrees(way_m * math.cos(bearing) / 6.4e6)
    other_lat = max(-89.99, min(89.99, latitude_deg + north_deg))
    narrow = max(math.cos(math.radians(other_lat)), 0.02)
    other_lon = wrapped_deg(
        longitude_deg + math.degrees(way_m * math.sin(bearing) / 6.4e6 / narrow)
    )
    true_m = vincenty_m(latitude_deg, longitude_deg, other_lat, other_lon)
    if true_m <= 100_000:
        got_m = geodesic_m(latitude_deg, longitude_deg, other_lat, other_lon)
        assert got_m == pytest.approx(true_m, abs=0.01)


@pytest.mark.parametrize(
    ("places", "true_m"),
    [
        # A degree along the equator and along the meridian there are in any table of WGS 84.
        ((0, 0, 0, 1), 111_319.4908),
        ((0, 0, 1, 0), 110_574.3886),
        ((89.5, 0, 89.5, 180), 111_693.9),
        ((10, 179.9, 10, -179.9), 21_927.87),
    ],
)
def test_known_distances(places: tuple[float, float, float, float], true_m: float) -> None:
    assert geodesic_m(*places) == pytest.approx(true_m, rel=2e-6)


def test_the_sphere_is_worse() -> None:
    here = (52.0, 4.0, 52.9, 4.0)
    assert abs(haversine_m(*here) - vincenty_m(*here)) > 50
    assert abs(geodesic_m(*here) - vincenty_m(*here)) < 0.01


@given(st.floats(-80, 80), longitudes, st.floats(-5e3, 5e3), st.floats(-5e3, 5e3))
def test_there_and_back_in_the_plane(
    latitude_deg: float, longitude_deg: float, east_m: float, north_m: float
) -> None:
    there = moved(latitude_deg, longitude_deg, east_m, north_m)
    assert offset_m(latitude_deg, longitude_deg, *there) == pytest.approx(
        (east_m, north_m), abs=1e-3
    )
    way_m = math.hypot(east_m, north_m)
    true_m = vincenty_m(latitude_deg, longitude_deg, *there)
    tilt = math.tan(math.radians(abs(latitude_deg)))
    assert way_m == pytest.approx(true_m, abs=0.01 + way_m**2 / 6.3e6 * (tilt + 0.1))
