"""Taking over a changed configuration while the agent runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from edgehaul.config.device import DeviceConfig
from edgehaul.errors import UsageError

_LIVE = frozenset({"streams", "gps", "supervision", "health"})
"""Sections that a running agent takes over; the others need a start."""


class Reloader:
    """Whoever wants the configuration to be read again, and how.

    Args:
        read: Reads and checks it.

    Attributes:
        requested: Set to ask for it.
    """

    def __init__(self, read: Callable[[], DeviceConfig]) -> None:
        self.requested = threading.Event()
        self.read = read


class Change(NamedTuple):
    """What a new configuration means for a running agent.

    Attributes:
        config: What it goes on with: the new one, but for the sections that need a start.
        deferred: Names of the sections that have changed and need a start.
    """

    config: DeviceConfig
    deferred: tuple[str, ...]


def change(present: DeviceConfig, wanted: DeviceConfig) -> Change:
    """Return what of a new configuration can be taken over.

    Raises:
        UsageError: It names no stream: an agent without one would end.
    """
    if not (wanted.streams or wanted.gps):
        raise UsageError("the configuration names no stream", remedy="add one under streams or gps")
    fixed = {
        field: getattr(present, field)
        for field in DeviceConfig.__struct_fields__
        if field not in _LIVE
    }
    deferred = tuple(name for name, value in fixed.items() if getattr(wanted, name) != value)
    return Change(msgspec.structs.replace(wanted, **fixed), deferred)
