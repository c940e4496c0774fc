"""Pack a proved model directory as a bundle, with the golden vectors that each box re-runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from edgehaul import __version__
from edgehaul.bundle.archive import Content, file_entries, write_bundle
from edgehaul.bundle.golden import Array, MakeTensor, RunModel, record_golden
from edgehaul.bundle.manifest import Golden, Manifest, Precision, Provenance, Variant
from edgehaul.bundle.tensors import tensor_maker
from edgehaul.errors import DataError, UsageError
from edgehaul_tools.export.runtime import runner
from edgehaul_tools.export.spec_choice import check_answers
from edgehaul_tools.quantize.directory import DirectoryVariant, ModelDirectory, read_directory
from edgehaul_tools.quantize.inputs import open_inputs
from edgehaul_tools.verify.measure import Measured
from edgehaul_tools.verify.proof import Verification, read_verification

GOLDEN_CASES = 3
"""Most golden cases; fewer where they would weigh more than the models, but always one."""
GOLDEN_FREE_BYTES = 1 << 20
"""What golden cases may weigh beside the smallest model."""
_SHOWN = ("map50_95", "macro_f1")
"""Figures that the manifest tells beside the metric."""


class Label(msgspec.Struct, frozen=True):
    """What the bundle is called, for whom it is, and whose work is in it.

    Attributes:
        name: Name of the model on the device.
        version: Semantic version.
        device_types: Device types it is for; empty means any.
        model_licence: Licence of the model.
        data_licence: Licence of the data that the golden pictures are from.
    """

    name: str
    version: str
    device_types: tuple[str, ...] = ()
    model_licence: str = ""
    data_licence: str = ""


def pack_directory(
    folder: Path,
    out: Path,
    label: Label,
    *,
    golden: Path | None = None,
    unverified: bool = False,
) -> Manifest:
    """Write a bundle of a model directory; the same directory gives the same bytes.

    Args:
        folder: The model directory.
        out: The bundle file.
        label: What it is called.
        golden: Inputs to take the golden cases from; else those of the verification or
            calibration.
        unverified: Pack without a passed verification, and say so in the manifest.

    Returns:
        The bundle's manifest.

    Raises:
        GateError: The directory was not verified, or did not pass.
        SpecMismatchError: A variant answers otherwise than the spec says.
        UsageError: The name or version is malformed.
        DataError: There is nothing to take golden cases from.
    """
    directory = read_directory(folder)
    proof = None if unverified else read_verification(folder, directory)
    files: dict[str, Content] = {f"models/{v.path}": folder / v.path for v in directory.variants}
    inputs = _golden_inputs(directory, proof, golden, folder)
    runs = {v.name: (v.precision, runner(folder / v.path)) for v in directory.variants}
    make_tensor = tensor_maker(directory.spec)
    first = make_tensor(inputs[0])
    for variant in directory.variants:
        _, run = runs[variant.name]
        check_answers(run, first, directory.spec, where=folder / variant.path)
    models_bytes = sum(v.size_bytes for v in directory.variants)
    certificate, vectors = _record(inputs, make_tensor, runs, models_bytes)
    files.update(vectors)
    try:
        manifest = Manifest(
            name=label.name,
            version=label.version,
            device_types=label.device_types,
            spec=directory.spec,
            variants=tuple(_variant(v, proof) for v in _preferred_first(directory, proof)),
            files=file_entries(files),
            golden=certificate,
            provenance=_provenance(directory, proof, label),
        )
    except ValueError as error:
        raise UsageError(str(error), where="edgehaul pack", remedy="correct it") from error
    write_bundle(out, manifest, files)
    return manifest


def _record(
    inputs: Sequence[Array],
    make_tensor: MakeTensor,
    runs: Mapping[str, tuple[Precision, RunModel]],
    models_bytes: int,
) -> tuple[Golden, dict[str, bytes]]:
    """Record as many golden cases as weigh no more than the models, but at least one."""
    golden, files = record_golden(inputs[:1], make_tensor, runs)
    case_bytes = sum(len(content) for content in files.values())
    fitting = max(models_bytes, GOLDEN_FREE_BYTES) // case_bytes
    count = min(max(fitting, 1), len(inputs))
    return (golden, files) if count == 1 else record_golden(inputs[:count], make_tensor, runs)


def _golden_inputs(
    directory: ModelDirectory, proof: Verification | None, golden: Path | None, folder: Path
) -> list[Array]:
    given = str(golden) if golden is not None else ""
    source = given or (proof.frames if proof else "") or directory.calibration
    if not source:
        raise DataError(
            "there are no inputs to take golden cases from", where=folder, remedy="give --golden"
        )
    return list(open_inputs(Path(source), directory.spec, GOLDEN_CASES).raw())


def _preferred_first(
    directory: ModelDirectory, proof: Verification | None
) -> list[DirectoryVariant]:
    """Return the fastest variant first; unmeasured, the smallest."""

    def cost(variant: DirectoryVariant) -> float:
        measured = proof.models.get(variant.sha256) if proof else None
        return measured.latency_ms if measured else float(variant.size_bytes)

    return sorted(directory.variants, key=cost)


def _variant(variant: DirectoryVariant, proof: Verification | None) -> Variant:
    measured = proof.models.get(variant.sha256) if proof else None
    metrics = {}
    if measured is not None:
        metrics = {"latency_ms": round(measured.latency_ms, 3), **_quality(measured.measured)}
        if measured.peak_rss_bytes is not None:
            metrics["peak_rss_bytes"] = float(measured.peak_rss_bytes)
    return Variant(variant.name, f"models/{variant.path}", variant.precision, metrics)


def _quality(measured: Measured) -> dict[str, float]:
    """Return the metric, what is lost of it with its interval, and what else is shown of it."""
    name, drop = measured.metric, measured.drop
    figures = {
        "agreement": measured.agreement.f1,
        name: measured.value,
        **{more: measured.figures[more] for more in _SHOWN if more in measured.figures},
        f"{name}_drop": drop.value,
        f"{name}_drop_low": drop.low,
        f"{name}_drop_high": drop.high,
    }
    return {key: round(value, 6) for key, value in figures.items() if value is not None}


def _provenance(directory: ModelDirectory, proof: Verification | None, label: Label) -> Provenance:
    notes = {"spec": directory.spec_source, "verified": "yes" if proof else "no"}
    if proof is not None:
        notes["runtime"] = f"onnxruntime {proof.runtime}"
    return Provenance(
        tool=f"edgehaul {__version__}",
        source_model_sha256=directory.source_sha256,
        # The name alone: the path tells about somebody's machine, and differs between two.
        dataset=Path((proof.data if proof else "") or directory.calibration).name,
        model_licence=label.model_licence,
        data_licence=label.data_licence,
        notes=notes,
    )
