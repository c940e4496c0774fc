"""Configuration: every fault at once, each at its line and column with a way out."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from edgehaul.config.device import DeviceConfig
from edgehaul.config.loader import load, load_text
from edgehaul.config.recordings import FileSource, VirtualTruckSource
from edgehaul.errors import ConfigError
from edgehaul.geometry import Line, Point

GOOD = """\
root: ./device
device: {id: 12, site: no}
mqtt: {protocol: 5, port: 1884}
streams:
  - name: belt
    source: {type: file, path: belt.mp4}
    model: parcels
    score_threshold: 1e-1
    lines: [{name: out, points: [[320, 0], [320, 480.5]]}]
    publish: [counts]
gps:
  - {name: truck, source: {type: virtual_truck, seed: 3}}
"""


def faults(text: str, kind: type = DeviceConfig) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, kind, where="f.yaml")
    return caught.value.faults


def test_a_good_file_becomes_typed_values() -> None:
    config = load_text(GOOD, DeviceConfig)
    stream = config.streams[0]
    assert stream.source == FileSource(path="belt.mp4")
    assert stream.score_threshold == pytest.approx(0.1)
    assert stream.lines[0].points == Line(Point(320.0, 0.0), Point(320.0, 480.5))
    assert stream.publish == ("counts",)
    assert config.gps[0].source == VirtualTruckSource(seed=3)
    assert config.mqtt.window == 50


def test_text_is_taken_as_it_is_written() -> None:
    config = load_text(GOOD, DeviceConfig)
    # YAML 1.1 would make a number, False and another number of these.
    assert (config.device.id, config.device.site, config.mqtt.protocol) == ("12", "no", "5")


def test_json_is_yaml(tmp_path: Path) -> None:
    file = tmp_path / "device.json"
    file.write_text('{"root": "r", "device": {"id": "a", "site": "b"}}', encoding="utf-8")
    assert load(file, DeviceConfig).root == "r"


def test_all_faults_are_named_at_once_in_the_order_of_the_file() -> None:
    text = """\
root:
device: {id: a, site: s, sit: 3}
mqtt: {prot: 1, keepalive_s: "10", protocol: 4}
mqtt: {}
streams:
  - name: belt
    source: {type: fil, path: a.mp4}
    modle: m
    lines: [{name: l, points: [[1, 2, 3], 4]}]
    publish: [count]
  - 5
gps: [{name: g, source: {seed: 3}}]
health: {interval_s: .nan}
"""
    assert faults(text) == [
        "f.yaml:1:6: root: expected text, got nothing",
        "f.yaml:2:26: device.sit: this key is unknown; known here: id, site, type",
        "f.yaml:3:8: mqtt.prot: this key is unknown; did you mean 'port'?",
        "f.yaml:3:30: mqtt.keepalive_s: expected a whole number, got the quoted text '10'",
        "f.yaml:3:46: mqtt.protocol: expected one of 3.1.1, 5, auto, got '4'",
        "f.yaml:4:1: mqtt: this key stands twice, first at line 3; remove one",
        (
            "f.yaml:7:20: streams[0].source.type: expected one of file, images, virtual_conveyor, "
            "rtsp, mjpeg, usb, gstreamer, got 'fil'; did you mean 'file'?"
        ),
        "f.yaml:8:5: streams[0].modle: this key is unknown; did you mean 'model'?",
        "f.yaml:9:32: streams[0].lines[0].points[0]: expected a list [x, y], got a list of 3",
        "f.yaml:9:43: streams[0].lines[0].points[1]: expected a list [x, y], got '4'",
        (
            "f.yaml:10:15: streams[0].publish[0]: expected one of counts, detections, tracks, "
            "zones, got 'count'; did you mean 'counts'?"
        ),
        "f.yaml:11:5: streams[1]: expected a mapping (key: value), got '5'",
        (
            "f.yaml:12:25: gps[0].source.type: this key is missing; "
            "expected one of trace, virtual_truck, nmea_serial, nmea_tcp, nmea_udp, gpsd"
        ),
        "f.yaml:13:22: health.interval_s: expected a number, got '.nan'",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "f.yaml:1:1: expected a mapping (key: value), got an empty file"),
        ("- 1", "f.yaml:1:1: expected a mapping (key: value), got a list of 1"),
        ("root: [", "f.yaml:1:8: not valid YAML: "),
        ("root: r\n\tdevice: 1", "f.yaml:2:1: not valid YAML: "),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: not valid YAML: "),
        ("root: r\ndevice: \x07", "f.yaml:2:9: this character cannot stand in YAML"),
        ("root: &r [*r]\ndevice: {id: a, site: s}", "f.yaml:1:7: root: expected text, got a list"),
        ("[" * 5000, "f.yaml: nested too deeply"),
        ("root: !!python/object:os.system r\ndevice: {id: a, site: s, type: 1}\n? [a]\n: 1", "3:3"),
    ],
)
def test_what_is_no_configuration_is_said_in_one_line(text: str, fault: str) -> None:
    (only,) = faults(text)
    assert fault in only
    assert "\n" not in only


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ("mqtt: {host: b, port: 99999}", "3:23: mqtt.port: expected at most 65535, got 99999"),
        ("mqtt: {backlog_per_s: 0}", "3:23: mqtt.backlog_per_s: expected at least 0.1, got 0"),
        ("spool: {group_rows: 0}", "3:21: spool.group_rows: expected at least 1, got 0"),
        ("spool: {quota_mb: {alarm: -1}}", "3:27: spool.quota_mb.alarm: expected greater than"),
        ("health: {interval_s: 0}", "3:22: health.interval_s: expected at least 0.1, got 0"),
        (
            "streams: [{name: a, model: m, source: {type: virtual_conveyor, width: 1}}]",
            "3:71: streams[0].source.width: expected at least 96, got 1",
        ),
        (
            (
                "streams:\n- {name: a, model: m, source: {type: file, path: p},"
                " lines: [{name: l, points: [[1, 2], [1, 2]]}]}"
            ),
            "points: points must differ from each other",
        ),
        ("gps: [{name: a/b, source: {type: trace, path: p}}]", "3:14: gps[0].name: name 'a/b'"),
        (
            (
                "gps:\n- {name: a, source: {type: trace, path: p}}\n"
                "- {name: a, source: {type: trace, path: p}}"
            ),
            "4:1: gps: streams and gps need names that differ",
        ),
    ],
)
def test_what_a_type_itself_refuses_is_placed_too(section: str, fault: str) -> None:
    (only,) = faults(f"root: r\ndevice: {{id: a, site: s}}\n{section}\n")
    assert fault in only


class Inner(msgspec.Struct, array_like=True):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low must not be above high")


class Every(msgspec.Struct, forbid_unknown_fields=True):
    """One field of every form that a configuration may use."""

    number: Annotated[int, msgspec.Meta(ge=1, lt=10)] = 1
    ratio: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    flag: bool = False
    either: int | str | None = None
    pair: tuple[int, str] = (1, "a")
    items: list[float] = []
    named: dict[str, Inner] = {}
    choice: Literal[1, 2] = 1
    span: Inner | None = None
    code: Annotated[str, msgspec.Meta(pattern="^[a-z]+$", min_length=2)] = "ab"


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("number: 0x9", "number", 9),
        ("ratio: 1", "ratio", 1.0),
        ("flag: yes", "flag", True),
        ("either: 5", "either", 5),
        ("either: '5'", "either", "5"),
        ("either:", "either", None),
        ("pair: [2, b]", "pair", (2, "b")),
        ("items: [1, 2.5]", "items", [1.0, 2.5]),
        ("named: {a: [1, 2]}", "named", {"a": Inner(1, 2)}),
        ("choice: 2", "choice", 2),
        ("span: ~", "span", None),
    ],
)
def test_every_form_of_type_is_read(text: str, field: str, value: object) -> None:
    assert getattr(load_text(text, Every), field) == value


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("number: 0", "number: expected at least 1, got 0"),
        ("number: 10", "number: expected less than 10, got 10"),
        ("number: 010", "number: expected a whole number, got '010'"),
        ("number: 12:30", "number: expected a whole number, got '12:30'"),
        ("ratio: 0", "ratio: expected greater than 0, got 0.0"),
        ("ratio: 1.5", "ratio: expected at most 1, got 1.5"),
        ("flag: 1", "flag: expected true or false, got '1'"),
        ("flag: 'yes'", "flag: expected true or false, got the quoted text 'yes'"),
        ("either: [1]", "either: expected a whole number or text"),
        ("pair: [1]", "pair: expected a list of 2, got a list of 1"),
        ("items: 3", "items: expected a list, got '3'"),
        ("items: [1, x]", "items[1]: expected a number, got 'x'"),
        ("named: [1]", "named: expected a mapping (key: value), got a list of 1"),
        ("named: {a: [2, 1]}", "named.a: low must not be above high"),
        ("choice: 3", "choice: expected one of 1, 2, got '3'"),
        ("span: [1, x]", "span[1]: expected a whole number, got 'x'"),
        ("code: A1", "code: expected text that fits"),
        ("code: a", "code: expected at least 2 characters"),
        (f"span: {'x' * 90}", "..."),
    ],
)
def test_every_form_of_fault_is_named(text: str, fault: str) -> None:
    (only,) = faults(text, Every)
    assert fault in only


def test_a_missing_file_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.yaml", DeviceConfig)
    assert str(caught.value).endswith("no such file or directory; check the path")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x89PNG\r\n\x1a\n", b"#" * 1_000_001])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "device.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"device\.yaml: "):
        load(file, DeviceConfig)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a directory"):
        load(tmp_path, DeviceConfig)


@pytest.mark.parametrize("escape", ["\\0", "\\x00", "\\ud800"])
def test_text_that_no_path_can_hold_is_placed(escape: str) -> None:
    text = f'root: r\ndevice: {{id: a, site: s}}\nmqtt:\n  ca_file: "ca{escape}.pem"\n'
    (fault,) = faults(text)
    assert fault.startswith("f.yaml:4:12: mqtt.ca_file: expected text without NUL")
    assert fault.isprintable()


@pytest.mark.parametrize("escape", ["\\U00110000", "\\UFFFFFFFF"])
def test_an_escape_beyond_all_characters_is_placed(escape: str) -> None:
    text = f'root: "\\U0001F600"\ndevice: {{id: "{escape}", site: s}}\n'
    assert faults(text) == ["f.yaml:2:15: there is no such character; correct the escape"]
