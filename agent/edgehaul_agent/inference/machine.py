"""What a timing or an optimised graph depends on: processor, runtime and providers."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

import msgspec

_CPU_FACTS = Path("/proc/cpuinfo")
_NAMED = ("vendor_id", "model name", "cpu family", "model", "stepping")
_NAMED_ARM = ("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision")
_DIGEST_CHARS = 12


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What decides how fast a model runs here, and which graph fits.

    Attributes:
        cpu: The processor with its instructions, as :func:`cpu_id` tells.
        runtime: Name and version of what runs the models.
        providers: The execution providers that it has and that are configured, in order.
    """

    cpu: str
    runtime: str
    providers: tuple[str, ...] = ()


def cpu_id(facts: Path = _CPU_FACTS) -> str:
    """Return the name of this processor, with a digest of the instructions that it knows.

    Microcode and clock rates are left out: they change from start to start.

    Args:
        facts: The kernel's description of the processors.
    """
    try:
        lines = facts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    known: set[str] = set()
    named: list[str] = []
    for line in lines:
        key, _, value = line.partition(":")
        key, value = key.strip(), value.strip()
        if key in {"flags", "Features"}:
            known.update(value.split())
        elif key in (*_NAMED, *_NAMED_ARM) and value not in named:
            named.append(value)  # boards with two kinds of cores name both
    digest = hashlib.sha256(" ".join(sorted(known)).encode()).hexdigest()[:_DIGEST_CHARS]
    return " ".join([platform.machine(), *named, digest])
