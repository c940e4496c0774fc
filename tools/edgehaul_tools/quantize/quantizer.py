"""Makes the int8 models that plans describe, and measures once what they share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import onnx

from edgehaul.bundle.spec import ModelSpec
from edgehaul.errors import ModelError
from edgehaul_tools.export.runtime import runner
from edgehaul_tools.export.spec_choice import check_answers
from edgehaul_tools.quantize.answers import Answers, Distance, Prepared
from edgehaul_tools.quantize.calibrate import Histograms, Method, Ranges, activation_tensors
from edgehaul_tools.quantize.dynamic import quantize_dynamically
from edgehaul_tools.quantize.graph import Division, divide, float_region, is_recurrent
from edgehaul_tools.quantize.plan import Plan
from edgehaul_tools.quantize.saturation import WeightBits
from edgehaul_tools.quantize.sensitivity import unit_noise
from edgehaul_tools.quantize.static import quantize_static

Inputs = Callable[[], Iterator[Prepared]]
"""Gives the prepared calibration inputs, from the start on each call."""
Progress = Callable[[str], None]

PROBES = 6
"""Inputs that the sensitivity of each layer is measured on: those with most detections."""


class Quantizer:
    """Makes int8 models of one float model.

    Args:
        model: A cleaned float model.
        spec: Its input and output.
        inputs: The prepared calibration inputs.
        progress: Told what is done, in words.
        where: The model's file, for errors.

    Attributes:
        fp32: Runs the float model.
        division: Its parts.

    Raises:
        ModelError: The model has nothing to quantize, or cannot be run.
        SpecMismatchError: It answers otherwise than the spec says.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        spec: ModelSpec,
        inputs: Inputs,
        progress: Progress,
        where: Path | str = "model",
    ) -> None:
        self.model, self.spec, self.inputs = model, spec, inputs
        self._progress = progress
        self.division: Division = divide(model.graph)
        if not self.division.units and not is_recurrent(model):
            raise ModelError(
                "the model has no layer that int8 could speed up",
                where=where,
                remedy="give a model with convolutions or dense layers whose weights are constant",
            )
        self.fp32 = runner(model, where=Path(where))
        for first in itertools.islice(inputs(), 1):
            check_answers(self.fp32, first.tensor, spec, where=Path(where))
        self.answers = Answers(self.fp32, inputs(), spec)
        self.probes = self._busiest()
        self._probe_answers = [self.fp32(probe.tensor) for probe in self.probes]
        self._distance = Distance(spec, self.probes, self._probe_answers)
        self._histograms: Histograms | None = None
        self.ranges = cache(self._ranges)
        self.noise = cache(self._noise)

    def build(self, plan: Plan) -> onnx.ModelProto:
        """Return the int8 model that a plan describes."""
        float_nodes = self.float_nodes(plan)
        if plan.method is None:
            return quantize_dynamically(self.model, plan.form, float_nodes=float_nodes)
        ranges = self.ranges(plan.method)
        return quantize_static(self.model, ranges, float_nodes=float_nodes, form=plan.form)

    def float_nodes(self, plan: Plan) -> set[str]:
        """Return the names of the nodes that a plan leaves in float."""
        region = float_region(self.model.graph, self.division, plan.float_units)
        if plan.elementwise_float:
            weighted = {name for unit in self.division.units for name in unit.nodes}
            region |= {node.name for node in self.model.graph.node} - weighted
        return region

    def distance_of(self, model: onnx.ModelProto) -> float:
        """Return how far a model's answers on the probes are from the float ones."""
        run = runner(model)
        return self._distance([run(probe.tensor) for probe in self.probes])

    def _ranges(self, method: Method) -> Ranges:
        if self._histograms is None:
            self._progress("measuring the ranges of the activations")
            tensors = activation_tensors(self.model)
            self._histograms = Histograms(
                self.model, tensors, lambda: (item.tensor for item in self.inputs())
            )
        return self._histograms.ranges(method)

    def _noise(self, method: Method, weight_bits: WeightBits) -> dict[str, float]:
        units = self.division.units
        self._progress(f"measuring the sensitivity of {len(units)} layers")
        tensors = [probe.tensor for probe in self.probes]
        ranges = self.ranges(method)
        return unit_noise(self.model, units, ranges, tensors, self._distance, weight_bits)

    def _busiest(self) -> list[Prepared]:
        """Return the inputs with most detections (of other models: spread evenly)."""
        found = [len(d) for d in self.answers.detections] or [0] * self.answers.count
        step = max(1, len(found) // PROBES)
        # Spread over the inputs: the busiest of each part, not all of one scene.
        starts = range(0, len(found), step)
        wanted = {max(range(s, min(s + step, len(found))), key=found.__getitem__) for s in starts}
        return [item for index, item in enumerate(self.inputs()) if index in wanted][:PROBES]
