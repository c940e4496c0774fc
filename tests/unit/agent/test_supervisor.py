"""A stream that crashes or hangs starts again alone; what a restart cannot mend waits longer."""

from __future__ import annotations

import gc
import random
import threading
from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehaul.config.device import GpsConfig, StreamConfig
from edgehaul.config.receivers import GpsdSource
from edgehaul.config.recordings import (
    FileSource,
    ImagesSource,
    TraceSource,
    VirtualConveyorSource,
    VirtualTruckSource,
)
from edgehaul.config.service import SupervisionSection
from edgehaul.errors import (
    BundleIntegrityError,
    ConfigError,
    DeviceError,
    EdgeHaulError,
    InstallError,
    ModelError,
    SourceError,
    SpecMismatchError,
    SpoolError,
)
from edgehaul.values import Detection
from edgehaul_agent.restarts import CrashError, StallError, is_live, outlook, pause_s
from tests.fakes.streams import MemoryOutbox
from tests.fakes.supervised import Hang, Rig, nothing


def raising(error: Exception, *, at: int) -> Callable[[int], Sequence[Detection]]:
    def script(index: int) -> Sequence[Detection]:
        if index == at:
            raise error
        return ()

    return script


def test_a_stream_that_crashes_starts_again_alone(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(("dock", "gate"))
    rig.script["dock"] = raising(ZeroDivisionError("a rule divides"), at=2)
    with rig:
        rig.run("dock")
        rig.run("gate")
        rig.give(2, "dock")
        rig.fail("dock")
        rig.give(5, "gate")
        assert rig.keeper("gate").state == "running"
        rig.pass_time(1.0)
        rig.run("dock")
        rig.give(2, "dock")
        health = rig.keeper("dock").take()
        assert (health.state, health.restarts) == ("running", 1)
        assert "unforeseen ZeroDivisionError: a rule divides" in health.fault
        assert health.processed == 4, "counters go on over a restart"
        assert rig.keeper("gate").take().restarts == 0
        assert rig.built == ["dock", "gate", "dock"]
    assert caplog.text.count("Traceback") == 1


def test_a_crash_is_noticed_although_no_further_frame_comes() -> None:
    rig = Rig()
    rig.script["dock"] = raising(ValueError("no"), at=0)
    with rig:
        rig.run()
        rig.cameras["dock"].state = "waiting"
        rig.cameras["dock"].allowed.release()
        rig.until(lambda: rig.keeper().state == "waiting")


def test_nobody_keeps_the_run_before() -> None:
    """A pipeline has a model and pictures: many of them would fill a small box."""
    rig = Rig()
    rig.script["dock"] = raising(ModelError("no"), at=1)
    with rig:
        for _ in range(3):
            rig.run()
            rig.give()
            rig.fail()
            rig.pass_time(10)
        rig.run()
        del rig.script["dock"]
        gc.collect()
        kept = [pipeline() for pipeline in rig.pipelines]
        assert [pipeline is None for pipeline in kept] == [True] * (len(kept) - 1) + [False]


def test_the_traceback_of_a_crash_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.script["dock"] = raising(KeyError("label"), at=0)
    with rig:
        for _ in range(4):
            rig.run()
            rig.fail()
            rig.pass_time(10)
    assert caplog.text.count("Traceback") == 1
    assert caplog.text.count("it is started again in") == 4


@pytest.mark.parametrize("error", [SourceError("unplugged"), ModelError("out of memory")])
def test_a_failure_that_was_foreseen_needs_no_traceback(
    error: EdgeHaulError, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig()
    rig.script["dock"] = raising(error, at=0)
    with rig:
        rig.run()
        rig.fail()
        assert rig.keeper().take().fault == str(error)
        rig.pass_time(1)
        rig.run()
    assert "Traceback" not in caplog.text


def test_pauses_grow_and_begin_anew_after_a_steady_time() -> None:
    rig = Rig()
    rig.script["dock"] = raising(ModelError("no"), at=0)
    waited = []
    with rig:
        for _ in range(9):
            rig.run()
            rig.fail()
            began_s = rig.clock.passed_s
            while rig.keeper().state == "waiting":
                rig.pass_time(0.25)
            waited.append(rig.clock.passed_s - began_s)
        rig.run()
        rig.pass_time(125)
        rig.script["dock"] = raising(ModelError("no"), at=0)
        rig.fail()
        rig.pass_time(1.25)
        rig.run()
    for number, seconds in enumerate(waited):
        most_s = min(60.0, 2.0**number)
        assert most_s / 2 <= seconds <= most_s + 0.25


def test_a_hanging_model_is_given_up_and_its_worker_replaced() -> None:
    rig = Rig(("dock", "gate"), workers=1)
    hang = rig.script["dock"] = Hang(at=2)
    with rig:
        rig.run("dock")
        rig.run("gate")
        rig.give(2, "dock")
        rig.cameras["dock"].allowed.release()
        rig.until(hang.entered.is_set)
        rig.cameras["gate"].allowed.release()  # waits for the only worker
        rig.pass_time(29)
        assert rig.keeper("dock").state == "running"
        rig.pass_time(2)
        assert "not done with a frame after 30 s" in rig.keeper("dock").take().fault
        rig.until(lambda: rig.keeper("gate").metrics.total().processed == 1)
        assert rig.workers.is_whole()
        rig.pass_time(1)
        rig.run("dock")
        assert rig.keeper("dock").take().restarts == 1
        hang.release.set()


def test_who_was_given_up_has_no_say_any_more() -> None:
    rig = Rig()
    hang = rig.script["dock"] = Hang()
    with rig:
        rig.run()
        rig.cameras["dock"].allowed.release()
        rig.until(hang.entered.is_set)
        rig.pass_time(31)
        first = rig.made[0]
        rig.run()
        rig.give(3)
        told = len(rig.memory.messages)
        assert rig.supervisor.left_behind
        hang.release.set()
        rig.until(lambda: not rig.supervisor.left_behind)
        assert not first.is_open
        assert len(rig.memory.messages) == told == 3
        assert rig.workers.is_whole()


def test_a_reader_that_hangs_is_given_up_where_its_source_is_there() -> None:
    held = threading.Event()
    rig = Rig()
    rig.before["dock"] = lambda index: held.wait(60) if index == 1 else None
    with rig:
        rig.run()
        rig.give()
        rig.silent.add("dock")
        rig.cameras["dock"].allowed.release()
        rig.pass_time(31)
        assert "nothing moved on for 30 s" in rig.keeper().take().fault
        rig.before["dock"] = lambda _index: None
        rig.pass_time(1)
        rig.run()
        rig.give()
        held.set()


def test_a_camera_that_is_away_is_waited_for() -> None:
    rig = Rig()
    with rig:
        rig.run()
        rig.give()
        rig.silent.add("dock")
        rig.cameras["dock"].state = "waiting"
        rig.cameras["dock"].last_fault = "no route to host"
        rig.pass_time(3600)
        health = rig.keeper().take()
        assert health.fault == "no route to host"
        assert (health.source.state, health.source.last_fault) == ("waiting", "no route to host")
        assert 3600 <= (health.source.frame_age_s or 0) < 3610
        rig.cameras["dock"].state = "live"
        assert rig.keeper().take().fault == ""
        assert rig.keeper().take().source.last_fault == "no route to host", "it was its last one"
        rig.pass_time(29)
        assert rig.keeper().state == "running"
        rig.cameras["dock"].skipped += 1  # a frame that the stride passes over
        rig.pass_time(29)
        assert rig.keeper().state == "running"
        rig.pass_time(2)
        assert "nothing moved on" in rig.keeper().take().fault


def test_a_fault_is_sent_without_credentials_and_not_for_ever() -> None:
    rig = Rig()
    with rig:
        rig.run()
        rig.cameras["dock"].last_fault = "cannot open rtsp://a:secret@cam/1?p=secret: " + "x" * 999
        rig.cameras["dock"].state = "waiting"
        health = rig.keeper().take()
    for fault in (health.fault, health.source.last_fault):
        assert fault.startswith("cannot open rtsp://cam/1")
        assert "secret" not in fault
        assert len(fault) == 300


def test_what_is_known_of_a_source_outlives_its_run() -> None:
    rig = Rig()
    rig.script["dock"] = raising(ModelError("no"), at=1)
    with rig:
        rig.run()
        assert rig.keeper().take().source.frame_age_s is None
        rig.cameras["dock"].last_fault = "the picture is black"
        rig.give()
        rig.fail()
        source = rig.keeper().take().source
        assert (source.state, source.last_fault) == ("closed", "the picture is black")
        assert source.frame_age_s is not None


def test_a_process_that_was_stopped_blames_nobody() -> None:
    rig = Rig()
    with rig:
        rig.run()
        rig.give()
        rig.silent.add("dock")
        rig.clock.sleep(3600)
        rig.supervisor.step()
        rig.pass_time(29)
        assert rig.keeper().state == "running"
        rig.pass_time(2)
        assert "nothing moved on" in rig.keeper().take().fault


def test_a_slow_disk_is_no_hanging_stream() -> None:
    held = threading.Event()

    class SlowOutbox(MemoryOutbox):
        def put(self, *_arguments: object, **_more: object) -> None:
            held.wait(60)

    rig = Rig(outbox=SlowOutbox())
    with rig:
        rig.run()
        rig.cameras["dock"].allowed.release()
        rig.until(lambda: rig.keeper().state == "running")
        rig.pass_time(300)
        assert rig.keeper().state == "running"
        held.set()


def test_opening_may_take_four_times_as_long() -> None:
    held = threading.Event()
    rig = Rig()
    rig.building = lambda _name: bool(held.wait(60)) and None
    with rig:
        rig.pass_time(119)
        assert rig.keeper().state == "starting"
        rig.pass_time(2)
        assert "not open after 120 s" in rig.keeper().take().fault
        held.set()
        rig.pass_time(1)
        rig.run()


def test_what_somebody_must_mend_is_tried_slowly_and_at_once_after_a_reload() -> None:
    rig = Rig()

    def refuse(_name: str) -> None:
        raise InstallError("no model of this name is installed")

    rig.building = refuse
    with rig:
        rig.until(lambda: rig.keeper().state == "waiting")
        rig.pass_time(149)
        assert rig.built == ["dock"]
        rig.pass_time(151)
        rig.until(lambda: rig.built == ["dock"] * 2)
        rig.until(lambda: rig.keeper().state == "waiting")
        rig.building = lambda _name: None
        assert rig.supervisor.keep(rig.configs, rig.section) == []
        rig.run()


def test_a_spool_that_fails_ends_the_agent() -> None:
    rig = Rig()
    rig.script["dock"] = raising(SpoolError("the spool is closed"), at=0)
    with rig:
        rig.run()
        rig.cameras["dock"].allowed.release(2)
        with pytest.raises(SpoolError):
            rig.until(lambda: False)


def test_a_recording_is_not_begun_again() -> None:
    rig = Rig(("clip", "dock"))
    rig.configs[0] = StreamConfig(name="clip", model="m", source=FileSource(path="unused.mp4"))
    rig.script["clip"] = raising(ValueError("no"), at=3)
    with rig:
        rig.run("clip")
        rig.give(3, "clip")
        rig.fail("clip")
        rig.pass_time(1000 / 40)
        assert rig.built.count("clip") == 1
        assert isinstance(rig.supervisor.failures["clip"], CrashError)


def test_a_live_source_that_ends_is_started_again() -> None:
    rig = Rig()
    with rig:
        rig.run()
        rig.cameras["dock"].closing.set()
        rig.until(lambda: rig.keeper().state == "waiting")
        assert "the live source has ended" in rig.keeper().take().fault


def test_so_much_that_hangs_needs_a_new_process() -> None:
    rig = Rig(section=SupervisionSection(stall_timeout_s=1, retry_s=1))
    hangs = [Hang() for _ in range(16)]
    with rig:
        for hang, script in zip(hangs, [*hangs[1:], nothing], strict=True):
            rig.script["dock"] = rig.script.get("dock", hang)
            rig.run()
            rig.script["dock"] = script
            rig.cameras["dock"].allowed.release()
            rig.until(hang.entered.is_set)
            if hang is not hangs[-1]:
                rig.pass_time(2.5)
        with pytest.raises(DeviceError, match="16 runs of streams hang"):
            rig.pass_time(2.5)
        for hang in hangs:
            hang.release.set()


def test_only_what_has_changed_is_started_again() -> None:
    rig = Rig(("dock", "gate"))
    with rig:
        rig.run("dock")
        rig.run("gate")
        rig.give(3, "gate")
        changed = msgspec.structs.replace(rig.configs[1], stride=2)
        added = msgspec.structs.replace(rig.configs[0], name="ramp")
        touched = rig.supervisor.keep([rig.configs[0], changed, added], rig.section)
        assert touched == ["gate", "ramp"]
        rig.made[1].closing.set()
        rig.run("gate")
        rig.run("ramp")
        assert rig.built == ["dock", "gate", "ramp", "gate"]
        assert rig.keeper("gate").take().processed == 3
        assert rig.keeper("gate").take().restarts == 0
        assert rig.supervisor.keep([added], rig.section) == ["dock", "gate"]
        for camera in rig.made:
            camera.closing.set()
        rig.until(lambda: set(rig.supervisor.keepers) == {"ramp"})


def test_who_hangs_at_the_end_is_left_behind() -> None:
    rig = Rig(("dock", "gate"))
    hang = rig.script["dock"] = Hang()
    with rig:
        rig.run("dock")
        rig.run("gate")
        rig.cameras["dock"].allowed.release()
        rig.until(hang.entered.is_set)
        rig.supervisor.stop()
        for camera in rig.made:
            camera.closing.set()
        rig.until(lambda: rig.keeper("gate").is_over)
        rig.pass_time(9)
        assert not rig.supervisor.is_over
        rig.pass_time(2)
        assert rig.supervisor.is_over
        assert rig.supervisor.left_behind
        assert rig.keeper("dock").state == "ended"
        hang.release.set()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SourceError("x"), "soon"),
        (ModelError("x"), "soon"),
        (CrashError("x"), "soon"),
        (StallError("x"), "soon"),
        (InstallError("x"), "slow"),
        (BundleIntegrityError("x"), "slow"),
        (SpecMismatchError("x"), "slow"),
        (ConfigError(["x"], where="f"), "slow"),
    ],
)
def test_the_outlook(error: EdgeHaulError, expected: str) -> None:
    assert outlook(error) == expected


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (StreamConfig(name="a", model="m", source=FileSource(path="p", loop=True)), False),
        (StreamConfig(name="a", model="m", source=ImagesSource(path="p")), False),
        (StreamConfig(name="a", model="m", source=VirtualConveyorSource(frames=9)), False),
        (StreamConfig(name="a", model="m", source=VirtualConveyorSource()), True),
        (GpsConfig(name="a", source=TraceSource(path="p")), False),
        (GpsConfig(name="a", source=VirtualTruckSource()), False),
        (GpsConfig(name="a", source=GpsdSource()), True),
    ],
)
def test_what_is_live(stream: StreamConfig | GpsConfig, expected: bool) -> None:  # noqa: FBT001 - a table
    assert is_live(stream) is expected


@given(
    failures=st.integers(0, 10_000),
    retry_s=st.floats(1, 3600),
    slow_s=st.floats(1, 86_400),
    seed=st.integers(),
)
def test_pauses_stay_within_their_bounds(
    failures: int, retry_s: float, slow_s: float, seed: int
) -> None:
    section = SupervisionSection(retry_s=retry_s, slow_retry_s=slow_s)
    chance = random.Random(seed)
    soon_s = pause_s("soon", failures, section, chance)
    assert min(retry_s, 2.0 ** min(failures, 16)) / 2 <= soon_s <= retry_s
    assert slow_s / 2 <= pause_s("slow", failures, section, chance) <= slow_s
