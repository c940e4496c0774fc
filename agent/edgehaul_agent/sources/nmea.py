"""Live receivers of NMEA 0183: at a serial port, over TCP and over UDP."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from edgehaul.clock import Clock
from edgehaul.config.receivers import NmeaSerialSource, NmeaTcpSource, NmeaUdpSource
from edgehaul.motion.nmea import NmeaReader
from edgehaul.values import Fix
from edgehaul_agent.sources.lines import LineBuffer
from edgehaul_agent.sources.link import Link, Wire
from edgehaul_agent.sources.receiver import Lack, Receiver
from edgehaul_agent.sources.serial import dial_serial
from edgehaul_agent.sources.wires import dial_tcp, dial_udp

_END = re.compile(rb"[\r\n]|\*[0-9A-Fa-f]{2}")
"""A sentence ends with its line or its checksum: some senders end no line."""
_LONGEST = 1024
"""Sentences have 82 bytes, some receivers' 200; binary messages between them have no end."""

NmeaSource = NmeaSerialSource | NmeaTcpSource | NmeaUdpSource


class NmeaSpeech:
    """Makes fixes of the sentences of one receiver.

    Date and half a sentence end with a connection: days may pass before the next one.

    Args:
        require_checksum: Whether sentences without a checksum are refused.
    """

    def __init__(self, *, require_checksum: bool) -> None:
        self._require_checksum = require_checksum
        self._bad = 0
        self._whole = 0
        self._renew()

    def _renew(self) -> None:
        self._lines = LineBuffer(_END, limit=_LONGEST)
        self._reader = NmeaReader(needs_sum=self._require_checksum)

    def begin(self) -> list[Fix]:
        """Begin anew with a new connection."""
        fixes = self._reader.flush()
        self._bad = self.bad() + self._reader.undated
        self._whole = self.whole()
        self._renew()
        return fixes

    def take(self, data: bytes, now_s: float) -> list[Fix]:
        """Return the fixes that these bytes complete."""
        return self._reader.push(self._lines.push(data), heard_at_s=now_s)

    def pause(self) -> list[Fix]:
        """Return the fix whose sentences have all come."""
        return self._reader.settle()

    def bad(self) -> int:
        """Return the number of sentences that were no use, and of fixes without a date."""
        return self._bad + self._reader.rejected + self._reader.given_up

    def whole(self) -> int:
        """Return the number of sentences that came whole, be they of use or not."""
        return self._whole + self._reader.whole

    def lack(self) -> Lack:
        """Return why there is no fix."""
        if not self.whole():
            return Lack("bytes come, but no whole NMEA sentence", "check baud rate and port")
        if self._reader.undated:
            remedy = "let the receiver write RMC or ZDA sentences too"
            return Lack("positions come without a date", remedy)
        return Lack("sentences come, but no position", "let the receiver see the sky, and wait")


def nmea_receiver(
    source: NmeaSource, *, folder: Path, clock: Clock, patience_s: float | None = None
) -> Receiver:
    """Return a receiver of NMEA 0183, not yet connected.

    Args:
        source: Which one.
        folder: Where relative paths start.
        clock: Measures and waits.
        patience_s: As for :class:`edgehaul_agent.sources.receiver.Receiver`.
    """
    dial: Callable[[], Wire]
    if isinstance(source, NmeaSerialSource):
        path = folder / source.path
        name, dial = str(path), partial(dial_serial, path, source.baud)
    elif isinstance(source, NmeaTcpSource):
        name = f"tcp {source.host}:{source.port}"
        dial = partial(dial_tcp, source.host, source.port)
    else:
        name = f"udp {source.bind}:{source.port}"
        dial = partial(dial_udp, source.bind, source.port)
    link = Link(name, dial, clock=clock, silence_s=source.silence_s, retry_s=source.retry_s)
    speech = NmeaSpeech(require_checksum=source.require_checksum)
    return Receiver(link, speech, clock=clock, patience_s=patience_s)
