"""Live receivers behind gpsd, in its JSON protocol."""

from __future__ import annotations

import re
from functools import partial

from edgehaul.clock import Clock
from edgehaul.config.receivers import GpsdSource
from edgehaul.motion.gpsd import Report, fix_of_report, report_of
from edgehaul.values import Fix
from edgehaul_agent.sources.lines import LineBuffer
from edgehaul_agent.sources.link import Link
from edgehaul_agent.sources.receiver import Lack, Receiver
from edgehaul_agent.sources.wires import dial_tcp

_END = re.compile(rb"\n")
_LONGEST = 1 << 18
"""Reports of raw satellite data have some 10,000 bytes."""
_NAMED = 8
"""So many other receivers are named in an error."""
_WATCH = b'?WATCH={"enable":true,"json":true};\n'
_PROBE = b"?VERSION;\n"
"""Is answered even when no receiver says anything."""


class GpsdSpeech:
    """Makes fixes of gpsd's TPV reports, one for each moment.

    gpsd may report a moment several times, each time with more: the last of them counts. The
    quality of a fix is in TPV itself (``mode``, ``eph``, or ``epx`` and ``epy``); satellites (SKY)
    are passed over, as a fix carries none. gpsd knows the date: what it reports without a time is
    no fix.

    Args:
        device: Name of the receiver; empty takes the one that has a fix.
        patience_s: After so long without one, another that has a fix is taken.
    """

    def __init__(self, device: str = "", *, patience_s: float) -> None:
        self._device = device
        self._patience_s = patience_s
        self._bad = 0
        self._lines = LineBuffer(_END, limit=_LONGEST)
        self._held: Fix | None = None
        self._told_s: float | None = None
        self._followed: str | None = None
        self._followed_at_s = 0.0
        self._reports = 0
        self._others: set[str] = set()

    def begin(self) -> list[Fix]:
        """Begin anew with a new connection."""
        self._lines = LineBuffer(_END, limit=_LONGEST)
        return self.pause()

    def take(self, data: bytes, now_s: float) -> list[Fix]:
        """Return the fixes that these bytes complete."""
        fixes = []
        for line in self._lines.push(data).splitlines():
            try:
                fixes += self._taken(report_of(line), now_s) if line.strip() else []
            except ValueError:
                self._bad += 1
        return fixes

    def pause(self) -> list[Fix]:
        """Return the fix of the last moment."""
        held, self._held = self._held, None
        if held is None:
            return []
        self._told_s = held.captured_at_s
        return [held]

    def bad(self) -> int:
        """Return the number of lines and reports that were no use."""
        return self._bad

    def lack(self) -> Lack:
        """Return why there is no fix."""
        if self._others:
            names = ", ".join(sorted(self._others))
            return Lack(
                f"gpsd has no fix of {self._device}", f"name one of those that have: {names}"
            )
        if self._reports:
            return Lack("gpsd's receiver has no position", "let it see the sky, and wait")
        return Lack("gpsd answers, but its receivers say nothing", "see what `cgps` shows")

    def _taken(self, report: Report, now_s: float) -> list[Fix]:
        self._reports += report.get("class") == "TPV"
        fix = fix_of_report(report)
        if fix is None or not self._is_followed(str(report.get("device", "")), now_s):
            return []
        if fix.captured_at_s == self._told_s:
            return []
        is_next = self._held is not None and self._held.captured_at_s != fix.captured_at_s
        done = self.pause() if is_next else []
        self._held = fix
        return done

    def _is_followed(self, device: str, now_s: float) -> bool:
        if self._device:
            if device != self._device:
                self._others = (
                    {*self._others, device} if len(self._others) < _NAMED else self._others
                )
            return device == self._device
        is_lost = now_s - self._followed_at_s >= self._patience_s
        if self._followed is None or is_lost:
            self._followed = device
        if device == self._followed:
            self._followed_at_s = now_s
        return device == self._followed


def gpsd_receiver(source: GpsdSource, *, clock: Clock, patience_s: float | None = None) -> Receiver:
    """Return a receiver behind gpsd, not yet connected.

    Args:
        source: Which one.
        clock: Measures and waits.
        patience_s: As for :class:`edgehaul_agent.sources.receiver.Receiver`.
    """
    link = Link(
        f"gpsd {source.host}:{source.port}",
        partial(dial_tcp, source.host, source.port),
        clock=clock,
        silence_s=source.silence_s,
        retry_s=source.retry_s,
        greeting=_WATCH,
        probe=_PROBE,
    )
    speech = GpsdSpeech(source.device, patience_s=source.silence_s)
    return Receiver(link, speech, clock=clock, patience_s=patience_s)
