"""Feeds systemd's watchdog while every loop of the agent moves on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from edgehaul.clock import Clock
from edgehaul_agent.health.systemd import Systemd

_log = logging.getLogger(__name__)

_FEEDS = 4
"""How often in its period the watchdog is fed; systemd advises at least two."""


class Loop(NamedTuple):
    """A loop to watch.

    Attributes:
        name: For the log.
        fault: Returns what is wrong with it; empty for nothing.
    """

    name: str
    fault: Callable[[], str]


def moves_on(stuck_s: Callable[[], float], limit_s: float) -> Callable[[], str]:
    """Return what tells that a loop is stuck.

    Args:
        stuck_s: How long the loop's present piece of work has been taking.
        limit_s: What is too long.
    """

    def fault() -> str:
        seconds = stuck_s()
        return f"stuck for {seconds:.0f} s" if seconds > limit_s else ""

    return fault


class Watchdog:
    """Feeds the watchdog, unless a loop stands still.

    A process whose loops stand still does nothing for anybody, and cannot mend itself: systemd
    ends it and starts it again. The loop that calls :meth:`step` is watched by being the caller.

    Args:
        systemd: Whom to tell.
        loops: What to watch.
        clock: Measures.
    """

    def __init__(self, systemd: Systemd, loops: list[Loop], clock: Clock) -> None:
        self._systemd = systemd
        self._loops = loops
        self._clock = clock
        self._period_s = systemd.watchdog_s / _FEEDS
        self._next_s = clock.monotonic_s()
        self._told = ""

    def faults(self) -> list[str]:
        """Return what does not move on."""
        return [f"{loop.name}: {fault}" for loop in self._loops if (fault := loop.fault())]

    def step(self) -> None:
        """Feed it, where it is time and all is well."""
        now_s = self._clock.monotonic_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + (self._period_s or 1.0)
        faults = self.faults()
        if not faults:
            self._told = ""
            self._systemd.alive()
            return
        names = ", ".join(fault.partition(":")[0] for fault in faults)
        if names != self._told:
            self._told = names
            text = "; ".join(faults)
            _log.critical("the agent does not move on: %s", text)
            self._systemd.status(f"does not move on: {text}")
