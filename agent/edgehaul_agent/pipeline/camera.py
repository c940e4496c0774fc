"""From a camera to messages: the composition of the stages for one stream."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import msgspec

from edgehaul.clock import Clock
from edgehaul.config.device import StreamConfig
from edgehaul.errors import DataError
from edgehaul.messages.payloads import (
    CameraEvent,
    DetectedObject,
    DetectionsData,
)
from edgehaul.values import Detection, Frame
from edgehaul_agent.events.rules import StreamRules
from edgehaul_agent.health.metrics import StreamMetrics
from edgehaul_agent.inference.pictures import PictureModel
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.sources.base import FrameSource
from edgehaul_agent.sources.mailbox import Mailbox
from edgehaul_agent.tracking.tracker import TrackedFrame, Tracker, TrackerSettings

_log = logging.getLogger(__name__)


class _TakenFrame(msgspec.Struct, frozen=True):
    """A frame and when it came out of its source, on the monotonic clock."""

    frame: Frame
    taken_at_s: float


class StreamPipeline:
    """One camera stream. Open it with ``with``, then call :meth:`run` once.

    Decoding has a thread of its own; model, tracker and rules share the caller's, since a
    tracker belongs to one thread. A frame is done when all its messages are in the outbox.

    Args:
        config: The stream.
        source: Where frames come from.
        model: Looks at them; belongs to this stream alone.
        outlet: Takes the results.
        clock: Measures latencies.
    """

    def __init__(
        self,
        config: StreamConfig,
        *,
        source: FrameSource,
        model: PictureModel,
        outlet: StreamOutlet,
        clock: Clock,
    ) -> None:
        self.name = config.name
        self.metrics = StreamMetrics(clock, self)
        self._config = config
        self._source = source
        self._model = model
        self._outlet = outlet
        self._clock = clock
        self._mailbox: Mailbox[_TakenFrame] = Mailbox(config.policy)
        self._unusable = 0
        self._last_captured_at_s = 0.0
        settings = TrackerSettings(certain_score=model.certain_score)
        self._tracker = Tracker(settings)
        self._rules = StreamRules(config, settings.confirm_hits)

    def __enter__(self) -> Self:
        """Open the source.

        Raises:
            SourceError: It cannot be opened.
        """
        self._source.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""
        self._source.__exit__(kind, error, trace)

    def run(self, stop: threading.Event) -> None:
        """Process frames until the source ends or ``stop`` is set.

        Frames that were taken out of the source before ``stop`` are processed to the end.

        Raises:
            SourceError: The source failed for good; what it gave before is processed.
            ModelError: The model failed.
            SpoolError: Results can no longer be stored.
        """
        with ThreadPoolExecutor(1, thread_name_prefix=f"read-{self.name}") as executor:
            reading = executor.submit(self._read, stop)
            try:
                for taken in self._mailbox:
                    self._process(taken)
            finally:
                self._mailbox.abandon()
            self._finish()
            reading.result()

    def dropped(self) -> int:
        """Frames refused by policy or stride."""
        return self._mailbox.dropped + self._source.skipped

    def bad(self) -> int:
        """Frames that could not be decoded or used."""
        return self._source.bad + self._unusable

    def _read(self, stop: threading.Event) -> None:
        try:
            frames = self._source.frames()
            # Room first: a frame that waits in a queue would only grow old.
            while self._mailbox.wait_for_room() and not stop.is_set():
                frame = next(frames, None)
                if frame is None:
                    return
                self._mailbox.put(_TakenFrame(frame, self._clock.monotonic_s()))
        finally:
            self._mailbox.close()

    def _process(self, taken: _TakenFrame) -> None:
        frame = taken.frame
        try:
            found = self._model.look(frame.image)
        except DataError as error:
            self._unusable += 1
            _log.warning("%s: frame %d passed over: %s", self.name, frame.index, error)
            return
        tracked = self._follow(frame, found)
        latency_ms = (self._clock.monotonic_s() - taken.taken_at_s) * 1000
        self._last_captured_at_s = frame.captured_at_s
        if "detections" in self._config.publish:
            self._tell_detections(frame, found, tracked.track_ids, latency_ms)
        at_s = frame.captured_at_s
        self._tell_events(self._rules.update(tracked.seen, tracked.ended, at_s), at_s)
        self.metrics.processed(latency_ms)

    def _follow(self, frame: Frame, found: Sequence[Detection]) -> TrackedFrame:
        if not self._model.gives_objects:
            return TrackedFrame((), (), (None,) * len(found))
        height, width = frame.image.shape[:2]
        return self._tracker.update(
            found,
            frame=frame.index,
            captured_at_s=frame.captured_at_s,
            width=width,
            height=height,
        )

    def _tell_detections(
        self,
        frame: Frame,
        found: Sequence[Detection],
        track_ids: Sequence[int | None],
        latency_ms: float,
    ) -> None:
        height, width = frame.image.shape[:2]
        objects = tuple(
            _object_of(detection, track_id)
            for detection, track_id in zip(found, track_ids, strict=True)
            if detection.score >= self._model.certain_score
        )
        data = DetectionsData(
            frame=frame.index,
            width=width,
            height=height,
            objects=objects,
            model=self._config.model,
            latency_ms=round(latency_ms, 2),
        )
        self._outlet.detections(data, captured_at_s=frame.captured_at_s)

    def _tell_events(self, events: Iterable[CameraEvent], captured_at_s: float) -> None:
        for event in events:
            self._outlet.event(event, captured_at_s=captured_at_s)

    def _finish(self) -> None:
        """End the tracks that are still alive."""
        at_s = self._last_captured_at_s
        self._tell_events(self._rules.close(at_s, self._tracker.close()), at_s)


def _object_of(detection: Detection, track_id: int | None) -> DetectedObject:
    """Return a detection as messages show it."""
    return DetectedObject(
        label=detection.label,
        score=round(detection.score, 4),
        box=detection.box.rounded(),
        track_id=track_id,
    )
