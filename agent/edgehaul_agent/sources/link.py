"""A connection to a receiver that is made again whenever it breaks."""

from __future__ import annotations

import logging
import queue
import random
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from edgehaul.clock import Clock

_LOGGER = logging.getLogger(__name__)

PAUSE_S = 0.25
"""Longest wait in one go: as long until a stop is noticed, and until a moment counts as over."""
_FIRST_RETRY_S = 0.5


class Wire(Protocol):
    """An open connection; what is waited for is waited for in real time."""

    def read(self, timeout_s: float) -> bytes:
        """Return what has come, or nothing after ``timeout_s``.

        Raises:
            OSError: The connection is broken, or the other end has closed it.
        """
        ...

    def write(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            OSError: They cannot be sent.
        """
        ...

    def close(self) -> None:
        """Close it; once more does nothing."""
        ...


class _Attempt:
    """Makes a connection on a thread: names may take a resolver half a minute."""

    def __init__(self, dial: Callable[[], Wire]) -> None:
        self._dial = dial
        self._lock = threading.Lock()
        self._is_wanted = True
        self._outcomes: queue.SimpleQueue[Wire | OSError] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="dial", daemon=True).start()

    def outcome(self, timeout_s: float) -> Wire | OSError | None:
        """Return the connection, or why there is none; None if that is not known in time."""
        try:
            return self._outcomes.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def abandon(self) -> None:
        """Close the connection that nobody took, be it made already or later."""
        with self._lock:
            self._is_wanted = False
            left = self.outcome(0)
        if left is not None and not isinstance(left, OSError):
            left.close()

    def _run(self) -> None:
        try:
            outcome = self._dial()
        except OSError as error:
            self._outcomes.put(error)
            return
        with self._lock:
            if self._is_wanted:
                self._outcomes.put(outcome)
                return
        outcome.close()


class Link:
    """Gives what a receiver says, and connects again after every break.

    A link is up once something came: a server that takes connections and says nothing is none.
    Between two attempts it waits 0.5 s, then twice as long each time up to ``retry_s``, less up
    to a half at random, so that a fleet does not come back in one moment. Each change between up
    and down is logged once.

    Args:
        name: What it leads to, for the log: no credentials.
        dial: Opens the connection within a few seconds, or raises OSError.
        clock: Measures and waits.
        silence_s: So long without a byte means that the connection is lost, though nobody said so.
        retry_s: Longest pause between two attempts.
        greeting: Sent first.
        probe: Sent at half of ``silence_s``, so that a live other end answers; empty: nothing.
        chance: Source of the random part.

    Attributes:
        name: As given.
        trouble: Why nothing comes; empty while something does.
        last_fault: Why nothing came the last time; empty for no reason.
        reconnects: How often it has been tried to connect again.
    """

    def __init__(  # noqa: PLR0913 - two of them are parts of the protocol, the rest is the link's own
        self,
        name: str,
        dial: Callable[[], Wire],
        *,
        clock: Clock,
        silence_s: float,
        retry_s: float,
        greeting: bytes = b"",
        probe: bytes = b"",
        chance: random.Random | None = None,
    ) -> None:
        self.name = name
        self.trouble = "no connection yet"
        self.last_fault = ""
        self.reconnects = 0
        self._dial = dial
        self._clock = clock
        self._silence_s = silence_s
        self._retry_s = retry_s
        self._greeting = greeting
        self._probe = probe
        self._chance = chance or random.Random()  # noqa: S311 - no secret depends on it
        self._is_up: bool | None = None
        self._failures = 0
        self._wire: Wire | None = None

    def pieces(self) -> Iterator[bytes | None]:
        """Yield what comes, without end.

        Yields:
            Bytes as they come; none (``b""``) four times a second while there are no others;
            None where a new connection begins, to which nothing from before belongs.
        """
        while True:
            attempt = _Attempt(self._dial)
            try:
                while (outcome := attempt.outcome(PAUSE_S)) is None:
                    yield b""
            finally:
                attempt.abandon()
            if isinstance(outcome, OSError):
                self._go_down(_reason(outcome))
            else:
                self._wire = outcome
                yield None
                yield from self._heard(outcome)
            yield from self._rest()
            self.reconnects += 1

    def close(self) -> None:
        """Close the connection."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _heard(self, wire: Wire) -> Iterator[bytes]:
        heard_at_s, probed = self._clock.monotonic_s(), False
        try:
            if self._greeting:
                wire.write(self._greeting)
            while True:
                data = wire.read(PAUSE_S)
                silence_s = self._clock.monotonic_s() - heard_at_s
                if data:
                    heard_at_s, probed = self._clock.monotonic_s(), False
                    self._go_up()
                elif silence_s >= self._silence_s:
                    self._go_down(f"nothing came for {self._silence_s:g} s")
                    return
                elif self._probe and not probed and silence_s >= self._silence_s / 2:
                    wire.write(self._probe)
                    probed = True
                yield data
        except OSError as error:
            self._go_down(_reason(error))
        finally:
            self.close()

    def _rest(self) -> Iterator[bytes]:
        most_s = min(self._retry_s, _FIRST_RETRY_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        until_s = self._clock.monotonic_s() + most_s * self._chance.uniform(0.5, 1.0)
        while (left_s := until_s - self._clock.monotonic_s()) > 0:
            self._clock.sleep(min(PAUSE_S, left_s))
            yield b""

    def _go_up(self) -> None:
        self.trouble, self._failures = "", 0
        if self._is_up is not True:
            self._is_up = True
            _LOGGER.info("%s: receiving", self.name)

    def _go_down(self, reason: str) -> None:
        self.trouble = self.last_fault = reason
        if self._is_up is not False:
            self._is_up = False
            _LOGGER.warning("%s: %s; trying again until it is back", self.name, reason)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
