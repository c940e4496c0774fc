"""How much a model that nobody knows may take, and what a process does to keep to it."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import msgspec

from edgehaul_tools.quantize.loading import MAX_MODEL_BYTES

_BASE_BYTES = 4 << 30
"""For Python, its libraries (about 1 GB of addresses) and the activations of one run."""
_BYTES_PER_MODEL_BYTE = 12
"""A model of 500 MB took 5 copies at its peak: parsed, copied, folded, serialised, in a session."""
_SHARE_OF_MACHINE = 0.9
_OUTPUT_PER_MODEL_BYTE = 3
_BASE_OUTPUT_BYTES = 256 << 20


class Limits(msgspec.Struct, frozen=True):
    """What the trial of a model may take before it is stopped.

    Attributes:
        seconds: Wall clock, and processor time of the trial.
        memory_bytes: Address space; 0 takes 4 GiB and 12 times the model, but no more than nine
            tenths of what the machine has free.
    """

    seconds: float = 120.0
    memory_bytes: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf or self.memory_bytes < 0:
            raise ValueError("a limit must be positive")

    def memory_for(self, model_bytes: int, free_bytes: int | None = None) -> int:
        """Return the address space in bytes that a model may take.

        Args:
            model_bytes: Its size, external data included.
            free_bytes: Memory that the machine has free, 0 where that is not known; none asks it.
        """
        wanted = self.memory_bytes or _BASE_BYTES + _BYTES_PER_MODEL_BYTE * model_bytes
        free = free_memory_bytes() if free_bytes is None else free_bytes
        return min(wanted, int(free * _SHARE_OF_MACHINE)) if free else wanted


def output_limit(model_bytes: int) -> int:
    """Return how large the cleaned model may get in bytes: folded constants may grow it."""
    return min(MAX_MODEL_BYTES, _BASE_OUTPUT_BYTES + _OUTPUT_PER_MODEL_BYTE * model_bytes)


def free_memory_bytes() -> int:
    """Return the memory that programs can still take, or 0 where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0


def confine(limits: Limits) -> None:
    """Limit this process: processor time and address space; no core dump.

    The address space starts at what a small model may take; :func:`allow_for` widens it. On
    Windows there are no such limits: there the parent's clock alone contains the trial.
    """
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - there is none on Windows

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seconds = math.ceil(limits.seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    _soften("RLIMIT_AS", limits.memory_for(0), hardest=limits.memory_for(MAX_MODEL_BYTES))
    _soften("RLIMIT_FSIZE", output_limit(0), hardest=MAX_MODEL_BYTES)


def allow_for(limits: Limits, model_bytes: int) -> None:
    """Widen the limits to a model of this size, its external data included."""
    if sys.platform == "win32":
        return
    _soften("RLIMIT_AS", limits.memory_for(model_bytes))
    _soften("RLIMIT_FSIZE", output_limit(model_bytes))


def _soften(name: str, soft: int, hardest: int | None = None) -> None:
    import resource  # noqa: PLC0415 - there is none on Windows

    kind: int = getattr(resource, name)
    hard = resource.getrlimit(kind)[1]
    if hardest is not None and (hard == resource.RLIM_INFINITY or hard > hardest):
        hard = hardest
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    try:
        resource.setrlimit(kind, (soft, hard))
    except (OSError, ValueError):
        # macOS refuses limits of the address space; the other limits and the clock hold.
        return
