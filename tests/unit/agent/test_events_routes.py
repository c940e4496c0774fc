"""Ways that are kept to, and left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehaul.clock import parse_utc
from edgehaul.config.vehicle import Place, Route
from edgehaul.messages.vehicle import RouteEvent
from edgehaul.motion.ellipsoid import moved
from edgehaul.values import Fix
from edgehaul_agent.events.areas import Way
from edgehaul_agent.events.routes import RouteWatch
from tests.fakes.parking import HOME, made
from tests.fakes.vincenty import vincenty_m

NORTH = (Place(*HOME), Place(*moved(*HOME, 0.0, 10_000.0)))


def told(fixes: Sequence[Fix], **settings: float) -> list[RouteEvent]:
    watch = RouteWatch(Route(name="r", points=NORTH, **settings))
    events = [data.event for fix in fixes for data in watch.update(fix)]
    assert all(isinstance(event, RouteEvent) for event in events)
    return events


def along(
    easts_m: Sequence[float], *, accuracy_m: float = 5.0, speed_mps: float = 20.0
) -> list[Fix]:
    return [
        made(float(i), float(east), speed_mps * i, None, None, accuracy_m)
        for i, east in enumerate(easts_m)
    ]


OFF = [0.0] * 20 + list(np.linspace(0, 600, 31)) + [600.0] * 60
BACK = list(np.linspace(600, 0, 31)) + [0.0] * 20


def test_left_and_returned() -> None:
    left, back = told(along(OFF + BACK))
    assert (left.phase, back.phase) == ("deviated", "returned")
    assert left.started_at == back.started_at
    # 20 m a second aside: 110 m, the corridor and twice the accuracy, after 5.5 s.
    assert parse_utc(left.started_at) == pytest.approx(26, abs=1)
    assert left.distance_m == pytest.approx(600, abs=0.5)
    assert back.distance_m == pytest.approx(600, abs=0.5)


@pytest.mark.parametrize(
    ("easts_m", "settings", "phases"),
    [
        ([0.0] * 100, {}, []),
        ([90.0] * 100, {}, []),
        ([600.0] * 100, {}, []),  # it has never been on the way
        ([0.0] * 5 + [300.0] * 20 + [0.0] * 9, {}, []),  # not for long enough
        ([0.0] * 5 + [300.0] * 20 + [0.0] * 9, {"deviated_after_s": 10}, ["deviated", "returned"]),
        ([0.0] * 5 + [300.0] * 99, {"corridor_m": 500}, []),
        ([0.0] * 5 + [300.0, 0.0] * 99, {}, []),  # fixes that jump
    ],
)
def test_what_is_told(easts_m: list[float], settings: dict[str, float], phases: list[str]) -> None:
    assert [event.phase for event in told(along(easts_m), **settings)] == phases


def test_fixes_that_are_not_sure_say_nothing() -> None:
    assert told(along([0.0] * 5 + [200.0] * 90, accuracy_m=60.0)) == []


@given(
    st.floats(-80, 80),
    st.sampled_from([0.0, 179.99, -179.99]),
    st.floats(0, 1),
    st.floats(-900, 900),
)
def test_the_distance_from_a_way_anywhere_on_earth(
    lat: float, lon: float, part: float, aside_m: float
) -> None:
    end = moved(lat, lon, 0.0, 20_000.0)
    way = Way((Place(lat, lon), Place(*end)))
    foot = (lat + part * (end[0] - lat), lon)
    there = moved(*foot, aside_m, 0.0)
    true_m = vincenty_m(*foot, *there)
    assert way.distance_m(*there) == pytest.approx(true_m, abs=0.1 + 1e-4 * true_m)
