"""From what is asked to the device that is measured: a model, streams, and a root of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import msgspec

from edgehaul.config.device import (
    CountingLine,
    DeviceConfig,
    DeviceSection,
    MqttSection,
    StreamConfig,
)
from edgehaul.config.loader import load
from edgehaul.config.recordings import FileSource, VirtualConveyorSource
from edgehaul.config.service import MetricsSection, PreviewSection
from edgehaul.errors import InstallError, SourceError
from edgehaul.geometry import Line, Point
from edgehaul.virtual.conveyor import Conveyor
from edgehaul_agent.assembly import Assembly
from edgehaul_agent.proof import INSTALL_BUDGET_S
from edgehaul_agent.update.install import install_bundle
from edgehaul_agent.update.slots import InstalledModel, ModelStore

WHO = DeviceSection(id="bench", site="bench")
_LINE = "middle"
_MODELS = "models"
_ENDLESS = 10_000_000
"""Frames; a camera without any end would be started again where the measurement has ended."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given:
    """What is asked for.

    Attributes:
        model: A bundle file, or the name of a model that is installed below the root.
        config: The device's configuration: root, engine, workers, spool and broker are its.
        root: The device's root folder, where there is no configuration.
        variant: Variant to run; empty takes the one chosen at installation.
        streams: Number of streams.
        source: A video file; none takes the virtual camera.
        live: Whether the latest frame wins, as on a camera; else every frame is looked at.
    """

    model: str
    config: Path | None = None
    root: Path | None = None
    variant: str = ""
    streams: int = 1
    source: Path | None = None
    live: bool = False


@dataclasses.dataclass(frozen=True)
class Setting:
    """The device that is measured.

    Attributes:
        config: Its configuration.
        folder: Where its relative paths start.
        installed: The model.
        source: What its streams show, for people.
    """

    config: DeviceConfig
    folder: Path
    installed: InstalledModel
    source: str


def set_up(given: Given, root: Path) -> Setting:
    """Make a device that has the model and nothing else; what is installed here is only read.

    Args:
        given: What is asked for.
        root: An empty folder that becomes its root.

    Raises:
        EdgeHaulError: The model cannot be installed or found, or the source cannot be read.
    """
    base, folder = _base(given)
    config = msgspec.structs.replace(
        base,
        root=str(root),
        # What another processor or runtime has timed stays as it is: nothing is written there.
        engine=msgspec.structs.replace(base.engine, retune_s=0.0),
        device=msgspec.structs.replace(WHO, type=base.device.type),
        metrics=MetricsSection(),
        preview=PreviewSection(),
        streams=(),
        gps=(),
    )
    installed = _installed(given, config, folder, root, Path(base.root))
    source, line, shown = _source(given.source)
    streams = tuple(
        StreamConfig(
            name=f"camera{number}",
            source=source,
            model=installed.name,
            variant=given.variant,
            policy="latest" if given.live else "every",
            lines=(CountingLine(name=_LINE, points=line),),
        )
        for number in range(given.streams)
    )
    config = msgspec.structs.replace(config, streams=streams)
    return Setting(config, folder, installed, shown)


def _base(given: Given) -> tuple[DeviceConfig, Path]:
    """Return the configuration to start from, with an absolute root, and its folder."""
    if given.config is None:
        root = (given.root or Path()).absolute()
        return DeviceConfig(root=str(root), device=WHO, mqtt=MqttSection()), Path.cwd()
    folder = given.config.resolve().parent
    config = load(given.config, DeviceConfig)
    return msgspec.structs.replace(config, root=str(folder / config.root)), folder


def _installed(
    given: Given, config: DeviceConfig, folder: Path, root: Path, real_root: Path
) -> InstalledModel:
    bundle = Path(given.model)
    store = ModelStore(root)
    if bundle.is_file():
        root.mkdir(parents=True, exist_ok=True)
        prove = Assembly(config, folder).prover(INSTALL_BUDGET_S)
        installed = install_bundle(bundle, root, prove=prove, device_type=config.device.type)
    elif given.config is None and given.root is None:
        raise InstallError(
            "no such bundle file",
            where=bundle,
            remedy="correct the path, or name an installed model and --root or --config",
        )
    else:
        root.mkdir(parents=True, exist_ok=True)
        (root / _MODELS).symlink_to(real_root / _MODELS)
        installed = store.active(given.model)
    installed.model_path(given.variant)  # refuses a variant that is not there
    return installed


def _source(path: Path | None) -> tuple[FileSource | VirtualConveyorSource, Line, str]:
    """Return the source of every stream, a line across its middle, and how to call it."""
    if path is None:
        virtual = VirtualConveyorSource(frames=_ENDLESS)
        conveyor = Conveyor(
            seed=virtual.seed, width=virtual.width, height=virtual.height, fps=virtual.fps
        )
        shown = f"virtual camera, {virtual.width}x{virtual.height}"
        return virtual, conveyor.counting_line(), shown
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
    height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    capture.release()
    if width <= 0 or height <= 0:
        is_there = path.is_file()
        fault = "this is no video that can be decoded" if is_there else "no such video file"
        raise SourceError(fault, where=path, remedy="correct --source")
    line = Line(Point(width / 2, height), Point(width / 2, 0))
    # Over and over: a short clip serves as well as a long one.
    source = FileSource(path=str(path.absolute()), loop=True)
    return source, line, f"{path.name}, {width}x{height}"
