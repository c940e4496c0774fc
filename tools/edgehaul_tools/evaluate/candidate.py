"""One model that is measured, whatever it was opened from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgehaul.bundle.spec import ModelSpec
from edgehaul.config.recipe import Recipe
from edgehaul_tools.export.runtime import Run


@dataclass(frozen=True, eq=False)
class Candidate:
    """One model that is measured.

    Attributes:
        name: Differs from those of the others.
        path: What the user named.
        sha256: Of the ONNX file.
        spec: What goes in and comes out.
        run: Runs it on one input.
        recipe: By which it was trained, where its run directory was named.
    """

    name: str
    path: Path
    sha256: str
    spec: ModelSpec
    run: Run
    recipe: Recipe | None = None
