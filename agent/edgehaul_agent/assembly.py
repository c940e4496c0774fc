"""From the device's configuration to pipelines that are ready to run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgehaul.clock import Clock
from edgehaul.config.device import DeviceConfig, GpsConfig, MqttSection, StreamConfig
from edgehaul.messages.payloads import ModelState
from edgehaul.messages.topics import DeviceTopics
from edgehaul_agent.inference.onnxruntime import open_engine
from edgehaul_agent.inference.pictures import PictureModel, open_picture_model
from edgehaul_agent.inference.traces import TraceModel, open_trace_model
from edgehaul_agent.outlet import Outbox, StreamOutlet
from edgehaul_agent.pipeline.camera import StreamPipeline
from edgehaul_agent.pipeline.gps import GpsPipeline
from edgehaul_agent.sources.base import FixSource, FrameSource
from edgehaul_agent.sources.factory import fix_source, frame_source
from edgehaul_agent.update.slots import InstalledModel, ModelStore

Pipeline = StreamPipeline | GpsPipeline


class Assembly:
    """Builds what a configuration names.

    Args:
        config: The device's configuration.
        folder: Where its relative paths start: the folder of the configuration file.
    """

    def __init__(self, config: DeviceConfig, folder: Path) -> None:
        self.config = config
        self.root = folder / config.root
        self.topics = DeviceTopics(config.device.site, config.device.id)
        self._used: dict[tuple[str, str], ModelState] = {}
        self._folder = folder
        self._store = ModelStore(self.root)

    @property
    def used_models(self) -> tuple[ModelState, ...]:
        """The models, each in the variants that streams have taken so far."""
        return tuple(self._used.values())

    @property
    def spool_folder(self) -> Path:
        """Where the spool lies."""
        return self.root / "spool"

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

    def pipeline(self, stream: StreamConfig | GpsConfig, outbox: Outbox, clock: Clock) -> Pipeline:
        """Return the pipeline of a stream, its source not yet open.

        Raises:
            InstallError: Its model is not installed.
            ModelError: Its model cannot be used, or not for such a stream.
        """
        outlet = StreamOutlet(outbox, self.topics, stream.name)
        if isinstance(stream, StreamConfig):
            return StreamPipeline(
                stream,
                source=self.frame_source(stream, clock),
                model=self.picture_model(stream),
                outlet=outlet,
                clock=clock,
            )
        return GpsPipeline(
            stream,
            source=self.fix_source(stream, clock),
            model=self.trace_model(stream) if stream.model else None,
            outlet=outlet,
            clock=clock,
        )

    def frame_source(self, stream: StreamConfig, clock: Clock) -> FrameSource:
        """Return the source of a camera stream, not yet open."""
        return frame_source(stream, folder=self._folder, clock=clock)

    def fix_source(self, stream: GpsConfig, clock: Clock) -> FixSource:
        """Return the source of a GPS stream, not yet open."""
        return fix_source(stream, folder=self._folder, clock=clock)

    def picture_model(self, stream: StreamConfig) -> PictureModel:
        """Return the model of a camera stream, with a session of its own.

        Raises:
            InstallError: It is not installed.
            ModelError: It cannot be used, or not on pictures.
        """
        installed, path = self._installed(stream.model, stream.variant)
        return open_picture_model(
            open_engine(path),
            installed.manifest.spec,
            where=path,
            score_threshold=stream.score_threshold,
        )

    def trace_model(self, stream: GpsConfig) -> TraceModel:
        """Return the model of a GPS stream, with a session of its own.

        Raises:
            InstallError: It is not installed.
            ModelError: It cannot be used, or not on traces.
        """
        installed, path = self._installed(stream.model, stream.variant)
        return open_trace_model(open_engine(path), installed.manifest.spec, where=path)

    def _installed(self, name: str, variant: str) -> tuple[InstalledModel, Path]:
        installed = self._store.active(name)
        path = installed.model_path(variant)
        used = ModelState(
            name=name, version=installed.manifest.version, variant=variant or installed.variant
        )
        self._used[used.name, used.variant] = used
        return installed, path

    def _absolute(self, path: str) -> str:
        return str(self._folder / path) if path else ""
