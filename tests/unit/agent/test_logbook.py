"""A vehicle's odometer and trip outlive the agent, wherever it is cut off."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehaul.config.device import DeviceConfig, GpsConfig
from edgehaul.config.recordings import TraceSource
from edgehaul.config.vehicle import DrivingSection, TripsSection, VehicleConfig
from edgehaul.messages.envelope import Payload
from edgehaul.messages.payloads import EventData, Lane
from edgehaul.messages.topics import DeviceTopics
from edgehaul.messages.vehicle import DrivingEvent, TripEvent
from edgehaul.values import Fix
from edgehaul_agent.assembly import Assembly
from edgehaul_agent.events.memory import VehicleMemory
from edgehaul_agent.events.vehicle import VehicleRules
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.pipeline.gps import GpsPipeline
from edgehaul_agent.pipeline.logbook import Logbook, logbook_path
from edgehaul_agent.pipeline.workers import WorkerPool
from edgehaul_agent.update.files import SystemFiles
from tests.fakes.parking import driven
from tests.fakes.streams import FakeClock, ListFixes, MemoryOutbox

CONFIG = VehicleConfig(
    trips=TripsSection(stop_after_s=120, gap_after_s=15, gap_ends_after_s=300),
    driving=DrivingSection(speed_limit_mps=18, idling_after_s=40),
)
SPEEDS = [
    *[0.0] * 30,
    *np.linspace(0, 20, 21),
    *[20.0] * 60,
    *np.linspace(20, 0, 21),
    *[0.0] * 60,
    *np.linspace(0, 15, 16),
    *[15.0] * 60,
    *np.linspace(15, 0, 16),
    *[0.0] * 250,
]
DRIVE = driven(SPEEDS, start_s=10_000.0)
WAY_M = float(np.sum(SPEEDS))
TOPICS = DeviceTopics("s", "d")


def written(memory: VehicleMemory) -> VehicleMemory:
    return msgspec.json.decode(msgspec.json.encode(memory), type=VehicleMemory)


def told_of(parts: Sequence[Sequence[Fix]]) -> list[EventData]:
    """Return what is told of these fixes, where the agent is started anew before each part."""
    told: list[EventData] = []
    memory: VehicleMemory | None = None
    for part in parts:
        rules = VehicleRules(CONFIG)
        if memory is not None:
            rules.resume(written(memory))
        for fix in part:
            told += rules.update(fix)
        memory = rules.memory()
    return told


def trips(told: Iterable[EventData]) -> list[TripEvent]:
    return [data.event for data in told if isinstance(data.event, TripEvent)]


def manoeuvres(told: Iterable[EventData]) -> list[tuple[str, str]]:
    return [(d.event.manoeuvre, d.event.phase) for d in told if isinstance(d.event, DrivingEvent)]


def phases(events: Iterable[TripEvent]) -> list[str]:
    return [event.phase for event in events]


WHOLE = told_of([DRIVE])


def test_the_whole_drive_is_what_the_tests_take_it_for() -> None:
    start, end = trips(WHOLE)
    assert (start.phase, end.phase, end.ended_by) == ("start", "end", "stop")
    assert end.distance_m == pytest.approx(WAY_M, abs=30)
    told = manoeuvres(WHOLE)
    assert [phase for name, phase in told if name == "speeding"] == ["start", "end"]
    assert [phase for name, phase in told if name == "idling"] == ["start", "end"] * 2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, len(DRIVE) - 1), max_size=4, unique=True))
def test_restarts_that_are_short_change_nothing(cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(DRIVE)]
    told = told_of([DRIVE[a:b] for a, b in pairwise(ends)])
    assert phases(trips(told)) == ["start", "end"]
    for now, whole in zip(trips(told), trips(WHOLE), strict=True):
        assert now.started_at[:10] == whole.started_at[:10]
        assert now.distance_m == pytest.approx(whole.distance_m, abs=25 * (1 + len(cuts)))
    for name in ("speeding", "idling"):
        of_it = [phase for one, phase in manoeuvres(told) if one == name]
        assert of_it == ["start", "end"] * (len(of_it) // 2)


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(60, 250), away=st.integers(16, 100))
def test_a_longer_one_is_a_gap_in_the_trip(cut: int, away: int) -> None:
    start, end = trips(told_of([DRIVE[:cut], DRIVE[cut + away :]]))
    _, alone = trips(told_of([[*DRIVE[:cut], *DRIVE[cut + away :]]]))
    assert (start.phase, end.phase, end.ended_by, end.gaps) == ("start", "end", "stop", 1)
    assert end.gap_s == alone.gap_s >= away
    assert end.gap_m == pytest.approx(alone.gap_m, abs=30)
    assert end.distance_m == pytest.approx(alone.distance_m, abs=30)


@pytest.mark.parametrize(
    ("away_s", "ended_by"), [(301, "gap"), (90 * 86_400, "gap"), (-9, "clock")]
)
def test_a_trip_of_long_ago_is_ended_and_the_odometer_goes_on(away_s: float, ended_by: str) -> None:
    later = driven(SPEEDS, start_s=DRIVE[100].captured_at_s + away_s)
    told = trips(told_of([DRIVE[:101], later]))
    assert phases(told) == ["start", "end", "start", "end"]
    assert told[1].started_at == told[0].started_at
    assert told[1].ended_by == ended_by
    first_m = float(np.sum(SPEEDS[:101]))
    assert told[1].distance_m == pytest.approx(first_m, abs=25)
    assert told[3].odometer_m == pytest.approx(first_m + WAY_M, abs=60)


def test_a_parked_vehicle_keeps_nothing_but_its_odometer() -> None:
    rules = VehicleRules(CONFIG)
    for fix in DRIVE:
        list(rules.update(fix))
    memory = rules.memory()
    assert memory == VehicleMemory(odometer_m=memory.odometer_m)
    assert memory.odometer_m == pytest.approx(WAY_M, abs=30)


# ---- the file -------------------------------------------------------------------------------


class Counted(SystemFiles):
    """The file system, and how often it was written to."""

    def __init__(self) -> None:
        self.writes = 0

    def write(self, path: Path, chunks: Iterable[bytes]) -> None:
        self.writes += 1
        super().write(path, chunks)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 200,
        b"{",
        b'{"version":2}',
        b'{"odometer_m":-1}',
        b'{"odometer_m":1e999}',
        b'{"odometer_m":NaN}',
        b'{"odometer_m":5,"trip":{"start":3}}',
        b"[" * 90_000,
        b"\xff\xfe",
    ],
)
def test_a_damaged_file_is_told_and_begun_anew(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "truck.json"
    path.write_bytes(content)
    logbook = Logbook(path, every_s=10, clock=FakeClock())
    assert logbook.read() is None
    assert "odometer and trip cannot be read, and begin anew" in caplog.text
    logbook.save(VehicleMemory(odometer_m=7))
    assert Logbook(path, every_s=10, clock=FakeClock()).read() == VehicleMemory(odometer_m=7)


def test_any_part_of_a_file_is_damaged(tmp_path: Path) -> None:
    rules = VehicleRules(CONFIG)
    for fix in DRIVE[:120]:
        list(rules.update(fix))
    path = tmp_path / "truck.json"
    logbook = Logbook(path, every_s=10, clock=FakeClock())
    logbook.save(rules.memory())
    content = path.read_bytes()
    assert logbook.read() == rules.memory()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        assert logbook.read() is None


def test_a_trip_without_its_last_fix_is_damaged() -> None:
    rules = VehicleRules(CONFIG)
    for fix in DRIVE[:120]:
        list(rules.update(fix))
    plain = {**msgspec.to_builtins(rules.memory()), "last": None}
    with pytest.raises(msgspec.ValidationError, match="a trip under way has a last fix"):
        msgspec.convert(plain, VehicleMemory)


def test_a_disk_that_refuses_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "vehicles").write_bytes(b"")  # where the folder should be
    logbook = Logbook(logbook_path(tmp_path, "truck"), every_s=10, clock=FakeClock())
    assert logbook.read() is None
    for odometer_m in (1, 2, 3):
        logbook.save(VehicleMemory(odometer_m=odometer_m))
    assert caplog.text.count("odometer and trip cannot be kept") == 1


# ---- the pipeline ---------------------------------------------------------------------------


class Killed(BaseException):
    """The agent is gone."""


class Device:
    """A vehicle's stream on a device that is started again and again."""

    def __init__(self, folder: Path, *, every_s: float = 10.0) -> None:
        self.path = logbook_path(folder, "truck")
        self.clock = FakeClock()
        self.files = Counted()
        self.outbox = MemoryOutbox()
        self._every_s = every_s

    def run(self, fixes: Sequence[Fix], *, kill_after: int | None = None) -> None:
        """Run until the fixes end, as when somebody stops a live source; or are cut off."""
        stop = threading.Event()
        source = Live(fixes, self.clock, stop, kill_after)
        config = GpsConfig(name="truck", source=TraceSource(path="-"), trips=CONFIG.trips)
        pipeline = GpsPipeline(
            config,
            source=source,
            model=None,
            outlet=StreamOutlet(self.outbox, TOPICS, "truck"),
            clock=self.clock,
            rules=VehicleRules(CONFIG),
        )
        pipeline.logbook = Logbook(
            self.path, every_s=self._every_s, clock=self.clock, files=self.files
        )
        with pipeline:
            pipeline.run(stop)

    def trips(self) -> list[TripEvent]:
        events = [p for p in self.outbox.payloads("events/truck") if isinstance(p, EventData)]
        return trips(events)


class Live(ListFixes):
    def __init__(
        self, fixes: Sequence[Fix], clock: FakeClock, stop: threading.Event, kill_after: int | None
    ) -> None:
        super().__init__(fixes, clock=clock)
        self._stop = stop
        self._kill_after = kill_after
        self._last = fixes[-1]

    def fixes(self) -> Iterator[Fix]:
        for count, fix in enumerate(super().fixes()):
            if count == self._kill_after:
                raise Killed
            if fix is self._last:
                self._stop.set()
            yield fix


def now(fixes: Sequence[Fix]) -> list[Fix]:
    """Return fixes that the fake clock does not take for the future's."""
    return [msgspec.structs.replace(f, captured_at_s=f.captured_at_s - 10_000) for f in fixes]


def test_a_trip_goes_on_where_the_agent_was_stopped_in_good_order(tmp_path: Path) -> None:
    device = Device(tmp_path)
    drive = now(DRIVE)
    device.run(drive[:100])
    assert phases(device.trips()) == ["start"], "the vehicle drives on"
    device.run(drive[105:])
    assert phases(device.trips()) == ["start", "end"]
    assert device.trips()[1].odometer_m == pytest.approx(WAY_M, abs=30)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(kills=st.lists(st.integers(1, len(DRIVE) - 1), min_size=1, max_size=4, unique=True))
def test_wherever_it_is_killed_starts_and_ends_take_turns(
    tmp_path_factory: pytest.TempPathFactory, kills: list[int]
) -> None:
    device = Device(tmp_path_factory.mktemp("device"), every_s=5)
    drive = now(DRIVE)
    begin = 0
    for kill in sorted(kills):
        with pytest.raises(Killed):
            device.run(drive[begin:], kill_after=kill - begin)
        begin = kill
    device.run(drive[begin:])
    told = device.trips()
    last = ""
    for event in told:
        assert not (event.phase == last == "start")
        last = event.phase
    assert told[-1].phase == "end"
    # Of each kill at most what was driven since the last write, and is no gap.
    lost_m = 20 * 5 * len(kills)
    assert WAY_M - lost_m - 30 <= told[-1].odometer_m <= WAY_M + 30


def test_the_disk_is_written_in_trips_alone_and_not_more_often_than_asked(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.run(now(driven([0.0] * 500, start_s=10_000.0)))
    assert device.files.writes <= 1, "that it stands is no news"
    device = Device(tmp_path)
    device.run(now(DRIVE))
    seconds = len(DRIVE)
    assert 10 < device.files.writes <= seconds / 10 + 3


def test_a_run_that_was_given_up_writes_nothing_more(tmp_path: Path) -> None:
    device = Device(tmp_path)
    fixes = now(DRIVE)
    outlet = StreamOutlet(device.outbox, TOPICS, "truck")
    source = ListFixes(fixes, clock=device.clock)
    config = GpsConfig(name="truck", source=TraceSource(path="-"), trips=CONFIG.trips)
    pipeline = GpsPipeline(config, source=source, model=None, outlet=outlet, clock=device.clock)
    pipeline.logbook = Logbook(device.path, every_s=1, clock=device.clock, files=device.files)
    pipeline.watch.give_up()
    with pipeline:
        pipeline.run(threading.Event())
    assert device.files.writes == 0


@pytest.mark.parametrize(
    ("source", "trips_", "is_kept"),
    [
        ({"type": "nmea_udp", "port": 10110}, {}, True),
        ({"type": "virtual_truck", "realtime": True}, {}, True),
        ({"type": "virtual_truck"}, {}, False),
        ({"type": "nmea_udp", "port": 10110}, None, False),
    ],
)
def test_only_vehicles_of_now_are_remembered(
    source: dict[str, object], trips_: dict[str, object] | None, *, is_kept: bool, tmp_path: Path
) -> None:
    content = {
        "root": "root",
        "device": {"id": "d", "site": "s"},
        "gps": [{"name": "truck", "source": source, "trips": trips_}],
    }
    config = msgspec.convert(content, DeviceConfig)
    clock = FakeClock()
    pipeline = Assembly(config, tmp_path).pipeline(
        config.gps[0], MemoryOutbox(), WorkerPool(1, clock), clock
    )
    assert isinstance(pipeline, GpsPipeline)
    assert (pipeline.logbook is not None) == is_kept


def test_a_slow_disk_is_no_receiver_that_hangs(tmp_path: Path) -> None:
    clock = FakeClock()
    source = ListFixes(now(DRIVE), clock=clock)
    config = GpsConfig(name="truck", source=TraceSource(path="-"), trips=CONFIG.trips)
    outlet = StreamOutlet(MemoryOutbox(), TOPICS, "truck")
    pipeline = GpsPipeline(config, source=source, model=None, outlet=outlet, clock=clock)
    stuck_s: list[float] = []

    class Slow(SystemFiles):
        def write(self, path: Path, chunks: Iterable[bytes]) -> None:
            clock.sleep(100)
            stuck_s.append(pipeline.watch.reader_stuck_s())
            super().write(path, chunks)

    path = tmp_path / "truck.json"
    pipeline.logbook = Logbook(path, every_s=10, clock=clock, files=Slow())
    with pipeline:
        pipeline.run(threading.Event())
    assert len(stuck_s) > 2
    assert set(stuck_s) == {0}
    clock.sleep(100)
    assert pipeline.watch.reader_stuck_s() == 0, "it has ended"


def test_a_start_is_kept_before_it_is_told_and_an_end_afterwards(tmp_path: Path) -> None:
    device = Device(tmp_path, every_s=3600)
    seen: list[tuple[str, bool]] = []

    class Listening(MemoryOutbox):
        def put(
            self,
            payload: Payload,
            *,
            topic: str,
            lane: Lane,
            captured_at_s: float,
            subject: str = "",
        ) -> None:
            if isinstance(payload, EventData) and isinstance(payload.event, TripEvent):
                kept = Logbook(device.path, every_s=1, clock=device.clock).read()
                is_on = kept is not None and kept.trip is not None and kept.trip.is_told
                seen.append((payload.event.phase, is_on))
            super().put(
                payload, topic=topic, lane=lane, captured_at_s=captured_at_s, subject=subject
            )

    device.outbox = Listening()
    device.run(now(DRIVE))
    assert seen == [("start", True), ("end", True)]
    kept = Logbook(device.path, every_s=1, clock=device.clock).read()
    assert kept is not None
    assert kept.trip is None
