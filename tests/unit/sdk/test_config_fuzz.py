"""Whatever stands in a configuration, the answer is a value or a list of faults."""

import re

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgehaul.config.device import DeviceConfig
from edgehaul.config.loader import load_text
from edgehaul.errors import ConfigError

GOOD = """\
root: r
device: {id: a, site: s}
mqtt: {port: 1884}
streams:
  - {name: b, source: {type: file, path: p}, model: m, lines: [{name: l, points: [[0, 1], [2, 3]]}]}
gps:
  - name: t
    source: {type: virtual_truck, seed: 3}
    publish_every_s: 1.5
    trips: {stop_after_s: 60}
    driving: {speed_limit_mps: 20}
    geofences:
      fences:
        - {name: g, circle: {center: [52, 4], radius_m: 9}}
        - {name: h, polygon: [[0, 1], [2, 3], [4, -5]]}
    routes: [{name: r, points: [[0, 1], [2, 3]]}]
"""
PLACED = re.compile(r"f\.yaml:\d+:\d+: \S")

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner)
)


def faults_of(text: str) -> list[str]:
    try:
        config = load_text(text, DeviceConfig, where="f.yaml")
    except ConfigError as error:
        return error.faults or ["a refusal without a fault"]
    # What our walk builds, msgspec's own check of the same type agrees with.
    assert msgspec.convert(msgspec.to_builtins(config), DeviceConfig) == config
    return []


def check(text: str) -> None:
    for fault in faults_of(text):
        assert PLACED.match(fault)
        assert fault.isprintable()


@given(st.text())
@example('{"device": {"a\\nb": 1}}')
def test_any_text(text: str) -> None:
    check(text)


@given(
    st.integers(0, len(GOOD)),
    st.integers(0, 6),
    st.text("[]{}:,-*&!|>'\"%@`# \n\tabr019.", max_size=4),
)
@settings(max_examples=300)
def test_a_good_file_with_a_slip_of_the_hand(place: int, length: int, typed: str) -> None:
    check(GOOD[:place] + typed + GOOD[place + length :])


@given(st.sampled_from(["root", "device", "mqtt", "streams", "gps", "health"]), values)
@settings(max_examples=200)
def test_any_value_in_any_section(section: str, value: object) -> None:
    sections = {"root": "r", "device": {"id": "a", "site": "s"}, section: value}
    check(msgspec.json.encode(sections).decode())
