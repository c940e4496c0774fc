"""The live cameras of the device's configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from edgehaul.config.addresses import require_url
from edgehaul.config.recordings import DecodeThreads
from edgehaul.config.section import Section

_DAY_S = 86_400.0
Decoding = Literal["auto", "cpu", "vaapi", "mfx"]


class LiveCamera(Section, frozen=True, kw_only=True):
    """What all live cameras share: how long to wait, and when to connect again.

    Attributes:
        open_timeout_s: Longest wait for a connection.
        read_timeout_s: Longest wait for a frame; a camera that gives none for so long is gone.
        reconnect_min_s: First pause before connecting again; each further one is twice as long.
        reconnect_max_s: Longest such pause.
        refused_retry_s: Pause after a refusal of name or password: cameras lock users out.
        frozen_after_s: The same picture bit for bit for so long (or the same few in turn) is a
            fault of the stream, and the camera is connected again; 0 never.
        black_after_s: A black picture for so long is reported; 0 never.
    """

    open_timeout_s: Annotated[float, Meta(ge=0.5, le=120)] = 10.0
    read_timeout_s: Annotated[float, Meta(ge=0.5, le=120)] = 5.0
    reconnect_min_s: Annotated[float, Meta(ge=0.1, le=600)] = 0.5
    reconnect_max_s: Annotated[float, Meta(ge=0.1, le=3600)] = 30.0
    refused_retry_s: Annotated[float, Meta(ge=1, le=_DAY_S)] = 60.0
    frozen_after_s: Annotated[float, Meta(ge=0, le=_DAY_S)] = 30.0
    black_after_s: Annotated[float, Meta(ge=0, le=_DAY_S)] = 10.0


class RtspSource(LiveCamera, frozen=True, tag="rtsp", tag_field="type"):
    """A network camera that speaks RTSP.

    Attributes:
        url: ``rtsp://host[:port]/path``, or ``rtsps://``. Name and password do not belong in it.
        transport: ``tcp`` loses nothing and passes firewalls; ``udp`` has less delay.
        username: User name; empty for none.
        password_file: File whose first line is the password, relative to the configuration
            file; empty for none.
        decode: ``auto`` takes the hardware's decoder where OpenCV finds one, ``cpu`` none; the
            others insist.
        threads: Threads that decode this camera; each further one delays it by a frame.
        isolate: Whether to decode in a process of its own, so that a stream which crashes the
            decoder does not end the agent.
    """

    url: str
    transport: Literal["tcp", "udp"] = "tcp"
    username: str = ""
    password_file: str = ""
    decode: Decoding = "auto"
    threads: DecodeThreads = 1
    isolate: bool = False

    def __post_init__(self) -> None:
        """Refuse addresses that cannot be one, or that hold a password."""
        require_url(self.url, schemes=("rtsp", "rtsps"))


class MjpegSource(LiveCamera, frozen=True, tag="mjpeg", tag_field="type"):
    """A network camera that sends JPEG pictures over HTTP (``multipart/x-mixed-replace``).

    Attributes:
        url: ``http://`` or ``https://``. Name and password do not belong in it.
        username: User name; empty for none.
        password_file: File whose first line is the password, relative to the configuration
            file; empty for none.
        ca_file: Certificates to trust for ``https``, relative to the configuration file; empty
            for those of the system.
        max_picture_mb: Largest JPEG that is taken.
        isolate: Whether to decode in a process of its own.
    """

    url: str
    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    max_picture_mb: Annotated[float, Meta(ge=0.01, le=100)] = 16.0
    isolate: bool = False

    def __post_init__(self) -> None:
        """Refuse addresses that cannot be one, or that hold a password."""
        require_url(self.url, schemes=("http", "https"))


class UsbSource(LiveCamera, frozen=True, tag="usb", tag_field="type"):
    """A camera at this box (Video4Linux).

    Attributes:
        device: Number of the device, or its path. Paths in ``/dev/v4l/by-id`` stay the same when
            the camera is plugged in again.
        width: Width in pixels to ask for; 0 leaves it to the camera.
        height: Height in pixels to ask for; 0 leaves it to the camera.
        fps: Frames per second to ask for; 0 leaves them to the camera.
        fourcc: Pixel format to ask for, such as ``MJPG``; empty leaves it to the camera.
    """

    device: Annotated[int, Meta(ge=0, le=255)] | Annotated[str, Meta(min_length=1)] = 0
    width: Annotated[int, Meta(ge=0, le=8192)] = 0
    height: Annotated[int, Meta(ge=0, le=8192)] = 0
    fps: Annotated[float, Meta(ge=0, le=1000)] = 0.0
    fourcc: Annotated[str, Meta(pattern="^([ -~]{4})?$")] = ""

    def __post_init__(self) -> None:
        """Refuse what is neither a number nor a path."""
        if isinstance(self.device, str) and not self.device.startswith("/"):
            raise ValueError("device is neither a number in 0..255 nor a path such as /dev/video0")


class GstreamerSource(LiveCamera, frozen=True, tag="gstreamer", tag_field="type"):
    """A GStreamer pipeline, for hardware that only GStreamer's elements reach.

    Attributes:
        pipeline: As for ``gst-launch-1.0``, ending in ``appsink``; give that ``drop=true
            max-buffers=1``. OpenCV must be built with GStreamer: the wheels of PyPI are not.
    """

    pipeline: Annotated[str, Meta(min_length=1)]
