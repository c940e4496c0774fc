"""What a live receiver says becomes fixes with dates that can be true, or a reason in the log."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehaul.motion.rollover import ROLL_OVER_S
from edgehaul.values import Fix
from edgehaul_agent.sources.base import Condition
from edgehaul_agent.sources.gpsd import GpsdSpeech
from edgehaul_agent.sources.link import Link
from edgehaul_agent.sources.nmea import NmeaSpeech
from edgehaul_agent.sources.receiver import Receiver, Speech
from tests.fakes.receivers import ScriptedWire, epoch, sentence
from tests.fakes.streams import FakeClock

NOW_S = 1_790_000_000.0  # a day in September 2026


class Now(FakeClock):
    """A fake clock that is not before these sources were written."""

    def now_s(self) -> float:
        return NOW_S + self.passed_s


def heard(speech: Speech, pieces: Sequence[bytes], *, wait_s: float = 1.0) -> tuple[list[Fix], int]:
    """Return the fixes of a receiver that says this, and how much of it was bad."""
    clock = Now()
    wire = ScriptedWire(clock, pieces)
    link = Link("gnss", lambda: wire, clock=clock, silence_s=1e6, retry_s=1)
    found: list[Fix] = []
    with Receiver(link, speech, clock=clock) as receiver:
        for fix in receiver.fixes():
            found += [] if fix is None else [fix]
            if clock.passed_s > wait_s:
                return found, receiver.bad()
    raise AssertionError("it ended")


def seconds(fixes: Sequence[Fix]) -> list[float]:
    return [round(fix.captured_at_s - NOW_S, 3) for fix in fixes]


def nmea() -> NmeaSpeech:
    return NmeaSpeech(require_checksum=True)


def test_a_moment_is_told_at_the_pause_after_it() -> None:
    fixes, bad = heard(nmea(), [epoch(NOW_S), epoch(NOW_S + 1)])
    assert (seconds(fixes), bad) == ([0, 1], 0)
    assert {fix.accuracy_m for fix in fixes} == {4.5}


def test_a_receiver_says_how_it_is() -> None:
    clock = Now()
    quiet = [b""] * 30  # a quarter of a second each
    wires = [
        ScriptedWire(
            clock, [sentence("GPTXT,hello"), *quiet, epoch(NOW_S + 8), epoch(NOW_S + 9), b"", b"!"]
        ),
        ScriptedWire(clock, [epoch(NOW_S + 20), b""]),
    ]
    link = Link("gnss", lambda: wires.pop(0), clock=clock, silence_s=1e6, retry_s=1)
    told = []
    with Receiver(link, nmea(), clock=clock) as receiver:
        assert receiver.condition() == Condition("connecting")
        for _ in receiver.fixes():
            now = receiver.condition()
            told += [] if told and told[-1] == now else [now]
            if len(told) == 5:
                break
    reset = "connection reset by peer"
    assert told == [
        Condition("connecting"),
        Condition("searching"),
        Condition("live"),
        Condition("waiting", reset),
        Condition("waiting", reset, 1),
    ]


@settings(max_examples=60)
@given(st.lists(st.integers(0, 4 * len(epoch(NOW_S))), max_size=40))
def test_where_what_is_said_is_cut_makes_no_difference(cuts: list[int]) -> None:
    said = b"".join(epoch(NOW_S + number, north=number) for number in range(4))
    ends = [0, *sorted(cuts), len(said)]
    speech = nmea()
    fixes = [fix for a, b in pairwise(ends) for fix in speech.take(said[a:b], 0.0)]
    assert seconds(fixes + speech.begin()) == [0, 1, 2, 3]
    assert speech.bad() == 0


def test_rolled_over_dates_are_put_right_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    said = [epoch(NOW_S + number - ROLL_OVER_S) for number in range(3)]
    fixes, bad = heard(nmea(), said)
    assert (seconds(fixes), bad) == ([0, 1, 2], 0)
    (record,) = caplog.records
    told = "gnss: fixes of 2007-02-05T14:13:20.000Z are moved by 1024 weeks: "
    assert record.getMessage().startswith(told)


def test_dates_that_cannot_be_true_are_refused_and_counted() -> None:
    said = [epoch(NOW_S + number - 400 * 86_400.0) for number in range(3)]
    assert heard(nmea(), said) == ([], 3)


def test_a_minute_without_a_position_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    nothing = [sentence("GPRMC,,V,,,,,,,,,,N"), b""] * 600
    with caplog.at_level(logging.INFO):
        fixes, _ = heard(nmea(), [*nothing, epoch(NOW_S), epoch(NOW_S + 1)], wait_s=160.0)
    assert len(fixes) == 2
    assert [r.getMessage() for r in caplog.records] == [
        "gnss: receiving",
        "gnss: sentences come, but no position; let the receiver see the sky, and wait",
        "gnss: has a position again",
    ]


def tpv(second: int, device: str = "/dev/a", **more: object) -> bytes:
    time = f"2026-09-21T14:13:{20 + second}.000Z"
    place = {"lat": 51.5, "lon": -0.2, "mode": 3, "eph": 9.0}
    return json.dumps({"class": "TPV", "device": device, "time": time, **place, **more}).encode()


def test_of_gpsds_reports_the_last_one_of_a_moment_counts() -> None:
    lines = [b"[]", b'{"class":"SKY","satellites":[]}', tpv(0), tpv(0, alt=7.0), tpv(1), tpv(1)]
    fixes, bad = heard(GpsdSpeech(patience_s=5.0), [b"\r\n".join([*lines, b""])])
    assert (seconds(fixes), bad) == ([0, 1], 1)
    assert [(fix.altitude_m, fix.accuracy_m) for fix in fixes] == [(7.0, 4.5), (None, 4.5)]


@pytest.mark.parametrize(
    ("fields", "accuracy_m"),
    [({"eph": None, "epx": 6.0, "epy": 8.0}, 12.5**0.5), ({"eph": None}, None), ({"mode": 2}, 4.5)],
)
def test_accuracy_is_half_of_gpsds_error(fields: dict[str, object], accuracy_m: float) -> None:
    (fix,), _ = heard(GpsdSpeech(patience_s=5.0), [tpv(0, **fields) + b"\n"])
    assert fix.accuracy_m == (None if accuracy_m is None else pytest.approx(accuracy_m))


def test_what_gpsd_has_without_date_or_position_is_no_fix() -> None:
    lines = [tpv(0, time=None), tpv(0, mode=1), tpv(0, lat=None), tpv(0, lat=91.0), b'{"class"']
    assert heard(GpsdSpeech(patience_s=5.0), [b"\n".join([*lines, b""])]) == ([], 2)


def test_one_of_several_receivers_is_followed_while_it_has_a_fix() -> None:
    both = [tpv(second, device) + b"\n" for second in range(3) for device in ("/dev/a", "/dev/b")]
    others = [tpv(second, "/dev/b", lat=50.0) + b"\n" for second in range(3, 9)]
    pieces = [piece for said in (both, others) for line in said for piece in (line, b"", b"", b"")]
    fixes, _ = heard(GpsdSpeech(patience_s=2.0), pieces, wait_s=12.0)
    assert seconds(fixes)[:3] == [0, 1, 2]
    assert {fix.latitude_deg for fix in fixes[3:]} == {50.0}
    fixes, _ = heard(GpsdSpeech("/dev/b", patience_s=2.0), pieces, wait_s=12.0)
    assert seconds(fixes) == list(range(9))
