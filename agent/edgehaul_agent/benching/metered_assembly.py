"""The agent's own assembly, with a gauge at its two ends, and stopwatches between where asked."""

from __future__ import annotations

from pathlib import Path

from edgehaul.clock import Clock
from edgehaul.config.device import GpsConfig, StreamConfig
from edgehaul_agent.assembly import Assembly, Pipeline
from edgehaul_agent.benching.gauge import Gauge
from edgehaul_agent.benching.job import Job
from edgehaul_agent.benching.metered import MeteredSource, MeteredSpool
from edgehaul_agent.benching.stopwatch import Stopwatch
from edgehaul_agent.benching.timed import (
    TimedModel,
    TimedOpener,
    TimedOutbox,
    TimedRules,
    TimedSource,
    TimedTracker,
)
from edgehaul_agent.delivery.spool import Spool
from edgehaul_agent.engines import EngineOpener
from edgehaul_agent.health.metrics import StreamMetrics
from edgehaul_agent.inference.pictures import PictureModel
from edgehaul_agent.outlet import Outbox
from edgehaul_agent.pipeline.camera import StreamPipeline
from edgehaul_agent.pipeline.workers import WorkerPool, default_workers
from edgehaul_agent.sources.base import FrameSource


def timed_opener(job: Job, watch: Stopwatch) -> TimedOpener:
    """Return what opens a job's models, so that their runs are timed."""
    config = job.config
    workers = config.workers or default_workers()
    root = Path(job.folder) / config.root
    return TimedOpener(config.engine, root, workers=workers, watch=watch)


class MeteredAssembly(Assembly):
    """Builds what a job names: all of it as :class:`Assembly` does.

    Args:
        job: The run.
        gauge: Counts frames.
        opener: Opens the files of models; by default as the configuration says.
    """

    def __init__(self, job: Job, gauge: Gauge, opener: EngineOpener | None = None) -> None:
        super().__init__(job.config, Path(job.folder), opener=opener)
        self._job = job
        self._gauge = gauge

    def spool(self) -> Spool:
        """Return the durable spool, not yet open."""
        job = self._job
        return MeteredSpool(job.spool_folder, job.config.spool, self.topics, self._gauge)

    def frame_source(
        self, stream: StreamConfig, clock: Clock, *, persistent: bool = True
    ) -> FrameSource:
        """Return the source of a camera stream, not yet open."""
        return MeteredSource(
            self._plain_source(stream, clock, persistent=persistent),
            stream=stream.name,
            gauge=self._gauge,
            clock=clock,
            rate_fps=self._job.rate_fps,
        )

    def _plain_source(self, stream: StreamConfig, clock: Clock, *, persistent: bool) -> FrameSource:
        return super().frame_source(stream, clock, persistent=persistent)


class TimedAssembly(MeteredAssembly):
    """The same with a stopwatch around each stage.

    Args:
        job: The run.
        gauge: Counts frames.
        watch: The stopwatch.
    """

    def __init__(self, job: Job, gauge: Gauge, watch: Stopwatch) -> None:
        super().__init__(job, gauge, timed_opener(job, watch))
        self._watch = watch

    def picture_model(self, stream: StreamConfig) -> PictureModel:
        """Return the model of a camera stream."""
        return TimedModel(super().picture_model(stream), self._watch)

    def pipeline(
        self,
        stream: StreamConfig | GpsConfig,
        outbox: Outbox,
        workers: WorkerPool,
        clock: Clock,
        metrics: StreamMetrics | None = None,
    ) -> Pipeline:
        """Return the pipeline of a stream, its source not yet open."""
        timed = TimedOutbox(outbox, self._watch)
        pipeline = super().pipeline(stream, timed, workers, clock, metrics)
        if isinstance(pipeline, StreamPipeline) and isinstance(stream, StreamConfig):
            settings = pipeline.tracker.settings
            pipeline.tracker = TimedTracker(settings, self._watch)
            pipeline.rules = TimedRules(stream, settings.confirm_hits, self._watch)
        return pipeline

    def _plain_source(self, stream: StreamConfig, clock: Clock, *, persistent: bool) -> FrameSource:
        source = super()._plain_source(stream, clock, persistent=persistent)
        return TimedSource(source, self._watch)
