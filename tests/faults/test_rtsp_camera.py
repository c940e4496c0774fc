"""What happens to a camera in the field, done to a real RTSP server; how soon frames are back."""

import contextlib
import itertools
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgehaul.clock import SystemClock
from edgehaul.config.cameras import RtspSource
from edgehaul.config.device import StreamConfig
from edgehaul.errors import AuthError, SourceError
from edgehaul_agent.app import StoppableClock
from edgehaul_agent.sources.factory import frame_source
from edgehaul_agent.sources.live import LiveSource
from tests.fakes.rtsp import Line, RtspCamera, free_port, line_to, why_no_camera
from tests.fakes.viewers import Viewer

pytestmark = pytest.mark.slow

READ_TIMEOUT_S = 2.0
FROZEN_AFTER_S = 2.0
BLACK_AFTER_S = 1.0
RECOVERY_S = 6.0
"""Within so long frames are back: a pause, an opening, and the wait for a key frame."""
SECRET = "s3cret&pass/word@1"  # noqa: S105 - of a camera that lives for this test


@pytest.fixture(scope="module", autouse=True)
def _camera_is_there() -> None:
    reason = why_no_camera()
    if reason:
        pytest.skip(reason)


@pytest.fixture
def camera() -> Iterator[RtspCamera]:
    with RtspCamera(free_port()) as running:
        yield running


@pytest.fixture
def line(camera: RtspCamera) -> Iterator[Line]:
    with line_to(camera.port) as running:
        yield running


def source(
    port: int, folder: Path = Path(), *, persistent: bool = True, **options: object
) -> LiveSource:
    settings: dict[str, object] = {
        "open_timeout_s": 4.0,
        "read_timeout_s": READ_TIMEOUT_S,
        "reconnect_min_s": 0.2,
        "reconnect_max_s": 2.0,
        "refused_retry_s": 2.0,
        "frozen_after_s": 0.0,
        "black_after_s": BLACK_AFTER_S,
        **options,
    }
    camera = RtspSource(url=f"rtsp://127.0.0.1:{port}/live", **settings)  # type: ignore[arg-type]  # names are checked by the type itself
    config = StreamConfig(name="gate", model="m", source=camera)
    made = frame_source(config, folder=folder, clock=SystemClock(), persistent=persistent)
    assert isinstance(made, LiveSource)
    return made


def report(fault: str, recovery_s: float) -> None:
    print(f"{fault}: frames again after {recovery_s:.2f} s")  # noqa: T201 - shown by `pytest -s`


def assert_times_are_good(viewer: Viewer) -> None:
    seen = viewer.seen
    assert all(b.captured_at_s > a.captured_at_s for a, b in itertools.pairwise(seen))
    assert all(b.index > a.index for a, b in itertools.pairwise(seen))
    worst = max(abs(frame.at_s - frame.captured_at_s) for frame in seen)
    assert worst < 1.2, f"a capture time {worst:.2f} s from the arrival"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tcp", {"transport": "tcp"}),
        ("udp", {"transport": "udp"}),
        ("tcp, isolated", {"isolate": True}),
    ],
)
def test_it_is_killed_and_started_again(
    camera: RtspCamera, name: str, options: dict[str, object]
) -> None:
    with Viewer(source(camera.port, **options)) as viewer:
        report(f"first connection, {name}", viewer.wait_for_frames(5))
        camera.kill()
        viewer.wait_for(lambda: viewer.source.faults, within_s=READ_TIMEOUT_S + 2, what="fault")
        time.sleep(3)  # retries fail meanwhile
        assert "cannot be reached: connection refused" in viewer.source.last_fault
        camera.start()
        report(f"kill, {name}", viewer.wait_for_frames(within_s=RECOVERY_S))
        viewer.wait_for_frames(5)
    assert viewer.source.reconnects >= 2
    assert_times_are_good(viewer)


def test_the_line_goes_dead(line: Line) -> None:
    with Viewer(source(line.port)) as viewer:
        viewer.wait_for_frames(5)
        line.hold(new_ones_too=False)
        time.sleep(0.2)  # what was on its way
        report(
            "half-open, from its beginning",
            viewer.wait_for_frames(3, within_s=READ_TIMEOUT_S + RECOVERY_S),
        )
        assert "no frame for 2.0 s" in viewer.source.last_fault
        line.hold(new_ones_too=True)
        viewer.wait_for(
            lambda: "does not answer" in viewer.source.last_fault, within_s=15, what="silence"
        )
        line.mend()
        # An attempt that began on the dead line must run into its time-out first.
        report("dead line, from its end", viewer.wait_for_frames(within_s=2 * RECOVERY_S))
    assert_times_are_good(viewer)


def test_the_picture_freezes(camera: RtspCamera) -> None:
    with Viewer(source(camera.port, frozen_after_s=FROZEN_AFTER_S)) as viewer:
        viewer.wait_for_frames(5)
        camera.show("smpte75")
        viewer.wait_for(
            lambda: "frozen" in viewer.source.last_fault, within_s=FROZEN_AFTER_S + 3, what="frozen"
        )
        viewer.wait_for(lambda: viewer.source.reconnects >= 2, within_s=12, what="reconnects")
        camera.show("ball")
        report("frozen, from its end", viewer.wait_for_frames(within_s=RECOVERY_S))
        faults = viewer.source.faults
        viewer.wait_for_frames(30)
        assert viewer.source.faults == faults
    assert_times_are_good(viewer)


def test_the_picture_goes_black(camera: RtspCamera, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Viewer(source(camera.port, frozen_after_s=FROZEN_AFTER_S)) as viewer:
        viewer.wait_for_frames(5)
        camera.show("black")
        took_s = viewer.wait_for(
            lambda: viewer.source.state == "black", within_s=BLACK_AFTER_S + 2, what="black"
        )
        print(f"black: reported after {took_s:.2f} s")  # noqa: T201 - shown by `pytest -s`
        viewer.wait_for_frames(40)  # beyond the limit for frozen pictures
        camera.show("ball")
        took_s = viewer.wait_for(lambda: viewer.source.state == "live", within_s=2, what="live")
        report("black", took_s)
    assert (viewer.source.reconnects, viewer.source.faults) == (0, 1)
    assert caplog.text.count("the picture is black") == 1
    assert_times_are_good(viewer)


def test_the_resolution_changes(camera: RtspCamera) -> None:
    with Viewer(source(camera.port)) as viewer:
        viewer.wait_for_frames(5)
        for size in ((640, 480), (160, 120), (1280, 720)):
            camera.resize(*size)
            report(f"resolution {size[0]} x {size[1]}, in the stream", viewer.wait_for_frames())
            viewer.wait_for_frames(20)  # two key frames at least
        # OpenCV scales what changes within a stream to what it was.
        assert {frame.size for frame in viewer.seen} == {(320, 240)}
        assert viewer.source.faults == 0
        camera.kill()
        camera.start()
        camera.resize(640, 480)
        took_s = viewer.wait_for(
            lambda: viewer.seen[-1].size == (640, 480), within_s=2 * RECOVERY_S, what="size"
        )
        report("resolution 640 x 480, by a new start", took_s)
    assert_times_are_good(viewer)


def test_timestamps_jump(line: Line) -> None:
    with Viewer(source(line.port)) as viewer:
        viewer.wait_for_frames(5)
        # Back to zero; an hour on; 0.4 s on; over the end of 32 bits.
        for name, shift in (
            ("reset", lambda: -line.last_timestamp),
            ("an hour on", lambda: 90_000 * 3600),
            ("half a second on", lambda: line.shift + 45_000),
            ("wrap-around", lambda: -line.last_timestamp - 90_000),
        ):
            line.shift = shift()
            report(
                f"timestamps, {name}",
                viewer.wait_for_frames(3, within_s=READ_TIMEOUT_S + RECOVERY_S) / 3,
            )
            viewer.wait_for_frames(15)
    assert_times_are_good(viewer)


def test_packets_come_damaged(line: Line) -> None:
    with Viewer(source(line.port, isolate=True)) as viewer:
        viewer.wait_for_frames(5)
        line.noise = 0.3
        viewer.wait_for_frames(40, within_s=40)
        line.noise = 0.0
        report("damaged packets", viewer.wait_for_frames(10, within_s=RECOVERY_S) / 10)
        faults = viewer.source.faults
        viewer.wait_for_frames(20)
        assert viewer.source.faults == faults
    assert_times_are_good(viewer)


def test_credentials_are_refused_and_then_right(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    password_file = tmp_path / "password"
    password_file.write_text("wrong" + SECRET)
    with RtspCamera(free_port(), user="viewer", password=SECRET) as camera:
        with pytest.raises(AuthError, match="asks for a name and a password"):
            next(iter(source(camera.port, persistent=False).frames()))
        named = {"username": "viewer", "password_file": "password"}
        refused = source(camera.port, tmp_path, persistent=False, **named)
        with pytest.raises(AuthError, match="refuses this name or password; correct username"):
            next(iter(refused.frames()))
        with Viewer(source(camera.port, tmp_path, **named)) as viewer:
            viewer.wait_for(lambda: viewer.source.faults, within_s=5, what="refusal")
            time.sleep(1.5)
            assert viewer.source.faults == 1, "it is tried again slowly"
            password_file.write_text(SECRET + "\n")
            took_s = viewer.wait_for_frames(within_s=8)
            told = [viewer.source.last_fault, caplog.text, *capfd.readouterr()]
    assert not [text for text in told if SECRET in text or "word%40" in text or "wrong" in text]
    report("credentials mended, with a pause of 2 to 2.5 s", took_s)


def test_silent_cameras_do_not_keep_others_from_being_opened(camera: RtspCamera) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
        silent = [source(port, open_timeout_s=3.0) for _ in range(6)]
        with contextlib.ExitStack() as viewers:
            for dead in silent:
                viewers.enter_context(Viewer(dead))
            time.sleep(0.3)
            alive = viewers.enter_context(Viewer(source(camera.port)))
            report("beside six silent cameras", alive.wait_for_frames(within_s=3))


def test_a_decoder_that_is_not_there_is_told(camera: RtspCamera) -> None:
    made = source(camera.port, persistent=False, decode="mfx")
    with made, pytest.raises(SourceError, match="cannot be decoded by mfx here; write decode"):
        next(iter(made.frames()))


def test_a_check_tells_what_is_wrong(camera: RtspCamera) -> None:
    for url, fault in (
        (f"rtsp://127.0.0.1:{camera.port}/none", "no such stream; correct the path"),
        (f"rtsp://127.0.0.1:{free_port()}/live", "connection refused"),
    ):
        config = StreamConfig(name="gate", model="m", source=RtspSource(url=url))
        checked = frame_source(config, folder=Path(), clock=SystemClock(), persistent=False)
        with checked, pytest.raises(SourceError, match=fault):
            next(iter(checked.frames()))


@pytest.mark.parametrize("when", ["live", "half-open", "away"])
def test_it_stops_within_a_second(line: Line, when: str) -> None:
    stop = threading.Event()
    port = free_port() if when == "away" else line.port
    config = StreamConfig(
        name="gate",
        model="m",
        source=RtspSource(url=f"rtsp://127.0.0.1:{port}/live", read_timeout_s=30),
    )
    made = frame_source(config, folder=Path(), clock=StoppableClock(stop))
    assert isinstance(made, LiveSource)
    with Viewer(made, stop) as viewer:
        if when == "away":
            viewer.wait_for(lambda: viewer.source.faults, within_s=5, what="fault")
        else:
            viewer.wait_for_frames(3)
        if when == "half-open":
            line.hold(new_ones_too=True)
            time.sleep(1)
        stop.set()
        took_s = viewer.wait_for_end(within_s=1)
        print(f"stopped while {when}: {took_s:.2f} s")  # noqa: T201 - shown by `pytest -s`
