"""From a GPS receiver to messages: the composition of the stages for one stream."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

from edgehaul.clock import Clock, format_utc
from edgehaul.config.device import GpsConfig
from edgehaul.messages.payloads import AnomalyEvent, EventData, ForecastEvent, PositionData
from edgehaul.messages.vehicle import TripEvent
from edgehaul.motion.clean import FixCleaner, is_writable
from edgehaul.motion.kalman import KalmanTracker
from edgehaul.motion.whereabouts import Locator, RecentFixes
from edgehaul.values import Fix
from edgehaul_agent.events.anomalies import AnomalyMerger
from edgehaul_agent.events.vehicle import VehicleRules
from edgehaul_agent.health.metrics import Reason, StreamMetrics
from edgehaul_agent.inference.traces import Forecast, TraceModel, Verdict
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.pipeline.logbook import Logbook
from edgehaul_agent.pipeline.positions import Replayed
from edgehaul_agent.pipeline.watch import Watch
from edgehaul_agent.sources.base import FixSource, live_clock


class GpsPipeline:
    """One GPS stream. Open it with ``with``, then call :meth:`run` once.

    Args:
        config: The stream.
        source: Where fixes come from.
        model: Judges the trace; none publishes positions alone.
        outlet: Takes the results.
        clock: Measures latencies, and tells a live source's fixes from the future.
        metrics: Counters that go on from an earlier run of the stream; new ones otherwise.
        rules: Tell trips, borders and driving; by default those of the configuration, without
            its GeoJSON file.

    Attributes:
        whereabouts: Where the device was lately: cleaned fixes, filtered.
        locator: The same for other streams; a recording as if it happened now.
    """

    def __init__(
        self,
        config: GpsConfig,
        *,
        source: FixSource,
        model: TraceModel | None,
        outlet: StreamOutlet,
        clock: Clock,
        metrics: StreamMetrics | None = None,
        rules: VehicleRules | None = None,
    ) -> None:
        self.name = config.name
        self.whereabouts = RecentFixes()
        self._replayed = None if source.is_live else Replayed(self.whereabouts)
        self.locator: Locator = self._replayed or self.whereabouts
        self.metrics = metrics or StreamMetrics(clock)
        self.metrics.follow(self)
        self.watch = Watch(source.condition, clock, passed_over=source.bad)
        self._config = config
        self._source = source
        self._model = model
        self._outlet = outlet
        self._clock = clock
        self._cleaner = FixCleaner(clock=live_clock(source, clock))
        self._filter = KalmanTracker()
        self._rules = rules or VehicleRules(config.vehicle)
        self.logbook: Logbook | None = None
        """Keeps odometer and trip, so that they outlive the agent; set it before :meth:`run`."""
        self._bad = 0
        self._last_published_s: float | None = None
        self._last_fix: Fix | None = None
        self._merger = AnomalyMerger(
            config.model,
            normal_label=model.normal_label if model else "",
            least_score=model.least_score if model else 0.0,
        )

    def __enter__(self) -> Self:
        """Open the source.

        Raises:
            DataError: It cannot be opened or read.
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
        """Process fixes until the source ends or ``stop`` is set.

        Raises:
            SourceError: The source failed for good.
            ModelError: The model failed.
            SpoolError: Results can no longer be stored.
        """
        if self.logbook is not None and (memory := self.logbook.read()) is not None:
            self._rules.resume(memory)
        self.watch.reader.working()
        for fix in self._source.fixes():
            if fix is None:
                self.watch.reader.working()
            else:
                self.watch.came()
                self._take(fix)
            if stop.is_set():
                break
        self.watch.reader.resting()
        self._tell_anomalies(self._merger.close())
        if self.logbook is not None and self._source.is_live and stop.is_set():
            self._keep()  # the vehicle drives on, and so does its trip at the next start
        else:
            self._tell(self._rules.close())
            self._keep()
        self.watch.reader.resting()

    def lost(self) -> Mapping[Reason, int]:
        """Return the number of rows that are no fix, and of fixes without a time or a place.

        Others that are not believed are told as not valid.
        """
        return {"undecodable": self._source.bad(), "unusable": self._bad}

    def reconnects(self) -> int:
        """Return how often the receiver was tried to connect again."""
        return self._source.condition().reconnects

    def _take(self, fix: Fix) -> None:
        if is_writable(fix):
            if self._replayed is not None:
                self._replayed.begin(self._clock.now_s() - fix.captured_at_s)
            self._process(fix)
        else:
            self._bad += 1

    def _process(self, fix: Fix) -> None:
        taken_at_s = self._clock.monotonic_s()
        cleaned = self._cleaner.push(fix)
        if cleaned is not None:
            self.whereabouts.push(self._filter.push(cleaned))
        answers = self._model.judge(fix) if self._model else []
        latency_ms = (self._clock.monotonic_s() - taken_at_s) * 1000
        forecasts = [answer for answer in answers if isinstance(answer, Forecast)]
        if self._position_is_due(fix):
            data = PositionData(fix=fix, valid=cleaned is not None)
            self._outlet.position(data, captured_at_s=fix.captured_at_s)
            self._tell_forecast(fix, forecasts[-1:])
        if cleaned is not None:
            self._last_fix = fix
            self._follow_vehicle(cleaned)
        self._tell_anomalies(self._merged([a for a in answers if isinstance(a, Verdict)]))
        self.metrics.processed(latency_ms)

    def _follow_vehicle(self, fix: Fix) -> None:
        """Tell what a fix decides, and remember the vehicle.

        Whenever the agent is killed, no two starts follow each other without an end: a start is
        remembered before it is told, and may be lost; an end is told before it is remembered, and
        may be told twice.
        """
        told = list(self._rules.update(fix))
        phases = [getattr(data.event, "phase", "") for data in told]
        has_ended = any(isinstance(d.event, TripEvent) and d.event.phase == "end" for d in told)
        is_start = "start" in phases and not has_ended
        if is_start:
            self._keep()
        self._tell(told)
        if self.logbook is None or is_start:
            return
        if "end" in phases:
            self.logbook.expect_end()
        elif self.logbook.is_due:
            self._keep()

    def _keep(self) -> None:
        """Write down how far the vehicle has come, unless another run does so by now."""
        if self.logbook is not None and not self.watch.is_given_up:
            self.watch.reader.resting()  # a disk that stands still is not the receiver's matter
            self.logbook.save(self._rules.memory())
            self.watch.reader.working()

    def _merged(self, verdicts: list[Verdict]) -> list[AnomalyEvent]:
        events = []
        for verdict in verdicts:
            events += self._merger.update(
                verdict.label,
                verdict.score,
                started_at_s=verdict.started_at_s,
                ended_at_s=verdict.ended_at_s,
                fix=verdict.fix,
            )
        return events

    def _tell_forecast(self, fix: Fix, newest: list[Forecast]) -> None:
        for forecast in newest:
            event = ForecastEvent(
                values={name: round(value, 3) for name, value in forecast.values.items()},
                horizon_s=forecast.horizon_s,
                ended_at=format_utc(forecast.ended_at_s),
                model=self._config.model,
            )
            self._outlet.event(event, captured_at_s=fix.captured_at_s, position=fix)

    def _position_is_due(self, fix: Fix) -> bool:
        last_s, now_s = self._last_published_s, fix.captured_at_s
        if last_s is not None and 0 <= now_s - last_s < self._config.publish_every_s:
            return False
        self._last_published_s = now_s
        return True

    def _tell(self, told: Iterable[EventData]) -> None:
        """Tell what happened, each at the time of its position."""
        for data in told:
            at_s = data.position.captured_at_s if data.position else self._clock.now_s()
            self._outlet.event(data.event, captured_at_s=at_s, position=data.position)

    def _tell_anomalies(self, events: list[AnomalyEvent]) -> None:
        for event in events:
            fix = self._last_fix or event.position
            captured_at_s = fix.captured_at_s if fix else self._clock.now_s()
            self._outlet.event(event, captured_at_s=captured_at_s, position=event.position)
