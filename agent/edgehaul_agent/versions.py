"""Which version of which model each stream has taken, and whether it is the installed one still."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from edgehaul_agent.restarts import Stream, has_end
from edgehaul_agent.update.slots import InstalledModel, ModelStore


class TakenModels:
    """Remembers what streams have taken; safe to use by several threads.

    Args:
        store: The installed models.
    """

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._digests: dict[str, dict[str, str]] = {}

    def take(self, stream: Stream, installed: InstalledModel) -> None:
        """Note that a stream runs a model from now on."""
        with self._lock:
            own = self._digests.setdefault(stream.name, {})
            own[installed.name] = installed.manifest_sha256

    def outdated(self, streams: Iterable[Stream]) -> set[str]:
        """Return the names of those that run what is not installed any more; forget all others.

        A recording that ends by itself goes on with the model that it began with: begun again it
        would tell everything twice.

        Args:
            streams: All that there are.
        """
        present = {stream.name: stream for stream in streams}
        with self._lock:
            self._digests = {n: own for n, own in self._digests.items() if n in present}
            taken = {name: dict(own) for name, own in self._digests.items()}
        return {
            name
            for name, own in taken.items()
            if not has_end(present[name]) and any(self._is_replaced(*one) for one in own.items())
        }

    def _is_replaced(self, name: str, manifest_sha256: str) -> bool:
        # Where the record is broken, what runs goes on.
        state = self._store.readable_state(name)
        return state is not None and state.manifest_sha256 != manifest_sha256
