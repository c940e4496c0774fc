"""Cameras at this box, through Video4Linux."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path

import cv2

from edgehaul.clock import Clock
from edgehaul.config.cameras import UsbSource
from edgehaul.errors import SourceError
from edgehaul_agent.sources.opencv import CaptureLink, open_capture

_log = logging.getLogger(__name__)


def device_path(config: UsbSource) -> Path:
    """Return the device's file."""
    return Path(config.device if isinstance(config.device, str) else f"/dev/video{config.device}")


def connect_usb(config: UsbSource, clock: Clock) -> CaptureLink:
    """Return a link to the camera, set up as the configuration asks as far as it can be.

    A camera that is pulled out ends its stream; :class:`~edgehaul_agent.sources.live.LiveSource`
    opens the device again when it is back. It may then have another number, hence the advice to
    name it by its path in ``/dev/v4l/by-id``.

    Raises:
        SourceError: It is not there, not ours to read, or no camera.
    """
    path = device_path(config)
    if not path.exists():
        raise SourceError(
            "no such camera", where=path, remedy="plug it in, or correct the device of the source"
        )
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(
            "this camera may not be read",
            where=path,
            remedy="add the agent's user to the group of the device, often `video`",
        )
    # OpenCV takes the longest wait for a frame from the environment only, in whole seconds.
    wait_s = math.ceil(config.read_timeout_s)
    os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] = str(wait_s)
    capture = open_capture(str(path), cv2.CAP_V4L2)
    if not capture.isOpened():
        capture.release()
        raise SourceError(
            "this is no camera that can be opened",
            where=path,
            remedy="check that no other program uses it, and what `v4l2-ctl --list-formats` says",
        )
    for name, value in _wishes(config):
        if not capture.set(name, value):
            _log.warning("%s: does not take %s", path, value)
    return CaptureLink(capture, where=str(path), clock=clock, read_timeout_s=float(wait_s))


def _wishes(config: UsbSource) -> list[tuple[int, float]]:
    """Return what is asked for; the pixel format goes first, since sizes depend on it."""
    code = cv2.VideoWriter.fourcc(*config.fourcc) if config.fourcc else 0
    wishes = [
        (cv2.CAP_PROP_FOURCC, float(code)),
        (cv2.CAP_PROP_FRAME_WIDTH, float(config.width)),
        (cv2.CAP_PROP_FRAME_HEIGHT, float(config.height)),
        (cv2.CAP_PROP_FPS, config.fps),
    ]
    return [(name, value) for name, value in wishes if value]
