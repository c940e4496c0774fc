"""Who may take a worker that is free: streams that want more than there is get equal shares.

Frames come at fixed times. With so many streams that each is due at every second frame, say, the
workers have a rest now and then, and it is always the same stream whose frame comes just then. So
what each has had is counted, as in start-time fair queueing (Goyal, Vin and Cheng, 1996), and a
free worker is not for a stream that is ahead of another one which was refused a moment ago.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass

_AHEAD = 1.15
"""So many times the frames of one that was refused may a stream have had. With exactly as many, a
worker would often wait until just the right stream's next frame comes."""
_WINDOW = 500
"""Frames after which earlier ones count half."""


@dataclass(slots=True)
class _Account:
    had: float
    refused_at_s: float = -1e9


class Shares:
    """What each stream has had; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts: dict[Hashable, _Account] = {}
        self._most = 1.0

    def __len__(self) -> int:
        return len(self._accounts)

    def join(self, stream: Hashable) -> None:
        """Count a stream among those that share."""
        with self._lock:
            self._accounts[stream] = _Account(self._most)

    def leave(self, stream: Hashable) -> None:
        """Count it no more; once more does nothing."""
        with self._lock:
            self._accounts.pop(stream, None)

    def let_in(self, stream: Hashable) -> None:
        """Note that a frame of the stream was let in."""
        with self._lock:
            account = self._accounts.get(stream)
            if account is not None:
                # Whoever wanted nothing for a while does not get it all now.
                account.had = max(account.had + 1, self._most / _AHEAD)
                account.refused_at_s = -1e9
                self._most = max(self._most, account.had)
                self._forget()

    def refuse(self, stream: Hashable, now_s: float) -> None:
        """Note that a frame of the stream was refused."""
        with self._lock:
            account = self._accounts.get(stream)
            if account is not None:
                account.refused_at_s = now_s

    def may_take(self, stream: Hashable, *, since_s: float) -> bool:
        """Return whether no stream that was refused after ``since_s`` is behind this one."""
        with self._lock:
            account = self._accounts.get(stream)
            return account is None or all(
                account.had <= other.had * _AHEAD
                for other in self._accounts.values()
                if other.refused_at_s > since_s and other is not account
            )

    def _forget(self) -> None:
        if self._most >= 2 * _WINDOW:
            self._most /= 2
            for account in self._accounts.values():
                account.had /= 2
