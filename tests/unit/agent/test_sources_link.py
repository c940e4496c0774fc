"""A link comes back after every break, waits in between, and says so once."""

from __future__ import annotations

import logging
import random
import re
import threading
from collections.abc import Callable
from itertools import islice, pairwise

import pytest

from edgehaul_agent.sources.lines import LineBuffer
from edgehaul_agent.sources.link import Link, Wire
from tests.fakes.receivers import ScriptedWire
from tests.fakes.streams import FakeClock

SILENCE_S = 4.0
RETRY_S = 8.0


def linked(clock: FakeClock, wires: list[ScriptedWire | None], times_s: list[float]) -> Link:
    """Return a link to each wire in turn; None, and what comes after the last, is refused."""

    def dial() -> Wire:
        times_s.append(clock.passed_s)
        wire = wires.pop(0) if wires else None
        if wire is None:
            raise ConnectionRefusedError(111, "Connection refused")
        return wire

    return Link(
        "tcp truck:1",
        dial,
        clock=clock,
        silence_s=SILENCE_S,
        retry_s=RETRY_S,
        greeting=b"hello",
        probe=b"probe",
        chance=random.Random(3),
    )


def heard(link: Link, until: Callable[[], bool]) -> list[bytes | None]:
    found = []
    for piece in islice(link.pieces(), 10_000):
        found += [piece] if piece != b"" else []
        if until():
            return found
    raise AssertionError("this did not end")


def test_pauses_double_up_to_the_longest_less_up_to_a_half() -> None:
    clock, times_s = FakeClock(), list[float]()
    heard(linked(clock, [], times_s), lambda: len(times_s) == 9)
    pauses_s = [after - before for before, after in pairwise(times_s)]
    wanted_s = [0.5, 1, 2, 4, 8, 8, 8, 8]
    assert all(w / 2 <= p <= w for p, w in zip(pauses_s, wanted_s, strict=True)), pauses_s
    assert len({round(pause_s, 6) for pause_s in pauses_s[4:]}) == 4, "at random"


def test_success_resets_the_pause_and_a_silent_server_is_none() -> None:
    clock, times_s = FakeClock(), list[float]()
    lost = [ScriptedWire(clock, [b"a", b"!"]), ScriptedWire(clock, [])]
    wires = [None, None, None, None, *lost]
    link = linked(clock, wires, times_s)
    pieces = heard(link, lambda: len(times_s) == 7)
    assert pieces == [None, b"a", None]
    pauses_s = [after - before for before, after in pairwise(times_s)]
    assert pauses_s[4] <= 0.5, "something had come"
    assert SILENCE_S + 0.5 <= pauses_s[5] <= SILENCE_S + 1.0, "nothing had: it waits longer"
    assert [wire.closed >= 1 for wire in lost] == [True, True]


def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    clock, times_s = FakeClock(), list[float]()
    wires = [None, None, ScriptedWire(clock, [b"a", b"b", b"!"]), None, ScriptedWire(clock, [])]
    with caplog.at_level(logging.INFO):
        heard(linked(clock, wires, times_s), lambda: len(times_s) == 8)
    assert [record.getMessage() for record in caplog.records] == [
        "tcp truck:1: connection refused; trying again until it is back",
        "tcp truck:1: receiving",
        "tcp truck:1: connection reset by peer; trying again until it is back",
    ]


def test_a_probe_tells_a_silent_end_from_a_dead_one() -> None:
    clock, times_s = FakeClock(), list[float]()
    wire = ScriptedWire(clock, [], answers=3)
    heard(linked(clock, [wire], times_s), lambda: len(times_s) == 2)
    assert wire.sent == [b"hello", *[b"probe"] * 4]
    assert times_s[1] > 3 * SILENCE_S / 2 + SILENCE_S


def test_a_connection_that_comes_too_late_is_closed() -> None:
    clock, dialled, closed = FakeClock(), threading.Event(), threading.Event()

    class LateWire(ScriptedWire):
        def close(self) -> None:
            closed.set()

    def dial() -> Wire:
        dialled.wait(10)
        return LateWire(clock, [])

    link = Link("x", dial, clock=clock, silence_s=1, retry_s=1)
    pieces = link.pieces()
    assert next(pieces) == b"", "a quarter of a second, not longer"
    pieces.close()  # type: ignore[attr-defined]  # a generator
    dialled.set()
    assert closed.wait(10)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n", b"\n\n", b""])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_sentences_become_whole_in_any_pieces(end: bytes, size: int) -> None:
    lines = LineBuffer(re.compile(rb"[\r\n]|\*[0-9A-Fa-f]{2}"), limit=50)
    data = b"".join(b"$GPXXX,%d*0A" % number + end for number in range(9))
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    whole = [lines.push(piece) for piece in pieces]
    assert b"".join(whole) == data
    assert all(piece.endswith((b"*0A", b"\n", b"\r")) for piece in whole if piece)
    assert lines.cut == 0


def test_what_has_no_end_is_cut_and_the_sentence_after_it_lives() -> None:
    lines = LineBuffer(re.compile(rb"\n"), limit=50)
    assert [lines.push(b"\xb5" * 40) for _ in range(5)] == [b""] * 5
    assert lines.push(b"$GPXXX*0A\n").endswith(b"\xb5$GPXXX*0A\n")
    assert lines.cut == 4
