"""From any ONNX model to a model directory with fp32 and int8."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.errors import DataError, ModelError
from edgehaul_tools.export.runtime import runner
from edgehaul_tools.export.spec_choice import check_answers
from edgehaul_tools.quantize.byte_input import with_byte_input
from edgehaul_tools.quantize.byte_tensors import goes_through_float
from edgehaul_tools.quantize.directory import (
    DIRECTORY_NAME,
    REPORT_NAME,
    VERIFY_NAME,
    DirectoryVariant,
    ModelDirectory,
    describe_variant,
    directory_to_write,
    save_model,
    sha256_of,
    write_json,
)
from edgehaul_tools.quantize.dynamic import quantize_dynamically
from edgehaul_tools.quantize.family import Family, advice_for, family_of
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.fusion import Fusion, fusion_of
from edgehaul_tools.quantize.inputs import InputSource, open_inputs
from edgehaul_tools.quantize.limits import Limits
from edgehaul_tools.quantize.model_name import name_of
from edgehaul_tools.quantize.opening import open_unknown
from edgehaul_tools.quantize.plan import Plan, Ranging
from edgehaul_tools.quantize.quantizer import Progress, Quantizer
from edgehaul_tools.quantize.routes import first_plans
from edgehaul_tools.quantize.saturation import WeightBits
from edgehaul_tools.quantize.search import METHODS, Trial, search
from edgehaul_tools.quantize.target import Target, target_here

FEW_INPUTS = 100
DEFAULT_LIMIT = 200
DEFAULT_AGREEMENT = 0.97
FP32 = "fp32"


class Options(msgspec.Struct, frozen=True):
    """How to quantize.

    Attributes:
        name: Name of the model; empty takes the file's.
        spec_file: The spec, where the model does not carry one.
        labels: Names of the classes.
        limit: Most calibration inputs.
        min_agreement: Agreement with fp32 that is searched for on the calibration inputs.
        target: Kind of processor; none is this machine's.
        form: The int8 form; none tries those that suit the network and the target.
        weight_bits: Width of the weights; none takes what is right on the target.
        methods: Choices of the activation ranges to try.
        limits: What the model may take when it is first read and run.
        byte_input: Whether the models take the picture as it lies on the canvas, in bytes.
    """

    name: str = ""
    spec_file: Path | None = None
    labels: Sequence[str] = ()
    limit: int = DEFAULT_LIMIT
    min_agreement: float = DEFAULT_AGREEMENT
    target: Target | None = None
    form: Form | None = None
    weight_bits: WeightBits | None = None
    methods: Sequence[Ranging] = METHODS
    limits: Limits = Limits()
    byte_input: bool = False


class QuantizeReport(msgspec.Struct, frozen=True):
    """What was done, as ``quantize.json`` keeps it.

    Attributes:
        plan: How the int8 model was made.
        family: What kind of network it is.
        target: The processors that it was made for.
        inputs: Number of calibration inputs.
        skipped: Files that could not be read.
        layers: Number of layers with weights.
        agreement: With fp32, on the calibration inputs; none where there were none.
        latency_ratio: int8 time / fp32 time there; ``edgehaul verify`` measures it well.
        size_ratio: int8 bytes / fp32 bytes.
        fusion: What ONNX Runtime makes of the int8 graph.
        trials: Every form that was tried.
        noise: How far the answers move when one layer alone is quantized.
        warnings: What the user should know.
    """

    plan: Plan
    family: Family
    target: str
    inputs: int
    layers: int
    fusion: Fusion
    skipped: tuple[str, ...] = ()
    agreement: float | None = None
    latency_ratio: float | None = None
    size_ratio: float = 1.0
    trials: tuple[Trial, ...] = ()
    noise: dict[str, float] = {}
    warnings: tuple[str, ...] = ()


def quantize_model(
    path: Path,
    out: Path,
    calibration: Path | None,
    options: Options = Options(),  # noqa: B008 - frozen
    progress: Progress = lambda _line: None,
) -> tuple[ModelDirectory, QuantizeReport]:
    """Write a model directory with the model in fp32 and int8.

    Args:
        path: Any float ONNX model.
        out: The directory; files in it are replaced.
        calibration: A folder of images or a video like those the model will see; GPS traces
            for a sequence model. Recurrent models need none.
        options: How.
        progress: Told what is done, in words.

    Raises:
        ModelError: The model cannot be quantized, or ``out`` cannot be written.
        SpecMismatchError: The model does not fit its spec.
        DataError: There is nothing to calibrate on.
    """
    opened = open_unknown(path, options.spec_file, options.labels, options.limits)
    progress(f"spec from {opened.spec_source}")
    for note in opened.notes:
        progress(f"note: {note}")
    model, spec, spec_source = opened.model, opened.spec, opened.spec_source
    if options.byte_input:
        model, spec = with_byte_input(model, spec, where=path)
        progress(f"note: {_of_bytes(opened.spec, spec)}")
        spec_source += "" if spec == opened.spec else "; its pre-processing is in the graph"
    target = options.target or target_here()
    every = first_plans(model, spec, [target], options.form, options.weight_bits)
    # The likeliest of each way: the search over all forms is that of `edgehaul compress`.
    plans = list({plan.method is None: plan for plan in reversed(every)}.values())[::-1]
    with directory_to_write(out):
        if calibration is None and plans[0].method is None:
            int8, report = _unmeasured(model, path, spec, plans[0], options, target)
        else:
            made = _Quantization(model, path, spec, calibration, options, target, progress)
            int8, report = made.run(plans)
        (out / VERIFY_NAME).unlink(missing_ok=True)  # it proves other files than these
        variants = _write_models(out, model, report.plan.form.name, int8)
    report = msgspec.structs.replace(
        report, size_ratio=variants[1].size_bytes / variants[0].size_bytes
    )
    directory = ModelDirectory(
        name=options.name or name_of(path),
        spec=spec,
        spec_source=spec_source,
        source_sha256=sha256_of(path),
        variants=variants,
        calibration=str(calibration or ""),
    )
    write_json(out / REPORT_NAME, report)
    write_json(out / DIRECTORY_NAME, directory)
    return directory, report


class _Quantization:
    """One run of the search, with inputs to calibrate on."""

    def __init__(
        self,
        model: onnx.ModelProto,
        path: Path,
        spec: ModelSpec,
        calibration: Path | None,
        options: Options,
        target: Target,
        progress: Progress,
    ) -> None:
        if calibration is None:
            raise DataError(
                "static int8 needs inputs to calibrate on",
                where=path,
                remedy="give a folder of images or a video with --calib",
            )
        self._options, self._target, self._progress = options, target, progress
        self._path = path
        self._source = open_inputs(calibration, spec, options.limit)
        self._warnings = list(input_warnings(self._source, calibration))
        for line in self._warnings:
            progress(f"warning: {line}")
        self._quantizer = Quantizer(model, spec, self._source.prepared, progress, path)

    def run(self, plans: Sequence[Plan]) -> tuple[onnx.ModelProto, QuantizeReport]:
        quantizer, options = self._quantizer, self._options
        found = search(quantizer, plans, options.min_agreement, self._progress, options.methods)
        chosen = found.chosen
        fusion = fusion_of(found.model, quantizer.float_nodes(chosen.plan))
        _require_int8(fusion, chosen.plan, quantizer.model, options, self._path)
        report = QuantizeReport(
            plan=chosen.plan,
            family=family_of(quantizer.model, quantizer.spec),
            target=self._target.name,
            inputs=self._source.count,
            layers=len(quantizer.division.units),
            fusion=fusion,
            skipped=self._source.skipped,
            agreement=chosen.agreement,
            latency_ratio=chosen.latency_ratio,
            trials=tuple(found.trials),
            noise=found.noise,
            warnings=(*self._warnings, *self._remarks(chosen, fusion), *self._detours(found.model)),
        )
        return found.model, report

    def _remarks(self, chosen: Trial, fusion: Fusion) -> Iterator[str]:
        wanted = self._options.min_agreement
        if chosen.agreement < wanted:
            short = f"agreement {chosen.agreement:.3f} is below the wanted {wanted}"
            yield f"{short} on the calibration inputs; edgehaul verify decides"
        if chosen.latency_ratio >= 1 and self._target == target_here():
            yield "int8 is no faster than fp32 on this machine: keep fp32"
        yield from (f"fusion: {line}" for line in (*fusion.failures, *fusion.remarks))
        advice = advice_for(self._quantizer.model)
        if advice:
            yield advice

    def _detours(self, int8: onnx.ModelProto) -> Iterator[str]:
        if self._options.byte_input and goes_through_float(int8):
            yield (
                "the bytes go through float before the first integer layer, so that they gain "
                "less: it is in float or takes signed numbers, or something is computed of the "
                "picture first (a mean of its own for each channel, YOLO's focus)"
            )


def _of_bytes(given: ModelSpec, taken: ModelSpec) -> str:
    """Return what has become of the input, in words."""
    if given == taken:
        return "the model already takes bytes as they lie on the canvas: its graph stays as it is"
    return "the models take uint8 nhwc pictures: the rest of the pre-processing is in the graph"


def _unmeasured(
    model: onnx.ModelProto,
    path: Path,
    spec: ModelSpec,
    plan: Plan,
    options: Options,
    target: Target,
) -> tuple[onnx.ModelProto, QuantizeReport]:
    """Quantize a model dynamically without any input to measure it on."""
    dtype = spec.input.dtype if isinstance(spec.input, ImageInput) else "float32"
    nothing = np.zeros(spec.input.tensor_shape, dtype)
    check_answers(runner(model, where=path), nothing, spec, where=path)
    int8 = quantize_dynamically(model, plan.form)
    fusion = fusion_of(int8, ())
    _require_int8(fusion, plan, model, options, path)
    advice = advice_for(model)
    report = QuantizeReport(
        plan=plan,
        family=family_of(model, spec),
        target=target.name,
        inputs=0,
        layers=0,
        fusion=fusion,
        warnings=(
            "without --calib nothing was measured: edgehaul verify does",
            *([advice] if advice else []),
        ),
    )
    return int8, report


def _require_int8(
    fusion: Fusion, plan: Plan, model: onnx.ModelProto, options: Options, where: Path
) -> None:
    """Refuse what is int8 by name alone.

    Raises:
        ModelError: Nothing multiplies integers.
    """
    if not fusion.integer:
        remedy = advice_for(model) or "keep fp32"
        if options.form is not None:
            remedy = "leave out --form and give --calib, or keep fp32"
        raise ModelError(
            f"in the form {plan.form.name} nothing of this network runs in int8",
            where=where,
            remedy=remedy,
        )


def input_warnings(source: InputSource, where: Path) -> Iterator[str]:
    """Yield what is to be said about calibration inputs."""
    if source.count < FEW_INPUTS:
        few = f"{source.count} inputs are few to calibrate on"
        yield f"{where}: {few}; give {FEW_INPUTS} or more"
    if source.skipped:
        names = f"{len(source.skipped)} unreadable files skipped, first {source.skipped[0]}"
        yield f"{where}: {names}"
    yield from (f"{where}: {line}" for line in source.warnings)


def _write_models(
    out: Path, model: onnx.ModelProto, name: str, int8: onnx.ModelProto
) -> tuple[DirectoryVariant, DirectoryVariant]:
    save_model(model, out / "fp32.onnx")
    save_model(int8, out / "int8.onnx")
    return (
        describe_variant(out, FP32, "fp32.onnx", "fp32"),
        describe_variant(out, name, "int8.onnx", "int8"),
    )
