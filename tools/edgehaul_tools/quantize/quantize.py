"""From any ONNX model to a model directory with fp32 and int8."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.config.loader import load
from edgehaul.errors import DataError, ModelError
from edgehaul.reporting import remedy_for_writing
from edgehaul_tools.export.runtime import runner
from edgehaul_tools.export.spec_choice import check_answers, choose_spec
from edgehaul_tools.quantize.contained import tried
from edgehaul_tools.quantize.directory import (
    DIRECTORY_NAME,
    REPORT_NAME,
    VERIFY_NAME,
    DirectoryVariant,
    ModelDirectory,
    describe_variant,
    directory_to_write,
    sha256_of,
    write_json,
)
from edgehaul_tools.quantize.dynamic import quantize_recurrent
from edgehaul_tools.quantize.graph import is_recurrent
from edgehaul_tools.quantize.inputs import open_inputs
from edgehaul_tools.quantize.limits import Limits
from edgehaul_tools.quantize.saturation import WeightBits, weight_bits_here
from edgehaul_tools.quantize.search import Progress, Search, Trial

_log = logging.getLogger(__name__)

FEW_INPUTS = 100
DEFAULT_LIMIT = 200
DEFAULT_TARGET = 0.97
FP32 = "fp32"
STATIC = "int8-u8s8"
DYNAMIC = "int8-dynamic"


class Options(msgspec.Struct, frozen=True):
    """How to quantize.

    Attributes:
        name: Name of the model; empty takes the file's.
        spec_file: The spec, where the model does not carry one.
        labels: Names of the classes.
        limit: Most calibration inputs.
        target: Agreement with fp32 that is searched for on the calibration inputs.
        weight_bits: Width of the weights; none takes what is right on this machine's processor.
        limits: What the model may take when it is first read and run.
    """

    name: str = ""
    spec_file: Path | None = None
    labels: Sequence[str] = ()
    limit: int = DEFAULT_LIMIT
    target: float = DEFAULT_TARGET
    weight_bits: WeightBits | None = None
    limits: Limits = Limits()


class QuantizeReport(msgspec.Struct, frozen=True):
    """What was done, as ``quantize.json`` keeps it.

    Attributes:
        method: How the activations were ranged: ``minmax``, ``percentile``, ``mse`` or
            ``dynamic``.
        inputs: Number of calibration inputs.
        skipped: Files that could not be read.
        float_units: Layers left in float, the most sensitive first.
        layers: Number of layers with weights.
        agreement: With fp32, on the calibration inputs.
        latency_ratio: int8 time / fp32 time there; ``edgehaul verify`` measures it well.
        size_ratio: int8 bytes / fp32 bytes.
        weight_bits: 7 where the processor's products would overflow with 8.
        trials: Every form that was tried.
        noise: How far the answers move when one layer alone is quantized.
        warnings: What the user should know.
    """

    method: str
    inputs: int
    skipped: tuple[str, ...]
    float_units: tuple[str, ...]
    layers: int
    agreement: float
    latency_ratio: float
    size_ratio: float
    weight_bits: WeightBits
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
    given = load(options.spec_file, ModelSpec) if options.spec_file else None
    found = tried(path, options.limits, spec=given)
    spec, spec_source = choose_spec(
        found.header, where=path, file=options.spec_file, labels=options.labels
    )
    progress(f"spec from {spec_source}")
    for note in found.notes:
        progress(f"note: {note}")
    model = found.model
    weight_bits = options.weight_bits or weight_bits_here()
    with directory_to_write(out):
        if is_recurrent(model):
            variant = DYNAMIC
            int8, report = _dynamic(model, path, spec, weight_bits)
        else:
            variant = STATIC
            int8, report = _static(model, path, spec, calibration, options, progress)
        (out / VERIFY_NAME).unlink(missing_ok=True)  # it proves other files than these
        variants = _write_models(out, model, variant, int8)
    report = msgspec.structs.replace(
        report, size_ratio=variants[1].size_bytes / variants[0].size_bytes
    )
    directory = ModelDirectory(
        name=options.name or _name_of(path),
        spec=spec,
        spec_source=spec_source,
        source_sha256=sha256_of(path),
        variants=variants,
        calibration=str(calibration or ""),
    )
    write_json(out / REPORT_NAME, report)
    write_json(out / DIRECTORY_NAME, directory)
    return directory, report


def _static(
    model: onnx.ModelProto,
    path: Path,
    spec: ModelSpec,
    calibration: Path | None,
    options: Options,
    progress: Progress,
) -> tuple[onnx.ModelProto, QuantizeReport]:
    if calibration is None:
        raise DataError(
            "static int8 needs inputs to calibrate on",
            where=path,
            remedy="give a folder of images or a video with --calib",
        )
    inputs = open_inputs(calibration, spec, options.limit)
    warnings = _warnings(inputs.count, inputs.skipped, calibration)
    warnings += tuple(f"{calibration}: {line}" for line in inputs.warnings)
    for line in warnings:
        progress(f"warning: {line}")
    weight_bits = options.weight_bits or weight_bits_here()
    found = Search(model, spec, inputs.prepared, options.target, progress, weight_bits, path).run()
    chosen = found.chosen
    if chosen.agreement < options.target:
        short = f"agreement {chosen.agreement:.3f} is below the target of {options.target}"
        warnings += (f"{short} on the calibration inputs; edgehaul verify decides",)
    if chosen.latency_ratio >= 1:
        warnings += ("int8 is no faster than fp32 on this machine: keep fp32",)
    report = QuantizeReport(
        method=chosen.method,
        inputs=inputs.count,
        skipped=inputs.skipped,
        float_units=chosen.float_units,
        layers=found.layers,
        agreement=chosen.agreement,
        latency_ratio=chosen.latency_ratio,
        size_ratio=1.0,
        weight_bits=weight_bits,
        trials=tuple(found.trials),
        noise=found.noise,
        warnings=warnings,
    )
    return found.model, report


def _dynamic(
    model: onnx.ModelProto, path: Path, spec: ModelSpec, weight_bits: WeightBits
) -> tuple[onnx.ModelProto, QuantizeReport]:
    dtype = spec.input.dtype if isinstance(spec.input, ImageInput) else "float32"
    nothing = np.zeros(spec.input.tensor_shape, dtype)
    check_answers(runner(model, where=path), nothing, spec, where=path)
    report = QuantizeReport(
        method="dynamic",
        inputs=0,
        skipped=(),
        float_units=(),
        layers=0,
        agreement=1.0,
        latency_ratio=1.0,
        size_ratio=1.0,
        weight_bits=weight_bits,
        warnings=("recurrent layers: dynamic int8; agreement and time are measured by verify",),
    )
    return quantize_recurrent(model, weight_bits), report


def _warnings(count: int, skipped: tuple[str, ...], where: Path) -> tuple[str, ...]:
    lines = []
    if count < FEW_INPUTS:
        lines.append(f"{where}: {count} inputs are few to calibrate on; give {FEW_INPUTS} or more")
    if skipped:
        lines.append(f"{where}: {len(skipped)} unreadable files skipped, first {skipped[0]}")
    return tuple(lines)


def _write_models(
    out: Path, model: onnx.ModelProto, name: str, int8: onnx.ModelProto
) -> tuple[DirectoryVariant, DirectoryVariant]:
    try:
        onnx.save(model, str(out / "fp32.onnx"))
        onnx.save(int8, str(out / "int8.onnx"))
    except OSError as error:
        raise ModelError(
            f"cannot write the models: {error.strerror or error}",
            where=out,
            remedy=remedy_for_writing(error),
        ) from error
    return (
        describe_variant(out, FP32, "fp32.onnx", "fp32"),
        describe_variant(out, name, "int8.onnx", "int8"),
    )


def _name_of(path: Path) -> str:
    kept = [c if c.isalnum() or c in "._-" else "-" for c in path.stem.lower()]
    return "".join(kept).strip("._-")[:64] or "model"
