"""Sentences of a receiver become fixes: moments, dates, midnights, damage."""

from __future__ import annotations

import functools
import operator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehaul.errors import DataError
from edgehaul.motion.fixes import read_trace, read_trace_counted
from edgehaul.motion.nmea import NmeaReader
from edgehaul.motion.rollover import ROLL_OVER_S, believable_s
from edgehaul.values import Fix


def sentence(body: str) -> bytes:
    total = functools.reduce(operator.xor, body.encode())
    return f"${body}*{total:02X}\r\n".encode()


def rmc(time: str, date: str = "310126", *, talker: str = "GP", status: str = "A") -> bytes:
    return sentence(f"{talker}RMC,{time},{status},5130.00,N,00012.00,W,19.438,084.4,{date},,,A")


def gga(time: str, *, quality: int = 1, altitude: str = "12.5") -> bytes:
    return sentence(f"GNGGA,{time},5130.00,N,00012.00,W,{quality},08,0.9,{altitude},M,46.9,M,,")


def read(*lines: bytes) -> tuple[list[Fix], NmeaReader]:
    reader = NmeaReader()
    fixes = [fix for line in lines for fix in reader.push(line)]
    return fixes + reader.flush(), reader


def utc(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()


def test_sentences_of_one_moment_make_one_fix() -> None:
    gst = sentence("GPGST,120000.00,1.0,3.0,2.0,10.0,3.0,4.0,5.0")
    (fix,), reader = read(gga("120000.00"), rmc("120000.00", talker="GL"), gst)
    assert fix.captured_at_s == utc(2026, 1, 31, 12)
    assert (fix.latitude_deg, fix.longitude_deg) == pytest.approx((51.5, -0.2), abs=1e-12)
    assert fix.speed_mps == pytest.approx(10.0, abs=1e-3)
    assert (fix.heading_deg, fix.altitude_m) == (84.4, 12.5)
    assert fix.accuracy_m == pytest.approx((12.5) ** 0.5), "measured, not guessed from HDOP"
    assert reader.rejected == 0


def test_vtg_gives_the_motion_where_rmc_is_lost() -> None:
    zda = sentence("GPZDA,120000,31,01,2026,00,00")
    vtg = sentence("GPVTG,370.0,T,,M,,N,36.0,K,A")
    (fix,), _ = read(zda, gga("120000"), vtg)
    assert (fix.speed_mps, fix.heading_deg) == (pytest.approx(10.0), 10.0)


def test_midnight_is_noticed_before_the_new_date_comes() -> None:
    fixes, _ = read(rmc("235958", "280226"), gga("235959"), gga("000000"), rmc("000001", "010326"))
    assert [fix.captured_at_s - utc(2026, 3, 1) for fix in fixes] == [-2, -1, 0, 1]


def test_a_leap_second_is_the_first_of_the_next_day_and_told_once() -> None:
    fixes, _ = read(rmc("235959", "311216"), rmc("235960", "311216"), rmc("000000", "010117"))
    assert [fix.captured_at_s - utc(2017, 1, 1) for fix in fixes] == [-1, 0]


def test_nobody_knows_the_date_after_a_step_that_is_no_midnight() -> None:
    """Back by an hour: a receiver that started anew. On by two: perhaps by twenty-six."""
    for time in ("110000", "140000"):
        fixes, reader = read(rmc("120000"), gga(time), gga(f"{time[:5]}1"))
        assert (len(fixes), reader.undated, reader.given_up) == (1, 2, 0)
        fixes, _ = read(rmc("120000"), gga(time), rmc(f"{time[:5]}1", "010226"))
        assert [fix.captured_at_s - utc(2026, 2, 1, int(time[:2])) for fix in fixes[1:]] == [0, 1]


def test_what_waits_beyond_a_gap_is_given_up() -> None:
    fixes, reader = read(gga("080000"), gga("120000"), rmc("120001"))
    assert [fix.captured_at_s - utc(2026, 1, 31, 12) for fix in fixes] == [0, 1]
    assert (reader.undated, reader.given_up) == (0, 1)


def test_a_date_ends_with_a_pause_in_which_days_may_pass() -> None:
    reader = NmeaReader()
    fixes = reader.push(rmc("120000"), heard_at_s=0.0)
    fixes += reader.push(gga("120001"), heard_at_s=86_401.0)  # a day later, as it were
    assert [fix.captured_at_s for fix in fixes + reader.flush()] == [utc(2026, 1, 31, 12)]
    assert reader.undated == 1


def test_a_date_from_before_the_first_fix_is_not_believed() -> None:
    """Receivers write what their clock says, from 1980 on."""
    fixes, _ = read(
        sentence("GPZDA,120000,06,01,1980,00,00") + rmc("120000", status="V"),
        gga("120001") + rmc("120002"),
    )
    assert [fix.captured_at_s - utc(2026, 1, 31, 12) for fix in fixes] == [1, 2]


GSA = "GPGSA,A,3,{},,,,,,,,,,,,2.5,1.4,2.1"
GBS = "GPGBS,120001,3.0,4.0,5.0,,,,"


@pytest.mark.parametrize(
    ("bodies", "accuracy_m"),
    [
        (["GPRMC,120001,A,5130.00,N,00012.00,W,1,2,310126,,,A", GSA.format("01")], 7.0),
        (["GNGNS,120001,5130.00,N,00012.00,W,AN,07,1.2,9.0,40.0,,", GSA.format("01")], 6.0),
        (["GNGNS,120001,5130.00,N,00012.00,W,AN,07,99.9,9.0,40.0,,", GSA.format("01")], 7.0),
        ([GBS, "GNGNS,120001,5130.00,N,00012.00,W,AN,07,1.2,9.0,40.0,,"], 12.5**0.5),
    ],
)
def test_accuracy_is_the_best_that_is_told_of_a_moment(
    bodies: list[str], accuracy_m: float
) -> None:
    fixes, reader = read(rmc("120000"), *map(sentence, bodies))
    assert (len(fixes), reader.rejected) == (2, 0)
    assert fixes[1].accuracy_m == pytest.approx(accuracy_m)


def test_the_finest_place_of_a_moment_is_the_last_one_with_most_digits() -> None:
    fine = sentence("GNGGA,120000,5130.12345,N,00012.12345,W,1,08,0.9,1,M,46.9,M,,")
    (fix,), _ = read(fine, rmc("120000"))
    assert fix.latitude_deg == pytest.approx(51 + 30.12345 / 60, abs=1e-12)
    assert fix.speed_mps is not None


def test_gll_tells_a_place_that_is_of_the_next_moment_already() -> None:
    here, there = "5130.0000,N,00012.0000,W", "5130.0009,N,00012.0009,W"
    fixes, _ = read(
        sentence(f"GPRMC,120000,A,{here},5,6,310126,,,A"),
        sentence(f"GPGGA,120000,{there},1,08,0.9,1,M,46.9,M,,"),
        sentence(f"GPGLL,{there.replace('0009,N', '0008,N')},120001,A,A"),
    )
    assert [round((fix.latitude_deg - 51.5) * 600_000) for fix in fixes] == [0, 8]


def test_a_fix_is_told_at_the_pause_once_all_is_there_that_usually_comes() -> None:
    reader = NmeaReader()
    assert reader.push(rmc("120000") + gga("120000")) == []
    assert reader.settle() == [], "nobody knows yet what usually comes"
    assert len(reader.push(rmc("120001"))) == 1
    assert reader.settle() == [], "GGA is still to come"
    assert reader.push(gga("120001")) == []
    (fix,) = reader.settle()
    assert (fix.captured_at_s, fix.altitude_m) == (utc(2026, 1, 31, 12, 0, 1), 12.5)
    gsa = sentence(GSA.format("01"))
    assert reader.push(gsa) + reader.settle() + reader.push(rmc("120002")) == [], "told once"
    assert reader.push(gga("120002")) + reader.settle() == [], "GSA came later: it is waited for"
    assert len(reader.push(gsa) + reader.settle()) == 1


@pytest.mark.parametrize("count", [0, 1, 2, -1])
def test_rolled_over_weeks_are_moved_where_the_clock_confirms_it(count: int) -> None:
    now_s = utc(2026, 11, 29)
    assert believable_s(now_s - 7.0 - count * ROLL_OVER_S, now_s) == pytest.approx(now_s - 7.0)


@pytest.mark.parametrize(
    ("given_s", "now_s", "believed"),
    [
        (utc(2007, 4, 20), utc(2026, 11, 29), False),  # moved, five days from the clock
        (utc(1980, 1, 6), utc(2026, 11, 29), False),  # a receiver's first day
        (utc(2007, 4, 15), utc(1970, 1, 1), False),  # and a machine without a clock
        (utc(2026, 11, 29), utc(1970, 1, 1), True),  # the receiver knows better
        (utc(2026, 11, 25), utc(2026, 11, 29), True),  # who is right is for others to say
    ],
)
def test_dates_that_nobody_confirms(given_s: float, now_s: float, *, believed: bool) -> None:
    assert believable_s(given_s, now_s) == (given_s if believed else None)


def test_fixes_before_the_first_date_wait_for_it_across_midnight() -> None:
    reader = NmeaReader()
    assert reader.push(gga("235959") + gga("000000") + gga("000001")) == []
    assert reader.undated == 2
    fixes = reader.push(rmc("000001", "010100")) + reader.flush()
    assert [fix.captured_at_s - utc(2000, 1, 1) for fix in fixes] == [-1, 0, 1]
    assert reader.undated == 0


def test_invalid_fixes_are_no_fixes() -> None:
    assert read(rmc("120000", status="V"))[0] == []
    assert read(gga("120000", quality=0), rmc("120000"))[0] == []
    assert read(sentence("GPRMC,,V,,,,,,,,,,N"))[0] == []


@pytest.mark.parametrize(
    "damaged",
    [
        rmc("120001").replace(b"5130", b"5131"),
        rmc("120001")[:40],
        sentence("GPRMC,120001,A,5130.00,N,00012.00,W,fast,084.4,310126,,,A"),
        sentence("GPRMC,120001,A,9930.00,N,00012.00,W,1,084.4,310126,,,A"),
        sentence("GPRMC,120001,A,5130.00,Q,00012.00,W,1,084.4,310126,,,A"),
        sentence("GPRMC,250001,A,5130.00,N,00012.00,W,1,084.4,310126,,,A"),
        sentence("GPRMC,120001,A,5130.00,N,00012.00,W,1,084.4,310226,,,A"),
        sentence("GPRMC,120001"),
        sentence("GPRMC,120001,A,5130.00,N,00012.00,W,nan,084.4,310126,,,A"),
    ],
)
def test_damaged_sentences_are_counted_and_the_rest_goes_on(damaged: bytes) -> None:
    fixes, reader = read(rmc("120000"), damaged, rmc("120002"))
    assert reader.rejected == 1
    assert [fix.captured_at_s - utc(2026, 1, 31, 12) for fix in fixes] == [0, 2]


def test_sentences_without_checksums_are_read_where_none_has_one() -> None:
    fixes, reader = read(*(rmc(f"12000{i}").split(b"*")[0] for i in range(3)))
    assert (len(fixes), reader.rejected) == (3, 0)


def test_sentences_without_checksums_are_refused_where_they_are_required() -> None:
    reader = NmeaReader(needs_sum=True)
    assert reader.push(rmc("120000").split(b"*")[0] + b"\r\n") + reader.flush() == []
    assert (reader.rejected, reader.whole) == (1, 0)


def test_sentences_amid_other_bytes() -> None:
    fixes, _ = read(b"\xb5b\x01\x00" + rmc("120000") + b"!AIVDM,1,1,,A,x*00 2026 " + rmc("120001"))
    assert len(fixes) == 2


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(noise: bytes) -> None:
    fixes, _ = read(rmc("120000"), noise.replace(b"$", b""), b"\r\n", rmc("120001"))
    assert len(fixes) == 2
    read(b"$GPRMC," + noise)


def test_a_log_without_a_date_says_so(tmp_path: Path) -> None:
    path = tmp_path / "night.nmea"
    path.write_bytes(gga("120000") + gga("120001"))
    with pytest.raises(DataError, match="2 fixes carry a time of day but no date"):
        read_trace(path)
    path.write_bytes(rmc("120000", status="V"))
    with pytest.raises(DataError, match="holds no fixes"):
        read_trace(path)


def test_a_fix_without_a_date_is_counted_among_the_damage(tmp_path: Path) -> None:
    path = tmp_path / "trip.nmea"
    path.write_bytes(gga("080000") + rmc("120000") + gga("150000"))
    trace = read_trace_counted(path)
    assert (len(trace.fixes), trace.rejected) == (1, 2)
    assert trace.faults[0].endswith("trip.nmea: a fix whose date nothing tells")


@pytest.mark.shared_data
def test_gpsd_reports_are_read_too(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "gps" / "gpsd_logs" / "haicom-305N.log.chk"
    path = tmp_path / "gpsd.json"
    path.write_bytes(source.read_bytes())
    trace = read_trace_counted(path)
    assert trace.form == "gpsd"
    assert (len(trace.fixes) > 60, trace.rejected) == (True, 0)
