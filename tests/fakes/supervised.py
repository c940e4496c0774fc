"""Streams under a supervisor, on scripted sources and models and a clock set by hand."""

from __future__ import annotations

import itertools
import random
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Self

import numpy as np

from edgehaul.clock import Clock
from edgehaul.config.device import StreamConfig
from edgehaul.config.recordings import VirtualConveyorSource
from edgehaul.config.service import SupervisionSection
from edgehaul.messages.health import SourceState
from edgehaul.messages.topics import DeviceTopics
from edgehaul.values import Detection, Frame
from edgehaul_agent.attempt import Attempt
from edgehaul_agent.keeper import Keeper
from edgehaul_agent.outlet import Outbox, StreamOutlet
from edgehaul_agent.pipeline.camera import StreamPipeline
from edgehaul_agent.pipeline.workers import WorkerPool
from edgehaul_agent.sources.base import Condition, Wants, always
from edgehaul_agent.supervisor import Supervisor
from tests.fakes.running import wait_until
from tests.fakes.streams import FakeClock, MemoryOutbox, ScriptedModel

TOPICS = DeviceTopics("depot", "gate-3")
ENDLESS = VirtualConveyorSource()


class Camera:
    """A live camera: it gives a frame whenever the test lets it, without end.

    Args:
        before: Called with the number of each frame before it is given.
        stop: Ends it, as it ends real sources by waking their clock's sleepers.
    """

    def __init__(self, before: Callable[[int], None], stop: threading.Event) -> None:
        self.bad = self.skipped = self.strided = 0
        self.state: SourceState = "live"
        self.last_fault = ""
        self.is_open = False
        self.allowed = threading.Semaphore(0)
        self.closing = threading.Event()
        self._before = before
        self._stop = stop

    def __enter__(self) -> Self:
        self.is_open = True
        return self

    def __exit__(self, *exception: object) -> None:
        self.is_open = False

    def condition(self) -> Condition:
        return Condition(self.state, self.last_fault)

    def frames(self, wants: Wants = always) -> Iterator[Frame]:
        index = 0
        while not (self.closing.is_set() or self._stop.is_set()):
            if not self.allowed.acquire(timeout=0.01):
                continue
            self._before(index)
            if wants():
                image = np.zeros((480, 640, 3), np.uint8)
                image[0, 0] = [index % 256, index // 256, 0]
                yield Frame("dock", index, 1_000.0 + index / 25, image)
            index += 1


def nothing(_index: int) -> Sequence[Detection]:
    """Find nothing in any frame."""
    return ()


class Hang:
    """A model's script that hangs once.

    Args:
        at: In its answer with this number.

    Attributes:
        entered: Set when it hangs.
        release: Set it to let it go on.
    """

    def __init__(self, at: int = 0) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()
        self._at = at
        self._answers = itertools.count()

    def __call__(self, _index: int) -> Sequence[Detection]:
        if next(self._answers) == self._at:
            self.entered.set()
            assert self.release.wait(60)
        return ()


class Rig:
    """A supervisor over cameras; use it in ``with``.

    Args:
        names: Names of the streams.
        outbox: Takes the results.
        section: Patience.
        workers: Number of workers.

    Attributes:
        cameras: The newest camera of each stream.
        script: Answers of each stream's model; may be set before it is built.
        building: Called with the stream's name when it is built; may raise.
        pipelines: Those that were built, as far as anybody keeps them.
        silent: Names of streams whose cameras are there and give nothing.
    """

    def __init__(
        self,
        names: Sequence[str] = ("dock",),
        *,
        outbox: Outbox | None = None,
        section: SupervisionSection | None = None,
        workers: int = 1,
    ) -> None:
        self.clock = FakeClock()
        self.memory = MemoryOutbox()
        self.outbox = outbox or self.memory
        self.section = section or SupervisionSection()
        self.cameras: dict[str, Camera] = {}
        self.made: list[Camera] = []
        self.script: dict[str, Callable[[int], Sequence[Detection]]] = {}
        self.before: dict[str, Callable[[int], None]] = {}
        self.building: Callable[[str], None] = lambda _name: None
        self.built: list[str] = []
        self.silent: set[str] = set()
        self.pipelines: list[weakref.ref[StreamPipeline]] = []
        self.workers = WorkerPool(workers, self.clock)
        self.configs = [StreamConfig(name=n, model="m", source=ENDLESS) for n in names]
        self.supervisor = Supervisor(
            self._attempt, self.section, clock=self.clock, chance=random.Random(1)
        )

    def __enter__(self) -> Self:
        self.workers.__enter__()
        self.supervisor.keep(self.configs, self.section)
        return self

    def __exit__(self, *exception: object) -> None:
        self.supervisor.stop()
        for camera in self.made:
            camera.closing.set()
        self.until(lambda: self.supervisor.is_over)
        self.workers.__exit__()

    def _attempt(self, keeper: Keeper, changed: Callable[[], None]) -> Attempt:
        stream, stops = keeper.stream, []
        assert isinstance(stream, StreamConfig)

        def build(outbox: Outbox, clock: Clock) -> StreamPipeline:
            self.built.append(stream.name)
            self.building(stream.name)
            camera = Camera(self.before.get(stream.name, lambda _index: None), stops[0])
            self.cameras[stream.name] = camera
            self.made.append(camera)
            made = StreamPipeline(
                stream,
                source=camera,
                model=ScriptedModel(self.script.get(stream.name, nothing)),
                outlet=StreamOutlet(outbox, TOPICS, stream.name),
                workers=self.workers,
                clock=clock,
                metrics=keeper.metrics,
            )
            self.pipelines.append(weakref.ref(made))
            return made

        def stoppable(stop: threading.Event) -> Clock:
            stops.append(stop)
            return self.clock

        return Attempt(
            stream.name,
            build,
            self.outbox,
            clock=self.clock,
            changed=changed,
            stoppable=stoppable,
        )

    def keeper(self, name: str = "dock") -> Keeper:
        """Return the keeper of a stream."""
        return self.supervisor.keepers[name]

    def until(self, condition: Callable[[], bool]) -> None:
        """Let the supervisor work until something has come about, without time passing."""

        def come() -> bool:
            self.supervisor.step()
            return condition()

        wait_until(come)

    def run(self, name: str = "dock") -> None:
        """Wait until a stream runs."""
        self.until(lambda: name in self.supervisor.keepers and self.keeper(name).state == "running")

    def give(self, frames: int = 1, name: str = "dock") -> None:
        """Let the camera give frames, and wait until they are processed or fail."""
        before = self.keeper(name).metrics.total().processed
        restarts = self.keeper(name).metrics.restarts
        self.cameras[name].allowed.release(frames)

        def done() -> bool:
            keeper = self.keeper(name)
            if (keeper.state, keeper.metrics.restarts) != ("running", restarts):
                return True
            # No time may pass for the worker before it has put its tools away.
            is_idle = keeper._attempt._watch._seat.state == "idle"
            return is_idle and keeper.metrics.total().processed >= before + frames

        self.until(done)

    def fail(self, name: str = "dock") -> None:
        """Let the camera give frames until the stream has failed over them."""

        def has_failed() -> bool:
            self.cameras[name].allowed.release()
            return self.keeper(name).state in {"waiting", "failed"}

        self.until(has_failed)

    def pass_time(self, duration_s: float) -> None:
        """Let time pass as it does: the supervisor looks several times a second.

        Cameras that are not in ``silent`` pass frames over meanwhile, which their stride refuses.
        """
        for _ in range(round(duration_s * 4)):
            self.clock.sleep(0.25)
            for name, camera in self.cameras.items():
                camera.skipped += name not in self.silent
            self.supervisor.step()
