"""Timings of the hot paths on one core: ``make bench``.

Median of repeated calls; nothing is asserted, because machines differ.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec, SequenceInput
from edgehaul.config.device import SpoolSection, StreamConfig
from edgehaul.config.recordings import FileSource
from edgehaul.config.zones import ZoneConfig
from edgehaul.geometry import Box, Point
from edgehaul.messages import codec
from edgehaul.messages.payloads import DetectedObject, DetectionsData
from edgehaul.messages.topics import DeviceTopics
from edgehaul.motion.windows import Windower, windows_of
from edgehaul.values import Detection, Track
from edgehaul.virtual.conveyor import PARCEL_LABELS, Conveyor
from edgehaul.virtual.truck import TruckTrip
from edgehaul.vision.decode import decoder_for
from edgehaul.vision.preprocess import Preprocessor
from edgehaul_agent.delivery.spool import Spool
from edgehaul_agent.events.rules import StreamRules
from edgehaul_agent.tracking.tracker import Tracker, TrackerSettings

TOPICS = DeviceTopics("bench", "bench")
WARM_UP_S = 0.1
MEASURED_S = 0.5
OBJECTS = 5
CROWD = 20
ZONES = tuple(
    ZoneConfig(
        name=f"zone-{number}",
        points=tuple(Point(130 * number + x, 120 * number + y) for x, y in outline),
        dwell_after_s=5,
        max_objects=3,
    )
    for number, outline in enumerate(
        [((0, 0), (200, 10), (250, 150), (120, 260), (-20, 140), (20, 70))] * 4
    )
)


def median_us(call: Callable[[int], object]) -> float:
    """Call with 0, 1, 2, ... and return the median time in microseconds."""
    times: list[float] = []
    started = time.perf_counter()
    index = 0
    while time.perf_counter() - started < WARM_UP_S + MEASURED_S:
        before = time.perf_counter()
        call(index)
        after = time.perf_counter()
        if after - started > WARM_UP_S or not times:
            times.append(after - before)
        index += 1
    return statistics.median(times) * 1e6


def pictures() -> dict[str, Callable[[int], object]]:
    """The path of a picture, without the model."""
    conveyor = Conveyor(seed=1)
    image = conveyor.frame(100).image
    spec = ImageInput(width=320, height=240)
    preprocess = Preprocessor(spec)
    _, placement = preprocess(image)
    model = ModelSpec(
        task="detect", input=spec, output=OutputSpec(head="edgehaul", labels=PARCEL_LABELS)
    )
    decode = decoder_for(model)
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 200, (1, 1500, 2))
    boxes = np.concatenate([corners, corners + 40], axis=2).astype(np.float32)
    scores = rng.beta(0.5, 8, (1, 1500, 3)).astype(np.float32)
    return {
        "render a conveyor frame 640x480": conveyor.frame,
        "preprocess 640x480 to 320x240 uint8": lambda _: preprocess(image),
        "decode 1500 cells, 3 classes": lambda _: decode([boxes, scores], placement),
    }


def objects() -> dict[str, Callable[[int], object]]:
    """What happens to detections."""
    tracker = Tracker(TrackerSettings())
    message = DetectionsData(
        frame=1,
        width=640,
        height=480,
        objects=tuple(
            DetectedObject(label="parcel", score=0.9, box=Box(i, i, i + 40, i + 40), track_id=i)
            for i in range(OBJECTS)
        ),
    )
    envelope = codec.uncounted(message, topics=TOPICS, captured_at_s=1.0)
    content = codec.encode(envelope)

    def track(index: int) -> object:
        shift = index % 400
        found = [
            Detection(Box(shift, 80.0 * row, shift + 60, 80.0 * row + 50), 0, "parcel", 0.9)
            for row in range(OBJECTS)
        ]
        return tracker.update(
            found, frame=index, captured_at_s=index / 25, width=640.0, height=480.0
        )

    return {
        f"track {OBJECTS} objects": track,
        f"{len(ZONES)} zones, {CROWD} objects": crowd_in_zones(),
        f"encode a message of {OBJECTS} objects": lambda _: codec.encode(envelope),
        f"decode a message of {OBJECTS} objects": lambda _: codec.decode(content),
    }


def crowd_in_zones() -> Callable[[int], object]:
    """Objects that walk through zones, known as tracks."""
    config = StreamConfig(
        name="bench", source=FileSource(path="unused.mp4"), model="m", zones=ZONES
    )
    rules = StreamRules(msgspec.structs.replace(config, publish=("zones",)), 1)
    rng = np.random.default_rng(0)
    place, step = rng.uniform(0, 640, (CROWD, 2)), rng.uniform(-3, 3, (CROWD, 2))
    frames = []
    for frame in range(500):
        corners = np.hstack([place, place + 40]).tolist()
        frames.append(
            [
                Track(i, Detection(Box(*box), 0, "person", 0.9), 0.0, 0.0, frame + 1, {"person": 1})
                for i, box in enumerate(corners)
            ]
        )
        place += step
        step = np.where((place < 0) | (place > 640), -step, step)
    frames += frames[::-1]
    return lambda index: rules.update(frames[index % len(frames)], (), index / 25)


def traces() -> dict[str, Callable[[int], object]]:
    """The path of a fix, without the model."""
    spec = SequenceInput(
        features=("speed_mps", "acceleration_mps2", "heading_rate_dps"),
        window=20,
        interval_s=1.0,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
    )
    fixes = TruckTrip(seed=1, duration_s=300).fixes
    windower = Windower(spec)
    moving = iter(TruckTrip(seed=2, duration_s=86_400).fixes)
    return {
        "take in one fix": lambda _: windower.push(next(moving)),
        "windows of a trip of 300 s": lambda _: windows_of(fixes, spec),
    }


def main() -> None:
    """Print one line for each hot path."""
    for name, call in (pictures() | objects() | traces()).items():
        sys.stdout.write(f"{name:<40} {median_us(call):>10.1f} us\n")
    payload = DetectionsData(frame=1, width=640, height=480, objects=())
    with (
        tempfile.TemporaryDirectory() as folder,
        Spool(Path(folder), SpoolSection(), TOPICS) as spool,
    ):

        def put(index: int) -> None:
            spool.put(
                payload,
                topic=TOPICS.detections("bench"),
                lane="telemetry",
                captured_at_s=float(index),
            )

        sys.stdout.write(f"{'put a message into the spool':<40} {median_us(put):>10.1f} us\n")


if __name__ == "__main__":
    main()
