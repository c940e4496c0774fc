"""Live sources: times, pauses, frozen and black pictures, and the thread that connects again."""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehaul.config.cameras import LiveCamera
from edgehaul.errors import AuthError, SourceError
from edgehaul.values import Image
from edgehaul_agent.app import StoppableClock
from edgehaul_agent.sources.live import LiveSource
from edgehaul_agent.sources.timing import Backoff, CaptureTimes
from edgehaul_agent.sources.watch import PictureWatch
from tests.fakes.streams import FakeClock as ThreadlessClock

NOW_S = 1_700_000_000.0
PERIOD_S = 0.1


# Capture times


@given(
    st.lists(
        st.tuples(
            st.floats(0, 2, allow_subnormal=False),
            st.one_of(st.none(), st.floats(-1e6, 1e6, allow_subnormal=False)),
        ),
        max_size=60,
    )
)
def test_times_rise_and_stay_near_the_clock_whatever_the_camera_says(
    steps: list[tuple[float, float | None]],
) -> None:
    times, now_s, before_s = CaptureTimes(), NOW_S, float("-inf")
    for passed_s, timestamp_s in steps:
        now_s += passed_s
        captured_at_s = times.captured_at_s(timestamp_s, now_s=now_s)
        assert captured_at_s > before_s
        # Frames that come at once are told apart by a millisecond each.
        assert now_s - 1.001 <= captured_at_s <= now_s + 0.001 * len(steps)
        before_s = captured_at_s


def test_the_delays_of_single_frames_do_not_show() -> None:
    times, chance = CaptureTimes(), random.Random(4)
    late = [0.0 if index % 7 == 0 else chance.uniform(0, 0.3) for index in range(100)]
    captured = [
        times.captured_at_s(index * PERIOD_S, now_s=NOW_S + index * PERIOD_S + late[index])
        for index in range(100)
    ]
    steps = [b - a for a, b in pairwise(captured)]
    assert max(steps) == pytest.approx(PERIOD_S, abs=1e-3)
    assert min(steps) == pytest.approx(PERIOD_S, abs=1e-3)


@pytest.mark.parametrize("jump_s", [-3600.0, -0.5, 0.5, 3600.0])
def test_after_a_jump_of_the_timestamps_times_are_right_within_ten_seconds(jump_s: float) -> None:
    times = CaptureTimes()
    for index in range(400):
        now_s = NOW_S + index * PERIOD_S
        timestamp_s = index * PERIOD_S + (jump_s if index >= 200 else 0)
        captured_at_s = times.captured_at_s(timestamp_s, now_s=now_s)
        assert abs(captured_at_s - now_s) <= 1
        if index > 310:
            assert captured_at_s == pytest.approx(now_s, abs=0.01)


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
def test_times_follow_a_clock_that_is_set(step_s: float) -> None:
    times = CaptureTimes()
    for index in range(100):
        now_s = NOW_S + index * PERIOD_S + (step_s if index >= 50 else 0)
        assert abs(times.captured_at_s(index * PERIOD_S, now_s=now_s) - now_s) <= 0.01


# Pauses


def test_pauses_double_to_the_longest_and_are_spread() -> None:
    backoff = Backoff(0.5, 4, refused_s=60, chance=random.Random(1))
    fault = SourceError("gone")
    pauses = [backoff.pause_s(fault) for _ in range(6)]
    for pause_s, whole_s in zip(pauses, (0.5, 1, 2, 4, 4, 4), strict=True):
        assert whole_s / 2 <= pause_s <= whole_s
    assert 60 <= backoff.pause_s(AuthError("refused")) <= 75
    backoff.reset()
    assert backoff.pause_s(fault) <= 0.5


# Frozen and black pictures


def noise(seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 255, (48, 64, 3)).astype(np.uint8)


def sights(images: Sequence[Image], *, frozen_s: float = 3, black_s: float = 2) -> list[str]:
    watch = PictureWatch(frozen_after_s=frozen_s, black_after_s=black_s)
    return [watch.look(image, now_s=float(second)) for second, image in enumerate(images)]


def test_the_same_picture_is_frozen_after_its_time() -> None:
    seen = sights([noise(0), *[noise(1)] * 5, noise(2)])
    assert seen == ["moving", "moving", "still", "still", "frozen", "frozen", "moving"]


def test_the_few_pictures_of_a_frozen_one_in_turn_are_frozen() -> None:
    turns = [noise(index % 4) for index in range(12)]
    assert "frozen" in sights(turns)
    assert "frozen" not in sights([noise(index % 40) for index in range(120)]), "a clip in a loop"


def test_what_moves_between_the_sampled_rows_is_not_frozen() -> None:
    images = []
    for index in range(12):
        images.append(np.full((48, 64, 3), 90, np.uint8))
        images[-1][8, index] = 255
    assert "frozen" not in sights(images)


def test_black_is_no_frozen_picture_and_a_dark_scene_is_not_black() -> None:
    black = np.full((48, 64, 3), 1, np.uint8)
    assert sights([noise(0), *[black] * 6])[-3:] == ["black"] * 3
    lamp = black.copy()
    lamp[10:20, 10:20] = 200
    assert "black" not in sights([lamp] * 6)
    assert set(sights([black] * 9, black_s=0)) == {"moving", "still", "frozen"}


def test_zero_switches_the_watch_off() -> None:
    black = np.zeros((48, 64, 3), np.uint8)
    assert set(sights([black] * 99, frozen_s=0, black_s=0)) == {"moving", "still"}


# The source


class FakeClock(ThreadlessClock):
    """One that two threads may use."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def sleep(self, duration_s: float) -> None:
        with self._lock:
            super().sleep(duration_s)


class ScriptedLink:
    """A link that gives the frames of a script; a fault in it is raised, ``None`` decodes not."""

    def __init__(self, script: Iterator[Image | Exception | None], clock: FakeClock) -> None:
        self._script = script
        self._clock = clock
        self._image: Image | None = None
        self.retrieved = 0
        self.is_closed = False

    def grab(self) -> float | None:
        self._clock.sleep(PERIOD_S)
        time.sleep(0.002)  # lets the reader in
        item = next(self._script, SourceError("the script has ended"))
        if isinstance(item, Exception):
            raise item
        self._image = item
        return None

    def retrieve(self) -> Image | None:
        self.retrieved += 1
        return self._image

    def close(self) -> None:
        self.is_closed = True


class Camera:
    """Connects by a script: each connection is a fault, or a script of its own."""

    def __init__(
        self, clock: FakeClock, *connections: Exception | Iterator[Image | Exception | None]
    ) -> None:
        self._clock = clock
        self._connections = iter(connections)
        self.links: list[ScriptedLink] = []
        self.at_s: list[float] = []

    def __call__(self) -> ScriptedLink:
        self.at_s.append(self._clock.monotonic_s())
        item = next(self._connections, SourceError("nobody there"))
        if isinstance(item, Exception):
            raise item
        self.links.append(ScriptedLink(item, self._clock))
        return self.links[-1]


def moving() -> Iterator[Image]:
    return map(noise, iter(range(10**6)))


def made(
    camera: Callable[[], ScriptedLink],
    clock: FakeClock,
    *,
    stride: int = 1,
    persistent: bool = True,
) -> LiveSource:
    config = LiveCamera(frozen_after_s=2, black_after_s=1)
    return LiveSource(
        camera,
        config,
        stream="gate",
        where="rtsp://gate/live",
        clock=clock,
        stride=stride,
        persistent=persistent,
    )


def test_frames_go_on_after_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    fault = SourceError("no frame for 5.0 s", where="rtsp://gate/live")
    camera = Camera(clock, iter([*islice(moving(), 20), fault]), *[fault] * 3, moving())
    caplog.set_level(logging.INFO)
    with made(camera, clock) as source:
        frames = list(islice(source.frames(), 60))
        assert (source.faults, source.reconnects) == (4, 4)
    assert all(b.index > a.index for a, b in pairwise(frames))
    assert all(b.captured_at_s > a.captured_at_s for a, b in pairwise(frames))
    assert source.skipped >= frames[-1].index + 1 - len(frames)
    waits = [b - a for a, b in pairwise(camera.at_s)]
    assert waits[-1] > waits[1]
    assert all(link.is_closed for link in camera.links)
    told = [record.message for record in caplog.records]
    assert told == [
        "stream gate: rtsp://gate/live is live",
        "stream gate: rtsp://gate/live: no frame for 5.0 s; it is connected again",
        "stream gate: rtsp://gate/live is live",
    ]


def test_only_what_is_wanted_is_made_a_picture() -> None:
    clock = FakeClock()
    camera = Camera(clock, moving())
    asked = []

    def wants() -> bool:
        asked.append(threading.current_thread().name)
        return len(asked) % 2 == 0

    with made(camera, clock, stride=3) as source:
        frames = list(islice(source.frames(wants), 10))
        strided = source.strided
    assert all(frame.index % 3 == 0 for frame in frames)
    assert 2 / 3 * frames[-1].index <= strided < source.skipped
    assert len(asked) >= 20
    (link,) = camera.links
    assert link.retrieved <= len(asked) // 2
    assert source.skipped >= 20


def test_a_frozen_camera_is_connected_again() -> None:
    clock = FakeClock()
    camera = Camera(clock, iter([noise(1)] * 1000), moving())
    states = set()
    with made(camera, clock) as source:
        frames = []
        for frame in islice(source.frames(), 40):
            frames.append(frame)
            states.add(source.condition().state)
        assert (source.faults, source.reconnects) == (1, 1)
        assert source.condition().reconnects == 1
        assert "frozen" in source.last_fault
    assert frames[-1].index >= 15


def test_a_black_camera_is_told_once_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    black = np.zeros((48, 64, 3), np.uint8)
    camera = Camera(clock, chain(islice(moving(), 10), [black] * 60, moving()))
    states = set()
    with made(camera, clock) as source:
        for frame in source.frames():
            states.add(source.state)
            if frame.index > 100:
                break
    assert states == {"live", "black"}
    assert (source.faults, source.reconnects) == (1, 0)
    assert caplog.text.count("the picture is black; check lens, light and camera") == 1


def test_what_cannot_be_decoded_is_counted_and_in_the_end_a_fault() -> None:
    clock = FakeClock()
    camera = Camera(clock, iter([None, noise(1), *[None] * 300]), moving())
    with made(camera, clock) as source:
        assert len(list(islice(source.frames(), 3))) == 3
        assert "250 frames in a row cannot be decoded" in source.last_fault
    assert 250 <= source.bad <= 251


@pytest.mark.parametrize("fault", [SourceError("gone"), AuthError("refused")])
def test_a_check_hears_of_the_first_fault(fault: Exception) -> None:
    clock = FakeClock()
    source = made(Camera(clock, fault), clock, persistent=False)
    with source, pytest.raises(type(fault), match=str(fault)):
        next(source.frames())


def test_what_nobody_expected_ends_the_stream_and_is_not_lost() -> None:
    clock = FakeClock()
    source = made(Camera(clock, iter([ZeroDivisionError("a bug")])), clock)
    with source, pytest.raises(ZeroDivisionError, match="a bug"):
        list(source.frames())


def test_a_refusal_is_tried_again_slowly() -> None:
    clock = FakeClock()
    refused = AuthError("refused")
    camera = Camera(clock, refused, refused, moving())
    with made(camera, clock) as source:
        next(source.frames())
    assert all(60 <= b - a <= 76 for a, b in pairwise(camera.at_s))


def test_it_ends_when_the_agent_stops_though_a_call_hangs() -> None:
    stop, hangs = threading.Event(), threading.Event()

    def connect() -> ScriptedLink:
        stop.set()
        hangs.wait(10)
        raise SourceError("gone")

    config = LiveCamera()
    clock = StoppableClock(stop)
    source = LiveSource(connect, config, stream="gate", where="w", clock=clock)
    started_s = time.monotonic()
    with source:
        assert list(source.frames()) == []
    assert time.monotonic() - started_s < 2
    hangs.set()


def test_a_call_that_does_not_come_back_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    hangs = threading.Event()

    def connect() -> ScriptedLink:
        clock.sleep(1000)
        hangs.wait(10)
        return ScriptedLink(moving(), clock)

    with made(connect, clock) as source:
        frames = source.frames()
        waiting = threading.Timer(1.2, hangs.set)
        waiting.start()
        next(frames)
        waiting.join()
        assert source.state == "live"
    assert caplog.text.count("the decoder has hung for 1000 s; isolate: true would end it") == 1
