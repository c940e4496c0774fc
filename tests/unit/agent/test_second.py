"""Single objects are looked at by a second model, in the picture in which they were found."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.config.device import DeviceConfig, StreamConfig
from edgehaul.config.loader import load, load_text
from edgehaul.config.recordings import FileSource
from edgehaul.config.second import SecondStage
from edgehaul.errors import ConfigError, InstallError, SpecMismatchError
from edgehaul.geometry import Box
from edgehaul.messages.payloads import DetectedObject, DetectionsData, EventData, TrackEvent
from edgehaul.messages.topics import DeviceTopics
from edgehaul.values import Detection, Frame, Image, Track
from edgehaul_agent.assembly import Assembly
from edgehaul_agent.checks import check_device
from edgehaul_agent.events.tracks import LifeSettings, TrackLife
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.pipeline.camera import StreamPipeline
from edgehaul_agent.pipeline.second import SecondLook
from edgehaul_agent.pipeline.workers import WorkerPool
from edgehaul_agent.proof import prove
from edgehaul_agent.tracking.tracker import TrackedFrame, TrackerSettings
from edgehaul_agent.update.install import install_bundle
from tests.fakes.answering import COLORS, write_color_classifier
from tests.fakes.answering import SIDE_PX as CROP_PX
from tests.fakes.devices import make_device, write_model_bundle
from tests.fakes.running import wait_until
from tests.fakes.streams import FakeClock, ListFrames, MemoryOutbox, ScriptedModel

BLACK = np.zeros((480, 640, 3), np.uint8)
TRUCK = Detection(Box(100, 100, 200, 160), 0, "truck", 0.9)
COLOR_SPEC = ModelSpec(
    "classify",
    ImageInput(CROP_PX, CROP_PX, resize="stretch", color="bgr"),
    OutputSpec("classify", COLORS, score_threshold=0.5),
)


class Classifier:
    """Answers in the order of a script, and remembers what it was shown."""

    certain_score = 0.5
    gives_objects = False

    def __init__(self, *answers: tuple[str, float]) -> None:
        self.shown: list[Image] = []
        self._answers = itertools.cycle(answers or (("van", 0.9),))

    def look(self, image: Image) -> tuple[Detection, ...]:
        self.shown.append(image.copy())
        label, score = next(self._answers)
        return (Detection(Box(0, 0, 1, 1), 0, label, score),) if label else ()


class ColorClassifier(Classifier):
    """Answers with the strongest colour."""

    def look(self, image: Image) -> tuple[Detection, ...]:
        super().look(image)
        color = int(image.reshape(-1, 3).mean(0).argmax())
        return (Detection(Box(0, 0, 1, 1), color, COLORS[color], 0.9),)


class OneMemory(ListFrames):
    """Gives all its frames in the same memory, as a decoder may.

    Args:
        count: Number of frames.
        paint: Fills the picture of each.

    Attributes:
        painted: Number of the newest frame that is in the memory.
    """

    def __init__(self, count: int, paint: Callable[[int, Image], None]) -> None:
        super().__init__(count)
        self.painted = -1
        self._paint = paint

    def frames(self, wants: Callable[[], bool] = lambda: True) -> Iterator[Frame]:
        picture = BLACK.copy()
        for frame in super().frames(wants):
            picture[:] = 0
            self._paint(frame.index, picture)
            picture[0, 0] = frame.image[0, 0]
            self.painted = frame.index
            yield Frame(frame.stream, frame.index, frame.captured_at_s, picture)


def track(track_id: int = 1, detection: Detection = TRUCK, *, hits: int = 9) -> Track:
    return Track(track_id, detection, 0.0, 0.0, hits)


def looking(model: Classifier, **stage: object) -> SecondLook:
    look = SecondLook(TrackerSettings(certain_score=0.5))
    look.add(SecondStage(**{"model": "bodies", **stage}), model)
    return look


def see(look: SecondLook, at_s: float, *tracks: Track, kept: bool = True) -> list[dict[str, str]]:
    frame = TrackedFrame(tracks, (), tuple(t.track_id for t in tracks))
    return [t.attributes for t in look.look(BLACK if kept else None, frame, at_s).seen]


def test_the_label_with_the_most_votes_over_the_life_of_a_track_counts() -> None:
    model = Classifier(("van", 0.6), ("bus", 0.9), ("van", 0.6), ("", 0.0), ("bus", 0.4))
    look = looking(model, every_s=0, attribute="body")
    said = [see(look, at_s, track())[0]["body"] for at_s in range(5)]
    assert said == ["van", "bus", "van", "van", "bus"]
    ended = look.end([track()])
    assert ended[0].attributes == {"body": "bus"}
    assert look.end([track()])[0].attributes == {}, "it was forgotten"


@pytest.mark.parametrize(
    ("one", "stage", "looked"),
    [
        (track(), {}, True),
        (track(), {"labels": ["truck", "car"]}, True),
        (track(), {"labels": ["car"]}, False),
        (track(hits=2), {}, False),
        (track(detection=msgspec.structs.replace(TRUCK, score=0.3)), {}, False),
        (track(), {"least_side_px": 60}, True),
        (track(), {"least_side_px": 61}, False),
    ],
)
def test_who_is_looked_at(one: Track, stage: dict[str, object], *, looked: bool) -> None:
    model = Classifier()
    assert see(looking(model, **stage), 0.0, one) == [{"bodies": "van"} if looked else {}]
    assert len(model.shown) == looked


def test_each_object_is_looked_at_now_and_then_even_if_the_clock_is_set_back() -> None:
    model = Classifier()
    look = looking(model, every_s=1.0)
    for at_s, times in ((10.0, 1), (10.5, 1), (10.99, 1), (11.0, 2), (5.0, 3), (5.5, 3), (6.0, 4)):
        see(look, at_s, track())
        assert len(model.shown) == times


def test_no_more_than_so_many_a_frame_and_all_have_their_turn() -> None:
    model = Classifier()
    look = looking(model, every_s=0, at_most=2)
    tracks = [track(number) for number in range(5)]
    assert [len(a) for a in see(look, 0.0, *tracks)] == [1, 1, 0, 0, 0]
    assert [len(a) for a in see(look, 1.0, *tracks)] == [1, 1, 1, 1, 0]
    assert [len(a) for a in see(look, 2.0, *tracks)] == [1, 1, 1, 1, 1]
    assert len(model.shown) == 6


@pytest.mark.parametrize(
    ("box", "margin", "shape"),
    [
        (Box(100, 100, 200, 160), 0.0, (60, 100, 3)),
        (Box(100, 100, 200, 160), 0.1, (72, 120, 3)),
        (Box(0, 0, 100, 60), 0.5, (90, 150, 3)),
        (Box(540.5, 400, 640, 480), 0.0, (80, 100, 3)),
        (Box(0, 0, 640, 480), 2.0, (480, 640, 3)),
    ],
)
def test_a_crop_has_its_margin_as_far_as_the_picture_goes(
    box: Box, margin: float, shape: tuple[int, int, int]
) -> None:
    model = Classifier()
    see(looking(model, margin=margin), 0.0, track(detection=Detection(box, 0, "truck", 0.9)))
    assert model.shown[0].shape == shape


def test_a_picture_is_wanted_only_where_an_object_is_due() -> None:
    look = looking(Classifier(), every_s=1.0, labels=["truck"])
    assert not look.wants(0.0), "nothing has been found yet"
    see(look, 0.0, track(hits=1), kept=False)
    assert not look.wants(0.1)
    see(look, 0.1, track(hits=2), kept=False)
    assert look.wants(0.2), "it may be believed in the next frame"
    assert see(look, 0.2, track(hits=3)) == [{"bodies": "van"}]
    assert not look.wants(1.1)
    assert look.wants(1.2)
    assert look.wants(0.1), "the clock was set back"
    see(look, 1.1, kept=False)
    assert look.wants(9.0), "it may come back in sight"
    look.look(None, TrackedFrame((), (track(),), ()), 1.2)
    assert not look.wants(9.0), "it has been given up"
    nobody = SecondLook(TrackerSettings())
    see(nobody, 0.0, track())
    assert not nobody.wants(1.0)


def test_all_have_their_turn_again_after_the_clock_was_set_back() -> None:
    model = Classifier()
    look = looking(model, every_s=1.0, at_most=1)
    for number, at_s in enumerate((9_000.0, 9_000.1, 5.0, 5.1)):
        assert number == 0 or look.wants(at_s)
        see(look, at_s, track(1), track(2))
    assert len(model.shown) == 4
    assert not look.wants(5.2)


def test_two_classifiers_answer_beside_each_other() -> None:
    look = looking(Classifier(("van", 0.9)), attribute="body")
    look.add(SecondStage(model="colors"), Classifier(("red", 0.9)))
    assert see(look, 0.0, track()) == [{"body": "van", "colors": "red"}]


def told(source: ListFrames, find: Callable[[int], Sequence[Detection]]) -> MemoryOutbox:
    outbox = MemoryOutbox()
    made = StreamPipeline(
        # With two that wait the reader can always be ahead.
        StreamConfig(name="dock", model="parcels", source=FileSource(path="a.mp4"), waiting=2),
        source=source,
        model=ScriptedModel(find),
        outlet=StreamOutlet(outbox, DeviceTopics("depot", "box-1"), "dock"),
        workers=WorkerPool(1, FakeClock()),
        clock=FakeClock(),
    )
    made.second.add(SecondStage(model="color", every_s=0.0, margin=0.0), ColorClassifier())
    with made.workers, made:
        made.run(threading.Event())
    return outbox


def two(index: int) -> list[Detection]:
    """Two parcels, found in each second frame only."""
    boxes = (Box(20 + 2 * index, 50, 80 + 2 * index, 110), Box(500, 300, 560, 360))
    return [] if index % 2 else [Detection(box, 0, "parcel", 0.9) for box in boxes]


def red_and_green(index: int, picture: Image) -> None:
    """Paint the parcels, and what is in front of them in the other frames, blue."""
    if index % 2:
        picture[..., 0] = 250
    for detection, color in zip(two(index), (2, 1), strict=False):
        box = detection.box
        picture[int(box.y1) : int(box.y2), int(box.x1) : int(box.x2), color] = 250


def test_each_object_is_judged_in_its_own_frame_although_memory_is_used_again() -> None:
    source = OneMemory(31, red_and_green)

    def find(index: int) -> list[Detection]:
        wait_until(lambda: source.painted > index or index == 30)
        return two(index)

    outbox = told(source, find)
    shown: dict[int | None, set[str]] = {}
    for data in outbox.payloads("/detections/dock"):
        assert isinstance(data, DetectionsData)
        for one in data.objects:
            shown.setdefault(one.track_id, set()).add(one.attributes.get("color", ""))
    assert sorted(map(sorted, shown.values())) == [["", "green"], ["", "red"]]
    events = [p.event for p in outbox.payloads("/events/dock") if isinstance(p, EventData)]
    ends = [e.after for e in events if isinstance(e, TrackEvent) and e.phase == "end"]
    assert sorted(end.attributes["color"] for end in ends if end) == ["green", "red"]


def test_an_answer_that_comes_after_the_track_was_told_is_news() -> None:
    life = TrackLife(LifeSettings(least_interval_s=1.0))

    def phases(at_s: float, attributes: dict[str, str]) -> list[str]:
        now = msgspec.structs.replace(track(), last_seen_at_s=at_s, attributes=attributes)
        return [event.phase for event in life.update([now])]

    assert phases(0.0, {}) == ["new"]
    assert phases(0.5, {"color": "red"}) == [], "not so soon"
    assert phases(1.0, {"color": "red"}) == ["update"]
    assert phases(9.0, {"color": "red"}) == []


def test_old_readers_and_old_messages_go_together() -> None:
    now = DetectedObject(label="a", score=1, box=Box(0, 0, 1, 1), attributes={"color": "red"})
    assert b'"attributes":{"color":"red"}' in msgspec.json.encode(now)
    old = msgspec.json.decode(b'{"label":"a","score":1,"box":[0,0,1,1]}', type=DetectedObject)
    assert old.attributes == {}


def on_a_device(folder: Path, **stage: object) -> Assembly:
    """Return a device with a detector, ``parcels``, and a classifier of colours, ``colors``."""
    film = {"type": "virtual_conveyor", "frames": 20}
    stream = {
        "name": "dock",
        "model": "parcels",
        "source": film,
        "second": [{"model": "colors", "score_threshold": 0.0, **stage}],
    }
    path = make_device(folder, port=1, source=film, streams=[stream])
    model = write_color_classifier(folder / "colors.onnx")
    bundle = write_model_bundle(folder / "more", spec=COLOR_SPEC, name="colors", model=model)
    install_bundle(bundle, folder / "device", prove=prove)
    return Assembly(load(path, DeviceConfig), folder)


def test_a_detector_and_a_classifier_run_on_one_stream(tmp_path: Path) -> None:
    assembly, outbox, clock = on_a_device(tmp_path), MemoryOutbox(), FakeClock()
    with assembly.workers(clock) as workers:
        made = assembly.pipeline(assembly.config.streams[0], outbox, workers, clock)
        with made:
            made.run(threading.Event())
    events = [p.event for p in outbox.payloads("/events/dock") if isinstance(p, EventData)]
    last = events[-1].after
    assert last.attributes["colors"] in COLORS
    assert {used.name for used in assembly.used_models} == {"parcels", "colors"}
    assembly.adopt(assembly.config)
    assert {used.name for used in assembly.used_models} == {"parcels", "colors"}
    results = {r.name: r for r in check_device(assembly, clock) if r.kind == "model"}
    assert results["dock, colors"].detail.startswith("colors 1.0.0, variant fp32, by onnxruntime")


@pytest.mark.parametrize(
    ("stage", "error", "message"),
    [
        ({"model": "gone"}, InstallError, "model 'gone' is not installed"),
        ({"model": "parcels"}, SpecMismatchError, "'detect' cannot take a second look"),
        ({"labels": ["lorry"]}, SpecMismatchError, "finds no 'lorry'"),
    ],
)
def test_what_could_never_answer_is_refused(
    tmp_path: Path, stage: dict[str, object], error: type[Exception], message: str
) -> None:
    assembly = on_a_device(tmp_path, **stage)
    with pytest.raises(error, match=message):
        assembly.pipeline(
            assembly.config.streams[0], MemoryOutbox(), assembly.workers(FakeClock()), FakeClock()
        )


def test_answers_need_names_of_their_own() -> None:
    text = "{name: a, model: m, source: {type: usb}, second: [{model: c}, {model: c}]}"
    with pytest.raises(ConfigError, match="second need names that differ"):
        load_text(text, StreamConfig)
    two = load_text(text.replace("c}]", "c, attribute: other}]"), StreamConfig).second
    assert [stage.name for stage in two] == ["c", "other"]
