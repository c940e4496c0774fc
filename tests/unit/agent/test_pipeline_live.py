"""A whole pipeline on a live camera: it runs, and ends with the agent."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgehaul.config.cameras import MjpegSource
from edgehaul.config.device import StreamConfig
from edgehaul.messages.topics import DeviceTopics
from edgehaul_agent.app import StoppableClock
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.pipeline.camera import StreamPipeline
from edgehaul_agent.pipeline.workers import WorkerPool
from edgehaul_agent.sources.factory import frame_source
from tests.fakes.http_camera import HttpCamera, http_camera
from tests.fakes.streams import MemoryOutbox, ScriptedModel

TOPICS = DeviceTopics("site", "box")


@pytest.fixture
def camera() -> Iterator[HttpCamera]:
    with http_camera() as running:
        yield running


@pytest.mark.parametrize("policy", ["every", "latest"])
@pytest.mark.parametrize("ends", ["running", "silent", "gone"])
def test_it_reads_and_stops_within_a_second(camera: HttpCamera, policy: str, ends: str) -> None:
    stop = threading.Event()
    clock = StoppableClock(stop)
    config = StreamConfig(
        name="gate",
        model="m",
        source=MjpegSource(url=camera.url, read_timeout_s=20 if ends == "silent" else 0.5),
        policy=policy,  # type: ignore[arg-type]  # one of the two
    )
    outbox, workers = MemoryOutbox(), WorkerPool(1, clock)
    pipeline = StreamPipeline(
        config,
        source=frame_source(config, folder=Path(), clock=clock),
        model=ScriptedModel(lambda _index: ()),
        outlet=StreamOutlet(outbox, TOPICS, "gate"),
        workers=workers,
        clock=clock,
    )
    with workers, pipeline:
        running = threading.Thread(target=pipeline.run, args=(stop,), daemon=True)
        running.start()
        until_s = time.monotonic() + 10
        while len(outbox.payloads("detections/gate")) < 5:
            assert time.monotonic() < until_s
            time.sleep(0.01)
        if ends != "running":
            camera.is_silent = True
            camera.frames = 0 if ends == "gone" else camera.frames
            count = -1
            while count != len(outbox.messages):
                count = len(outbox.messages)
                time.sleep(0.2)
        stopped_at_s = time.monotonic()
        stop.set()
        running.join(5)
        assert time.monotonic() - stopped_at_s < 1
    assert not running.is_alive()
