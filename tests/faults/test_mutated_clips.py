"""Damaged videos: whatever they do to the decoder, the agent reads on.

``EDGEHAUL_MUTATED_CLIPS`` says how many; ``EDGEHAUL_MUTATED_FROM`` where their seeds begin.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from edgehaul.clock import SystemClock
from edgehaul.config.device import StreamConfig
from edgehaul.config.recordings import FileSource
from edgehaul.errors import SourceError
from edgehaul_agent.sources.decoder_messages import Grab, Open, Retrieve
from edgehaul_agent.sources.factory import frame_source
from edgehaul_agent.sources.isolated import DecoderProcess
from tests.fakes.clips import damaged, write_clips

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("EDGEHAUL_MUTATED_CLIPS", "300"))
FROM = int(os.environ.get("EDGEHAUL_MUTATED_FROM", "0"))
WHOLE_EVERY = 25
"""One clip in so many goes through the whole source, with a process of its own."""
STEP_S = 10.0
MOST_STEPS = 400
MOST_BAD = 20


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def decoder() -> Iterator[DecoderProcess]:
    running = DecoderProcess("clip")
    yield running
    running.close()


def decoded(decoder: DecoderProcess, path: Path) -> str:
    """Return how far the decoder came: the same process reads one clip after the other."""
    opened = decoder.ask(Open(str(path), cv2.CAP_FFMPEG, []), within_s=STEP_S)
    if not opened.ok:
        return "refused"
    frames = bad = 0
    for _ in range(MOST_STEPS):
        if decoder.ask(Grab(), within_s=STEP_S).ok:
            image = decoder.picture(Retrieve(decoder.free_slot()))
            frames += image is not None
        else:
            bad += 1
            if bad > MOST_BAD:
                break
    return "read" if frames else "nothing decoded"


def read_whole(path: Path) -> str:
    config = StreamConfig(name="gate", model="m", source=FileSource(path=str(path), isolate=True))
    try:
        with frame_source(config, folder=Path(), clock=SystemClock()) as source:
            for frame in source.frames():
                assert frame.image.ndim == 3
    except SourceError as error:
        return f"whole source: {error.message}"
    return "whole source: read"


@pytest.mark.timeout(0)
def test_no_damaged_clip_ends_the_agent(
    clips: dict[str, bytes], decoder: DecoderProcess, tmp_path: Path
) -> None:
    ends: Counter[str] = Counter()
    deaths = []
    started_s = time.monotonic()
    for seed in range(FROM, FROM + COUNT):
        name, content = damaged(clips, seed)
        path = tmp_path / name
        path.write_bytes(content)
        if seed % WHOLE_EVERY == 0:
            ends[read_whole(path)] += 1
        try:
            ends[decoded(decoder, path)] += 1
        except SourceError as error:
            ends[error.message] += 1
            deaths.append((seed, name, error.message))
        path.unlink()
    took_s = time.monotonic() - started_s
    print(f"{COUNT} mutated clips of {len(clips)} in {took_s:.0f} s: {dict(ends)}; {deaths}")  # noqa: T201 - shown by `pytest -s`
    # That this line is reached is the proof: each of them was read in a process that may die.
    assert ends["read"] > COUNT / 10
    for name, content in clips.items():
        (tmp_path / name).write_bytes(content)
        assert decoded(decoder, tmp_path / name) == "read", name
