"""A live receiver: a link, what is spoken over it, and dates that can be true."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import msgspec

from edgehaul.clock import Clock, format_utc
from edgehaul.errors import SourceError
from edgehaul.messages.health import SourceState
from edgehaul.motion.rollover import believable_s
from edgehaul.values import Fix
from edgehaul_agent.sources.base import Condition
from edgehaul_agent.sources.link import Link

_LOGGER = logging.getLogger(__name__)

_SEARCHING_AFTER_S = 5.0
"""Slow receivers give a position every few seconds."""
_LOST_AFTER_S = 60.0
"""A vehicle drives through a tunnel in less; what takes longer is worth a line in the log."""


class Lack(NamedTuple):
    """What is missing for a fix.

    Attributes:
        message: What is wrong.
        remedy: What to do.
    """

    message: str
    remedy: str


class Speech(Protocol):
    """Makes fixes of what a receiver says."""

    def begin(self) -> list[Fix]:
        """Begin anew with a new connection; return what the last one had left."""
        ...

    def take(self, data: bytes, now_s: float) -> list[Fix]:
        """Return the fixes that these bytes complete.

        Args:
            data: What has come, cut anywhere.
            now_s: When, on a clock that never goes back.
        """
        ...

    def pause(self) -> list[Fix]:
        """Return the fix that is complete if nothing more is said about its moment."""
        ...

    def bad(self) -> int:
        """Return how much of what was said could not be used."""
        ...

    def lack(self) -> Lack:
        """Return why there is no fix, although something is received."""
        ...


class Receiver:
    """The fixes of a live receiver, without end, as soon as they are known.

    It waits for a receiver that is not there, and for one that has no position; a fix with a
    date that cannot be true is none (:func:`edgehaul.motion.rollover.believable_s`).

    Args:
        link: Leads to the receiver.
        speech: What is spoken over it.
        clock: Tells whether dates can be true, and when patience ends.
        patience_s: Longest wait for the first fix; none waits for ever.
    """

    is_live = True

    def __init__(
        self, link: Link, speech: Speech, *, clock: Clock, patience_s: float | None = None
    ) -> None:
        self._link = link
        self._speech = speech
        self._clock = clock
        self._patience_s = patience_s
        self._refused = 0
        self._is_lost = False
        self._position_at_s = 0.0
        self._has_position = False
        self._lost_for = ""
        self._told: set[str] = set()

    def __enter__(self) -> Self:
        """Return itself: a receiver that is not there yet is waited for."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self._link.close()

    def condition(self) -> Condition:
        """Return how the receiver is."""
        link = self._link
        state: SourceState = "live" if self._has_position else "searching"
        if link.trouble:
            state = "waiting" if link.last_fault else "connecting"
        return Condition(state, link.last_fault or self._lost_for, link.reconnects)

    def fixes(self) -> Iterator[Fix | None]:
        """Yield the fixes; None at least four times a second while there is none.

        Raises:
            SourceError: The first fix did not come in the time that was given.
        """
        started_s, had_fix = self._clock.monotonic_s(), False
        self._position_at_s = started_s
        for piece in self._link.pieces():
            fixes = [fix for fix in map(self._dated, self._take(piece)) if fix is not None]
            had_fix |= bool(fixes)
            self._note(has_position=bool(fixes))
            yield from fixes or (None,)
            waited_s = self._clock.monotonic_s() - started_s
            if self._patience_s is not None and not had_fix and waited_s >= self._patience_s:
                lack = self._lack()
                message = f"{lack.message} after {self._patience_s:g} s"
                raise SourceError(message, where=self._link.name, remedy=lack.remedy)

    def bad(self) -> int:
        """Return the number of sentences or reports that were no use, and of impossible dates."""
        return self._speech.bad() + self._refused

    def _take(self, piece: bytes | None) -> list[Fix]:
        if piece is None:
            return self._speech.begin()
        if not piece:
            return self._speech.pause()
        return self._speech.take(piece, self._clock.monotonic_s())

    def _dated(self, fix: Fix) -> Fix | None:
        time_s = believable_s(fix.captured_at_s, self._clock.now_s())
        if time_s == fix.captured_at_s:
            return fix
        given = format_utc(fix.captured_at_s)
        if time_s is None:
            self._refused += 1
            self._tell(
                "%s: fixes of %s are refused: that date is past, and this machine's "
                "clock does not tell the right one",
                given,
            )
            return None
        self._tell(
            "%s: fixes of %s are moved by 1024 weeks: the receiver's count of weeks has "
            "rolled over",
            given,
        )
        return msgspec.structs.replace(fix, captured_at_s=time_s)

    def _tell(self, text: str, given: str) -> None:
        """Log once."""
        if text not in self._told:
            self._told.add(text)
            _LOGGER.warning(text, self._link.name, given)

    def _note(self, *, has_position: bool) -> None:
        """Log once that there has been no position for a minute, and that there is one again."""
        now_s = self._clock.monotonic_s()
        if has_position:
            self._position_at_s = now_s
            self._has_position = True
            if self._is_lost:
                self._is_lost = False
                _LOGGER.info("%s: has a position again", self._link.name)
            return
        if now_s - self._position_at_s >= _SEARCHING_AFTER_S:
            self._has_position = False
        if not self._is_lost and not self._link.trouble:
            self._is_lost = now_s - self._position_at_s >= _LOST_AFTER_S
            if self._is_lost:
                lack = self._lack()
                self._lost_for = lack.message
                _LOGGER.warning("%s: %s; %s", self._link.name, *lack)

    def _lack(self) -> Lack:
        if self._link.trouble:
            remedy = "see that it is switched on and connected, and that the address is right"
            return Lack(self._link.trouble, remedy)
        if self._refused:
            message = f"{self._refused} fixes have a date that is past"
            return Lack(message, "set this machine's clock, or the receiver's")
        return self._speech.lack()
