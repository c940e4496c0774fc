"""Makes and measures the int8 models of one network."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx
from numpy.typing import NDArray

from edgehaul_tools.compress.candidate import GIVEN, Candidate
from edgehaul_tools.compress.journal import Journal
from edgehaul_tools.export.runtime import Run, interleaved_medians_ms, runner
from edgehaul_tools.quantize.fusion import Fusion, fusion_of
from edgehaul_tools.quantize.plan import Plan
from edgehaul_tools.quantize.quantizer import Quantizer
from edgehaul_tools.verify.gate import Gate, failures_of
from edgehaul_tools.verify.measure import Yardstick

LATENCY_ROUNDS = 21
Told = Callable[[Candidate], None]


@dataclass(frozen=True)
class Reference:
    """The fp32 model that was given, which all are measured against.

    Attributes:
        run: Runs it.
        size_bytes: Size of its file.
        tensor: An input to time on.
        yardstick: Compares with it on the data.
        gate: What their answers must reach.
    """

    run: Run
    size_bytes: int
    tensor: NDArray[Any]
    yardstick: Yardstick
    gate: Gate


class Measuring:
    """Measures candidates of one network against the fp32 model that was given.

    What the journal knows already is not measured again.

    Args:
        network: Name of the network; ``given`` is the one that was given.
        quantizer: Makes its int8 models.
        reference: What they are measured against.
        journal: Keeps what was measured.
        told: Called with each candidate.
    """

    def __init__(
        self,
        network: str,
        quantizer: Quantizer,
        reference: Reference,
        journal: Journal,
        told: Told,
    ) -> None:
        self._network, self._quantizer = network, quantizer
        self._reference, self._journal, self._told = reference, journal, told

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
        reference = self._reference
        found = reference.yardstick.measure(run)
        fp32_ms, own_ms = interleaved_medians_ms(
            [reference.run, run], reference.tensor, LATENCY_ROUNDS
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
            size_ratio=size_bytes / reference.size_bytes,
            latency_ratio=1.0 if is_reference else own_ms / fp32_ms,
            fusion=fusion,
            faults=tuple(failures_of(found, reference.gate)),
            elapsed_s=round(time.monotonic() - started_s, 2),
        )

    def _made(self, plan: Plan) -> tuple[onnx.ModelProto, Fusion]:
        model = self._quantizer.build(plan)
        return model, fusion_of(model, self._quantizer.float_nodes(plan))
