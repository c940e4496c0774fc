"""The live sources and gpsd 3.22 make the same of gpsd's own regression logs."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edgehaul.clock import parse_utc
from edgehaul.values import Fix
from edgehaul_agent.sources.gpsd import GpsdSpeech
from edgehaul_agent.sources.nmea import NmeaSpeech

Report = dict[str, Any]
ROLL_OVER_S = 1024 * 7 * 86_400.0
SAME_DEG = 2e-9
"""gpsd writes nine decimals."""
COARSER_DEG = 1e-6
"""A tenth of a metre: of RMC with four decimals and GGA with five, gpsd takes the later one."""
PIECE = 37
"""Bytes at a time: no sentence comes whole."""
POSITION = re.compile(rb"\$[A-Z]{2}(RMC|GGA|GNS|GLL),")
GPSD_IS_A_DAY_AHEAD = {"bt451.log": 1}
"""A log of two parts, the second an hour earlier: gpsd takes that for a midnight, and the next ZDA
puts it right. The places agree."""
MOTION_IS_NOT_RMCS = {"bundg_zeus_9.log", "hemi.log", "humminbird-M37.log"}
"""Of a moment without RMC, gpsd computes the motion from two places; the plotter's VTG is a second
ahead of its RMC, and gpsd prefers VTG."""

pytestmark = pytest.mark.shared_data


@pytest.fixture(scope="module")
def logs(shared_data: Path) -> list[Path]:
    found = sorted((shared_data / "gps" / "gpsd_logs").glob("*.log"))
    assert len(found) == 114
    return found


def reports(log: Path) -> list[Report]:
    """Return gpsd's reports of a position at a time."""
    lines = Path(f"{log}.chk").read_text(errors="replace").splitlines()
    found = [json.loads(line) for line in lines if line.startswith('{"class":"TPV"')]
    return [r for r in found if r["mode"] >= 2 and {"time", "lat", "lon"} <= set(r)]


def moments(log: Path) -> dict[float, list[Report]]:
    found: dict[float, list[Report]] = {}
    for report in reports(log):
        found.setdefault(moment(parse_utc(report["time"])), []).append(report)
    return found


def moment(time_s: float) -> float:
    """Return a time modulo 1024 weeks: gpsd moves old logs on by that, as it knows its own age."""
    return round(time_s % ROLL_OVER_S, 2)


def heard(log: Path) -> list[Fix]:
    speech, data = NmeaSpeech(require_checksum=False), log.read_bytes()
    pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
    return [fix for piece in pieces for fix in speech.take(piece, 0.0)] + speech.begin()


def is_at(fix: Fix, report: Report, within_deg: float = SAME_DEG) -> bool:
    return (
        abs(fix.latitude_deg - report["lat"]) <= within_deg
        and abs(fix.longitude_deg - report["lon"]) <= within_deg
    )


def test_every_fix_of_nmea_agrees_in_time_and_place(logs: list[Path]) -> None:
    differing, agreeing, of_binary = Counter[str](), 0, Counter[str]()
    for log in logs:
        theirs = moments(log)
        if not POSITION.search(log.read_bytes()):
            of_binary[log.name] = len(theirs)
            continue
        ours = {moment(fix.captured_at_s): fix for fix in heard(log)}
        for at in theirs:
            same = at in ours and any(is_at(ours[at], r, COARSER_DEG) for r in theirs[at])
            agreeing += same
            differing[log.name] += not same
    assert +differing == GPSD_IS_A_DAY_AHEAD
    assert agreeing == 1644
    # Of logs without NMEA: 25 in binary protocols, which gpsd speaks and we do not, 18 without fix.
    assert (len(+of_binary), of_binary.total(), len(of_binary)) == (25, 712, 43)


def test_every_fix_has_a_moment_of_its_own(logs: list[Path]) -> None:
    for log in logs:
        times = [round(fix.captured_at_s, 3) for fix in heard(log)]
        assert len(times) == len(set(times)), log.name


@pytest.mark.parametrize(
    ("name", "field", "within"),
    [
        ("altMSL", "altitude_m", 0.0051),
        ("speed", "speed_mps", 6e-4),
        ("track", "heading_deg", 6e-3),
    ],
)
def test_height_and_motion_agree(logs: list[Path], name: str, field: str, within: float) -> None:
    compared = 0
    for log in logs:
        ours = {moment(fix.captured_at_s): getattr(fix, field) for fix in heard(log)}
        for at, theirs in moments(log).items():
            values = [report[name] for report in theirs if name in report]
            if ours.get(at) is None or not values or log.name in MOTION_IS_NOT_RMCS:
                continue
            compared += 1
            assert min(abs(ours[at] - value) for value in values) <= within, (log.name, at)
    assert compared > 900


def test_gpsds_own_reports_become_one_fix_a_moment(logs: list[Path]) -> None:
    """Of all logs, those of binary receivers too; the last report of a moment counts."""
    total = 0
    for log in logs:
        speech = GpsdSpeech(patience_s=10.0)
        lines = Path(f"{log}.chk").read_bytes().splitlines(keepends=True)
        data = b"".join(line for line in lines if line.startswith(b'{"class"'))
        pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
        fixes = [fix for piece in pieces for fix in speech.take(piece, 0.0)] + speech.begin()
        wanted = reports(log)
        last = [a for a, b in pairwise([*wanted, {"time": ""}]) if a["time"] != b["time"]]
        assert speech.bad() == 0, log.name
        assert [fix.captured_at_s for fix in fixes] == [parse_utc(r["time"]) for r in last]
        assert all(is_at(fix, report) for fix, report in zip(fixes, last, strict=True))
        total += len(fixes)
    assert total > 2300
