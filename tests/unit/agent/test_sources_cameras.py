"""Live cameras of the configuration: what is refused, and what is told where none is there."""

from pathlib import Path

import cv2
import pytest

from edgehaul.clock import SystemClock
from edgehaul.config.addresses import shown_url
from edgehaul.config.cameras import GstreamerSource, UsbSource
from edgehaul.config.device import DeviceConfig, FrameSourceConfig, StreamConfig
from edgehaul.config.loader import load_text
from edgehaul.errors import ConfigError, SourceError
from edgehaul_agent.sources.base import FrameSource
from edgehaul_agent.sources.factory import frame_source

HEAD = "root: r\ndevice: {id: a, site: b}\nstreams:\n- {name: gate, model: m, source: "


def source_of(text: str) -> FrameSourceConfig:
    return load_text(f"{HEAD}{text}}}", DeviceConfig).streams[0].source


def made(source: FrameSourceConfig) -> FrameSource:
    config = StreamConfig(name="gate", model="m", source=source)
    return frame_source(config, folder=Path(), clock=SystemClock(), persistent=False)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{type: rtsp, url: 'rtsp://u:geheim@h/x'}", r"source\.url: a url holds no name"),
        ("{type: mjpeg, url: 'http://geheim@h/x'}", "give username and password_file"),
        ("{type: rtsp, url: 'http://h/geheim'}", "no url of the form rtsp://host/path or rtsps"),
        ("{type: rtsp, url: 'rtsp:///geheim'}", "no url"),
        ("{type: rtsp, url: 'rtsp://h:123456/geheim'}", "no url"),
        ('{type: rtsp, url: "rtsp://h/geheim\\r\\nX: y"}', "no url"),
        ("{type: mjpeg, url: 'http://h/x', max_picture_mb: 1000}", "at most 100"),
        ("{type: rtsp, url: 'rtsp://h/x', transport: tls}", "one of tcp, udp"),
        ("{type: rtsp, url: 'rtsp://h/x', read_timeout_s: 0}", r"at least 0\.5"),
        ("{type: usb, device: video0}", "neither a number in 0..255 nor a path"),
        ("{type: usb, device: 256}", "neither a number in 0..255 nor a path"),
        ("{type: usb, fourcc: MJPEG}", "text that fits"),
        ("{type: gstreamer, pipeline: ''}", "at least 1 characters"),
    ],
)
def test_what_cannot_be_a_camera_is_refused_and_no_password_shown(text: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault) as caught:
        source_of(text)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://u:p@h:8554/a/b?user=x&password=y#z", "rtsp://h:8554/a/b"),
        ("http://[::1]/x", "http://[::1]/x"),
        ("http://h", "http://h"),
        ("no address", "(no address)"),
    ],
)
def test_addresses_are_shown_without_what_is_secret(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@pytest.mark.skipif(
    cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER), reason="this OpenCV has GStreamer"
)
def test_an_opencv_without_gstreamer_is_told() -> None:
    with pytest.raises(SourceError, match="built without GStreamer; install one that has it"):
        made(GstreamerSource(pipeline="videotestsrc ! appsink"))


@pytest.mark.parametrize("device", [255, "/dev/v4l/by-id/usb-none"])
def test_a_usb_camera_that_is_not_there_is_told(device: int | str) -> None:
    named = f"/dev/video{device}" if isinstance(device, int) else device
    source = made(UsbSource(device=device))
    with source, pytest.raises(SourceError, match=f"{named}: no such camera; plug it in"):
        next(source.frames())


def test_a_file_that_is_no_camera_is_told(tmp_path: Path) -> None:
    (tmp_path / "video").write_bytes(b"x")
    source = made(UsbSource(device=str(tmp_path / "video"), width=640, fourcc="MJPG"))
    with source, pytest.raises(SourceError, match="this is no camera that can be opened; check"):
        next(source.frames())
