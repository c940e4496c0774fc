"""An event of a camera carries where the device was when the picture was taken, or nothing."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import msgspec
import pytest

from edgehaul.config.cameras import RtspSource, UsbSource
from edgehaul.config.device import (
    CountingLine,
    DeviceConfig,
    DeviceSection,
    GpsConfig,
    StreamConfig,
)
from edgehaul.config.loader import load, load_text
from edgehaul.config.receivers import GpsdSource, NmeaTcpSource
from edgehaul.config.recordings import (
    FileSource,
    ImagesSource,
    TraceSource,
    VirtualConveyorSource,
    VirtualTruckSource,
)
from edgehaul.config.zones import ZoneConfig
from edgehaul.errors import ConfigError
from edgehaul.geometry import Box, Line, Point
from edgehaul.messages.payloads import CountEvent, EventData, Placement, TrackEvent
from edgehaul.messages.topics import DeviceTopics
from edgehaul.messages.zone_events import ZoneEvent
from edgehaul.motion.ellipsoid import offset_m
from edgehaul.motion.whereabouts import RecentFixes, Whereabouts
from edgehaul.values import Detection, Fix
from edgehaul.virtual.truck import TruckTrip
from edgehaul_agent.assembly import Assembly
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.pipeline.camera import StreamPipeline
from edgehaul_agent.pipeline.positions import Positions, Replayed
from edgehaul_agent.pipeline.workers import WorkerPool
from tests.fakes.devices import make_device
from tests.fakes.streams import FakeClock, ListFrames, MemoryOutbox, ScriptedModel

PLACEMENT = Placement(source="measured", uncertainty_m=5.0)
LIVE_CAMERA = RtspSource(url="rtsp://gate/1")
LIVE_RECEIVER = GpsdSource()
FILM = FileSource(path="a.mp4", realtime=True)
TRACE = TraceSource(path="a.csv", realtime=True)


class Everywhere:
    """Knows where the device was at all times, each at a latitude of its own."""

    def __init__(self, longitude_deg: float = 4.0) -> None:
        self._longitude_deg = longitude_deg

    def at(self, captured_at_s: float) -> Whereabouts | None:
        latitude_deg = captured_at_s / 1e6
        fix = Fix(
            captured_at_s=captured_at_s,
            latitude_deg=latitude_deg,
            longitude_deg=self._longitude_deg,
        )
        return Whereabouts(fix, PLACEMENT)


def camera(source: object = LIVE_CAMERA, gps: str = "") -> StreamConfig:
    return StreamConfig(name="dock", model="parcels", source=source, gps=gps)


def device(stream: StreamConfig, **receivers: object) -> DeviceConfig:
    return DeviceConfig(
        root=".",
        device=DeviceSection(id="box-1", site="depot"),
        streams=(stream,),
        gps=tuple(GpsConfig(name=name, source=source) for name, source in receivers.items()),
    )


def longitude_deg(positions: Positions, stream: StreamConfig) -> float | None:
    """Return where a camera is told to be; none where nothing is claimed."""
    found = positions.of(stream).at(1_000.0)
    return found.fix.longitude_deg if found else None


def passing(index: int) -> list[Detection]:
    x = 50 + 20 * index
    return [Detection(Box(x - 40, 100, x + 40, 180), 0, "parcel", 0.9)] if x < 600 else []


def ride(folder: Path) -> Assembly:
    """Return a device with a camera over a conveyor in a truck that drives for three minutes."""
    film = {"type": "virtual_conveyor", "frames": 50, "realtime": True}
    truck = {"type": "virtual_truck", "duration_s": 180, "realtime": True}
    config = make_device(folder, port=1883, source=film, gps=[{"name": "van", "source": truck}])
    return Assembly(load(config, DeviceConfig), folder)


def told(assembly: Assembly, stream: StreamConfig | GpsConfig, passed_s: float) -> list[EventData]:
    """Return what a stream tells when it is started after so long."""
    clock, outbox = FakeClock(), MemoryOutbox()
    clock.passed_s = passed_s
    with assembly.workers(clock) as workers:
        made = assembly.pipeline(stream, outbox, workers, clock)
        with made:
            made.run(threading.Event())
    events = [m for m in outbox.messages if isinstance(m.payload, EventData)]
    for event in events:
        fix = event.payload.position
        assert fix is None or fix.captured_at_s == event.captured_at_s
    return [event.payload for event in events]


def test_virtual_truck_and_conveyor_end_to_end(tmp_path: Path) -> None:
    assembly = ride(tmp_path)
    (dock,), (van,) = assembly.config.streams, assembly.config.gps
    assert [e.position for e in told(assembly, dock, 100.0)] == [None, None], "no run of it yet"
    told(assembly, van, 0.0)
    trip, truth = TruckTrip(seed=0, duration_s=180), RecentFixes(keep_s=1e6)
    for fix in trip.true_fixes:
        truth.push(fix)
    later_s = FakeClock().now_s() - trip.fixes[0].captured_at_s
    events = told(assembly, dock, 100.0)
    assert len(events) == 2
    for event in events:
        here, placement = event.position, event.placement
        assert here is not None
        assert placement is not None
        assert placement.source == "interpolated"
        true = truth.at(here.captured_at_s - later_s)
        assert true is not None
        start, end = (true.fix.latitude_deg, true.fix.longitude_deg), here
        way_m = offset_m(*start, end.latitude_deg, end.longitude_deg)
        assert math.hypot(*way_m) <= placement.uncertainty_m
    assert [e.position for e in told(assembly, dock, 400.0)] == [None, None], "the trip is over"
    with assembly.workers(FakeClock()) as workers:
        assembly.pipeline(van, MemoryOutbox(), workers, FakeClock())
    again = told(assembly, dock, 100.0)
    assert [e.position for e in again] == [None, None], "a new run is asked, which has no fix yet"


def test_every_event_of_a_camera_has_the_position_of_its_own_time() -> None:
    outbox = MemoryOutbox()
    stream = msgspec.structs.replace(
        camera(),
        lines=(CountingLine(name="in", points=Line(Point(320, 480), Point(320, 0))),),
        zones=(ZoneConfig(name="belt", points=tuple(map(Point, (200, 500, 350), (0, 0, 480)))),),
    )
    made = StreamPipeline(
        stream,
        source=ListFrames(40),
        model=ScriptedModel(passing),
        outlet=StreamOutlet(outbox, DeviceTopics("depot", "box-1"), "dock", Everywhere()),
        workers=WorkerPool(1, FakeClock()),
        clock=FakeClock(),
    )
    with made.workers, made:
        made.run(threading.Event())
    events = [m for m in outbox.messages if isinstance(m.payload, EventData)]
    assert {type(m.payload.event) for m in events} >= {TrackEvent, CountEvent, ZoneEvent}
    for message in events:
        assert message.payload.position.captured_at_s == message.captured_at_s
        assert message.payload.position.latitude_deg == message.captured_at_s / 1e6
        assert message.payload.placement == PLACEMENT


@pytest.mark.parametrize(
    ("film", "receiver", "claims"),
    [
        (LIVE_CAMERA, LIVE_RECEIVER, True),
        (UsbSource(), NmeaTcpSource(host="router", port=1), True),
        (FILM, TRACE, True),
        (VirtualConveyorSource(realtime=True), VirtualTruckSource(realtime=True), True),
        (FILM, VirtualTruckSource(realtime=True), True),
        (LIVE_CAMERA, TRACE, False),
        (FILM, LIVE_RECEIVER, False),
        (FileSource(path="a.mp4"), TRACE, False),
        (FILM, TraceSource(path="a.csv"), False),
        (FileSource(path="a.mp4"), TraceSource(path="a.csv"), False),
        (ImagesSource(path="a"), TRACE, False),
        (VirtualConveyorSource(), VirtualTruckSource(), False),
    ],
)
def test_a_position_is_claimed_only_by_one_clock(
    film: object, receiver: object, *, claims: bool, caplog: pytest.LogCaptureFixture
) -> None:
    for named in ("", "van"):
        stream = camera(film, named)
        positions = Positions(device(stream, van=receiver))
        positions.follow("van", Everywhere())
        assert (longitude_deg(positions, stream) is not None) == claims
        told = "dock: its events carry no position" in caplog.text
        assert told == (bool(named) and not claims), "who names one is told why it is of no use"


def test_the_only_receiver_is_taken_and_several_need_a_name() -> None:
    one, two = Everywhere(1.0), Everywhere(2.0)
    for named, expected in (("", None), ("van", 1.0), ("trailer", 2.0)):
        stream = camera(gps=named)
        positions = Positions(device(stream, van=LIVE_RECEIVER, trailer=LIVE_RECEIVER))
        positions.follow("van", one)
        positions.follow("trailer", two)
        assert longitude_deg(positions, stream) == expected
    assert longitude_deg(Positions(device(camera())), camera()) is None


def test_cameras_ask_the_newest_run_of_a_receiver() -> None:
    stream = camera()
    positions = Positions(device(stream, van=LIVE_RECEIVER))
    locator = positions.of(stream)
    assert locator.at(1_000.0) is None, "it does not run yet"
    positions.follow("van", Everywhere(1.0))
    assert locator.at(1_000.0).fix.longitude_deg == 1.0
    positions.follow("van", RecentFixes())
    assert locator.at(1_000.0) is None, "it was started again and has no fix yet"
    positions.follow("van", Everywhere(3.0))
    assert locator.at(1_000.0).fix.longitude_deg == 3.0


def test_cameras_that_run_heed_another_configuration() -> None:
    stream = camera()
    positions = Positions(device(stream, van=LIVE_RECEIVER))
    locator = positions.of(stream)
    positions.follow("van", Everywhere(1.0))
    positions.adopt(device(stream))
    assert locator.at(1_000.0) is None, "the receiver was taken away"
    positions.adopt(device(stream, trailer=LIVE_RECEIVER))
    positions.follow("trailer", Everywhere(2.0))
    assert locator.at(1_000.0).fix.longitude_deg == 2.0


def test_a_receiver_that_is_out_claims_nothing() -> None:
    fixes = RecentFixes()
    for second in (0, 1, 20, 21):
        fixes.push(
            Fix(captured_at_s=1_000.0 + second, latitude_deg=52.0, longitude_deg=4.0, speed_mps=0)
        )
    stream = camera()
    positions = Positions(device(stream, van=LIVE_RECEIVER))
    positions.follow("van", fixes)
    at = positions.of(stream).at
    assert at(1_000.5) is not None
    assert at(1_010.0) is None
    assert at(1_022.5) is not None
    assert at(1_030.0) is None


def test_a_replay_is_placed_by_when_it_is_played() -> None:
    replayed = Replayed(Everywhere())
    assert replayed.at(5_000.0) is None
    replayed.begin(4_000.0)
    replayed.begin(9_000.0)
    found = replayed.at(5_000.0)
    assert found is not None
    assert (found.fix.captured_at_s, found.fix.latitude_deg) == (5_000.0, 1_000.0 / 1e6)


def test_a_receiver_that_is_not_there_is_a_fault_of_the_configuration() -> None:
    text = """
    root: .
    device: {id: a, site: b}
    streams: [{name: dock, model: m, source: {type: usb}, gps: vann}]
    gps: [{name: van, source: {type: gpsd}}]
    """
    with pytest.raises(ConfigError, match=r"stream 'dock': gps 'vann' is none of .*\(van\)"):
        load_text(text, DeviceConfig)
    assert load_text(text.replace("vann", "van"), DeviceConfig).streams[0].gps == "van"
