"""Pictures of one class, made by a trained generator."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Synthesis(msgspec.Struct, frozen=True, kw_only=True):
    """Where made pictures come from, as ``synthetic.json`` beside them says.

    Attributes:
        label: Their class.
        count: How many there are.
        learnt_from: Number of real pictures of that class that the generator has seen.
    """

    label: str
    count: int
    learnt_from: int


def synthesize(run_folder: Path, label: str, count: int, out: Path, seed: int = 0) -> Synthesis:
    """Make pictures of one class."""
    raise NotImplementedError
