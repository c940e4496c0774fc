"""What an agent that did nothing but decode each frame and run the model on it would need.

As many threads decode and run as in the agent, so that both share the processors alike. A video
file is decoded by OpenCV alone, none of ours around it; the model is run on one tensor that lies
ready, with the session, the graph and the threads that the agent takes.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from edgehaul.clock import SystemClock
from edgehaul.config.device import StreamConfig
from edgehaul.config.recordings import FileSource
from edgehaul.errors import SourceError
from edgehaul.vision.preprocess import Preprocessor
from edgehaul_agent.assembly import Assembly
from edgehaul_agent.benching.gauge import Gauge
from edgehaul_agent.benching.job import Job
from edgehaul_agent.benching.metered_assembly import timed_opener
from edgehaul_agent.benching.stopwatch import Stopwatch
from edgehaul_agent.inference.engine import Array, Engine
from edgehaul_agent.pipeline.workers import default_workers
from edgehaul_agent.sources.opencv import quiet_opencv

_SEED = 0
_Turns = queue.Queue[str]
"""Names of streams whose frame is to be run; an empty one ends a worker."""


def run_ideal(job: Job, gauge: Gauge, watch: Stopwatch) -> None:
    """Decode and run until the gauge says that it is enough.

    Raises:
        EdgeHaulError: The model or the source cannot be used.
    """
    opener = timed_opener(job, watch)
    assembly = Assembly(job.config, Path(job.folder), opener=opener)
    streams = job.config.streams
    model = assembly.picture_model(streams[0])
    noise = np.random.default_rng(_SEED).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    tensor, _ = Preprocessor(model.canvas().spec)(noise)
    workers = job.config.workers or default_workers()
    turns: _Turns = queue.Queue(maxsize=len(streams))
    with ThreadPoolExecutor(workers) as runners, ThreadPoolExecutor(len(streams)) as readers:
        running = [
            runners.submit(_run, opener.opened[-1], tensor, turns, gauge) for _ in range(workers)
        ]
        reading = [readers.submit(_decode, assembly, one, turns, gauge) for one in streams]
        try:
            for reader in reading:
                reader.result()
        finally:
            for _ in running:
                turns.put("")
        for runner in running:
            runner.result()


def _decode(assembly: Assembly, stream: StreamConfig, turns: _Turns, gauge: Gauge) -> None:
    for number, _ in enumerate(_pictures(assembly, stream)):
        if not gauge.begin(number):
            return
        turns.put(stream.name)


def _run(engine: Engine, tensor: Array, turns: _Turns, gauge: Gauge) -> None:
    while name := turns.get():
        engine.run(tensor)
        gauge.finish(name)


def _pictures(assembly: Assembly, stream: StreamConfig) -> Iterator[None]:
    """Yield after each decoded frame, without end."""
    if not isinstance(stream.source, FileSource):
        with assembly.frame_source(stream, SystemClock()) as source:
            yield from (None for _ in source.frames())
        return
    quiet_opencv()
    picture = None
    while True:
        capture = cv2.VideoCapture(stream.source.path, cv2.CAP_FFMPEG)
        decoded, picture = capture.read(picture)
        if not decoded:
            raise SourceError("not one frame can be decoded", where=stream.source.path)
        while decoded:
            yield
            decoded, picture = capture.read(picture)
        capture.release()
