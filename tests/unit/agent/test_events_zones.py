from __future__ import annotations

import random
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehaul.config.zones import Anchor, ZoneConfig
from edgehaul.geometry import Point, Polygon
from edgehaul.messages.payloads import CameraEvent
from edgehaul.messages.zone_events import ZoneEvent
from edgehaul.values import Track
from edgehaul_agent.events.polygons import MOST_POLYGONS, PolygonSet
from edgehaul_agent.events.rules import StreamRules
from edgehaul_agent.events.visits import MARGIN_PART
from tests.fakes.walks import SIZE_PX, Place, Street, Walk, square, steps, stream, track

INSIDE, OUTSIDE = (150.0, 150.0), (50.0, 150.0)
ALONG = st.integers(0, 300 * 8).map(lambda eighth: eighth / 8)
SPOTS = st.tuples(ALONG, ALONG)


def told(events: Iterable[CameraEvent | tuple[float, CameraEvent]]) -> list[tuple[str, str, float]]:
    """Return phase, reason and duration of the zone events among ``events``."""
    found = [e[1] if isinstance(e, tuple) else e for e in events]
    return [(e.phase, e.reason, e.dwell_s) for e in found if isinstance(e, ZoneEvent)]


def walk(
    *places: Place | None, zone: ZoneConfig | None = None, **keys: int
) -> list[tuple[str, str, float]]:
    """Return what is told of one object that walks through these places, one a frame of 0.1 s."""
    street = Street(stream(zone or square()), **keys)
    return told(street.run({1: steps(*places)}, len(places)))


@given(
    st.lists(
        st.lists(SPOTS, min_size=3, max_size=9).map(
            lambda spots: Polygon(tuple(Point(*spot) for spot in spots))
        ),
        max_size=5,
    ),
    st.lists(SPOTS, min_size=1, max_size=8),
)
def test_all_polygons_together_say_what_each_one_says(
    polygons: list[Polygon], spots: list[Place]
) -> None:
    # Corners and whole numbers too: where points lie on borders and level with corners.
    points = [Point(*spot) for spot in spots]
    points += [corner for polygon in polygons for corner in polygon.points[:2]]
    x, y = np.array([p.x for p in points]), np.array([p.y for p in points])
    for point, bits in zip(points, PolygonSet(polygons).memberships(x, y), strict=True):
        assert [bool(bits >> i & 1) for i in range(len(polygons))] == [
            polygon.contains(point) for polygon in polygons
        ]


def test_more_polygons_than_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="63 polygons; at most 62"):
        PolygonSet([square().polygon] * (MOST_POLYGONS + 1))


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        pytest.param(
            [OUTSIDE, (99, 150), (101, 150), (150, 150), (199, 150), (201, 150), (210, 150)],
            [("enter", "crossed", 0.0), ("exit", "crossed", 0.3)],
            id="walks-through: the margin is left out of the stay",
        ),
        pytest.param(
            [OUTSIDE, (300, 150)], [], id="leaps-over: what was not seen inside is not told"
        ),
        pytest.param([INSIDE, INSIDE], [("enter", "appeared", 0.0)], id="appears-inside"),
        pytest.param(
            [OUTSIDE, (101, 150), (99, 150), (102, 150), (97, 150), (101, 150), INSIDE],
            [("enter", "crossed", 0.0)],
            id="trembles-on-the-border",
        ),
        pytest.param(
            [OUTSIDE, (98, 150), (99, 150), (97, 150)], [], id="trembles-outside-of-the-border"
        ),
        pytest.param(
            [OUTSIDE, INSIDE, OUTSIDE, INSIDE],
            [("enter", "crossed", 0.0), ("exit", "crossed", 0.1), ("enter", "crossed", 0.0)],
            id="comes-back",
        ),
        pytest.param(
            [OUTSIDE, INSIDE, *[None] * 7],
            [("enter", "crossed", 0.0), ("exit", "lost", 0.0)],
            id="lost-inside",
        ),
        pytest.param(
            [OUTSIDE, INSIDE, None, None, INSIDE, OUTSIDE],
            [("enter", "crossed", 0.0), ("exit", "crossed", 0.4)],
            id="missed-for-some-frames",
        ),
        pytest.param(
            [OUTSIDE, INSIDE, (97, 150), *[None] * 7],
            [("enter", "crossed", 0.0), ("exit", "crossed", 0.1)],
            id="lost-just-outside",
        ),
    ],
)
def test_who_enters_and_leaves(
    places: list[Place | None], expected: list[tuple[str, str, float]]
) -> None:
    assert walk(*places) == expected


def test_a_dwell_is_told_once_and_only_while_the_object_is_seen() -> None:
    zone = square(dwell_after_s=0.5)
    assert walk(OUTSIDE, *[INSIDE] * 12, zone=zone) == [
        ("enter", "crossed", 0.0),
        ("dwell", "", 0.6),
    ]
    assert walk(OUTSIDE, INSIDE, *[None] * 8, INSIDE, zone=zone, keep_frames=20)[1:] == [
        ("dwell", "", 0.9)
    ]
    assert walk(OUTSIDE, INSIDE, *[None] * 9, zone=zone)[1:] == [("exit", "lost", 0.0)]


def test_every_visit_may_dwell_anew() -> None:
    places = [OUTSIDE, *[INSIDE] * 4, OUTSIDE, *[INSIDE] * 4]
    phases = [phase for phase, _, _ in walk(*places, zone=square(dwell_after_s=0.2))]
    assert phases == ["enter", "dwell", "exit", "enter", "dwell"]


def test_a_young_track_is_told_when_it_is_confirmed_with_its_whole_stay() -> None:
    assert walk(INSIDE, INSIDE, INSIDE, confirm_hits=3) == [("enter", "appeared", 0.2)]
    assert walk(OUTSIDE, INSIDE, INSIDE, OUTSIDE, confirm_hits=3) == [
        ("enter", "crossed", 0.1),
        ("exit", "crossed", 0.2),
    ]
    assert walk(INSIDE, OUTSIDE, OUTSIDE, OUTSIDE, confirm_hits=3) == []
    assert walk(INSIDE, INSIDE, *[None] * 7, confirm_hits=3) == []


@pytest.mark.parametrize(
    ("anchor", "label", "at"),
    [
        ("auto", "person", Point(150, 120)),
        ("auto", "parcel", Point(150, 100)),
        ("bottom", "parcel", Point(150, 120)),
        ("center", "person", Point(150, 100)),
    ],
)
def test_the_anchor_decides(anchor: Anchor, label: str, at: Point) -> None:
    # Its box reaches from y = 80 to 120: the zone begins at 110, or at 90.
    for top, inside in ((110.0, at.y > 110), (90.0, True)):
        rules = StreamRules(stream(square(at=(100, top), anchor=anchor)), 1)
        events = list(rules.update([track(150, 100, label=label)], (), 0.0))
        assert [e.at for e in events if isinstance(e, ZoneEvent)] == [at] * inside


def test_zones_with_differing_anchors_and_labels_are_asked_each_in_its_way() -> None:
    config = stream(
        square("foot", at=(100, 110), anchor="bottom"),
        square("middle", at=(100, 110), anchor="center"),
        square("auto", at=(100, 110)),
        square("vans", at=(100, 110), anchor="bottom", labels=("van",)),
    )
    tracks = [track(150, 100, track_id=i, label=b) for i, b in enumerate(("person", "parcel"))]
    events = StreamRules(config, 1).update(tracks, (), 0.0)
    assert {(e.zone, e.label) for e in events if isinstance(e, ZoneEvent)} == {
        ("foot", "person"),
        ("foot", "parcel"),
        ("auto", "person"),
    }


def test_an_object_that_turns_out_to_be_another_enters_or_leaves_the_filter() -> None:
    rules = StreamRules(stream(square(labels=("parcel",))), 1)
    events: list[CameraEvent] = []
    for frame, label in enumerate(["box", "parcel", "parcel", "box"]):
        events += rules.update([track(*INSIDE, label=label)], (), frame / 10)
    assert told(events) == [("enter", "crossed", 0.0), ("exit", "relabelled", 0.2)]


def test_the_end_of_the_stream_ends_all_visits() -> None:
    street = Street(stream(square()))
    street.run({1: steps(OUTSIDE, INSIDE), 2: steps(OUTSIDE)}, 4)
    assert told(street.rules.close(street.now_s)) == [("exit", "closed", 0.2)]
    assert list(street.rules.close(street.now_s)) == []


def test_a_margin_may_be_given_in_pixels() -> None:
    places = [INSIDE, (85, 150), (79, 150)]
    assert [e[0] for e in walk(*places, zone=square(margin_px=20))] == ["enter", "exit"]
    assert [e[0] for e in walk(*places[:2], zone=square(margin_px=20))] == ["enter"]
    assert [e[0] for e in walk(*places[:2], zone=square())] == ["enter", "exit"]
    assert [e[0] for e in walk(INSIDE, (99.9, 150), zone=square(margin_px=0))] == ["enter", "exit"]


@pytest.mark.parametrize(
    ("times_s", "stay_s"),
    [
        pytest.param([0, 1, 2, 3, 4], 3.0, id="steady"),
        pytest.param([100, 101, 50, 51, 52], 2.0, id="set-back"),
        pytest.param([0, 1, 1, 1, 1], 0.0, id="stands-still"),
        pytest.param([0, 1, 1e6, 1e6 + 1, 1e6 + 2], 1e6 + 1, id="missing-frames"),
    ],
)
def test_time_is_the_frames_own_and_never_runs_backwards(
    times_s: list[float], stay_s: float
) -> None:
    rules = StreamRules(stream(square()), 1)
    events: list[CameraEvent] = []
    for at_s, place in zip(times_s, [OUTSIDE, INSIDE, INSIDE, INSIDE, OUTSIDE], strict=True):
        events += rules.update([track(*place)], (), at_s)
    assert told(events)[1] == ("exit", "crossed", stay_s)


@given(
    st.integers(0, 2**32 - 1),
    st.floats(110, 190),
    st.floats(3, 25),
    st.floats(0, MARGIN_PART * SIZE_PX / 2 - 0.1),
    st.integers(1, 3),
)
def test_a_straight_walk_through_is_one_visit_whatever_the_noise(
    seed: int, y: float, speed: float, noise_px: float, stride: int
) -> None:
    """Of noise that moves the box by less than the margin between two frames."""
    noise = random.Random(seed)
    xs = [20 + speed * frame for frame in range(0, round(280 / speed), stride)]

    def shaken(v: float) -> float:
        return v + noise.uniform(-noise_px, noise_px)

    places = [(shaken(x), shaken(y)) for x in xs]
    events = walk(*places)
    assert [(phase, reason) for phase, reason, _ in events] == [
        ("enter", "crossed"),
        ("exit", "crossed"),
    ]
    inside = [x for x in xs if 100 < x < 200]
    assert abs(events[1][2] * 10 - len(inside)) <= 2 * (noise_px / (speed * stride) + 1)


@given(st.lists(st.lists(SPOTS, min_size=1, max_size=12), min_size=1, max_size=4))
def test_every_visit_is_entered_before_it_is_left_and_none_is_forgotten(
    ways: list[list[Place]],
) -> None:
    street = Street(stream(square("a"), square("b", at=(150, 50), labels=("parcel",))))
    walks: dict[int, Walk] = {i: steps(*way) for i, way in enumerate(ways)}
    street.run(walks, max(map(len, ways)))
    events = [e for _, e in street.events] + list(street.rules.close(street.now_s))
    inside: set[tuple[str, int]] = set()
    for event in events:
        if not isinstance(event, ZoneEvent):
            continue
        who = (event.zone, event.track_id)
        assert (who in inside) == (event.phase == "exit")
        inside ^= {who}
        assert event.dwell_s >= 0
    assert not inside


def test_a_crowd_of_walkers_is_told_exactly() -> None:
    """Many objects on straight ways: each first frame inside and outside is known."""
    chance = random.Random(4)
    expected: list[tuple[float, str, int]] = []
    walks: dict[int, Walk] = {}
    for track_id in range(120):
        x, y, vx, vy = (chance.uniform(*r) for r in ((0, 300), (0, 300), (-9, 9), (-9, 9)))
        ways = [(x + vx * f, y + vy * f) for f in range(60)]
        walks[track_id] = steps(*ways)
        state = False
        for frame, (px, py) in enumerate(ways):
            inside = 100 <= px < 200 and 100 <= py < 200
            away = max(100 - px, px - 200, 0), max(100 - py, py - 200, 0)
            if inside and not state:
                expected.append((frame / 10, "enter", track_id))
            elif state and not inside and (away[0] ** 2 + away[1] ** 2) ** 0.5 > 6:
                expected.append((frame / 10, "exit", track_id))
            else:
                continue
            state = not state
    events = Street(stream(square())).run(walks, 60)
    found = [(at_s, e.phase, e.track_id) for at_s, e in events if isinstance(e, ZoneEvent)]
    assert sorted(found) == sorted(expected)
    assert len(found) > 20


def test_a_track_seen_first_in_the_frame_in_which_another_ends() -> None:
    old, new = track(*INSIDE, track_id=1), track(*INSIDE, track_id=2)
    rules = StreamRules(stream(square()), 1)
    list(rules.update([old], (), 0.0))
    events = list(rules.update([new], [old], 0.1))
    assert [(e.phase, e.track_id) for e in events if isinstance(e, ZoneEvent)] == [
        ("exit", 1),
        ("enter", 2),
    ]


def test_no_zones_and_no_tracks_are_fine() -> None:
    assert list(StreamRules(stream(), 1).update([track(*INSIDE)], (), 0.0)) == []
    empty: list[Track] = []
    assert list(StreamRules(stream(square()), 1).update(empty, (), 0.0)) == []
