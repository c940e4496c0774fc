"""The bare network of a run, which pruning works on: without what the box needs around it."""

from __future__ import annotations

from torch import nn

from edgehaul.bundle.spec import ImageInput
from edgehaul.config.recipe import (
    AnomalyRecipe,
    ClassifierRecipe,
    DetectorRecipe,
    GeneratorRecipe,
)
from edgehaul.errors import ModelError
from edgehaul_tools.prune.distillation import (
    Difference,
    cell_difference,
    class_difference,
    value_difference,
)
from edgehaul_tools.train.architectures.detector import DetectorNetwork, shape_of
from edgehaul_tools.train.architectures.table import build_classifier
from edgehaul_tools.train.continued import FinishedRun
from edgehaul_tools.train.run_directory import load_weights


def network_of(found: FinishedRun) -> nn.Module:
    """Return the network of a run with its weights, as the training had it.

    Raises:
        ModelError: The weights cannot be loaded, or the run is one of a generator.
    """
    spec, training = found.run.spec, found.recipe.training
    network: nn.Module
    if isinstance(training, GeneratorRecipe):
        raise ModelError(
            "a generator runs on no box, so nothing is won by pruning it", where=found.folder
        )
    if isinstance(training, DetectorRecipe):
        network = DetectorNetwork(shape_of(training, len(spec.output.labels)))
    elif isinstance(training, ClassifierRecipe) and isinstance(spec.input, ImageInput):
        network = build_classifier(
            training.network,
            len(spec.output.labels),
            width=spec.input.width,
            height=spec.input.height,
        )
    elif isinstance(training, AnomalyRecipe):
        from edgehaul_tools.train.anomaly.deployed import anomaly_network  # noqa: PLC0415 - of this kind alone

        network = anomaly_network(training)
    else:
        from edgehaul_tools.train.sequence.deployed import sequence_network  # noqa: PLC0415 - of this kind alone

        if found.recipe.sequence is None:
            raise ModelError(
                "run.json is at odds with itself", where=found.folder, remedy="train again"
            )
        network = sequence_network(found.recipe.sequence, spec)
    load_weights(found.folder, network)
    return network


def difference_of(found: FinishedRun) -> Difference:
    """Return how far answers of a run's kind of network are from another one's."""
    head = found.run.spec.output.head
    if head == "edgehaul":
        return cell_difference
    return class_difference if head in {"classify", "sequence"} else value_difference
