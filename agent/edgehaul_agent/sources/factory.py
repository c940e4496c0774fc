"""From a configured source to the object that reads it: one line each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from edgehaul.clock import Clock
from edgehaul.config.addresses import shown_url
from edgehaul.config.cameras import (
    GstreamerSource,
    MjpegSource,
    RtspSource,
    UsbSource,
)
from edgehaul.config.device import GpsConfig, StreamConfig
from edgehaul.config.receivers import GpsdSource
from edgehaul.config.recordings import (
    FileSource,
    ImagesSource,
    TraceSource,
    VirtualConveyorSource,
    VirtualTruckSource,
)
from edgehaul.mqtt import read_password
from edgehaul_agent.sources.base import FixSource, FrameSource
from edgehaul_agent.sources.challenge import Credentials
from edgehaul_agent.sources.file import VideoFile
from edgehaul_agent.sources.gpsd import gpsd_receiver
from edgehaul_agent.sources.gstreamer import WHERE, connect_gstreamer, require_gstreamer
from edgehaul_agent.sources.images import ImageFolder
from edgehaul_agent.sources.isolated import IsolatedCapture, IsolatedJpegs
from edgehaul_agent.sources.jpeg import OwnJpegs
from edgehaul_agent.sources.live import Link, LiveSource
from edgehaul_agent.sources.mjpeg import MjpegLink
from edgehaul_agent.sources.nmea import nmea_receiver
from edgehaul_agent.sources.opencv import open_capture
from edgehaul_agent.sources.rtsp import OpenCapture, connect_rtsp
from edgehaul_agent.sources.trace import TraceFile
from edgehaul_agent.sources.usb import connect_usb, device_path
from edgehaul_agent.sources.virtual import VirtualCamera, VirtualReceiver

_GRACE_S = 3.0
"""How much later than FFmpeg's own time-out a decoder is taken to hang."""


def frame_source(
    config: StreamConfig, *, folder: Path, clock: Clock, persistent: bool = True
) -> FrameSource:
    """Return the source of a camera stream, not yet opened.

    Args:
        config: The stream.
        folder: Where relative paths start: the folder of the configuration file.
        clock: Gives capture times and the pace.
        persistent: Whether a live camera is connected again after a fault; else that is raised.

    Raises:
        SourceError: This machine has not what the source needs.
    """
    source, stream, stride = config.source, config.name, config.stride
    if isinstance(source, FileSource):
        return VideoFile(
            folder / source.path,
            source,
            stream=stream,
            clock=clock,
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
    if isinstance(source, VirtualConveyorSource):
        return VirtualCamera(source, stream=stream, clock=clock, stride=stride)
    connect, where = _connector(source, folder, clock)
    return LiveSource(
        connect,
        source,
        stream=stream,
        where=where,
        clock=clock,
        stride=stride,
        persistent=persistent,
    )


def _connector(
    source: RtspSource | MjpegSource | UsbSource | GstreamerSource, folder: Path, clock: Clock
) -> tuple[Callable[[], Link], str]:
    """Return what connects a live camera, and how logs may name it."""
    if isinstance(source, UsbSource):
        return partial(connect_usb, source, clock), str(device_path(source))
    if isinstance(source, GstreamerSource):
        require_gstreamer()
        return partial(connect_gstreamer, source, clock), WHERE

    # The password is read for each connection: whoever mends its file need not start the agent.
    def connect() -> Link:
        credentials = _credentials(source, folder)
        if isinstance(source, RtspSource):
            return connect_rtsp(source, credentials, clock, _opener(source))
        ca_file = str(folder / source.ca_file) if source.ca_file else ""
        absolute = msgspec.structs.replace(source, ca_file=ca_file)
        decoder = IsolatedJpegs(where) if source.isolate else OwnJpegs()
        return MjpegLink(absolute, credentials, clock, decoder)

    where = shown_url(source.url)
    return connect, where


def _opener(source: RtspSource) -> OpenCapture:
    """Return what opens the camera: in this process, or in one of its own."""
    if not source.isolate:
        return open_capture
    return partial(
        IsolatedCapture,
        where=shown_url(source.url),
        open_s=source.open_timeout_s + _GRACE_S,
        grab_s=source.read_timeout_s + _GRACE_S,
    )


def _credentials(source: RtspSource | MjpegSource, folder: Path) -> Credentials:
    file = folder / source.password_file if source.password_file else ""
    return Credentials(source.username, read_password(file, option="password_file"))


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
