"""What ``edgehaul compress`` makes of a model, without its files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.vision.placement import Placement
from edgehaul_tools.compress.candidate import GIVEN, Wanted
from edgehaul_tools.compress.choice import variants_for
from edgehaul_tools.compress.explorer import Budget, Explorer
from edgehaul_tools.compress.journal import Journal
from edgehaul_tools.compress.measuring import Measuring, Reference
from edgehaul_tools.compress.options import Options
from edgehaul_tools.quantize.answers import Prepared
from edgehaul_tools.quantize.graph import clean, load_model
from edgehaul_tools.quantize.plan import Plan
from edgehaul_tools.quantize.quantizer import Inputs, Progress, Quantizer
from edgehaul_tools.quantize.routes import first_plans
from edgehaul_tools.quantize.target import target_here
from edgehaul_tools.verify.measure import Yardstick

KEPT = "kept in fp32"


@dataclass(frozen=True)
class Ours:
    """What became of a model.

    Attributes:
        model: The chosen form; the cleaned fp32 model where nothing is better.
        as_qdq: The same written as QDQ, which other engines read; none where it is dynamic.
        plan: How it was made, in a few words.
        quantize_s: To calibrate and make the first form: what the peers do.
        search_s: To try all forms, and choose by measurement.
    """

    model: onnx.ModelProto
    as_qdq: onnx.ModelProto | None
    plan: str
    quantize_s: float
    search_s: float


def compressed(
    fp32: Path,
    spec: ModelSpec,
    calibration: NDArray[np.float32],
    progress: Progress = lambda _line: None,
) -> Ours:
    """Compress a model as ``edgehaul compress`` does without labels, at its defaults.

    Args:
        fp32: The ONNX file.
        spec: What goes in and comes out.
        calibration: Inputs (N, ...), float32.
        progress: Told what is done.
    """
    options, here = Options(), target_here()
    inputs = _inputs(spec, calibration)
    started_s = time.perf_counter()
    model = clean(load_model(fp32), where=fp32)
    quantizer = Quantizer(model, spec, inputs, progress, fp32)
    plans = first_plans(model, spec, [here], wide=True)
    quantizer.build(plans[0])  # once more below: it is this time that the peers' compare with
    quantize_s = time.perf_counter() - started_s
    yardstick = Yardstick(spec, quantizer.fp32, inputs=inputs, where=fp32)
    tensor = quantizer.probes[0].tensor
    wanted = Wanted(options.max_drop, options.agreement_for(spec))
    reference = Reference(quantizer.fp32, model.ByteSize(), tensor, yardstick, wanted.gate)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder), "bench", resume=False)
        measure = Measuring(GIVEN, quantizer, reference, journal, lambda _one: None)
        given = measure(None)
        explorer = Explorer(quantizer, measure, wanted, Budget(options.budget_s), progress)
        explorer.run(plans)
    for one in explorer.tried:
        progress(f"{one.summary}: {one.agreement:.4f}, {one.latency_ratio:.3f}")
    chosen = variants_for([given, *explorer.tried], [here], wanted)
    plan = chosen[0].candidate.plan if chosen else None
    return Ours(
        model=model if plan is None else quantizer.build(plan),
        as_qdq=_as_qdq(quantizer, plan),
        plan=KEPT if plan is None else plan.summary,
        quantize_s=quantize_s,
        search_s=time.perf_counter() - started_s,
    )


def _as_qdq(quantizer: Quantizer, plan: Plan | None) -> onnx.ModelProto | None:
    if plan is None or plan.method is None:
        return None
    form = msgspec.structs.replace(plan.form, representation="qdq")
    return quantizer.build(msgspec.structs.replace(plan, form=form))


def _inputs(spec: ModelSpec, calibration: NDArray[np.float32]) -> Inputs:
    canvas = spec.input
    place = None
    if isinstance(canvas, ImageInput):
        place = Placement(1, 1, 0, 0, canvas.width, canvas.height)

    def inputs() -> Iterator[Prepared]:
        return (Prepared(one[None], place) for one in calibration)

    return inputs
