"""A vehicle's memory on the disk: its odometer and its trip outlive the agent.

A file below the device's root, replaced in one durable step. It is written every few seconds of a
trip, and where a trip begins or ends, so that a parked vehicle wears out no disk.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from edgehaul.clock import Clock
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul_agent.events.memory import VehicleMemory
from edgehaul_agent.update.files import DurableFiles, SystemFiles

_log = logging.getLogger(__name__)

_MAX_BYTES = 100_000
_COMMITTED_AFTER_S = 2.0
"""By then the spool has written what it was given: events wait for a fraction of a second."""


def logbook_path(root: Path, stream: str) -> Path:
    """Return where the memory of a GPS stream's vehicle lies below a device's root."""
    return root / "vehicles" / f"{stream}.json"


class Logbook:
    """Keeps the memory of one vehicle.

    Args:
        path: The file.
        every_s: Least time between two writes, but for those of :meth:`save`.
        clock: Measures.
        files: Write durably.
    """

    def __init__(
        self, path: Path, *, every_s: float, clock: Clock, files: DurableFiles | None = None
    ) -> None:
        self._path = path
        self._every_s = every_s
        self._clock = clock
        self._files = files or SystemFiles()
        self._kept: VehicleMemory | None = None
        self._due_at_s = clock.monotonic_s() + every_s
        self._is_refused = False

    def read(self) -> VehicleMemory | None:
        """Return what was written last; none where nothing was, or where it is damaged."""
        try:
            with self._path.open("rb") as file:
                self._kept = msgspec.json.decode(file.read(_MAX_BYTES), type=VehicleMemory)
        except FileNotFoundError:
            return None
        except (OSError, *UNREADABLE_JSON) as error:
            _log.warning(
                "%s: the vehicle's odometer and trip cannot be read, and begin anew: %s",
                self._path,
                error,
            )
            return None
        return self._kept

    @property
    def is_due(self) -> bool:
        """Whether it is time to write."""
        return self._clock.monotonic_s() >= self._due_at_s

    def expect_end(self) -> None:
        """Let the next write be soon, but after what is told now lies in the spool."""
        self._due_at_s = self._clock.monotonic_s() + _COMMITTED_AFTER_S

    def save(self, memory: VehicleMemory) -> None:
        """Write the memory, unless it is what lies there; a disk that refuses stops nothing."""
        self._due_at_s = self._clock.monotonic_s() + self._every_s
        if memory == self._kept:
            return
        try:
            self._files.make_folder(self._path.parent)
            self._files.write(self._path, [msgspec.json.encode(memory)])
        except OSError as error:
            if not self._is_refused:
                _log.warning(
                    "%s: the vehicle's odometer and trip cannot be kept: %s", self._path, error
                )
            self._is_refused = True
            return
        self._kept = memory
        self._is_refused = False
