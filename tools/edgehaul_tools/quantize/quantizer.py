"""Makes the int8 models that plans describe, and measures once what they share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import onnx
from numpy.typing import NDArray

from edgehaul.bundle.spec import ModelSpec
from edgehaul.errors import ModelError
from edgehaul_tools.export.runtime import runner
from edgehaul_tools.export.spec_choice import check_answers
from edgehaul_tools.quantize.answers import Answers, Distance, Prepared
from edgehaul_tools.quantize.bias import bears_batches, corrected
from edgehaul_tools.quantize.byte_tensors import byte_ranges
from edgehaul_tools.quantize.calibrate import Histograms, Method, Ranges, tensors_around
from edgehaul_tools.quantize.dynamic import quantize_dynamically
from edgehaul_tools.quantize.equalize import equalize
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.graph import Division, divide, float_region, is_recurrent
from edgehaul_tools.quantize.learnt_ranges import learnt_ranges
from edgehaul_tools.quantize.pictures import spread
from edgehaul_tools.quantize.plan import Plan, Ranging
from edgehaul_tools.quantize.saturation import WeightBits
from edgehaul_tools.quantize.sensitivity import unit_noise
from edgehaul_tools.quantize.sqnr import layer_sqnr
from edgehaul_tools.quantize.static import quantize_static

Inputs = Callable[[], Iterator[Prepared]]
"""Gives the prepared calibration inputs, from the start on each call."""
Progress = Callable[[str], None]

PROBES = 6
"""Inputs that the sensitivity of each layer is measured on: those with most detections."""
BIAS_INPUTS, BIAS_INPUTS_ONE_BY_ONE = 32, 8
"""Inputs that biases are corrected by; fewer where each has to go through alone, layer by layer."""
WORTH_EQUALIZING = 4.0
"""Channels of one tensor that differ by less share a scale well."""
_ANY_METHOD: Method = "minmax"


class _Calibrated:
    """A float model and the ranges of its activations, measured when they are first needed."""

    def __init__(self, model: onnx.ModelProto, tensors: Sequence[str], inputs: Inputs) -> None:
        self.model = model
        self._tensors, self._inputs = tensors, inputs
        self._histograms: Histograms | None = None
        self.ranges = cache(self._ranges)

    def run_all(self, spec: ModelSpec) -> Answers:
        """Return the model's answers on all inputs, which measures the ranges too."""
        self._histograms = Histograms(self.model, self._tensors)
        return Answers(self._histograms.run, self._inputs(), spec)

    def _ranges(self, method: Method) -> Ranges:
        if self._histograms is None:
            every = (item.tensor for item in self._inputs())
            self._histograms = Histograms(self.model, self._tensors, lambda: every)
        return self._histograms.ranges(method)


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
        answers: Its answers on the inputs.
        probes: The inputs that quick comparisons are made on.

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
        self._learnt = learnt_ranges(model)
        self._known = byte_ranges(model)
        self._tensors = tensors_around(model, float_region(model.graph, self.division, ()))
        self._plain = _Calibrated(model, self._tensors, inputs)
        progress("running fp32 and measuring the ranges of the activations")
        self.answers = self._plain.run_all(spec)
        self.probes = self._busiest()
        self._distance = Distance(spec, self.probes, [self.fp32(p.tensor) for p in self.probes])
        self._equal = cache(self._equalized)
        self._bias_tensors = cache(self._spread_for_biases)
        self.noise = cache(self._noise)

    @property
    def has_learnt_ranges(self) -> bool:
        """Whether the model was trained with int8 in the loop and carries its ranges."""
        return bool(self._learnt)

    @property
    def can_equalize(self) -> bool:
        """Whether there are following layers whose channels differ so that it may matter.

        Not where ranges were learnt: they are those of the tensors as they were trained.
        """
        return not self._learnt and self._equal()[1] >= WORTH_EQUALIZING

    @property
    def corrects_cheaply(self) -> bool:
        """Whether biases are corrected in seconds, and not layer by layer, input by input."""
        return self._bias_tensors()[1]

    def build(self, plan: Plan) -> onnx.ModelProto:
        """Return the int8 model that a plan describes."""
        float_nodes = self.float_nodes(plan)
        if plan.method is None:
            return quantize_dynamically(self.model, plan.form, float_nodes=float_nodes)
        source = self._equal()[0] if plan.equalized else self._plain
        ranges = self._ranges(source, plan.method)

        def built(model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
            return quantize_static(model, ranges, float_nodes=float_nodes, form=form)

        if not plan.bias_corrected:
            return built(source.model, plan.form)
        units = [unit for unit in self.division.units if unit.name not in plan.float_units]
        tensors, _ = self._bias_tensors()
        # Written as QDQ the layers keep their names, by which their errors are found.
        as_qdq = msgspec.structs.replace(plan.form, representation="qdq")
        better = corrected(source.model, lambda model: built(model, as_qdq), tensors, units)
        return built(better, plan.form)

    def float_nodes(self, plan: Plan) -> set[str]:
        """Return the names of the nodes that a plan leaves in float."""
        if plan.method is None:
            # Entry and tail stay in float where ranges are measured. Ranged while it runs every
            # weighted layer gains, and an LSTM in front of the dense layers most of all.
            left = [unit for unit in self.division.units if unit.name in plan.float_units]
            return {name for unit in left for name in unit.nodes}
        region = float_region(self.model.graph, self.division, plan.float_units)
        if plan.elementwise_float:
            weighted = {name for unit in self.division.units for name in unit.nodes}
            region |= {node.name for node in self.model.graph.node} - weighted
        return region

    def distance_of(self, model: onnx.ModelProto) -> float:
        """Return how far a model's answers on the probes are from the float ones."""
        run = runner(model)
        return self._distance([run(probe.tensor) for probe in self.probes])

    def by_sensitivity(self, plan: Plan) -> tuple[str, ...]:
        """Return the layers, first those whose int8 form moves the answers most."""
        noise = self.noise(plan.method or _ANY_METHOD, plan.form.weight_bits)
        return tuple(sorted(noise, key=noise.__getitem__, reverse=True))

    def sqnr_of(self, plan: Plan) -> dict[str, float]:
        """Return the signal-to-quantization-noise ratio of each layer's output, in dB."""
        tensors = [probe.tensor for probe in self.probes]
        return layer_sqnr(self.model, self.build(plan), tensors, self.division.units)

    def _ranges(self, source: _Calibrated, method: Ranging) -> Ranges:
        if method == "learnt":
            return {**source.ranges(_ANY_METHOD), **self._learnt, **self._known}
        return {**source.ranges(method), **self._known}

    def _equalized(self) -> tuple[_Calibrated, float]:
        equal = equalize(self.model)
        return _Calibrated(equal.model, self._tensors, self.inputs), equal.largest_ratio_before

    def _noise(self, method: Ranging, weight_bits: WeightBits) -> dict[str, float]:
        units = self.division.units
        self._progress(f"measuring the sensitivity of {len(units)} layers")
        tensors = [probe.tensor for probe in self.probes]
        ranges = self._ranges(self._plain, method)
        return unit_noise(self.model, units, ranges, tensors, self._distance, weight_bits)

    def _spread_for_biases(self) -> tuple[list[NDArray[Any]], bool]:
        """Return inputs to correct biases by, and whether several go through at once."""
        wanted = set(spread(self.answers.count, BIAS_INPUTS))
        tensors = [item.tensor for index, item in enumerate(self.inputs()) if index in wanted]
        if bears_batches(self.model, tensors, self.division.units):
            return tensors, True
        return tensors[:: max(1, len(tensors) // BIAS_INPUTS_ONE_BY_ONE)], False

    def _busiest(self) -> list[Prepared]:
        """Return the inputs with most detections (of other models: spread evenly)."""
        found = [len(d) for d in self.answers.detections] or [0] * self.answers.count
        step = max(1, len(found) // PROBES)
        # Spread over the inputs: the busiest of each part, not all of one scene.
        starts = range(0, len(found), step)
        wanted = {max(range(s, min(s + step, len(found))), key=found.__getitem__) for s in starts}
        return [item for index, item in enumerate(self.inputs()) if index in wanted][:PROBES]
