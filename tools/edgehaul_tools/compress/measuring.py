"""Makes and measures the int8 models of one network."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import onnx
from numpy.typing import NDArray

from edgehaul_tools.compress.candidate import GIVEN, Candidate
from edgehaul_tools.compress.journal import Journal
from edgehaul_tools.export.runtime import Run, interleaved_medians_ms, runner
from edgehaul_tools.quantize.fusion import Fusion, fusion_of
from edgehaul_tools.quantize.plan import Plan
from edgehaul_tools.quantize.quantizer import Quantizer
from edgehaul_tools.verify.measure import Yardstick

LATENCY_ROUNDS = 21
Told = Callable[[Candidate], None]


class Measuring:
    """Measures candidates of one network against the fp32 model that was given.

    What the journal knows already is not measured again.

    Args:
        network: Name of the network; ``given`` is the one that was given.
        quantizer: Makes its int8 models.
        yardstick: Compares with the given fp32 model on the data.
        reference: Runs the given fp32 model.
        reference_bytes: Size of its file.
        tensor: An input to time on.
        journal: Keeps what was measured.
        told: Called with each candidate.
    """

    def __init__(
        self,
        network: str,
        quantizer: Quantizer,
        yardstick: Yardstick,
        reference: Run,
        reference_bytes: int,
        tensor: NDArray[Any],
        journal: Journal,
        told: Told,
    ) -> None:
        self._network, self._quantizer, self._yardstick = network, quantizer, yardstick
        self._reference, self._reference_bytes = reference, reference_bytes
        self._tensor, self._journal, self._told = tensor, journal, told

    def __call__(self, plan: Plan | None) -> Candidate:
        """Return what is measured of the form that a plan describes; None is the float network."""
        known = self._journal.known(self._network, plan)
        one = known if known is not None else self._measured(plan)
        if known is None:
            self._journal.add(one)
        self._told(one)
        return one

    def _measured(self, plan: Plan | None) -> Candidate:
        started_s = time.monotonic()
        model, fusion = self._quantizer.model, None
        if plan is not None:
            model, fusion = self._made(plan)
        run = runner(model)
        is_reference = plan is None and self._network == GIVEN
        found = self._yardstick.measure(run)
        fp32_ms, own_ms = interleaved_medians_ms(
            [self._reference, run], self._tensor, LATENCY_ROUNDS
        )
        size_bytes = model.ByteSize()
        return Candidate(
            network=self._network,
            plan=plan,
            metric=found.metric,
            value=found.value,
            drop=found.drop,
            agreement=found.agreement.f1,
            size_bytes=size_bytes,
            size_ratio=size_bytes / self._reference_bytes,
            latency_ratio=1.0 if is_reference else own_ms / fp32_ms,
            fusion=fusion,
            elapsed_s=round(time.monotonic() - started_s, 2),
        )

    def _made(self, plan: Plan) -> tuple[onnx.ModelProto, Fusion]:
        model = self._quantizer.build(plan)
        return model, fusion_of(model, self._quantizer.float_nodes(plan))
