"""Find the int8 form of a model that still answers as fp32 does."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import onnx

from edgehaul.bundle.spec import ModelSpec
from edgehaul.errors import ModelError
from edgehaul_tools.export.runtime import interleaved_medians_ms, runner
from edgehaul_tools.export.spec_choice import check_answers
from edgehaul_tools.quantize.answers import Answers, Distance, Prepared
from edgehaul_tools.quantize.calibrate import Histograms, Method, Ranges, activation_tensors
from edgehaul_tools.quantize.graph import Division, divide, float_region
from edgehaul_tools.quantize.saturation import WeightBits
from edgehaul_tools.quantize.sensitivity import unit_noise
from edgehaul_tools.quantize.static import quantize_static

_log = logging.getLogger(__name__)

Inputs = Callable[[], Iterator[Prepared]]
"""Gives the prepared calibration inputs, from the start on each call."""
Progress = Callable[[str], None]

METHODS: tuple[Method, ...] = ("minmax", "percentile", "mse")
PROBES = 6
"""Inputs that the sensitivity of each layer is measured on: those with most detections."""
FLOAT_SHARES = (0.0, 0.04, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
"""Parts of the layers that are tried in float, the most sensitive first."""
_LATENCY_ROUNDS = 21


class Trial(msgspec.Struct, frozen=True):
    """One form that was tried.

    Attributes:
        method: Choice of the activation ranges.
        float_units: Layers left in float beside entry and tail.
        distance: See :class:`edgehaul_tools.quantize.answers.Distance`.
        agreement: F1 (or share of equal classes) on the calibration inputs.
        latency_ratio: int8 time / fp32 time, 1 thread.
    """

    method: Method
    float_units: tuple[str, ...]
    distance: float
    agreement: float
    latency_ratio: float


@dataclass(frozen=True, slots=True)
class Found:
    """The chosen form and how it was found."""

    model: onnx.ModelProto
    chosen: Trial
    trials: list[Trial] = field(default_factory=list)
    noise: dict[str, float] = field(default_factory=dict)
    layers: int = 0


class Search:
    """Tries forms from all-int8 towards float, until the answers agree.

    Args:
        model: A cleaned float model.
        spec: Its input and output.
        inputs: The prepared calibration inputs.
        target: Agreement to reach on the calibration inputs.
        progress: Told what is done, in words.
        weight_bits: Width of the weights in all forms.
        where: The model's file, for errors.

    Raises:
        ModelError: The model has nothing to quantize, or cannot be run.
        SpecMismatchError: It answers otherwise than the spec says.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        spec: ModelSpec,
        inputs: Inputs,
        target: float,
        progress: Progress,
        weight_bits: WeightBits = 8,
        where: Path | str = "model",
    ) -> None:
        self._model, self._spec, self._inputs, self._target = model, spec, inputs, target
        self._progress, self._weight_bits = progress, weight_bits
        self._division: Division = divide(model.graph)
        if not self._division.units:
            raise ModelError(
                "the model has no layer that int8 could speed up",
                where=where,
                remedy="give a model with convolutions or dense layers whose weights are constant",
            )
        self._fp32 = runner(model, where=Path(where))
        for first in itertools.islice(inputs(), 1):
            check_answers(self._fp32, first.tensor, spec, where=Path(where))
        self._answers = Answers(self._fp32, inputs(), spec)
        self._probes = self._busiest()
        reference = [self._fp32(probe.tensor) for probe in self._probes]
        self._distance = Distance(spec, self._probes, reference)

    def run(self) -> Found:
        """Return the form with fewest float layers that agrees, else the one that agrees best."""
        self._progress("measuring the ranges of the activations")
        histograms = Histograms(
            self._model, activation_tensors(self._model), lambda: (i.tensor for i in self._inputs())
        )
        candidates = [(m, histograms.ranges(m)) for m in METHODS]
        method, ranges = self._best_ranges(candidates, ())
        noise: dict[str, float] = {}
        trials: list[tuple[Trial, onnx.ModelProto]] = []
        for share in FLOAT_SHARES:
            if share and not noise:
                self._progress(f"measuring the sensitivity of {len(self._division.units)} layers")
                noise = self._noise(ranges)
            floats = _most_sensitive(noise, share)
            if trials and floats == trials[-1][0].float_units:
                continue  # a small model: the next share leaves the same layers in float
            method, ranges = self._best_ranges(candidates, floats)
            trial, model = self._try(method, ranges, floats)
            trials.append((trial, model))
            self._progress(
                f"{len(floats)} layers in float ({method}): agreement {trial.agreement:.3f}, "
                f"{trial.latency_ratio:.2f} of the fp32 time"
            )
            if trial.agreement >= self._target:
                break
        chosen, model = max(trials, key=lambda t: worth(t[0], self._target))
        return Found(
            model, chosen, [trial for trial, _ in trials], noise, len(self._division.units)
        )

    def _busiest(self) -> list[Prepared]:
        """Return the inputs with most detections (of other models: spread evenly)."""
        found = [len(d) for d in self._answers.detections] or [0] * self._answers.count
        step = max(1, len(found) // PROBES)
        # Spread over the inputs: the busiest of each part, not all of one scene.
        starts = range(0, len(found), step)
        wanted = {max(range(s, min(s + step, len(found))), key=found.__getitem__) for s in starts}
        return [item for index, item in enumerate(self._inputs()) if index in wanted][:PROBES]

    def _noise(self, ranges: Ranges) -> dict[str, float]:
        tensors = [probe.tensor for probe in self._probes]
        units = self._division.units
        return unit_noise(self._model, units, ranges, tensors, self._distance, self._weight_bits)

    def _best_ranges(
        self, candidates: Sequence[tuple[Method, Ranges]], floats: tuple[str, ...]
    ) -> tuple[Method, Ranges]:
        def distance(candidate: tuple[Method, Ranges]) -> float:
            run = runner(self._build(candidate[1], floats))
            return self._distance([run(probe.tensor) for probe in self._probes])

        return min(candidates, key=distance)

    def _build(self, ranges: Ranges, floats: Sequence[str]) -> onnx.ModelProto:
        region = float_region(self._model.graph, self._division, floats)
        return quantize_static(
            self._model, ranges, float_nodes=region, weight_bits=self._weight_bits
        )

    def _try(
        self, method: Method, ranges: Ranges, floats: tuple[str, ...]
    ) -> tuple[Trial, onnx.ModelProto]:
        model = self._build(ranges, floats)
        run = runner(model)
        agreed = self._answers.agreement_of(Answers(run, self._inputs(), self._spec))
        distance = self._distance([run(probe.tensor) for probe in self._probes])
        fp32_ms, int8_ms = interleaved_medians_ms(
            [self._fp32, run], self._probes[0].tensor, _LATENCY_ROUNDS
        )
        return Trial(method, floats, distance, agreed.f1, int8_ms / fp32_ms), model


def worth(trial: Trial, target: float) -> tuple[float, float]:
    """Return what forms are compared by: how far they agree, and only then their time.

    A quick timing must not decide whether the answers are right. Of a form that turns out slower
    the user is warned, and the box, which times each variant, will run fp32 instead.
    """
    return min(trial.agreement, target), -trial.latency_ratio


def _most_sensitive(noise: dict[str, float], share: float) -> tuple[str, ...]:
    order = sorted(noise, key=noise.__getitem__, reverse=True)
    return tuple(order[: max(1, round(share * len(order)))] if share else ())
