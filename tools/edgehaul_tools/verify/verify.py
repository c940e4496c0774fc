"""Run every variant on the same inputs and judge it against fp32."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # no stubs
from numpy.typing import NDArray

from edgehaul.config.recipe import Recipe
from edgehaul.errors import DataError
from edgehaul.vision.decode import Detections
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.evaluate.accuracy import DetectorAccuracy, measure_accuracy
from edgehaul_tools.evaluate.candidate import Candidate
from edgehaul_tools.evaluate.canvases import kept_inputs
from edgehaul_tools.evaluate.examined import LOWER_IS_BETTER
from edgehaul_tools.evaluate.ground_truth import GroundTruth
from edgehaul_tools.evaluate.result import plural
from edgehaul_tools.evaluate.result_tables import figure_name
from edgehaul_tools.export.runtime import interleaved_times_ms, runner
from edgehaul_tools.export.spec_choice import check_answers
from edgehaul_tools.quantize.answers import Prepared
from edgehaul_tools.quantize.directory import (
    VERIFY_NAME,
    ModelDirectory,
    read_directory,
    write_json,
)
from edgehaul_tools.quantize.inputs import open_inputs
from edgehaul_tools.train.sequence.windows import Recording
from edgehaul_tools.verify.gate import Gate, failures_of
from edgehaul_tools.verify.measure import RESAMPLES, Answered, Measured, Yardstick, truth_of
from edgehaul_tools.verify.memory import peak_increases
from edgehaul_tools.verify.proof import VariantProof, Verification, spec_digest
from edgehaul_tools.verify.torch_record import TorchParity

LATENCY_ROUNDS = 50
_SPREAD_PERCENT = (10, 90)
_FEW_UNITS = 10

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Recorded:
    """Labelled trips or series.

    Attributes:
        root: Where they are from.
        recordings: The trips or series.
    """

    root: Path
    recordings: tuple[Recording, ...]


@dataclass(frozen=True)
class Options:
    """How variants are measured.

    Attributes:
        resamples: For the intervals; 0 leaves them out.
        seed: Of the resamples.
        normal: Class of the normal pictures, for anomaly models.
        memory_rounds: Fresh processes for the peak memory of each variant; 0 leaves it out.
    """

    resamples: int = RESAMPLES
    seed: int = 0
    normal: str = ""
    memory_rounds: int = 0


@dataclass(frozen=True, eq=False)
class _Material:
    """What the variants are measured on."""

    truth: GroundTruth | None
    inputs: Callable[[], Iterable[Prepared]] | None
    dataset: DetectionDataset | None

    def every(self) -> Iterator[Prepared]:
        """Return inputs of either kind."""
        if self.inputs is not None:
            return iter(self.inputs())
        assert self.truth is not None  # noqa: S101 - there is one or the other
        return iter(self.truth.inputs)


def verify_directory(  # noqa: PLR0913 - what is proved, on what, and how
    folder: Path,
    *,
    frames: Path | None = None,
    data: DetectionDataset | Recorded | None = None,
    run: Path | None = None,
    gate: Gate = Gate(),  # noqa: B008 - frozen
    limit: int = 0,
    options: Options = Options(),
    progress: Progress = lambda _line: None,
) -> Verification:
    """Measure every variant of a model directory and write ``verify.json``.

    Args:
        folder: The model directory.
        frames: Inputs without labels; where there are neither these nor ``data``, the
            calibration inputs are taken, and the proof says so.
        data: Labelled pictures or recordings, best the test split.
        run: The run directory that the model was exported from; compares with torch, too.
        gate: What must be reached.
        limit: Most inputs of ``frames`` to compare; 0 compares all.
        options: How.
        progress: Told what is done, in words.

    Raises:
        ModelError: The directory or a model in it is unusable.
        DataError: There is nothing to compare on.
        DatasetError: ``data`` is not labelled for what the model answers.
        SpecMismatchError: ``data`` is none for the model, or it answers otherwise than its spec
            says.
    """
    directory = read_directory(folder)
    truth = _truth(folder, directory, data, run, options) if data is not None else None
    inputs = _inputs(folder, directory, frames, limit) if frames or truth is None else None
    material = _Material(truth, inputs, data if isinstance(data, DetectionDataset) else None)
    if frames is None and data is None:
        progress("comparing on the calibration inputs; others prove more: give --frames or --data")
    parity = None
    if run is not None:
        progress("comparing fp32 with torch")
        parity = _torch_parity(run, folder, directory, material.every())
    proofs = _prove_variants(folder, directory, material, gate, options, progress)
    verification = Verification(
        models=proofs,
        spec_sha256=spec_digest(directory.spec),
        gate=gate,
        frames=str(frames or ("" if data is not None else directory.calibration)),
        data=str(data.root) if data is not None else "",
        runtime=onnxruntime.__version__,
        torch=parity,
        notes=(truth.notes if truth else ()) + _doubts(next(iter(proofs.values())).measured),
    )
    write_json(folder / VERIFY_NAME, verification)
    return verification


def _truth(
    folder: Path,
    directory: ModelDirectory,
    data: DetectionDataset | Recorded,
    run: Path | None,
    options: Options,
) -> GroundTruth:
    fp32 = folder / directory.variants[0].path
    recipe = _recipe_of(run) if run is not None else None
    candidate = Candidate("fp32", folder, "", directory.spec, runner(fp32), recipe)
    labelled = data.recordings if isinstance(data, Recorded) else data
    return truth_of(candidate, labelled, options.normal)


def _inputs(
    folder: Path, directory: ModelDirectory, frames: Path | None, limit: int
) -> Callable[[], Iterable[Prepared]]:
    source = frames or (Path(directory.calibration) if directory.calibration else None)
    if source is None:
        raise DataError("there is nothing to compare on", where=folder, remedy="give --frames")
    return kept_inputs(open_inputs(source, directory.spec, limit), directory.spec)


def _prove_variants(
    folder: Path,
    directory: ModelDirectory,
    material: _Material,
    gate: Gate,
    options: Options,
    progress: Progress,
) -> dict[str, VariantProof]:
    """Return what was measured of each variant, by the SHA-256 of its file."""
    files = [folder / variant.path for variant in directory.variants]
    runs = [runner(file) for file in files]
    first = next(material.every())
    for run, file in zip(runs, files, strict=True):
        check_answers(run, first.tensor, directory.spec, where=file)
    progress("timing the variants in turns")
    times_ms = interleaved_times_ms(runs, first.tensor, LATENCY_ROUNDS)
    peaks = None
    if options.memory_rounds:
        progress("measuring the memory of each variant in fresh processes")
        peaks = peak_increases(files, first.tensor, rounds=options.memory_rounds)
    progress(f"measuring {directory.variants[0].name}")
    yardstick = Yardstick(
        directory.spec,
        runs[0],
        labelled=material.truth,
        inputs=material.inputs,
        resamples=options.resamples,
        seed=options.seed,
        where=folder,
    )
    proofs = {}
    for number, variant in enumerate(directory.variants):
        if number:
            progress(f"measuring {variant.name}")
        answered = yardstick.answer(runs[number]) if number else yardstick.reference
        latency_ms, spread_ms = _latency(times_ms[number])
        proof = VariantProof(
            name=variant.name,
            size_bytes=variant.size_bytes,
            latency_ms=latency_ms,
            latency_spread_ms=spread_ms,
            measured=yardstick.judge(answered),
            peak_rss_bytes=peaks[number] if peaks else None,
            accuracy=_accuracy(answered, directory, material),
        )
        proofs[variant.sha256] = _judged(proof, float(np.median(times_ms[0])), gate)
    return proofs


def _latency(times_ms: NDArray[np.float64]) -> tuple[float, tuple[float, float]]:
    low, high = np.percentile(times_ms, _SPREAD_PERCENT)
    return float(np.median(times_ms)), (float(low), float(high))


def _accuracy(
    answered: Answered, directory: ModelDirectory, material: _Material
) -> DetectorAccuracy | None:
    """Return COCO's own figures of a detector, and its curve."""
    if directory.spec.task != "detect" or material.dataset is None:
        return None
    found = [answer for answer in answered.to_samples if isinstance(answer, Detections)]
    return measure_accuracy(found, material.dataset)


def _judged(proof: VariantProof, fp32_ms: float, gate: Gate) -> VariantProof:
    warnings: tuple[str, ...] = ()
    if proof.latency_ms > fp32_ms:
        warnings = (f"slower than fp32 here: {proof.latency_ms / fp32_ms:.2f} of its time",)
    failures = tuple(failures_of(proof.measured, gate))
    return msgspec.structs.replace(proof, failures=failures, warnings=warnings)


def _doubts(fp32: Measured) -> tuple[str, ...]:
    """Return why the figures say less than they seem to."""
    doubts = []
    if fp32.metric not in LOWER_IS_BETTER and not fp32.fp32:
        doubts.append(f"fp32 itself reaches 0 {figure_name(fp32.metric)}: check the labels")
    if fp32.units < _FEW_UNITS:
        of = plural(fp32.unit) if fp32.units > 1 else fp32.unit
        doubts.append(f"{fp32.units} {of}: too few for an interval that holds what it says")
    return tuple(doubts)


def _recipe_of(run: Path) -> Recipe:
    # Imported here: most who verify bring an ONNX model, and need not wait for torch.
    from edgehaul_tools.train.run_directory import read_run  # noqa: PLC0415

    return read_run(run).recipe


def _torch_parity(
    run: Path, folder: Path, directory: ModelDirectory, inputs: Iterable[Prepared]
) -> TorchParity:
    from edgehaul_tools.verify.torch_parity import compare_with_torch  # noqa: PLC0415 - as above

    return compare_with_torch(run, folder, directory, inputs)
