"""The stages of a stream with a stopwatch around each, behind their own interfaces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from edgehaul.bundle.spec import ImageInput
from edgehaul.config.device import StreamConfig
from edgehaul.config.engine import EngineSection
from edgehaul.messages.envelope import Payload
from edgehaul.messages.payloads import CameraEvent, Lane
from edgehaul.values import Detection, Frame, Image, Track
from edgehaul.vision.placement import Placement
from edgehaul.vision.preprocess import Canvas, TensorBuffer
from edgehaul_agent.benching.stopwatch import Stopwatch
from edgehaul_agent.benching.wrapped import WrappedSource
from edgehaul_agent.engines import EngineOpener
from edgehaul_agent.events.rules import StreamRules
from edgehaul_agent.inference.engine import Array, Engine, TensorInfo
from edgehaul_agent.inference.pictures import PictureModel
from edgehaul_agent.outlet import Outbox
from edgehaul_agent.sources.base import FrameSource, always
from edgehaul_agent.tracking.tracker import TrackedFrame, Tracker, TrackerSettings


class TimedSource(WrappedSource):
    """A source; what it asks its reader is none of its own time."""

    def __init__(self, source: FrameSource, watch: Stopwatch) -> None:
        super().__init__(source)
        self._stopwatch = watch

    def frames(self, wants: Callable[[], bool] = always) -> Iterator[Frame]:
        """Yield the frames."""
        watch = self._stopwatch
        frames = self._source.frames(lambda: watch.measure("rest", wants))
        while (frame := watch.measure("decode", next, frames, None)) is not None:
            yield frame


class TimedEngine:
    """An engine; what runs besides on threads of the runtime is not seen here."""

    def __init__(self, engine: Engine, watch: Stopwatch) -> None:
        self._engine = engine
        self._stopwatch = watch

    @property
    def inputs(self) -> Sequence[TensorInfo]:
        """The model's inputs."""
        return self._engine.inputs

    @property
    def outputs(self) -> Sequence[TensorInfo]:
        """The model's outputs."""
        return self._engine.outputs

    @property
    def providers(self) -> Sequence[str]:
        """What really runs it."""
        return self._engine.providers

    def run(self, tensor: Array) -> list[Array]:
        """Run the model."""
        return self._stopwatch.measure("run", self._engine.run, tensor)


class TimedOpener(EngineOpener):
    """Opens models whose runs are timed."""

    def __init__(
        self, section: EngineSection, root: Path, *, workers: int, watch: Stopwatch
    ) -> None:
        super().__init__(section, root, workers=workers)
        self._stopwatch = watch
        self.opened: list[Engine] = []
        """Every engine that it has opened, in order."""

    def open(self, path: Path, threads: int = 1, *, optimised: bool = False) -> Engine:
        """Load a model."""
        engine = TimedEngine(super().open(path, threads, optimised=optimised), self._stopwatch)
        self.opened.append(engine)
        return engine


class TimedCanvas(Canvas):
    """A canvas."""

    def __init__(self, spec: ImageInput, watch: Stopwatch) -> None:
        super().__init__(spec)
        self._stopwatch = watch

    def place(self, image: Image) -> Placement:
        """Bring a picture onto it."""
        return self._stopwatch.measure("canvas", super().place, image)

    def into(self, tensor: TensorBuffer) -> Array:
        """Turn it into numbers."""
        return self._stopwatch.measure("canvas", super().into, tensor)


class TimedModel:
    """A model; its engine has a stopwatch of its own, so that the head's is what is left."""

    def __init__(self, model: PictureModel, watch: Stopwatch) -> None:
        self._model = model
        self._stopwatch = watch

    @property
    def certain_score(self) -> float:
        """Score from which a detection counts."""
        return self._model.certain_score

    @property
    def gives_objects(self) -> bool:
        """Whether it finds objects that can be followed."""
        return self._model.gives_objects

    def canvas(self) -> Canvas:
        """Return a canvas for one picture in flight."""
        return TimedCanvas(self._model.canvas().spec, self._stopwatch)

    def judge(self, canvas: Canvas, placement: Placement) -> tuple[Detection, ...]:
        """Return what is in a picture on a canvas."""
        return self._stopwatch.measure("head", self._model.judge, canvas, placement)

    def look(self, image: Image) -> tuple[Detection, ...]:
        """Return what is in a picture."""
        return self._model.look(image)


class TimedTracker(Tracker):
    """A tracker."""

    def __init__(self, settings: TrackerSettings, watch: Stopwatch) -> None:
        super().__init__(settings)
        self._stopwatch = watch

    def update(
        self,
        detections: Sequence[Detection],
        *,
        frame: int,
        captured_at_s: float,
        width: float,
        height: float,
    ) -> TrackedFrame:
        """Follow the objects of the next frame."""
        return self._stopwatch.measure(
            "tracking",
            super().update,
            detections,
            frame=frame,
            captured_at_s=captured_at_s,
            width=width,
            height=height,
        )


class TimedRules(StreamRules):
    """The rules of a stream."""

    def __init__(self, config: StreamConfig, confirm_hits: int, watch: Stopwatch) -> None:
        super().__init__(config, confirm_hits)
        self._stopwatch = watch

    def update(
        self, seen: Sequence[Track], ended: Iterable[Track], captured_at_s: float
    ) -> Iterator[CameraEvent]:
        """Take in the tracks of the next frame."""
        return self._stopwatch.measure("rules", super().update, seen, ended, captured_at_s)


class TimedOutbox:
    """An outbox."""

    def __init__(self, outbox: Outbox, watch: Stopwatch) -> None:
        self._outbox = outbox
        self._stopwatch = watch

    def put(
        self,
        payload: Payload,
        *,
        topic: str,
        lane: Lane,
        captured_at_s: float,
        subject: str = "",
    ) -> None:
        """Hand a message on."""
        self._stopwatch.measure(
            "delivery",
            self._outbox.put,
            payload,
            topic=topic,
            lane=lane,
            captured_at_s=captured_at_s,
            subject=subject,
        )
