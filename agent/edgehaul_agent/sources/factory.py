"""From a configured source to the object that reads it: one line each."""

from __future__ import annotations

from pathlib import Path

from edgehaul.clock import Clock
from edgehaul.config.device import (
    FileSource,
    GpsConfig,
    ImagesSource,
    StreamConfig,
    TraceSource,
    VirtualTruckSource,
)
from edgehaul.config.receivers import GpsdSource
from edgehaul_agent.sources.base import FixSource, FrameSource
from edgehaul_agent.sources.file import VideoFile
from edgehaul_agent.sources.gpsd import gpsd_receiver
from edgehaul_agent.sources.images import ImageFolder
from edgehaul_agent.sources.nmea import nmea_receiver
from edgehaul_agent.sources.trace import TraceFile
from edgehaul_agent.sources.virtual import VirtualCamera, VirtualReceiver


def frame_source(config: StreamConfig, *, folder: Path, clock: Clock) -> FrameSource:
    """Return the source of a camera stream, not yet opened.

    Args:
        config: The stream.
        folder: Where relative paths start: the folder of the configuration file.
        clock: Gives capture times and the pace.
    """
    source, stream, stride = config.source, config.name, config.stride
    if isinstance(source, FileSource):
        return VideoFile(
            folder / source.path,
            stream=stream,
            clock=clock,
            realtime=source.realtime,
            loop=source.loop,
            stride=stride,
        )
    if isinstance(source, ImagesSource):
        return ImageFolder(
            folder / source.path,
            stream=stream,
            clock=clock,
            interval_s=source.interval_s,
            stride=stride,
        )
    return VirtualCamera(source, stream=stream, clock=clock, stride=stride)


def fix_source(
    config: GpsConfig, *, folder: Path, clock: Clock, patience_s: float | None = None
) -> FixSource:
    """Return the source of a GPS stream, not yet opened.

    Args:
        config: The stream.
        folder: Where relative paths start: the folder of the configuration file.
        clock: Gives the pace.
        patience_s: After so long without a first fix a live receiver is an error; none waits.
    """
    source = config.source
    if isinstance(source, TraceSource):
        return TraceFile(folder / source.path, clock=clock, realtime=source.realtime)
    if isinstance(source, VirtualTruckSource):
        return VirtualReceiver(source, clock=clock)
    if isinstance(source, GpsdSource):
        return gpsd_receiver(source, clock=clock, patience_s=patience_s)
    return nmea_receiver(source, folder=folder, clock=clock, patience_s=patience_s)
