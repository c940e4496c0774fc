"""The processor that measurements are taken on, in words."""

from __future__ import annotations

import platform
from pathlib import Path


def machine() -> str:
    """Return the processor's name, and whether it has the instructions that int8 gains by."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in (s.partition(":") for s in lines)}
    known = facts.get("flags", facts.get("Features", "")).split()
    quick = sorted({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"} & set(known))
    name = facts.get("model name") or platform.machine()
    return f"{name} ({', '.join(quick) or 'without integer dot products'})"
