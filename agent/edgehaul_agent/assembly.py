"""From the device's configuration to pipelines that are ready to run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgehaul.clock import Clock
from edgehaul.config.device import DeviceConfig, GpsConfig, MqttSection, StreamConfig
from edgehaul.config.geojson import read_fences
from edgehaul.config.second import SecondStage
from edgehaul.config.vehicle import VehicleConfig
from edgehaul.errors import ConfigError
from edgehaul.messages.payloads import ModelState
from edgehaul.messages.topics import DeviceTopics
from edgehaul_agent.delivery.spool import Spool
from edgehaul_agent.engines import EngineOpener
from edgehaul_agent.events.vehicle import VehicleRules
from edgehaul_agent.health.metrics import StreamMetrics
from edgehaul_agent.inference.pictures import PictureModel
from edgehaul_agent.inference.traces import TraceModel
from edgehaul_agent.inference.trial import decode_once
from edgehaul_agent.loading import LoadedModel, ModelLoader, trial_tensor
from edgehaul_agent.media.album import Album
from edgehaul_agent.media.archive import FOLDER
from edgehaul_agent.media.film import FilmArchive
from edgehaul_agent.outlet import Outbox, StreamOutlet
from edgehaul_agent.pipeline.camera import StreamPipeline
from edgehaul_agent.pipeline.clips import Clips
from edgehaul_agent.pipeline.gps import GpsPipeline
from edgehaul_agent.pipeline.logbook import Logbook, logbook_path
from edgehaul_agent.pipeline.positions import Positions, clock_of
from edgehaul_agent.pipeline.snapshots import Snapshots
from edgehaul_agent.pipeline.workers import WorkerPool, default_workers
from edgehaul_agent.proof import Prover
from edgehaul_agent.sources.base import FixSource, FrameSource, live_clock
from edgehaul_agent.sources.factory import fix_source, frame_source
from edgehaul_agent.stream_models import check_second, model_names, picture_model, trace_model
from edgehaul_agent.update.install import check_compatible
from edgehaul_agent.update.slots import InstalledModel, ModelStore
from edgehaul_agent.versions import TakenModels

Pipeline = StreamPipeline | GpsPipeline
_User = StreamConfig | GpsConfig | SecondStage


class Assembly:
    """Builds what a configuration names.

    Args:
        config: The device's configuration.
        folder: Where its relative paths start: the folder of the configuration file.
        opener: Opens the files of models; by default as the configuration says.
    """

    def __init__(
        self,
        config: DeviceConfig,
        folder: Path,
        *,
        opener: EngineOpener | None = None,
    ) -> None:
        self.config = config
        self.root = folder / config.root
        self.topics = DeviceTopics(config.device.site, config.device.id)
        self.album = Album(self.root / FOLDER)
        """Writes pictures of events while it is open."""
        self.films = FilmArchive(self.root / FOLDER)
        """Writes clips of events while it is open."""
        self._positions = Positions(config)
        self._used: dict[tuple[str, str], ModelState] = {}
        self._loaded: dict[Path, LoadedModel] = {}
        self._lock = threading.Lock()
        self._folder = folder
        self._store = ModelStore(self.root)
        self._taken = TakenModels(self._store)
        self._workers = config.workers or default_workers()
        self._opener = opener or EngineOpener(config.engine, self.root, workers=self._workers)
        self._loader = ModelLoader(self._store, self._opener, config.engine, workers=self._workers)

    @property
    def used_models(self) -> tuple[ModelState, ...]:
        """The models, each in the variants that streams have taken so far."""
        return tuple(self._used.values())

    @property
    def spool_folder(self) -> Path:
        """Where the spool lies."""
        return self.root / "spool"

    def spool(self) -> Spool:
        """Return the spool, not yet open."""
        return Spool(self.spool_folder, self.config.spool, self.topics)

    @property
    def mqtt(self) -> MqttSection:
        """The broker, with its file paths made absolute."""
        mqtt = self.config.mqtt
        return msgspec.structs.replace(
            mqtt,
            password_file=self._absolute(mqtt.password_file),
            ca_file=self._absolute(mqtt.ca_file),
        )

    def streams(self) -> Iterator[StreamConfig | GpsConfig]:
        """Yield every configured stream."""
        yield from self.config.streams
        yield from self.config.gps

    def adopt(self, config: DeviceConfig) -> None:
        """Go on with another configuration of the same device, at the same broker."""
        with self._lock:
            self.config = config
            self._positions.adopt(config)
            names = {name for stream in self.streams() for name in model_names(stream)}
            self._used = {key: used for key, used in self._used.items() if key[0] in names}

    def forget(self, stream: StreamConfig | GpsConfig) -> None:
        """Load the models of a stream anew the next time; who runs them already keeps them.

        A session that failed or hangs is shared no further, and another version may have been
        installed meanwhile.
        """
        with self._lock:
            self._loaded = {
                path: loaded
                for path, loaded in self._loaded.items()
                if loaded.installed.name not in model_names(stream)
            }

    def outdated(self) -> set[str]:
        """Return the names of the streams that run what is not installed any more."""
        return self._taken.outdated(self.streams())

    def prover(self, budget_s: float) -> Prover:
        """Return what proves and times a bundle as this configuration will run it.

        Args:
            budget_s: Most seconds for timing.
        """
        return Prover(self._opener, workers=self._workers, budget_s=budget_s)

    def workers(self, clock: Clock) -> WorkerPool:
        """Return the threads that run the models of all camera streams, not yet started."""
        return WorkerPool(self._workers, clock)

    def pipeline(
        self,
        stream: StreamConfig | GpsConfig,
        outbox: Outbox,
        workers: WorkerPool,
        clock: Clock,
        metrics: StreamMetrics | None = None,
    ) -> Pipeline:
        """Return the pipeline of a stream, its source not yet open.

        Args:
            stream: The stream.
            outbox: Takes its results.
            workers: Run its model, where it is a camera's.
            clock: Measures, waits and tells the time.
            metrics: Counters that go on from an earlier run of the stream.

        Raises:
            InstallError: Its model is not installed.
            BundleError: The installed model is damaged, or not for this device.
            ModelError: A model of it cannot be used, or not for such a stream.
            ConfigError: Its geofences cannot be read.
            SourceError: This machine has not what its source needs.
        """
        if isinstance(stream, StreamConfig):
            where = self._positions.of(stream)
            camera = StreamPipeline(
                stream,
                source=self.frame_source(stream, clock),
                model=self.picture_model(stream),
                outlet=StreamOutlet(outbox, self.topics, stream.name, where),
                workers=workers,
                clock=clock,
                metrics=metrics,
            )
            for stage in stream.second:
                camera.second.add(stage, self.second_model(stage, stream))
            if (section := stream.snapshots) is not None:
                lost = camera.metrics.lose_snapshot
                camera.snapshots = Snapshots(self.album, stream.name, section, lost)
            if stream.clips is not None:
                camera.clips = Clips(self.films, stream.name, stream.clips, camera.metrics)
            return camera
        source = self.fix_source(stream, clock)
        pipeline = GpsPipeline(
            stream,
            source=source,
            model=self.trace_model(stream, live_clock(source, clock)) if stream.model else None,
            outlet=StreamOutlet(outbox, self.topics, stream.name),
            clock=clock,
            metrics=metrics,
            rules=VehicleRules(self.vehicle(stream)),
        )
        pipeline.logbook = self._logbook(stream, clock)
        self._positions.follow(stream.name, pipeline.locator)
        return pipeline

    def _logbook(self, stream: GpsConfig, clock: Clock) -> Logbook | None:
        """Return what keeps a vehicle's odometer; a recording at full speed drives nowhere."""
        if stream.trips is None or clock_of(stream) is None:
            return None
        path = logbook_path(self.root, stream.name)
        return Logbook(path, every_s=stream.trips.save_every_s, clock=clock)

    def vehicle(self, stream: GpsConfig) -> VehicleConfig:
        """Return what is to be told of a vehicle, the geofences of its file among them.

        Raises:
            ConfigError: The file cannot be read or holds faults, or a name stands in both.
        """
        geofences = stream.geofences
        if geofences is None or not geofences.file:
            return stream.vehicle
        path = self._folder / geofences.file
        try:
            return stream.vehicle.with_fences(read_fences(path))
        except ValueError as error:
            raise ConfigError([f"{path}: {error}"], where=path) from error

    def frame_source(
        self, stream: StreamConfig, clock: Clock, *, persistent: bool = True
    ) -> FrameSource:
        """Return the source of a camera stream, not yet open.

        Args:
            stream: The stream.
            clock: Gives capture times and the pace.
            persistent: Whether a live camera is connected again after a fault.

        Raises:
            SourceError: This machine has not what the source needs.
        """
        return frame_source(stream, folder=self._folder, clock=clock, persistent=persistent)

    def fix_source(
        self, stream: GpsConfig, clock: Clock, *, patience_s: float | None = None
    ) -> FixSource:
        """Return the source of a GPS stream, not yet open.

        Args:
            stream: The stream.
            clock: Gives the pace.
            patience_s: Longest wait for a live receiver's first fix; none waits for ever.
        """
        return fix_source(stream, folder=self._folder, clock=clock, patience_s=patience_s)

    def picture_model(self, stream: StreamConfig) -> PictureModel:
        """Return the model of a camera stream; streams share the session.

        Raises:
            InstallError: It is not installed.
            BundleError: It is damaged, or not for this device.
            ModelError: It cannot be used, or not on pictures.
        """
        return picture_model(self._load_for(stream, stream), stream)

    def second_model(self, stage: SecondStage, stream: StreamConfig) -> PictureModel:
        """Return a classifier that looks at single objects of a stream; streams share the session.

        Raises:
            InstallError: It, or the stream's own model, is not installed.
            BundleError: One of them is damaged, or not for this device.
            ModelError: It cannot be used, it is no classifier, or the stream's model gives it
                nothing to look at.
        """
        loaded, finder = self._load_for(stream, stage), self._load(stream)
        check_second(stage, loaded, finder)
        return picture_model(loaded, stage)

    def trace_model(self, stream: GpsConfig, clock: Clock | None = None) -> TraceModel:
        """Return the model of a GPS stream; streams share the session.

        Args:
            stream: The stream.
            clock: Tells fixes from the future; none where a recording is replayed.

        Raises:
            InstallError: It is not installed.
            BundleError: It is damaged, or not for this device.
            ModelError: It cannot be used, or not on traces.
        """
        return trace_model(self._load_for(stream, stream), clock)

    def try_second(self, stage: SecondStage, stream: StreamConfig) -> ModelState:
        """Load a classifier that looks at single objects of a stream, and let it answer once.

        Returns:
            Which model that is.

        Raises:
            InstallError: It, or the stream's own model, is not installed.
            BundleError: One of them is damaged, or not for this device.
            ModelError: It cannot be used, or not for such a stream.
        """
        self.second_model(stage, stream)
        return self._try(stage)

    def try_model(self, stream: StreamConfig | GpsConfig) -> ModelState:
        """Load the model of a stream and let it answer once.

        Returns:
            Which model that is.

        Raises:
            InstallError: It is not installed.
            BundleError: It is damaged, or not for this device.
            ModelError: It cannot be used, or not for such a stream.
        """
        loaded = self._load(stream)
        if isinstance(stream, StreamConfig):
            picture_model(loaded, stream)
        else:
            trace_model(loaded)
        return self._try(stream)

    def _try(self, user: _User) -> ModelState:
        loaded = self._load(user)
        tensor = trial_tensor(loaded.installed)
        outputs = loaded.engine.run(tensor)
        decode_once(loaded.installed.manifest.spec, tensor, outputs, where=loaded.path)
        return self._used[user.model, user.variant or loaded.installed.variant]

    def _load_for(self, stream: StreamConfig | GpsConfig, user: _User) -> LoadedModel:
        """Load a model, and note that the stream has taken it."""
        loaded = self._load(user)
        self._taken.take(stream, loaded.installed)
        return loaded

    def _load(self, user: _User) -> LoadedModel:
        name, variant = user.model, user.variant
        # Streams start at the same time: one reads the model, the others share it.
        with self._lock:
            installed = self._store.active(name)
            check_compatible(installed.manifest, installed.folder, self.config.device.type)
        # Without the lock, like all that runs a model: one that hangs shall hold no other stream.
        if not variant:
            installed = self._loader.tuned(installed)
        path = installed.model_path(variant)
        with self._lock:
            loaded = self._loaded.get(path)
            # An installation since then may have filled this slot with another version.
            is_fresh = loaded is None or loaded.installed.manifest != installed.manifest
            if loaded is None or is_fresh:
                self._forget_older(installed)
                alone = sum(bool(one.model) for one in self.streams()) == 1
                loaded = self._loaded[path] = self._loader.load(installed, variant, alone=alone)
            used = ModelState(
                name=name,
                version=installed.manifest.version,
                variant=variant or installed.variant,
                runtime=self._opener.machine.runtime,
                providers=tuple(loaded.engine.providers),
                optimised=loaded.optimised,
            )
            self._used[used.name, used.variant] = used
        if is_fresh:
            self._loader.warm_up(loaded)
        return loaded

    def _forget_older(self, installed: InstalledModel) -> None:
        """Let go of other versions of a model: whoever runs them still keeps them."""
        name, digest = installed.name, installed.manifest_sha256
        self._loaded = {
            path: loaded
            for path, loaded in self._loaded.items()
            if loaded.installed.name != name or loaded.installed.manifest_sha256 == digest
        }
        self._used = {
            key: used
            for key, used in self._used.items()
            if used.name != name or used.version == installed.manifest.version
        }

    def _absolute(self, path: str) -> str:
        return str(self._folder / path) if path else ""
