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
)
from edgehaul_agent.sources.base import FixSource, FrameSource
from edgehaul_agent.sources.file import VideoFile
from edgehaul_agent.sources.images import ImageFolder
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


def fix_source(config: GpsConfig, *, folder: Path, clock: Clock) -> FixSource:
    """Return the source of a GPS stream.

    Args:
        config: The stream.
        folder: Where relative paths start: the folder of the configuration file.
        clock: Gives the pace.
    """
    source = config.source
    if isinstance(source, TraceSource):
        return TraceFile(folder / source.path, clock=clock, realtime=source.realtime)
    return VirtualReceiver(source, clock=clock)
