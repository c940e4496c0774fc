"""GStreamer pipelines, where this OpenCV has GStreamer."""

from __future__ import annotations

import cv2

from edgehaul.clock import Clock
from edgehaul.config.cameras import GstreamerSource
from edgehaul.errors import SourceError
from edgehaul_agent.sources.opencv import CaptureLink, open_capture

WHERE = "gstreamer pipeline"
"""How errors name it: the pipeline itself may hold a password."""


def require_gstreamer() -> None:
    """Refuse an OpenCV without GStreamer.

    Raises:
        SourceError: This is one.
    """
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise SourceError(
            "this OpenCV was built without GStreamer",
            where=WHERE,
            remedy="install one that has it, such as the python3-opencv of a distribution, "
            "or use a source of type rtsp, mjpeg or usb",
        )


def connect_gstreamer(config: GstreamerSource, clock: Clock) -> CaptureLink:
    """Return a link to the pipeline, which runs.

    Raises:
        SourceError: This OpenCV has no GStreamer, or the pipeline does not run.
    """
    require_gstreamer()
    options = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        int(config.open_timeout_s * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        int(config.read_timeout_s * 1000),
    ]
    # Older ones refuse what they do not know: OpenCV 4.6 has no time-outs for GStreamer.
    for known in (options, []):
        capture = open_capture(config.pipeline, cv2.CAP_GSTREAMER, known)
        if capture.isOpened():
            break
        capture.release()
    else:
        raise SourceError(
            "the pipeline does not run",
            where=WHERE,
            remedy="try it with gst-launch-1.0; it must end in appsink",
        )
    return CaptureLink(capture, where=WHERE, clock=clock, read_timeout_s=config.read_timeout_s)
