"""Zones in ``device.yaml``: what is refused, where, and in which words."""

import pytest

from edgehaul.config.device import StreamConfig
from edgehaul.config.loader import load_text
from edgehaul.config.zones import MOST_POINTS
from edgehaul.errors import ConfigError

HEAD = "name: cam\nmodel: m\nsource: {type: file, path: a.mp4}\nzones:\n"


def stream(*zones: str) -> StreamConfig:
    return load_text(HEAD + "".join(f"  - {{{zone}}}\n" for zone in zones), StreamConfig)


def test_a_zone_with_every_key() -> None:
    (zone,) = stream(
        "name: door 3, points: [[0, 0], [10, 0], [10, 10]], kind: queue, labels: [person],"
        " anchor: bottom, margin_px: 4, dwell_after_s: 30, max_objects: 5, overcrowded_after_s: 10,"
        " settle_s: 2, left_after_s: 60, removed_after_s: 5, settled_after_s: 300"
    ).zones
    assert zone.polygon.area == 50
    assert (zone.kind, zone.labels, zone.settled_after_s) == ("queue", ("person",), 300)


def test_a_zone_needs_a_name_and_corners_alone() -> None:
    (zone,) = stream("name: a, points: [[-5, 0], [10, 0], [10, 10]]").zones
    assert (zone.kind, zone.anchor, zone.dwell_after_s) == ("area", "auto", None)


@pytest.mark.parametrize(
    ("zone", "place", "words"),
    [
        ("name: a, points: [[0, 0], [1, 1]]", "5:23", "3 to 64 corners, not 2"),
        (
            "name: a, points: [[0, 0], [9, 9], [9, 0], [0, 9]]",
            "5:23",
            "points cross themselves: the side [0, 0] to [9, 9] meets the side [9, 0] to [0, 9];",
        ),
        ("name: a, points: [[0, 0], [9, 0], [18, 0]]", "5:23", "meets the side"),
        (
            "name: a, points: [[0, 0], [9, 0], [9, 9], [0, 0]]",
            "5:23",
            "points repeat a corner: 4 and 1 are both [0, 0]; leave one out",
        ),
        (
            "name: a, points: [[0, 0], [9e9, 0], [9, 9]]",
            "5:23",
            "corner 2 is [9e+09, 0], more than 32768 pixels away; use pixels of the original",
        ),
        ("name: a, points: [[0, 0], [.nan, 0], [9, 9]]", "5:33", "expected a number, got '.nan'"),
        ("name: '', points: [[0, 0], [9, 0], [9, 9]]", "5:12", "at least 1 character"),
        (
            "name: a, points: [[0, 0], [9, 0], [9, 9]], kind: dock, max_objects: 1",
            "5:74",
            "max_objects is nothing for a dock",
        ),
        ("name: a, points: [[0, 0], [9, 0], [9, 9]], dwell_after_s: -1", "5:64", "at least 0"),
        ("name: a, points: [[0, 0], [9, 0], [9, 9]], dwell_s: 1", "5:49", "'dwell_after_s'?"),
    ],
)
def test_faults_are_told_with_their_place(zone: str, place: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        stream(zone)
    assert f"{place}: zones[0]" in str(caught.value)
    assert words in str(caught.value)


def test_zones_of_one_name_and_too_many_are_refused() -> None:
    corners = "points: [[0, 0], [9, 0], [9, 9]]"
    with pytest.raises(ConfigError, match="zones need names that differ"):
        stream(f"name: a, {corners}", f"name: a, {corners}")
    with pytest.raises(ConfigError, match="zones may be 32 in one stream at most, not 33"):
        stream(*(f"name: z{number}, {corners}" for number in range(33)))


def test_too_many_corners_are_refused() -> None:
    corners = ", ".join(f"[{x}, {x * x / 100}]" for x in range(MOST_POINTS + 1))
    with pytest.raises(ConfigError, match="3 to 64 corners, not 65"):
        stream(f"name: a, points: [{corners}]")
