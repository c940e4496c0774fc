"""Damaged sentences and reports: none is fatal, and none with a wrong sum is believed."""

from __future__ import annotations

import functools
import operator
import random
import re
from pathlib import Path

import pytest

from edgehaul_agent.sources.gpsd import GpsdSpeech
from edgehaul_agent.sources.nmea import NmeaSpeech

pytestmark = [pytest.mark.shared_data, pytest.mark.slow]

SENTENCES = 1_000_000
REPORTS = 100_000
HEARD = re.compile(rb"(?!P)[A-Z]{5},")
ENDS = (b"\r\n", b"\n", b"\r", b"\n\n", b"\r\r\n", b"\x00\r\n")


def mutated(line: bytes, other: bytes, chance: random.Random) -> bytes:
    """Return a damaged line: bits turned, cut, spliced with another, or parts lost or doubled."""
    kind, data = chance.randrange(6), bytearray(line)
    at, to = sorted((chance.randrange(len(line)), chance.randrange(len(line))))
    if kind == 0:
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        data[at:] = other[chance.randrange(len(other)) :]
    elif kind == 3:
        del data[at:to]
    elif kind == 4:
        data[at:at] = data[at:to] or b"\x00"
    else:
        data[at] = chance.randrange(256)
    if data == line:
        data[at] ^= 1
    return bytes(data)


def right_sums(line: bytes) -> int:
    """Count the sentences that a line holds whole, by the letter of the standard."""
    found = 0
    for part in line.split(b"$")[1:]:
        body, star, rest = part.partition(b"*")
        hexadecimal = rest[:2].decode("ascii", "replace")
        if not star or set(body) & set(b"\r\n!") or not re.fullmatch("[0-9A-Fa-f]{2}", hexadecimal):
            continue
        is_right = functools.reduce(operator.xor, body, 0) == int(hexadecimal, 16)
        found += is_right and HEARD.match(body) is not None
    return found


def test_a_million_damaged_sentences(shared_data: Path) -> None:
    logs = sorted((shared_data / "gps" / "gpsd_logs").glob("*.log"))
    lines = [line for log in logs for line in log.read_bytes().splitlines() if line[:1] == b"$"]
    real = sorted({line for line in lines if right_sums(line)})
    assert len(real) > 9_000
    chance, speech = random.Random(1), NmeaSpeech(require_checksum=True)
    wrongly_accepted = wrongly_refused = right = 0
    for number in range(SENTENCES):
        line = mutated(chance.choice(real), chance.choice(real), chance)
        before, wanted = speech.whole(), right_sums(line)
        speech.take(line + ENDS[number % len(ENDS)], number / 10)
        if number % 10 == 0:
            speech.pause()
        accepted = speech.whole() - before
        right += wanted
        wrongly_accepted += max(0, accepted - wanted)
        wrongly_refused += max(0, wanted - accepted)
    assert (wrongly_accepted, wrongly_refused) == (0, 0)
    assert 0 < right < SENTENCES / 10, "a splice or a doubled part may leave a sentence whole"
    assert speech.bad() > SENTENCES / 10


def test_damaged_reports_of_gpsd(shared_data: Path) -> None:
    files = sorted((shared_data / "gps" / "gpsd_logs").glob("*.chk"))
    real = [
        line
        for file in files
        for line in file.read_bytes().splitlines()
        if line.startswith((b'{"class":"TPV"', b'{"class":"SKY"'))
    ]
    chance, speech = random.Random(2), GpsdSpeech(patience_s=10.0)
    for number in range(REPORTS):
        line = mutated(chance.choice(real), chance.choice(real), chance)
        speech.take(line + b"\r\n", float(number))
    assert speech.bad() > REPORTS / 3
