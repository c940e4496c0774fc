"""Network cameras that speak RTSP, through OpenCV's FFmpeg.

What OpenCV 5 does, tried on a real server. It honours the open time-out and the read time-out, the
latter for each grab; at its end the frames left in the decoder come first, hence the check of the
time that a grab took. ``?udp`` at the end of the address chooses the transport. A resolution that
changes within the stream is scaled to the one at the opening, and nothing tells of it: coordinates
in the configuration stay right, and the new size comes with the next connection. It opens one video
at a time in a process and gives no reason for a refusal, so the camera is asked by
plain requests before and after (:mod:`~edgehaul_agent.sources.rtsp_request`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from urllib.parse import quote, urlsplit, urlunsplit

import cv2

from edgehaul.clock import Clock
from edgehaul.config.addresses import shown_url
from edgehaul.config.cameras import RtspSource
from edgehaul.errors import SourceError
from edgehaul_agent.sources.challenge import Credentials
from edgehaul_agent.sources.opencv import Capture, CaptureLink, open_capture
from edgehaul_agent.sources.rtsp_request import reason_of, require_answer

_ACCELERATION = {
    "auto": cv2.VIDEO_ACCELERATION_ANY,
    "cpu": cv2.VIDEO_ACCELERATION_NONE,
    "vaapi": cv2.VIDEO_ACCELERATION_VAAPI,
    "mfx": cv2.VIDEO_ACCELERATION_MFX,
}
_FFMPEG_OPTIONS = "rtsp_transport;tcp|fpsprobesize;0"
"""One value for the whole process: OpenCV takes options for FFmpeg from the environment only. With
the second one a camera opens in 0.8 s; otherwise FFmpeg looks on for 2.9 s to estimate a rate."""
_MS_PER_S = 1000
_MOST_BACKLOG = 500

OpenCapture = Callable[[str, int, list[int]], Capture]


def connect_rtsp(
    config: RtspSource,
    credentials: Credentials,
    clock: Clock,
    open_with: OpenCapture = open_capture,
) -> CaptureLink:
    """Return a link to the camera, at the live end of its stream.

    Args:
        config: The camera.
        credentials: Name and password.
        clock: Tells how long things take.
        open_with: Opens the capture, here or in a process of its own.

    Raises:
        AuthError: The camera refuses name or password.
        SourceError: It cannot be reached, or sends nothing that can be decoded.
    """
    where = shown_url(config.url)
    require_answer(config.url, where=where, timeout_s=config.open_timeout_s)
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _FFMPEG_OPTIONS)
    capture = open_with(_address(config, credentials), cv2.CAP_FFMPEG, _options(config))
    if not capture.isOpened():
        capture.release()
        reason = reason_of(config.url, credentials, where=where, timeout_s=config.open_timeout_s)
        raise reason or _not_opened(config, where)
    link = CaptureLink(capture, where=where, clock=clock, read_timeout_s=config.read_timeout_s)
    try:
        _skip_backlog(link, clock)
    except SourceError:
        link.close()
        raise
    return link


def _options(config: RtspSource) -> list[int]:
    return [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        int(config.open_timeout_s * _MS_PER_S),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        int(config.read_timeout_s * _MS_PER_S),
        cv2.CAP_PROP_HW_ACCELERATION,
        _ACCELERATION[config.decode],
        cv2.CAP_PROP_N_THREADS,
        config.threads,
    ]


def _address(config: RtspSource, credentials: Credentials) -> str:
    """Return the address as FFmpeg takes it: with name and password, and the transport."""
    parts = urlsplit(config.url)
    place = parts.netloc
    if credentials.username:
        name, password = quote(credentials.username, safe=""), quote(credentials.password, safe="")
        place = f"{name}:{password}@{place}"
    query = parts.query
    if config.transport == "udp":
        query = f"{query}&udp" if query else "udp"
    return urlunsplit((parts.scheme, place, parts.path, query, ""))


def _not_opened(config: RtspSource, where: str) -> SourceError:
    if config.decode in {"auto", "cpu"}:
        fault = "the camera sends no video that can be opened"
        remedy = "check it with another player; transport and open_timeout_s matter too"
    else:
        fault = f"the camera's video cannot be decoded by {config.decode} here"
        remedy = "write decode: auto, or install an OpenCV and drivers that can"
    return SourceError(fault, where=where, remedy=remedy)


def _skip_backlog(link: CaptureLink, clock: Clock) -> None:
    """Pass over what was collected while FFmpeg looked at the stream: it is seconds old.

    The backlog comes at once: each frame of it arrives less late than the one before.
    """
    link.grab()
    former_s, former_late_s = 0.0, float("inf")
    for _ in range(_MOST_BACKLOG):
        timestamp_s = link.grab()
        if timestamp_s is None:
            return
        late_s = clock.monotonic_s() - timestamp_s
        if former_late_s - late_s < (timestamp_s - former_s) / 2:
            return
        former_s, former_late_s = timestamp_s, late_s
