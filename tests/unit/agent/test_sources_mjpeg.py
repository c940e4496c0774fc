"""Cameras over HTTP: what they send, well and badly, and whom they let in."""

import base64
import logging
import shutil
import subprocess
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehaul.clock import SystemClock
from edgehaul.config.cameras import MjpegSource
from edgehaul.config.device import StreamConfig
from edgehaul.errors import AuthError, SourceError
from edgehaul_agent.sources.challenge import Credentials, answer_to
from edgehaul_agent.sources.factory import frame_source
from edgehaul_agent.sources.live import LiveSource
from edgehaul_agent.sources.multipart import PartReader, boundary_of
from tests.fakes.http_camera import HttpCamera, http_camera, sized, unsized
from tests.fakes.viewers import Viewer

SECRET = "p:ä ss"  # noqa: S105 - of a camera that lives for this test


@pytest.fixture
def camera() -> Iterator[HttpCamera]:
    with http_camera() as running:
        yield running


def source(
    camera: HttpCamera, folder: Path = Path(), *, persistent: bool = False, **options: object
) -> LiveSource:
    limits = {"read_timeout_s": 10.0, "open_timeout_s": 10.0, "reconnect_min_s": 0.1}
    config = MjpegSource(url=camera.url, **(limits | options))  # type: ignore[arg-type]  # names are checked by the type itself
    stream = StreamConfig(name="gate", model="m", source=config)
    made = frame_source(stream, folder=folder, clock=SystemClock(), persistent=persistent)
    assert isinstance(made, LiveSource)
    return made


@pytest.mark.parametrize("part", [sized, unsized])
def test_pictures_come_in_order(camera: HttpCamera, part: object) -> None:
    camera.part = part  # type: ignore[assignment]  # one of the two
    with source(camera) as made:
        frames = list(islice(made.frames(), 8))
    levels = [frame.image.mean() for frame in frames]
    assert levels == sorted(levels)
    assert frames[0].image.shape == (48, 64, 3)
    assert made.bad == 0


@pytest.mark.parametrize("scheme", ["Basic", "Digest"])
def test_name_and_password_are_given_when_asked_for(
    camera: HttpCamera, tmp_path: Path, scheme: str
) -> None:
    camera.user, camera.password, camera.scheme = "viewer", SECRET, scheme
    (tmp_path / "password").write_text(SECRET + "\n", encoding="utf-8")
    named = {"username": "viewer", "password_file": "password"}
    with source(camera, tmp_path, **named) as made:
        assert next(made.frames()).index == 0
    assert camera.authorizations[0] == "", "nothing is told unasked"


@pytest.mark.parametrize("scheme", ["Basic", "Digest", "Bearer"])
def test_a_refusal_is_told_without_the_password(
    camera: HttpCamera, tmp_path: Path, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    camera.user, camera.password, camera.scheme = "viewer", SECRET, scheme
    (tmp_path / "password").write_text("mistaken")
    with pytest.raises(AuthError, match="asks for a name or password; correct username"):
        next(source(camera).frames())
    named = {"username": "viewer", "password_file": "password"}
    with pytest.raises(AuthError, match="refuses this name or password") as caught:
        next(source(camera, tmp_path, **named).frames())
    assert "mistaken" not in str(caught.value) + caplog.text + repr(Credentials("a", "mistaken"))


def test_a_redirect_is_not_followed(camera: HttpCamera, tmp_path: Path) -> None:
    with http_camera() as other:
        camera.redirect = other.url.replace("127", "u:secret@127")
        (tmp_path / "password").write_text("mine")
        named = {"username": "viewer", "password_file": "password"}
        shown = f"redirects to http://127.0.0.1:{other.port}/video, which is not followed"
        with pytest.raises(SourceError, match=shown):
            next(source(camera, tmp_path, **named).frames())
        assert other.authorizations == []


@pytest.mark.parametrize("content_type", ["text/html", "image/jpeg", "multipart/mixed", ""])
def test_what_is_no_such_stream_is_refused(camera: HttpCamera, content_type: str) -> None:
    camera.content_type = content_type
    with pytest.raises(SourceError, match="this is no MJPEG stream"):
        next(source(camera).frames())


def test_a_silent_camera_is_a_fault(camera: HttpCamera) -> None:
    camera.is_silent = True
    with source(camera, read_timeout_s=2) as made:
        frames = made.frames()
        next(frames)
        with pytest.raises(SourceError, match="no frame for 2"):
            next(frames)


def test_a_camera_that_trickles_is_a_fault(camera: HttpCamera) -> None:
    camera.trickle_s = 0.05
    started_s = time.monotonic()
    with pytest.raises(SourceError, match=r"no frame for 0\.5 s"):
        next(source(camera, read_timeout_s=0.5).frames())
    assert time.monotonic() - started_s < 2


def test_too_large_a_picture_is_refused(camera: HttpCamera) -> None:
    for part in (lambda _: sized(bytes(20_000)), lambda _: unsized(bytes(20_000))):
        camera.part = part
        with pytest.raises(SourceError, match="is larger than 10485 bytes"):
            next(source(camera, max_picture_mb=0.01).frames())


def test_a_broken_picture_is_counted(camera: HttpCamera) -> None:
    camera.part = lambda content: sized(b"no picture") + sized(b"") + sized(content)
    with source(camera) as made:
        assert len(list(islice(made.frames(), 3))) == 3
        assert made.bad >= 2


def test_it_is_connected_again(camera: HttpCamera) -> None:
    camera.frames = 3
    with Viewer(source(camera, persistent=True)) as viewer:
        viewer.wait_for(lambda: viewer.source.reconnects >= 2, within_s=5, what="reconnects")
        assert "has ended the stream" in viewer.source.last_fault
        camera.frames = 10**9
        viewer.wait_for_frames(10)


def test_nobody_there_is_told() -> None:
    config = MjpegSource(url="http://127.0.0.1:1/video")
    stream = StreamConfig(name="gate", model="m", source=config)
    made = frame_source(stream, folder=Path(), clock=SystemClock(), persistent=False)
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1:1/video: .*connection refused"):
        next(made.frames())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_https_trusts_only_what_it_is_told_to(tmp_path: Path) -> None:
    file = tmp_path / "camera.pem"
    request = (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=c -addext subjectAltName=IP:127.0.0.1"
    )
    command = ["openssl", *request.split(), "-keyout", file, "-out", tmp_path / "certificate"]
    subprocess.run(command, check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + (tmp_path / "certificate").read_bytes())
    with http_camera(file) as camera:
        with pytest.raises(SourceError, match=r"cannot be reached: .*certificate verify failed"):
            next(source(camera).frames())
        with source(camera, tmp_path, ca_file="certificate") as made:
            assert len(list(islice(made.frames(), 3))) == 3
        with pytest.raises(SourceError, match="these certificates cannot be read; correct ca_file"):
            next(source(camera, tmp_path, ca_file="none").frames())


# Parts


def reader(stream: bytes, pieces: Iterator[int], most_bytes: int = 1000) -> PartReader:
    position = 0

    def read(most: int) -> bytes:
        nonlocal position
        start, position = position, position + min(most, next(pieces, 7))
        return stream[start:position]

    return PartReader(read, b"--b", most_bytes=most_bytes, where="w")


bodies = st.lists(st.binary(max_size=60).filter(lambda b: b"--b" not in b), max_size=6)


@given(bodies, st.lists(st.integers(1, 50)), st.sampled_from(["sized", "unsized"]))
def test_parts_come_whole_however_the_stream_is_cut(
    contents: list[bytes], pieces: list[int], kind: str
) -> None:
    stream = b"preamble"
    for content in contents:
        length = b"content-LENGTH: %d\r\n" % len(content) if kind == "sized" else b""
        stream += b"\r\n--b\r\nX: y\r\n" + length + b"\r\n" + content
    parts = reader(stream + b"\r\n--b--\r\n", iter(pieces))
    assert [parts.next_part() for _ in contents] == contents
    with pytest.raises(SourceError, match="has ended the stream"):
        parts.next_part()


@given(st.binary(max_size=3000), st.lists(st.integers(1, 500)))
def test_any_stream_ends_in_parts_within_the_limits_or_in_an_error(
    stream: bytes, pieces: list[int]
) -> None:
    parts = reader(stream, iter(pieces), most_bytes=100)

    def read_on() -> None:
        for _ in range(len(stream) + 1):
            # What is found at once with the end of a part may be longer by what was read with it.
            assert len(parts.next_part()) <= 100 + 500

    with pytest.raises(SourceError):
        read_on()


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/x-mixed-replace; boundary=frame", b"--frame"),
        ('multipart/x-mixed-replace;boundary="--my frame"', b"--my frame"),
        ("Multipart/X-Mixed-Replace; charset=utf-8; BOUNDARY=--a", b"--a"),
    ],
)
def test_boundaries_are_read(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type, where="w") == boundary


# Challenges


def test_digest_answers_as_rfc_2069_says() -> None:
    offer = 'Digest realm="camera", nonce="abc", algorithm=MD5, opaque="x,y"'
    answer = answer_to([offer], Credentials("u", "p"), method="DESCRIBE", uri="rtsp://h/live")
    assert answer is not None
    assert answer.startswith('Digest username="u", realm="camera", nonce="abc"')
    assert 'opaque="x,y"' in answer
    # md5(md5(u:camera:p):abc:md5(DESCRIBE:rtsp://h/live)), by md5sum
    assert 'response="62ffc0d9ef0228602d7d05f86b0b9232"' in answer


def test_digest_goes_before_basic_and_what_is_unknown_is_passed_over() -> None:
    ours = Credentials("u", "p")
    both = ['Basic realm="r"', 'Digest realm="r", nonce="n"']
    assert str(answer_to(both, ours, method="GET", uri="/")).startswith("Digest")
    odd = ['Digest realm="r", nonce="n", algorithm=SHA-512-256', 'Basic realm="r"']
    basic = "Basic " + base64.b64encode(b"u:p").decode()
    assert answer_to(odd, ours, method="GET", uri="/") == basic
    assert answer_to(["Bearer x"], ours, method="GET", uri="/") is None
    assert answer_to(both, Credentials(), method="GET", uri="/") is None
