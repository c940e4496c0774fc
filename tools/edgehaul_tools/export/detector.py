"""The detector as an ONNX model: bytes in, boxes and scores out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.config.recipe import DetectorRecipe
from edgehaul.errors import ModelError
from edgehaul_tools.export.onnx_model import TensorNames
from edgehaul_tools.train.architectures.detector import (
    DeployedDetector,
    DetectorNetwork,
    shape_of,
)
from edgehaul_tools.train.run_directory import load_weights

_BATCHES = (1, 3)


def load_detector(folder: Path, spec: ModelSpec, recipe: DetectorRecipe | None) -> DeployedDetector:
    """Return the detector of a run directory as the box runs it, in evaluation mode.

    Raises:
        ModelError: The run is not that of a detector, or its weights cannot be loaded.
    """
    if recipe is None or not isinstance(spec.input, ImageInput):
        raise ModelError("run.json is at odds with itself", where=folder, remedy="train again")
    network = DetectorNetwork(shape_of(recipe, len(spec.output.labels)))
    load_weights(folder, network)
    return DeployedDetector(network, width=spec.input.width, height=spec.input.height).eval()


def detector_names(spec: ModelSpec) -> TensorNames:
    """Return the names of the detector's tensors."""
    return TensorNames((spec.input.name or "image",), ("boxes", "scores"))


def detector_inputs(spec: ModelSpec) -> list[NDArray[np.generic]]:
    """Return random pictures (B, H, W, 3) uint8 to compare on, in two batch sizes."""
    _, *shape = spec.input.tensor_shape
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (batch, *shape), dtype=np.uint8) for batch in _BATCHES]


def fold_scale(detector: DeployedDetector) -> DeployedDetector:
    """Let the first convolution take bytes as they are; its weights change in place.

    The step from 0..255 to 0..1 is a factor alone, so nothing is lost, at borders neither.
    """
    with torch.no_grad():
        detector.network.stem[0][0].weight.mul_(detector.input_scale)  # type: ignore[index]  # torch's stubs know no layers by number
    detector.input_scale = 1.0
    return detector
