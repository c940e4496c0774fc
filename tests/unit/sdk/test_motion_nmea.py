"""Sentences of a receiver become fixes: dates, midnights, damage, and what gpsd makes of them."""

from __future__ import annotations

import functools
import json
import operator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehaul.clock import parse_utc
from edgehaul.errors import DataError
from edgehaul.motion.fixes import read_trace, read_trace_counted
from edgehaul.motion.nmea import NmeaReader
from edgehaul.values import Fix

EPOCH_1024_WEEKS_S = 1024 * 7 * 86_400.0


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


@pytest.mark.shared_data
def test_gpsd_agrees(shared_data: Path) -> None:
    """Times modulo 1024 weeks: gpsd moves old logs on by that, as it thinks them rolled over."""
    wanted = agreed = 0
    for log in sorted((shared_data / "gps" / "gpsd_logs").glob("*.log")):
        data = log.read_bytes()
        if not any(kind in data for kind in (b"RMC,", b"GGA,", b"GLL,")):
            continue
        ours = {}
        for fix in read(*data.splitlines())[0]:
            ours.setdefault(_key(fix.captured_at_s), []).append(fix)
        theirs: dict[float, list[tuple[float, float]]] = {}
        for line in Path(f"{log}.chk").read_text(errors="replace").splitlines():
            if line.startswith('{"class":"TPV"'):
                report = json.loads(line)
                if report["mode"] >= 2 and {"time", "lat", "lon"} <= set(report):
                    key = _key(parse_utc(report["time"]))
                    theirs.setdefault(key, []).append((report["lat"], report["lon"]))
        wanted += len(theirs)
        agreed += sum(
            any(
                abs(fix.latitude_deg - lat) <= 1e-6 and abs(fix.longitude_deg - lon) <= 1e-6
                for fix in ours.get(key, [])
                for lat, lon in places
            )
            for key, places in theirs.items()
        )
    assert wanted > 1600
    assert agreed / wanted > 0.98


def _key(time_s: float) -> float:
    return round(time_s % EPOCH_1024_WEEKS_S, 2)


@pytest.mark.shared_data
def test_gpsd_reports_are_read_too(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "gps" / "gpsd_logs" / "haicom-305N.log.chk"
    path = tmp_path / "gpsd.json"
    path.write_bytes(source.read_bytes())
    trace = read_trace_counted(path)
    assert trace.form == "gpsd"
    assert (len(trace.fixes) > 60, trace.rejected) == (True, 0)
