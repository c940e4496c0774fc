"""The preview shows what is looked at to whoever watches, and does nothing while nobody does."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import cv2
import msgspec
import numpy as np
import pytest

from edgehaul.clock import SystemClock
from edgehaul.config.device import CountingLine, StreamConfig
from edgehaul.config.recordings import VirtualConveyorSource
from edgehaul.config.service import PreviewSection
from edgehaul.config.zones import ZoneConfig
from edgehaul.errors import DeviceError
from edgehaul.geometry import Box, Line, Point
from edgehaul.values import Detection, Frame
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.pipeline.camera import StreamPipeline
from edgehaul_agent.pipeline.viewfinder import Sight, Viewfinder
from edgehaul_agent.pipeline.workers import WorkerPool
from edgehaul_agent.preview import Preview, annotated
from edgehaul_agent.sources.base import Wants, always
from tests.fakes.running import wait_until
from tests.fakes.streams import FakeClock, ListFrames, MemoryOutbox, ScriptedModel
from tests.fakes.supervised import TOPICS

GREY = np.full((480, 640, 3), 90, np.uint8)
FOUND = ((Detection(Box(100, 100, 300, 300), 0, "parcel", 0.9), 7),)
DOCK = StreamConfig(
    name="dock",
    model="parcels",
    source=VirtualConveyorSource(),
    lines=(CountingLine(name="in", points=Line(Point(400, 50), Point(400, 430))),),
    zones=(ZoneConfig(name="ramp", points=(Point(480, 300), Point(600, 300), Point(540, 400))),),
)


def decoded(picture: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)


def differs(picture: np.ndarray, x: int, y: int) -> bool:
    part = picture[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].astype(int)
    return bool((abs(part - 90) > 30).any())


@pytest.mark.parametrize(("longest_px", "scale"), [(960, 1.0), (320, 0.5)])
def test_boxes_tracks_lines_and_zones_are_drawn_where_they_are(
    longest_px: int, scale: float
) -> None:
    picture = decoded(annotated(Sight(GREY, FOUND), DOCK, longest_px))
    assert picture.shape == (round(480 * scale), round(640 * scale), 3)
    for x, y in ((100, 200), (299, 200), (400, 80), (540, 300), (510, 350)):
        assert differs(picture, round(x * scale), round(y * scale)), (x, y)
    for x, y in ((200, 200), (540, 340), (30, 440)):
        assert not differs(picture, round(x * scale), round(y * scale)), (x, y)
    assert (GREY == 90).all()


def test_nothing_is_kept_while_nobody_watches() -> None:
    clock = FakeClock()
    viewfinder = Viewfinder(clock, fps=5)
    assert not viewfinder.wants()
    viewfinder.show(GREY, FOUND)
    assert viewfinder.newer(0, 0) == (0, None)
    with viewfinder.watching():
        assert viewfinder.wants()
        viewfinder.show(GREY, FOUND)
        number, sight = viewfinder.newer(0, 0)
        assert sight is not None
        assert sight.found == FOUND
        assert viewfinder.newer(number, 0) == (number, None)
    assert viewfinder._sight is None
    assert not viewfinder.wants()


def test_no_more_is_shown_than_asked_for() -> None:
    clock = FakeClock()
    viewfinder = Viewfinder(clock, fps=4)
    with viewfinder.watching():
        wanted = 0
        for _ in range(1000):
            wanted += viewfinder.wants()
            clock.sleep(0.01)
    assert wanted == pytest.approx(40, abs=1)


def run_pipeline(viewfinder: Viewfinder, source: ListFrames | None = None) -> None:
    clock = FakeClock()
    with WorkerPool(1, clock) as workers:
        made = StreamPipeline(
            DOCK,
            source=source or ListFrames(5),
            model=ScriptedModel(
                lambda _i: [
                    Detection(Box(100, 100, 200, 200), 0, "parcel", 0.9),
                    Detection(Box(300, 100, 400, 200), 0, "parcel", 0.2),
                ]
            ),
            outlet=StreamOutlet(MemoryOutbox(), TOPICS, "dock"),
            workers=workers,
            clock=clock,
        )
        made.viewfinder = viewfinder
        with made:
            made.run(threading.Event())


def test_a_pipeline_shows_what_it_tells() -> None:
    viewfinder = Viewfinder(FakeClock(), fps=5)
    run_pipeline(viewfinder)
    assert viewfinder.newer(0, 0) == (0, None)
    with viewfinder.watching():
        run_pipeline(viewfinder)
        number, sight = viewfinder.newer(0, 0)
    assert number == 1, "the viewfinder's clock stands still: one picture is due"
    assert sight is not None
    assert sight.image.shape == (480, 640, 3)
    assert [(one.score, track_id) for one, track_id in sight.found] == [(0.9, 1)]


def test_what_is_shown_stays_when_the_source_uses_its_memory_again() -> None:
    class Thrifty(ListFrames):
        def frames(self, wants: Wants = always) -> Iterator[Frame]:
            memory = np.zeros((480, 640, 3), np.uint8)
            for frame in super().frames(wants):
                memory[:] = frame.image
                memory[1:] = 50 + frame.index
                yield msgspec.structs.replace(frame, image=memory)
                memory[:] = 255

    viewfinder = Viewfinder(FakeClock(), fps=5)
    with viewfinder.watching():
        run_pipeline(viewfinder, Thrifty(5))
        _, sight = viewfinder.newer(0, 0)
    assert sight is not None
    assert (sight.image[1:] == 50).all()


@pytest.fixture
def preview() -> Iterator[Preview]:
    section = PreviewSection(port=0, fps=60)
    with Preview(section, lambda: [DOCK], SystemClock()) as made:
        yield made


@pytest.fixture
def shown(preview: Preview) -> Iterator[Preview]:
    """A preview whose stream shows pictures all the time."""
    over = threading.Event()

    def show() -> None:
        viewfinder = preview.viewfinder("dock")
        while not over.wait(0.005):
            if viewfinder.wants():
                viewfinder.show(GREY, FOUND)

    thread = threading.Thread(target=show)
    thread.start()
    yield preview
    over.set()
    thread.join()


def ask(port: int, path: str, host: str = "127.0.0.1") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers={"Host": host})
    return connection.getresponse()


def test_the_page_names_the_streams(preview: Preview) -> None:
    response = ask(preview.port, "/")
    assert response.status == 200
    assert b'<img src="dock.mjpeg"' in response.read()
    for path in ("/gate.mjpeg", "/dock", "/dock.png", "/../dock.jpg", "/.mjpeg"):
        assert ask(preview.port, path).status == 404
    assert ask(preview.port, "/", host="evil.example").status == 421


def test_one_picture(shown: Preview) -> None:
    response = ask(shown.port, "/dock.jpg")
    assert response.getheader("Content-Type") == "image/jpeg"
    assert decoded(response.read()).shape == (480, 640, 3)


def test_pictures_as_they_come_until_the_watcher_goes(shown: Preview) -> None:
    response = ask(shown.port, "/dock.mjpeg")
    assert response.getheader("Content-Type") == "multipart/x-mixed-replace; boundary=frame"
    for _ in range(5):
        assert response.fp.readline() == b"--frame\r\n"
        assert response.fp.readline() == b"Content-Type: image/jpeg\r\n"
        length = int(response.fp.readline().split()[1])
        assert response.fp.readline() == b"\r\n"
        assert decoded(response.fp.read(length)).shape == (480, 640, 3)
        assert response.fp.readline() == b"\r\n"
    assert shown.viewfinder("dock")._watchers == 1
    response.close()
    wait_until(lambda: shown.viewfinder("dock")._watchers == 0)


def test_a_watcher_of_a_silent_stream_is_let_go_when_it_goes(preview: Preview) -> None:
    response = ask(preview.port, "/dock.mjpeg")
    wait_until(lambda: preview.viewfinder("dock")._watchers == 1)
    response.close()
    wait_until(lambda: preview.viewfinder("dock")._watchers == 0)


def test_there_are_places_for_eight(shown: Preview) -> None:
    with ExitStack() as watchers:
        for _ in range(8):
            response = ask(shown.port, "/dock.mjpeg")
            assert response.status == 200
            watchers.callback(response.close)
        assert ask(shown.port, "/dock.mjpeg").status == 503
        assert ask(shown.port, "/").status == 200
    wait_until(lambda: ask(shown.port, "/dock.jpg").status == 200)


def test_a_port_that_is_taken_is_told(preview: Preview) -> None:
    section = PreviewSection(port=preview.port)
    with pytest.raises(DeviceError, match="choose another port for the preview"):
        Preview(section, list, SystemClock())
