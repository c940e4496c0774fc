"""Which frames are looked at: by motion, by the hour, by the part of the picture."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput
from edgehaul.config.device import StreamConfig
from edgehaul.config.gating import WEEKDAYS, ActiveHours, MotionSection, Region
from edgehaul.config.recordings import FileSource
from edgehaul.geometry import Box
from edgehaul.messages.topics import DeviceTopics
from edgehaul.values import Detection
from edgehaul.virtual.conveyor import Conveyor
from edgehaul.vision.placement import Placement
from edgehaul.vision.preprocess import Canvas
from edgehaul_agent.gating.hours import HoursGate
from edgehaul_agent.gating.motion import MotionGate
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.pipeline.camera import StreamPipeline
from edgehaul_agent.pipeline.workers import WorkerPool
from tests.fakes.streams import FakeClock, ListFrames, MemoryOutbox, ScriptedModel

Picture = NDArray[np.uint8]
PERIOD_S = 0.04


def noisy(rng: np.random.Generator, light: float = 100.0, sigma: float = 4.0) -> Picture:
    """Return an empty scene as a camera sees it."""
    return np.clip(rng.normal(light, sigma, (320, 320, 3)), 0, 255).astype(np.uint8)


def looked_at(pictures: Sequence[Picture], section: MotionSection) -> list[int]:
    gate = MotionGate(section)
    return [n for n, picture in enumerate(pictures) if gate.opens(picture, n * PERIOD_S)]


def test_a_still_scene_is_looked_at_now_and_then_alone() -> None:
    rng = np.random.default_rng(0)
    section = MotionSection(hold_s=0.1, look_every_s=2.0)
    assert looked_at([noisy(rng) for _ in range(200)], section)[3:] == [52, 102, 152]


def test_a_small_object_opens_the_gate_for_as_long_as_it_moves_and_a_while() -> None:
    rng = np.random.default_rng(1)
    pictures = [noisy(rng) for _ in range(120)]
    for number in range(40, 60):
        pictures[number][100:116, number * 4 : number * 4 + 16] = 200
    seen = looked_at(pictures, MotionSection(hold_s=0.2, look_every_s=3600.0))
    assert set(range(40, 60)) <= set(seen)
    assert max(seen) < 75
    assert not set(range(10, 40)) & set(seen)


@pytest.mark.parametrize(("sigma", "side"), [(8.0, 320), (12.0, 320), (8.0, 96), (12.0, 96)])
def test_the_noise_of_a_camera_at_dusk_is_no_motion(sigma: float, side: int) -> None:
    rng = np.random.default_rng(4)
    pictures = [noisy(rng, sigma=sigma)[:side, :side] for _ in range(300)]
    seen = looked_at(pictures, MotionSection(look_every_s=3600.0))
    assert max(seen) < 60, "but for the first second"


@pytest.mark.parametrize("contrast", [-30, 20, 40])
def test_a_small_figure_far_away_is_looked_at_all_the_time_that_it_walks(contrast: int) -> None:
    rng = np.random.default_rng(5)
    pictures = [noisy(rng) for _ in range(300)]
    for number in range(100, 300):
        x = 20 + (number - 100) // 2
        figure = pictures[number][150:178, x : x + 9]
        figure[:] = np.clip(figure + np.float64(contrast), 0, 255)
    seen = looked_at(pictures, MotionSection(hold_s=0.2, look_every_s=3600.0))
    assert not set(range(20, 100)) & set(seen)
    missed = set(range(100, 300)) - set(seen)
    assert missed <= set(range(100, 104)), "until it has gone by the width of a cell"


def test_light_and_exposure_that_swing_are_no_motion() -> None:
    rng = np.random.default_rng(6)
    scene = rng.uniform(20, 220, (320, 320, 1)) * np.ones(3)
    swings = (1 + 0.1 * np.sin(n / 30) + rng.normal(0, 0.012) for n in range(300))
    pictures = [
        np.clip(scene * swing + rng.normal(0, 4, scene.shape), 0, 255).astype(np.uint8)
        for swing in swings
    ]
    assert max(looked_at(pictures, MotionSection(look_every_s=3600.0))) < 30


@given(
    side=st.integers(12, 200),
    x=st.integers(0, 119),
    y=st.integers(0, 119),
    level=st.one_of(st.integers(0, 60), st.integers(140, 255)),
)
def test_what_comes_is_looked_at_however_large_or_bright(
    side: int, x: int, y: int, level: int
) -> None:
    """That it makes the picture brighter by the whole hides it from nobody."""
    gate = MotionGate(MotionSection(hold_s=0.0, look_every_s=3600.0))
    picture = np.full((320, 320, 3), 100, np.uint8)
    assert gate.opens(picture, 0.0)
    assert not gate.opens(picture, 1.0)
    picture[y : y + side, x : x + side] = level
    assert gate.opens(picture, 2.0)


@given(
    shape=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    channels=st.sampled_from([0, 1, 3, 4]),
)
def test_pictures_of_any_size_are_taken(shape: tuple[int, int], channels: int) -> None:
    picture = np.full((*shape, channels) if channels else shape, 90, np.uint8)
    gate = MotionGate(MotionSection(hold_s=0.0))
    assert gate.opens(picture, 0.0)
    assert not gate.opens(picture, 1.0)


def test_a_light_that_is_switched_is_looked_at_once_and_learnt() -> None:
    rng = np.random.default_rng(2)
    pictures = [noisy(rng, 60) for _ in range(50)] + [noisy(rng, 180) for _ in range(50)]
    seen = looked_at(pictures, MotionSection(hold_s=0.0, look_every_s=3600.0))
    assert seen == [0, 50]


def test_time_that_jumps_back_opens_the_gate() -> None:
    rng = np.random.default_rng(3)
    gate = MotionGate(MotionSection(hold_s=0.0))
    assert gate.opens(noisy(rng), 1000.0)
    assert not gate.opens(noisy(rng), 1001.0)
    assert gate.opens(noisy(rng), 10.0)


def test_grey_pictures_have_no_middle_channel() -> None:
    gate = MotionGate(MotionSection(hold_s=0.0))
    picture = np.full((240, 320), 90, np.uint8)
    assert gate.opens(picture, 0.0)
    assert not gate.opens(picture, 1.0)
    picture[50:90, 50:90] = 200
    assert gate.opens(picture, 2.0)


def test_no_parcel_of_the_virtual_conveyor_passes_unseen() -> None:
    conveyor = Conveyor(seed=5, width=320, height=240)
    gate = MotionGate(MotionSection())
    for number in range(400):
        frame = conveyor.frame(number)
        assert gate.opens(frame.image, number * PERIOD_S) or not frame.truth


@given(
    start=st.integers(0, 1439),
    length=st.integers(1, 1440),
    days=st.sets(st.integers(0, 6), min_size=1),
    asked=st.integers(0, 7 * 1440 - 1),
)
def test_hours_hold_as_minutes_of_the_week_say(
    start: int, length: int, days: set[int], asked: int
) -> None:
    end = (start + length) % 1440
    hours = ActiveHours(
        start=f"{start // 60:02}:{start % 60:02}",
        end=f"{end // 60:02}:{end % 60:02}",
        days=tuple(WEEKDAYS[day] for day in sorted(days)),
    )
    spans = ((day * 1440 + start, length) for day in days)
    expected = any((asked - first) % (7 * 1440) < minutes for first, minutes in spans)
    assert hours.holds(asked // 1440, asked % 1440) is expected


def test_the_wall_clock_of_the_zone_is_meant() -> None:
    gate = HoursGate((ActiveHours(start="06:00", end="22:00"),), "Europe/Berlin")
    assert not gate.opens(datetime(2026, 7, 1, 3, 59, tzinfo=UTC).timestamp())
    assert gate.opens(datetime(2026, 7, 1, 4, 0, tzinfo=UTC).timestamp())
    assert not gate.opens(datetime(2026, 1, 1, 4, 59, tzinfo=UTC).timestamp())
    assert HoursGate((), "UTC").opens(0.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"start": "6:00", "end": "22:00"}', "start '6:00'"),
        ('{"start": "06:00", "end": "25:00"}', "end '25:00'"),
        ('{"start": "06:00", "end": "22:00", "days": []}', "days must not be empty"),
        ('{"start": "06:00", "end": "22:00", "days": ["monday"]}', "Invalid enum value"),
    ],
)
def test_what_is_no_span_of_the_day_is_refused(text: str, message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.json.decode(text, type=ActiveHours)


def test_an_unknown_time_zone_is_refused_where_it_is_needed() -> None:
    hours = (ActiveHours(start="06:00", end="22:00"),)
    with pytest.raises(ValueError, match="timezone 'Mars/Olympus' is not known"):
        stream(hours=hours, timezone="Mars/Olympus")


def stream(**changes: object) -> StreamConfig:
    fields: dict[str, object] = {"name": "dock", "model": "m", "source": FileSource(path="x.mp4")}
    return StreamConfig(**(fields | changes))


def run(config: StreamConfig, model: ScriptedModel) -> tuple[StreamPipeline, MemoryOutbox]:
    outbox, workers = MemoryOutbox(), WorkerPool(1, FakeClock())
    pipeline = StreamPipeline(
        config,
        source=ListFrames(50),
        model=model,
        outlet=StreamOutlet(outbox, DeviceTopics("depot", "gate"), "dock"),
        workers=workers,
        clock=FakeClock(),
    )
    with workers, pipeline:
        pipeline.run(threading.Event())
    return pipeline, outbox


def test_frames_at_other_hours_are_counted_and_not_decoded() -> None:
    now = datetime.fromtimestamp(FakeClock().now_s(), UTC)
    elsewhen = (
        ActiveHours(start="00:00", end="00:01")
        if now.hour
        else ActiveHours(start="12:00", end="12:01")
    )
    pipeline, outbox = run(stream(hours=(elsewhen,)), ScriptedModel(lambda _index: []))
    health = pipeline.metrics.total()
    assert (health.frames, health.gated, health.processed) == (50, 50, 0)
    assert outbox.messages == []


def test_frames_on_which_nothing_moves_are_counted() -> None:
    pipeline, _ = run(
        stream(motion=MotionSection(hold_s=0.0, look_every_s=1.0)), Seeing(lambda _index: [])
    )
    health = pipeline.metrics.total()
    assert health.frames == 50
    assert health.processed == 2
    assert health.gated == 48


class Seeing(ScriptedModel):
    """Has real canvases, and finds nothing."""

    def canvas(self) -> Canvas:
        return Canvas(ImageInput(width=64, height=64))

    def judge(self, canvas: Canvas, placement: Placement) -> tuple[Detection, ...]:
        del canvas, placement
        return ()


@given(
    x=st.integers(0, 500),
    y=st.integers(0, 300),
    width=st.integers(40, 300),
    height=st.integers(40, 300),
)
def test_what_is_found_in_a_region_lies_in_the_whole_picture(
    x: int, y: int, width: int, height: int
) -> None:
    """A box in the part, brought to its canvas and back, is that box moved to its place."""
    whole_width, whole_height = 640, 480
    region = Region(x, y, x + width, y + height).within(whole_width, whole_height)
    assert region is not None
    part = np.zeros((region.y2 - region.y1, region.x2 - region.x1, 3), np.uint8)
    placement = Canvas(ImageInput(width=320, height=320)).place(part)
    in_whole = placement.within(region.x1, region.y1, whole_width, whole_height)
    box = np.array([[5, 6, 25, 36]], np.float32)
    canvas = placement.boxes_to_canvas(box)
    moved = box + [region.x1, region.y1] * 2
    np.testing.assert_allclose(in_whole.boxes_to_original(canvas), moved, atol=1e-3)
    assert (in_whole.width, in_whole.height) == (whole_width, whole_height)


def test_a_region_outside_of_the_picture_makes_frames_unusable_with_a_clear_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pipeline, _ = run(stream(region=Region(700, 0, 900, 100)), Seeing(lambda _index: []))
    assert pipeline.metrics.total().bad == 50
    assert "region [700, 0, 900, 100] lies outside of the picture, 640x480" in caplog.text


def test_boxes_of_a_region_are_told_in_pixels_of_the_whole() -> None:
    class AtOrigin(Seeing):
        def judge(self, canvas: Canvas, placement: Placement) -> tuple[Detection, ...]:
            del canvas
            corner = placement.boxes_to_original(np.array([[0, 0, 32, 32]], np.float32))
            return (Detection(Box(*corner[0].tolist()), 0, "parcel", 0.9),)

    _, outbox = run(stream(region=Region(200, 100, 328, 228)), AtOrigin(lambda _index: []))
    first = outbox.payloads("/detections/dock")[0]
    assert first.objects[0].box == Box(200, 100, 264, 164)  # type: ignore[union-attr]  # detections
