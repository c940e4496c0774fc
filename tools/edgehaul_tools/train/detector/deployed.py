"""The detector of a run directory as the box runs it: bytes in, boxes and scores out."""

from __future__ import annotations

from pathlib import Path

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.config.recipe import DetectorRecipe
from edgehaul.errors import ModelError
from edgehaul_tools.train.architectures.detector import (
    DeployedDetector,
    DetectorNetwork,
    shape_of,
)
from edgehaul_tools.train.run_directory import load_weights


def deployed_detector(
    folder: Path, spec: ModelSpec, recipe: DetectorRecipe | None
) -> DeployedDetector:
    """Return the detector of a run directory as the box runs it, in evaluation mode.

    Its outputs are ``boxes`` (B, N, 4) and ``scores`` (B, N, classes).

    Raises:
        ModelError: The run is not that of a detector, or its weights cannot be loaded.
    """
    if recipe is None or not isinstance(spec.input, ImageInput):
        raise ModelError("run.json is at odds with itself", where=folder, remedy="train again")
    network = DetectorNetwork(shape_of(recipe, len(spec.output.labels)))
    load_weights(folder, network)
    return DeployedDetector(network, width=spec.input.width, height=spec.input.height).eval()
