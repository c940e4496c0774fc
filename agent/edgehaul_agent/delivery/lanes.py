"""The lanes of the spool, and how far each has been sent in this connection."""

from __future__ import annotations

from typing import get_args

from edgehaul.config.device import LaneQuotas
from edgehaul.messages.payloads import Lane

LANES: tuple[Lane, ...] = get_args(Lane)
"""All lanes, the most urgent first."""

MOST_WAIT_S: dict[Lane, float] = {"alarm": 0.0, "event": 0.05}
"""How long a commit may have been ago when the next one comes for messages of a lane; telemetry and
media wait for their group. Events come in swarms where there is a crowd, and a commit for each of
them would take as much time as following them."""

_BYTES_PER_MB = 1024 * 1024


def quota_bytes(quotas: LaneQuotas, lane: Lane) -> int:
    """Return the most bytes that ``lane`` may hold on disk."""
    return int(getattr(quotas, lane) * _BYTES_PER_MB)


class LaneCursors:
    """Which sequence of each lane was sent last, apart for the backlog and for live messages.

    A lane is always sent in the order of its sequences, so one number for each suffices
    however long the backlog is.

    Args:
        boundary: Highest sequence of the backlog; all above are live.
    """

    def __init__(self, boundary: int) -> None:
        self.boundary = boundary
        self._backlog = dict.fromkeys(LANES, 0)
        self._live = dict.fromkeys(LANES, boundary)
        self._finished: set[Lane] = set()

    @property
    def backlog_finished(self) -> bool:
        """Whether every message of the backlog was sent once."""
        return len(self._finished) == len(LANES)

    def live_after(self, lane: Lane) -> int:
        """Return the sequence after which the next live message of ``lane`` lies."""
        return self._live[lane]

    def backlog_after(self, lane: Lane) -> int:
        """Return the sequence after which the next message of the backlog of ``lane`` lies."""
        return self._backlog[lane]

    def sent(self, lane: Lane, sequence: int) -> None:
        """Note that ``sequence`` was sent."""
        cursors = self._live if sequence > self.boundary else self._backlog
        cursors[lane] = max(cursors[lane], sequence)

    def finish_backlog(self, lane: Lane) -> None:
        """Note that the backlog of ``lane`` has no more messages."""
        self._finished.add(lane)
