"""From a camera to messages: the composition of the stages for one stream."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
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
from edgehaul.values import Detection, Frame, Image, Track
from edgehaul.vision.placement import Placement
from edgehaul.vision.preprocess import Canvas
from edgehaul_agent.events.rules import StreamRules
from edgehaul_agent.gating.hours import HoursGate
from edgehaul_agent.gating.motion import MotionGate
from edgehaul_agent.health.metrics import Reason, StreamMetrics
from edgehaul_agent.inference.pictures import PictureModel
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.pipeline.clips import Clips
from edgehaul_agent.pipeline.handover import Handover
from edgehaul_agent.pipeline.second import SecondLook
from edgehaul_agent.pipeline.snapshots import Snapshots
from edgehaul_agent.pipeline.viewfinder import Viewfinder
from edgehaul_agent.pipeline.watch import Watch
from edgehaul_agent.pipeline.workers import WorkerPool
from edgehaul_agent.sources.base import FrameSource
from edgehaul_agent.tracking.tracker import TrackedFrame, Tracker, TrackerSettings

_log = logging.getLogger(__name__)

_IN_FLIGHT = 2
"""Canvases beside those that wait: one is being filled, one is being looked at."""


class _View(msgspec.Struct, frozen=True):
    """A frame on its way to the model, and when it came out of its source."""

    index: int
    captured_at_s: float
    taken_at_s: float
    canvas: Canvas
    placement: Placement
    picture: Image | None = None
    """A copy of the whole picture, where anybody may need it."""
    is_watched: bool = False


class StreamPipeline:
    """One camera stream. Open it with ``with``, then call :meth:`run` once.

    The caller's thread decodes and brings pictures onto canvases; the workers do the rest, one at
    a time, since a tracker belongs to one frame at a time. A frame is done when all its messages
    are in the outbox.

    Args:
        config: The stream.
        source: Where frames come from.
        model: Looks at them; belongs to this stream alone.
        outlet: Takes the results.
        workers: Run the model.
        clock: Measures latencies.
        metrics: Counters that go on from an earlier run of the stream; new ones otherwise.
    """

    def __init__(
        self,
        config: StreamConfig,
        *,
        source: FrameSource,
        model: PictureModel,
        outlet: StreamOutlet,
        workers: WorkerPool,
        clock: Clock,
        metrics: StreamMetrics | None = None,
    ) -> None:
        self.name = config.name
        self.metrics = metrics or StreamMetrics(clock)
        self.metrics.follow(self)
        self._config = config
        self._source, self._model, self._outlet = source, model, outlet
        self._clock = clock
        self.workers = workers
        self._seat = workers.seat(self._take_turn)
        self._handover: Handover[_View] = Handover(config.policy, self._seat, clock, config.waiting)
        self.viewfinder: Viewfinder | None = None
        """Where people watch, if anywhere; set it before :meth:`run`."""
        self.watch = Watch(
            source.condition,
            clock,
            passed_over=lambda: source.skipped + source.bad,
            seat=self._seat,
            handover=self._handover,
        )
        self._canvases = [model.canvas() for _ in range(config.waiting + _IN_FLIGHT)]
        self._hours = HoursGate(config.hours, config.timezone)
        self._motion = MotionGate(config.motion) if config.motion else None
        # Apart, since live sources ask for the hour on a thread of their own.
        self._motionless = self._at_other_hours = 0
        self._error: BaseException | None = None
        self._unusable = 0
        self._last_captured_at_s = 0.0
        settings = TrackerSettings(certain_score=model.certain_score)
        self.tracker = Tracker(settings)
        """Follows objects; put another in its place before :meth:`run`, if any."""
        self.rules = StreamRules(config, settings.confirm_hits)
        """Tells what the tracked objects do; the same holds."""
        self.second = SecondLook(settings)
        """Looks at single objects; add what to it before :meth:`run`."""
        self.snapshots: Snapshots | None = None
        """Keeps pictures of events, if anything; set it before :meth:`run`."""
        self.clips: Clips | None = None
        """Makes clips of events, if anything; set it before :meth:`run`."""

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
        self.metrics.let_go(self)

    def run(self, stop: threading.Event) -> None:
        """Process frames until the source ends or ``stop`` is set.

        Frames that were taken out of the source before ``stop`` are processed to the end.

        Raises:
            SourceError: The source failed for good; what it gave before is processed.
            ModelError: The model failed.
            SpoolError: Results can no longer be stored.
        """
        try:
            self._read(stop)
        finally:
            self._handover.close()
            self._handover.wait_empty()
            self._seat.leave()
            self.watch.reader.resting()
            self._finish()
        if self._error is not None:
            raise self._error

    def lost(self) -> Mapping[Reason, int]:
        """Return the number of frames that the model did not see, by reason."""
        source, hours = self._source, self._at_other_hours
        return {
            "stride": source.strided,
            # Counted on another thread, a moment later than its parts.
            "policy": max(0, source.skipped - source.strided - hours),
            "queue": self._handover.forgotten,
            "motion": self._motionless,
            "hours": hours,
            "undecodable": source.bad,
            "unusable": self._unusable,
        }

    def reconnects(self) -> int:
        """Return how often the camera was tried to connect again."""
        return self._source.condition().reconnects

    # ---- the thread that reads ----------------------------------------------------------

    def _read(self, stop: threading.Event) -> None:
        self.watch.reader.working()
        for frame in self._source.frames(lambda: self._wants(stop)):
            self.watch.came()
            view = self._view(frame, self._clock.monotonic_s())
            if view is not None:
                self._canvases += [old.canvas for old in self._handover.put(view)]
            if stop.is_set() or not self._handover.open:
                return

    def _wants(self, stop: threading.Event) -> bool:
        last = stop.is_set()
        if not last and self._handover.open and not self._hours.opens(self._clock.now_s()):
            self._at_other_hours += 1
            self.watch.reader.working()
            return False
        self.watch.reader.resting()  # until there is room, which is not the reader's matter
        wanted = self._handover.wants(last=last)
        self.watch.reader.working()
        return wanted

    def _view(self, frame: Frame, taken_at_s: float) -> _View | None:
        canvas = self._canvases.pop()
        try:
            placement = self._placed(canvas, frame.image)
        except DataError as error:
            self._canvases.append(canvas)
            self._unusable += 1
            _log.warning("%s: frame %d passed over: %s", self.name, frame.index, error)
            return None
        if self.clips is not None:
            # Before the motion gate: what led to an event may have been too small for it.
            self.clips.see(frame.image, frame.captured_at_s, is_idle=self._handover.is_idle)
        if self._motion and not self._motion.opens(canvas.picture, frame.captured_at_s):
            self._canvases.append(canvas)
            self._motionless += 1
            return None
        # Copied: the picture's memory may be used for the next frame.
        at_s = frame.captured_at_s
        is_watched = self.viewfinder is not None and self.viewfinder.wants()
        is_kept = is_watched or self.snapshots is not None or self.second.wants(at_s)
        picture = frame.image.copy() if is_kept else None
        return _View(frame.index, at_s, taken_at_s, canvas, placement, picture, is_watched)

    def _placed(self, canvas: Canvas, image: Image) -> Placement:
        """Bring the part of a picture that is looked at onto a canvas; return where it lies.

        Raises:
            DataError: It is no picture, or the region lies outside of it.
        """
        wanted = self._config.region
        if wanted is None:
            return canvas.place(image)
        height, width = image.shape[:2]
        region = wanted.within(width, height)
        if region is None:
            raise DataError(
                f"the region {list(msgspec.to_builtins(wanted))} lies outside of the picture, "
                f"{width}x{height}",
                remedy="correct the stream's region",
            )
        part = image[region.y1 : region.y2, region.x1 : region.x2]
        return canvas.place(part).within(region.x1, region.y1, width, height)

    # ---- the workers --------------------------------------------------------------------

    def _take_turn(self) -> bool:
        view = self._handover.take()
        if view is None:
            return False
        try:
            self._process(view)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that reads
            self._error = error
            self._handover.abandon()
            self.watch.has_failed = True
        self._canvases.append(view.canvas)
        return self._handover.done()

    def _process(self, view: _View) -> None:
        found = self._model.judge(view.canvas, view.placement)
        tracked = self.second.look(view.picture, self._follow(view, found), view.captured_at_s)
        latency_ms = (self._clock.monotonic_s() - view.taken_at_s) * 1000
        self._last_captured_at_s = view.captured_at_s
        if "detections" in self._config.publish:
            self._tell_detections(view, found, tracked, latency_ms)
        at_s = view.captured_at_s
        events = self.rules.update(tracked.seen, tracked.ended, at_s)
        self._tell_events(events, at_s, view.picture, tracked.seen)
        if self.clips is not None:
            self.clips.settle(at_s)
        self.metrics.processed(latency_ms)
        if self.viewfinder and view.is_watched and view.picture is not None:
            shown = [
                (one, track_id)
                for one, track_id in zip(found, tracked.track_ids, strict=True)
                if one.score >= self._model.certain_score
            ]
            self.viewfinder.show(view.picture, shown)

    def _follow(self, view: _View, found: Sequence[Detection]) -> TrackedFrame:
        if not self._model.gives_objects:
            return TrackedFrame((), (), (None,) * len(found))
        return self.tracker.update(
            found,
            frame=view.index,
            captured_at_s=view.captured_at_s,
            width=view.placement.width,
            height=view.placement.height,
        )

    def _tell_detections(
        self,
        view: _View,
        found: Sequence[Detection],
        tracked: TrackedFrame,
        latency_ms: float,
    ) -> None:
        attributes = {track.track_id: track.attributes for track in tracked.seen}
        objects = tuple(
            _object_of(detection, track_id, attributes)
            for detection, track_id in zip(found, tracked.track_ids, strict=True)
            if detection.score >= self._model.certain_score
        )
        data = DetectionsData(
            frame=view.index,
            width=view.placement.width,
            height=view.placement.height,
            objects=objects,
            model=self._config.model,
            latency_ms=round(latency_ms, 2),
        )
        self._outlet.detections(data, captured_at_s=view.captured_at_s)

    def _tell_events(
        self,
        events: Iterable[CameraEvent],
        captured_at_s: float,
        picture: Image | None = None,
        seen: Sequence[Track] = (),
    ) -> None:
        for event in events:
            name = ""
            if self.snapshots is not None and picture is not None:
                name = self.snapshots.take(event, picture, seen, captured_at_s)
            clip = self.clips.take(event, captured_at_s) if self.clips is not None else ""
            self._outlet.event(event, captured_at_s=captured_at_s, snapshot=name, clip=clip)

    def _finish(self) -> None:
        """End the tracks that are still alive, unless the stream failed, and the open clips."""
        at_s = self._last_captured_at_s
        try:
            if self._error is None:
                ended = self.second.end(self.tracker.close())
                self._tell_events(self.rules.close(at_s, ended), at_s)
        finally:
            if self.clips is not None:
                self.clips.close()


def _object_of(
    detection: Detection, track_id: int | None, attributes: dict[int, dict[str, str]]
) -> DetectedObject:
    """Return a detection as messages show it."""
    return DetectedObject(
        label=detection.label,
        score=round(detection.score, 4),
        box=detection.box.rounded(),
        track_id=track_id,
        attributes=attributes.get(track_id, {}) if track_id is not None else {},
    )
