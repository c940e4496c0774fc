"""Run every variant on the same inputs and judge it against fp32."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import onnxruntime  # type: ignore[import-untyped]  # no stubs

from edgehaul.bundle.spec import ModelSpec
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import DataError, GateError, ModelError, SpecMismatchError
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.evaluate.accuracy import DetectorAccuracy, measure_accuracy
from edgehaul_tools.evaluate.labelled import detect_in
from edgehaul_tools.export.runtime import Run, interleaved_medians_ms, runner
from edgehaul_tools.export.spec_choice import check_answers
from edgehaul_tools.quantize.answers import Agreement, Answers
from edgehaul_tools.quantize.directory import (
    VERIFY_NAME,
    ModelDirectory,
    read_directory,
    write_json,
)
from edgehaul_tools.quantize.inputs import InputSource, open_inputs
from edgehaul_tools.verify.torch_record import TorchParity

LATENCY_ROUNDS = 50


class Gate(msgspec.Struct, frozen=True):
    """What a variant must reach.

    Attributes:
        max_drop: Largest loss of mAP50 against fp32 on labelled data, 0.01 is one point.
        min_agreement: Least agreement with fp32 where the data has no labels.
    """

    max_drop: float = 0.01
    min_agreement: float = 0.95


class VariantProof(msgspec.Struct, frozen=True):
    """What was measured of one model file.

    Attributes:
        name: Name of the variant.
        size_bytes: Of the file.
        latency_ms: Median time of one input on one thread, the variants taking turns.
        agreement: With fp32, where inputs were given.
        accuracy: On labelled data, where that was given.
        failures: Why it does not pass; empty when it does.
        warnings: What else the user should know.
    """

    name: str
    size_bytes: int
    latency_ms: float
    agreement: Agreement | None = None
    accuracy: DetectorAccuracy | None = None
    failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Verification(msgspec.Struct, frozen=True):
    """The proof of a model directory, as ``verify.json`` keeps it.

    Attributes:
        models: What was measured, by the SHA-256 of the model file.
        spec_sha256: Of the spec under which it was measured.
        gate: What had to be reached.
        frames: Inputs without labels that were compared; empty where those of ``data`` were.
        data: Labelled dataset that was measured on.
        runtime: Version of ONNX Runtime.
        torch: How far fp32 is from the torch network, where its run directory was given.
    """

    models: dict[str, VariantProof]
    spec_sha256: str
    gate: Gate
    frames: str = ""
    data: str = ""
    runtime: str = ""
    torch: TorchParity | None = None

    @property
    def failures(self) -> tuple[str, ...]:
        """Every reason why a variant does not pass."""
        parity = self.torch.failures if self.torch else ()
        return parity + tuple(f"{p.name}: {f}" for p in self.models.values() for f in p.failures)


def spec_digest(spec: ModelSpec) -> str:
    """Return the SHA-256 of a spec."""
    return hashlib.sha256(msgspec.json.encode(spec, order="sorted")).hexdigest()


def verify_directory(
    folder: Path,
    *,
    frames: Path | None = None,
    data: DetectionDataset | None = None,
    run: Path | None = None,
    gate: Gate = Gate(),  # noqa: B008 - frozen
    limit: int = 0,
    progress: Callable[[str], None] = lambda _line: None,
) -> Verification:
    """Measure every variant of a model directory and write ``verify.json``.

    Args:
        folder: The model directory.
        frames: Inputs without labels; where there are neither these nor ``data``, the
            calibration inputs are taken, and the proof says so.
        data: A labelled dataset, best the test split.
        run: The run directory that the model was exported from; compares with torch, too.
        gate: What must be reached.
        limit: Most inputs of ``frames`` to compare; 0 compares all.
        progress: Told what is done, in words.

    Raises:
        ModelError: The directory or a model in it is unusable.
        DataError: There is nothing to compare on.
        SpecMismatchError: ``data`` is given, and the model is no detector.
    """
    directory = read_directory(folder)
    if data is not None and directory.spec.task != "detect":
        raise SpecMismatchError(
            f"labelled pictures measure detectors, and this model is for {directory.spec.task!r}",
            where=folder,
            remedy="give --frames: its int8 answers are compared with those of fp32",
        )
    source = _inputs_of(directory, frames, data, limit)
    if source is None:
        raise DataError("there is nothing to compare on", where=folder, remedy="give --frames")
    if frames is None and data is None:
        progress("comparing on the calibration inputs; others prove more: give --frames or --data")
    parity = None
    if run is not None:
        progress("comparing fp32 with torch")
        parity = _torch_parity(run, folder, directory, source)
    proofs = _prove_variants(folder, directory, source, data, gate, progress)
    verification = Verification(
        models=proofs,
        spec_sha256=spec_digest(directory.spec),
        gate=gate,
        frames=str(frames or ("" if data is not None else directory.calibration)),
        data=str(data.root) if data is not None else "",
        runtime=onnxruntime.__version__,
        torch=parity,
    )
    write_json(folder / VERIFY_NAME, verification)
    return verification


def read_verification(folder: Path, directory: ModelDirectory) -> Verification:
    """Return the proof of a model directory if it is of these very files and passes.

    Raises:
        GateError: There is none, it is of other files or another spec, or it does not pass.
        ModelError: ``verify.json`` is unreadable.
    """
    path = folder / VERIFY_NAME
    if not path.is_file():
        raise GateError(
            "the model was not verified", where=folder, remedy=f"run: edgehaul verify {folder}"
        )
    try:
        proof = msgspec.json.decode(path.read_bytes(), type=Verification)
    except UNREADABLE_JSON as error:
        raise ModelError(
            f"unreadable: {error}", where=path, remedy=f"run: edgehaul verify {folder}"
        ) from error
    unproved = [v.name for v in directory.variants if v.sha256 not in proof.models]
    if unproved or proof.spec_sha256 != spec_digest(directory.spec):
        what = f"variant {unproved[0]}" if unproved else "the spec"
        raise GateError(
            f"{what} is not the one that was verified",
            where=folder,
            remedy=f"run: edgehaul verify {folder}",
        )
    raise_unless_passed(proof, folder)
    return proof


def raise_unless_passed(proof: Verification, folder: Path) -> None:
    """Raise where a variant does not pass its gate.

    Raises:
        GateError: Names the figures.
    """
    if proof.failures:
        raise GateError(
            "; ".join(proof.failures),
            where=folder,
            remedy="calibrate on more pictures like these, raise --min-agreement, or keep fp32",
        )


def _prove_variants(
    folder: Path,
    directory: ModelDirectory,
    source: InputSource,
    data: DetectionDataset | None,
    gate: Gate,
    progress: Callable[[str], None],
) -> dict[str, VariantProof]:
    """Return what was measured of each variant, by the SHA-256 of its file."""
    files = [folder / variant.path for variant in directory.variants]
    runs = [runner(file) for file in files]
    first = next(iter(source.prepared()))
    for run, file in zip(runs, files, strict=True):
        check_answers(run, first.tensor, directory.spec, where=file)
    progress("timing the variants in turns")
    latencies_ms = interleaved_medians_ms(runs, first.tensor, LATENCY_ROUNDS)
    expected = Answers(runs[0], source.prepared(), directory.spec)
    base: DetectorAccuracy | None = None
    proofs = {}
    for variant, run, latency_ms in zip(directory.variants, runs, latencies_ms, strict=True):
        progress(f"measuring {variant.name}")
        accuracy = _accuracy(run, directory.spec, data)
        base = base or accuracy
        agreed = expected.agreement_of(Answers(run, source.prepared(), directory.spec))
        proof = VariantProof(variant.name, variant.size_bytes, latency_ms, agreed, accuracy)
        proofs[variant.sha256] = _judged(proof, base, latencies_ms[0], gate)
    return proofs


def _torch_parity(
    run: Path, folder: Path, directory: ModelDirectory, source: InputSource
) -> TorchParity:
    # Imported here: most who verify bring an ONNX model, and need not wait for torch.
    from edgehaul_tools.verify.torch_parity import compare_with_torch  # noqa: PLC0415

    return compare_with_torch(run, folder, directory, source)


def _accuracy(run: Run, spec: ModelSpec, data: DetectionDataset | None) -> DetectorAccuracy | None:
    return None if data is None else measure_accuracy(detect_in(run, spec, data), data)


def _inputs_of(
    directory: ModelDirectory, frames: Path | None, data: DetectionDataset | None, limit: int
) -> InputSource | None:
    if frames is not None:
        return open_inputs(frames, directory.spec, limit)
    if data is not None:
        files = [sample.path for sample in data.samples]
        return open_inputs(data.root, directory.spec, limit, files)
    if directory.calibration:
        return open_inputs(Path(directory.calibration), directory.spec, limit)
    return None


def _judged(
    proof: VariantProof, base: DetectorAccuracy | None, fp32_ms: float, gate: Gate
) -> VariantProof:
    failures, warnings = [], []
    if proof.accuracy is not None and base is not None:
        drop = base.map50 - proof.accuracy.map50
        if not drop <= gate.max_drop:  # a gate that is no number is not met
            failures.append(f"mAP50 drops by {drop:.3f}, more than {gate.max_drop:g}")
    elif proof.agreement is not None:
        failures += _disagreements(proof.agreement, gate)
    if proof.latency_ms > fp32_ms:
        warnings.append(f"slower than fp32 here: {proof.latency_ms / fp32_ms:.2f} of its time")
    return msgspec.structs.replace(proof, failures=tuple(failures), warnings=tuple(warnings))


def _disagreements(agreement: Agreement, gate: Gate) -> list[str]:
    if not agreement.matched + agreement.only_fp32 + agreement.only_variant:
        nothing = f"nothing was found in any of {agreement.inputs} inputs, so nothing is proved"
        return [f"{nothing}: correct the spec, or give inputs with objects in them"]
    if not agreement.f1 >= gate.min_agreement:
        return [f"agreement with fp32 is {agreement.f1:.3f}, less than {gate.min_agreement:g}"]
    return []
