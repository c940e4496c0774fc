"""The classifier of traces as an ONNX model: normalised windows in, probabilities out.

The LSTM leaves as ONNX's own LSTM operator, for which ONNX Runtime has an int8 kernel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import ModelSpec, SequenceInput
from edgehaul.config.recipe import SequenceRecipe
from edgehaul.errors import ModelError
from edgehaul_tools.export.onnx_model import TensorNames
from edgehaul_tools.train.architectures.recurrent import (
    DeployedSequence,
    SequenceNetwork,
    SequenceShape,
)
from edgehaul_tools.train.run_directory import load_weights

_BATCHES = (1, 5)


def load_sequence(folder: Path, spec: ModelSpec, recipe: SequenceRecipe | None) -> DeployedSequence:
    """Return the classifier of a run directory as the box runs it, in evaluation mode.

    Raises:
        ModelError: The run is not that of a classifier, or its weights cannot be loaded.
    """
    if recipe is None or not isinstance(spec.input, SequenceInput):
        raise ModelError("run.json is at odds with itself", where=folder, remedy="train again")
    shape = SequenceShape(len(spec.input.features), recipe.hidden, len(spec.output.labels))
    network = SequenceNetwork(shape)
    load_weights(folder, network)
    return DeployedSequence(network).eval()


def sequence_names(spec: ModelSpec) -> TensorNames:
    """Return the names of the classifier's tensors."""
    return TensorNames((spec.input.name or "window",), ("scores",))


def sequence_inputs(spec: ModelSpec) -> list[NDArray[np.generic]]:
    """Return random windows (B, steps, features) float32 to compare on, in two batch sizes."""
    _, *shape = spec.input.tensor_shape
    random = np.random.default_rng(0)
    return [random.standard_normal((batch, *shape), dtype=np.float32) for batch in _BATCHES]
