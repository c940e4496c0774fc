"""Find the int8 form of a model that still answers as fp32 does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import onnx

from edgehaul_tools.export.runtime import interleaved_medians_ms, runner
from edgehaul_tools.quantize.answers import Answers
from edgehaul_tools.quantize.plan import Plan, Ranging
from edgehaul_tools.quantize.quantizer import Progress, Quantizer

METHODS: tuple[Ranging, ...] = ("minmax", "percentile", "mse")
FLOAT_SHARES = (0.0, 0.04, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
"""Parts of the layers that are tried in float, the most sensitive first."""
_LATENCY_ROUNDS = 21


class Trial(msgspec.Struct, frozen=True):
    """One form that was tried.

    Attributes:
        plan: How it was made.
        distance: See :class:`edgehaul_tools.quantize.answers.Distance`.
        agreement: F1 (or share of equal classes) on the calibration inputs.
        latency_ratio: int8 time / fp32 time, 1 thread.
    """

    plan: Plan
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


def search(
    quantizer: Quantizer,
    plans: Sequence[Plan],
    target: float,
    progress: Progress,
    methods: Sequence[Ranging] = METHODS,
) -> Found:
    """Return the first plan with fewest float layers that agrees, else what agrees best.

    Args:
        quantizer: Makes the models.
        plans: Where to begin, the preferred one first; each is taken from all-int8 towards
            float until the answers agree, and the next one only where that does not help.
        target: Agreement to reach on the calibration inputs.
        progress: Told what is done, in words.
        methods: Choices of the activation ranges to try in static plans.
    """
    found: list[tuple[Trial, onnx.ModelProto]] = []
    noise: dict[str, float] = {}
    for plan in plans:
        towards_float = _TowardsFloat(quantizer, plan, target, progress, methods)
        found += towards_float.run()
        noise = noise or towards_float.noise
        if found[-1][0].agreement >= target and found[-1][0].latency_ratio < 1:
            break
    chosen, model = max(found, key=lambda pair: worth(pair[0], target))
    return Found(model, chosen, [trial for trial, _ in found], noise)


class _TowardsFloat:
    """Leaves more and more layers of one plan in float, until the answers agree."""

    def __init__(
        self,
        quantizer: Quantizer,
        plan: Plan,
        target: float,
        progress: Progress,
        methods: Sequence[Ranging],
    ) -> None:
        self._quantizer, self._plan, self._target = quantizer, plan, target
        self._progress = progress
        is_dynamic = plan.form.representation == "dynamic"
        learnt: tuple[Ranging, ...] = ("learnt",) if quantizer.has_learnt_ranges else ()
        self._methods: Sequence[Ranging | None] = (None,) if is_dynamic else (*learnt, *methods)
        self.noise: dict[str, float] = {}

    def run(self) -> list[tuple[Trial, onnx.ModelProto]]:
        """Return what was tried, in order."""
        trials: list[tuple[Trial, onnx.ModelProto]] = []
        for share in FLOAT_SHARES:
            floats = self._most_sensitive(share)
            if trials and floats == trials[-1][0].plan.float_units:
                continue  # a small model: the next share leaves the same layers in float
            trial, model = self._try(floats)
            trials.append((trial, model))
            self._progress(
                f"{trial.plan.summary}: agreement {trial.agreement:.3f}, "
                f"{trial.latency_ratio:.2f} of the fp32 time"
            )
            if trial.agreement >= self._target:
                break
        return trials

    def _most_sensitive(self, share: float) -> tuple[str, ...]:
        units = self._quantizer.division.units
        if not share or not units:
            return ()
        method = self._methods[0] or METHODS[0]
        self.noise = self._quantizer.noise(method, self._plan.form.weight_bits)
        return self._quantizer.by_sensitivity(self._plan)[: max(1, round(share * len(units)))]

    def _try(self, floats: tuple[str, ...]) -> tuple[Trial, onnx.ModelProto]:
        plans = [
            msgspec.structs.replace(self._plan, method=method, float_units=floats)
            for method in self._methods
        ]
        models = [self._quantizer.build(plan) for plan in plans]
        distances = [self._quantizer.distance_of(model) for model in models]
        best = min(range(len(plans)), key=distances.__getitem__)
        run = runner(models[best])
        answers = Answers(run, self._quantizer.inputs(), self._quantizer.spec)
        agreed = self._quantizer.answers.agreement_of(answers)
        fp32_ms, int8_ms = interleaved_medians_ms(
            [self._quantizer.fp32, run], self._quantizer.probes[0].tensor, _LATENCY_ROUNDS
        )
        trial = Trial(plans[best], distances[best], agreed.f1, int8_ms / fp32_ms)
        return trial, models[best]


def worth(trial: Trial, target: float) -> tuple[float, float]:
    """Return what forms are compared by: how far they agree, and only then their time.

    A quick timing must not decide whether the answers are right. Of a form that turns out slower
    the user is warned, and the box, which times each variant, will run fp32 instead.
    """
    return min(trial.agreement, target), -trial.latency_ratio
