"""Clips of a running agent: of the virtual conveyor, and at a signal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehaul.bundle.spec import ImageInput
from edgehaul.config.clips import ClipSection
from edgehaul.config.device import CountingLine, StreamConfig
from edgehaul.config.recordings import VirtualConveyorSource
from edgehaul.messages.payloads import CountEvent, EventData
from edgehaul.messages.topics import DeviceTopics
from edgehaul.values import Detection, Image
from edgehaul.virtual.conveyor import Conveyor
from edgehaul.vision.placement import Placement
from edgehaul.vision.preprocess import Canvas
from edgehaul_agent.media.film import FilmArchive
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.pipeline.camera import StreamPipeline
from edgehaul_agent.pipeline.clips import Clips
from edgehaul_agent.pipeline.workers import WorkerPool
from edgehaul_agent.sources.factory import frame_source
from tests.brokers import free_port
from tests.fakes.devices import make_device
from tests.fakes.running import wait_until
from tests.fakes.streams import FakeClock, MemoryOutbox

FPS = 25.0


class KnowingModel:
    """Finds what is truly on the belt; it is shown every frame, in order."""

    certain_score = 0.5
    gives_objects = True

    def __init__(self, conveyor: Conveyor) -> None:
        self._conveyor = conveyor
        self._next = 0

    def canvas(self) -> Canvas:
        """Return a canvas of the belt's size."""
        return Canvas(ImageInput(width=self._conveyor.width, height=self._conveyor.height))

    def judge(self, canvas: Canvas, placement: Placement) -> Sequence[Detection]:
        """Return the truth of the next frame."""
        del canvas, placement
        frame = self._conveyor.frame(self._next)
        self._next += 1
        return [Detection(parcel.box, 0, "parcel", 0.9) for parcel in frame.truth]


def frames_of(path: Path) -> list[Image]:
    film, images = cv2.VideoCapture(str(path)), []
    assert film.get(cv2.CAP_PROP_FPS) == pytest.approx(5)
    while (read := film.read())[0]:
        images.append(np.asarray(read[1], np.uint8))
    return images


def run(config: StreamConfig, model: object, folder: Path, stop: threading.Event) -> MemoryOutbox:
    """Run a stream to its end, its clips below ``folder``."""
    clock, outbox = FakeClock(), MemoryOutbox()
    pipeline = StreamPipeline(
        config,
        source=frame_source(config, folder=folder, clock=clock),
        model=model,
        outlet=StreamOutlet(outbox, DeviceTopics("depot", "box-1"), config.name),
        workers=WorkerPool(1, clock),
        clock=clock,
    )
    with FilmArchive(folder / "media", clock) as archive, pipeline.workers, pipeline:
        assert config.clips is not None
        pipeline.clips = Clips(archive, config.name, config.clips, pipeline.metrics)
        pipeline.run(stop)
    health = pipeline.metrics.take()
    assert health.clips > 0
    assert health.clips_lost == 0
    return outbox


def told(outbox: MemoryOutbox, stream: str) -> list[tuple[float, EventData]]:
    return [
        (m.captured_at_s, m.payload)
        for m in outbox.messages
        if m.topic.endswith(f"/events/{stream}") and isinstance(m.payload, EventData)
    ]


def test_a_parcel_that_crosses_the_line_is_in_its_clip(tmp_path: Path) -> None:
    frames = 400
    conveyor = Conveyor(seed=4, fps=FPS)
    config = StreamConfig(
        name="belt",
        model="parcels",
        source=VirtualConveyorSource(seed=4, fps=FPS, frames=frames),
        lines=(CountingLine(name="out", points=conveyor.counting_line()),),
        clips=ClipSection(events=("count",), pre_s=3, post_s=2, max_edge_px=320),
        publish=("counts",),
    )
    outbox = run(config, KnowingModel(conveyor), tmp_path, threading.Event())
    events = [(at_s, data) for at_s, data in told(outbox, "belt") if data.clip]
    assert events
    assert all(isinstance(data.event, CountEvent) for _, data in events)
    first_s = FakeClock().now_s() - frames / FPS
    names = list(dict.fromkeys(data.clip for _, data in events))
    for name in names:
        images = frames_of(tmp_path / name)
        times_s = [at_s - first_s for at_s, data in events if data.clip == name]
        start_s = max(0.0, times_s[0] - 3)
        end_s = min(times_s[-1] + 2, frames / FPS)
        assert len(images) / 5 == pytest.approx(end_s - start_s, abs=0.21)
        for at_s in times_s:
            number = int((at_s - start_s) * 5)
            middle_s = start_s + (number + 0.5) / 5
            # Kept is the first frame of each fifth of a second, so this or the one before.
            likeness = [
                cv2.PSNR(images[number], cv2.resize(conveyor.frame(index).image, (320, 240)))
                for index in range(round(middle_s * FPS) - 6, round(middle_s * FPS) + 1)
            ]
            empty = cv2.PSNR(images[number], cv2.resize(conveyor.frame(0).image, (320, 240)))
            assert max(likeness) > 28
            assert max(likeness) > empty + 4, "the parcel is in the picture"


def test_a_signal_ends_a_clip_whole(tmp_path: Path) -> None:
    source = {"type": "virtual_conveyor", "width": 160, "height": 120, "realtime": True}
    stream = {
        "name": "dock",
        "model": "parcels",
        "source": source,
        "snapshots": {"events": ["track"]},
        "clips": {"events": ["track"], "post_s": 60, "pre_s": 1, "max_s": 600},
    }
    config = make_device(tmp_path, port=free_port(), source=source, streams=[stream])
    words = [sys.executable, "-m", "edgehaul_agent", "run", "--config", str(config), "--json"]
    folder = tmp_path / "device/media/dock"
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            wait_until(lambda: any(folder.rglob("*.jpg")), timeout_s=60)
            assert not list(folder.rglob("*.webm")), "it goes on for a minute"
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    assert b"OpenCV" not in errors
    report = json.loads(output)["streams"]["dock"]
    assert report["clips_lost"] == 0
    (clip,) = folder.rglob("*.webm")
    assert len(frames_of(clip)) >= 1
    assert not list(folder.rglob("*.partial*"))
