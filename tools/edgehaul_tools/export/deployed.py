"""A trained model of any kind as the box runs it: what the exporter turns into ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.errors import ModelError
from edgehaul_tools.export.onnx_model import TensorNames
from edgehaul_tools.export.temperature import set_temperature
from edgehaul_tools.train.anomaly.deployed import deployed_anomaly
from edgehaul_tools.train.architectures.detector import DeployedDetector
from edgehaul_tools.train.classifier.deployed import deployed_classifier
from edgehaul_tools.train.detector.deployed import deployed_detector
from edgehaul_tools.train.qat.calls import NETWORK_INPUT
from edgehaul_tools.train.qat.hook import first_input
from edgehaul_tools.train.qat.marks import mark_ranges
from edgehaul_tools.train.qat.ranges import LearntRange
from edgehaul_tools.train.run_directory import TrainingRun
from edgehaul_tools.train.sequence.deployed import deployed_sequence

_BATCHES = (1, 3)
_OUTPUTS = {
    "edgehaul": ("boxes", "scores"),
    "classify": ("scores",),
    "sequence": ("scores",),
    "regress": ("values",),
    "anomaly": ("score", "error_map"),
}
"""Names of the outputs, by head."""


@dataclass(frozen=True)
class Deployed:
    """A model that is ready to be exported.

    Attributes:
        module: In evaluation mode, taking one tensor.
        names: Names of its tensors.
        inputs: Random inputs to compare on, in two batch sizes.
        ranges: Ranges that were learnt, of the network that is exported; each one's tensor is
            marked in ``module``.
    """

    module: nn.Module
    names: TensorNames
    inputs: list[NDArray[np.generic]]
    ranges: tuple[LearntRange, ...] = ()


def load_deployed(folder: Path, run: TrainingRun) -> nn.Module:
    """Return the trained model of a run directory as torch runs it, in evaluation mode.

    It takes and gives what the ONNX model does: pictures (B, H, W, 3) uint8 or normalised
    windows (B, steps, features) float32, and what the head of its spec says.

    Raises:
        ModelError: The run's files contradict each other, or it is nothing that a box runs.
    """
    spec, recipe = run.spec, run.recipe
    match run.kind:
        case "detector":
            return deployed_detector(folder, spec, recipe.detector)
        case "classifier":
            return deployed_classifier(folder, spec, recipe.classifier)
        case "anomaly":
            return deployed_anomaly(folder, spec, recipe.anomaly)
        case "sequence":
            return deployed_sequence(folder, spec, recipe.sequence)
    raise ModelError(
        f"a {run.kind} does not run on a box",
        where=folder,
        remedy="draw pictures with 'edgehaul synthesize'",
    )


def for_export(folder: Path, run: TrainingRun, temperature: float = 1.0) -> Deployed:
    """Return the trained model of a run directory in the form that is exported.

    Args:
        folder: The run directory.
        run: What its ``run.json`` says.
        temperature: What a classifier's logits are divided by.

    Raises:
        ModelError: See :func:`load_deployed`.
        UsageError: A temperature is given for what is no classifier.
    """
    module = load_deployed(folder, run)
    inputs = _inputs(run.spec)
    ranges = _marked(module, run.ranges, inputs[0])
    set_temperature(module, temperature, folder)
    if isinstance(module, DeployedDetector):
        ranges = _fold_scale(module, ranges)
    default = "image" if isinstance(run.spec.input, ImageInput) else "window"
    names = TensorNames((run.spec.input.name or default,), _OUTPUTS[run.spec.output.head])
    return Deployed(module, names, inputs, ranges)


def _inputs(spec: ModelSpec) -> list[NDArray[np.generic]]:
    _, *shape = spec.input.tensor_shape
    random = np.random.default_rng(0)
    if isinstance(spec.input, ImageInput):
        return [random.integers(0, 256, (batch, *shape), dtype=np.uint8) for batch in _BATCHES]
    return [random.standard_normal((batch, *shape), dtype=np.float32) for batch in _BATCHES]


def _marked(
    module: nn.Module, ranges: tuple[LearntRange, ...], inputs: NDArray[np.generic]
) -> tuple[LearntRange, ...]:
    """Mark the tensors of a deployed model's network whose ranges were learnt."""
    if ranges:
        network = module.get_submodule("network")
        with torch.no_grad(), first_input(network) as given:
            module(torch.from_numpy(inputs))
        mark_ranges(network, ranges, given[0])
    return ranges


def _fold_scale(
    detector: DeployedDetector, ranges: tuple[LearntRange, ...]
) -> tuple[LearntRange, ...]:
    """Let the first convolution take bytes as they are; its weights change in place.

    The step from 0..255 to 0..1 is a factor alone, so nothing is lost, at borders neither.

    Args:
        detector: The network and its factor.
        ranges: Learnt ranges of the network.

    Returns:
        The ranges; that of the network's input is one of bytes now.
    """
    scale = detector.input_scale
    with torch.no_grad():
        detector.network.stem[0][0].weight.mul_(scale)  # type: ignore[index]  # torch's stubs know no layers by number
    detector.input_scale = 1.0
    return tuple(
        msgspec.structs.replace(one, low=one.low / scale, high=one.high / scale)
        if one.call == NETWORK_INPUT
        else one
        for one in ranges
    )
