"""Options of reading unknown models, for every command that does."""

from __future__ import annotations

import click

from edgehaul_tools.finite import FiniteRange
from edgehaul_tools.quantize.limits import Limits

_GIGABYTE = 1e9

seconds = click.option(
    "--trial-seconds",
    type=FiniteRange(0, min_open=True, max=86_400),
    default=Limits().seconds,
    show_default=True,
    help="How long the model may take to be read and run once, before anything trusts it.",
)
memory = click.option(
    "--trial-memory",
    type=FiniteRange(0, max=4096),
    default=0.0,
    help="Memory for that, in GB; 0: 4 and 12 times the model, at most what is free.",
)


def limits_of(time_s: float, memory_gb: float) -> Limits:
    """Return what the options say."""
    return Limits(time_s, int(memory_gb * _GIGABYTE))
