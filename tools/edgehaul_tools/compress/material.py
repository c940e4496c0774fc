"""What a search starts from: the model and the data, of an ONNX file or of a run directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.samples import DetectionDataset

_EXPORTED = "fp32-source.onnx"


@dataclass(frozen=True)
class Material:
    """The model and its data.

    Attributes:
        model: The ONNX file.
        run: The run directory that it was exported from; none where an ONNX file was given.
        calibration: What ranges are measured on.
        labelled: Labelled data to choose by; none where there is none.
        proof: Labelled data that the choice is proved on; none where there is none.
        frames: Inputs without labels to choose and prove by, where there are no labelled ones.
        warnings: What the user should know of it.
    """

    model: Path
    run: Path | None
    calibration: Path | None
    labelled: DetectionDataset | None
    proof: DetectionDataset | None
    frames: Path | None
    warnings: tuple[str, ...] = ()


def gather(
    source: Path,
    work: Path,
    *,
    calibration: Path | None,
    data: Path | None,
    proof: Path | None,
    frames: Path | None,
) -> Material:
    """Return the model and its data; a run directory is exported, and brings its own split.

    Args:
        source: An ONNX file or a run directory.
        work: Folder for what is made on the way.
        calibration: What ranges are measured on; of a run its training part.
        data: Labelled data to choose by; of a run its validation part.
        proof: Labelled data to prove the choice on; of a run its test part.
        frames: Inputs without labels.

    Raises:
        ModelError: The run cannot be exported.
        DatasetError: A dataset cannot be read.
    """
    run = source if source.is_dir() else None
    model = source
    if run is not None:
        model = _exported(run, work)
        calibration = calibration or _part(run, "train")
        data = data or _part(run, "val")
        proof = proof or _part(run, "test")
    labelled = read_dataset(data) if data is not None else None
    proving = read_dataset(proof) if proof is not None else labelled
    return Material(
        model=model,
        run=run,
        calibration=calibration or frames or data,
        labelled=labelled,
        proof=proving,
        frames=frames,
        warnings=tuple(_warnings(labelled, proving, calibration, frames)),
    )


def _warnings(
    labelled: DetectionDataset | None,
    proof: DetectionDataset | None,
    calibration: Path | None,
    frames: Path | None,
) -> list[str]:
    lines = []
    if labelled is not None and proof is labelled:
        lines.append(
            "chosen and proved on the same pictures, which flatters the choice: give --proof"
        )
    if labelled is None and frames is None:
        lines.append(
            "without labels int8 is compared with fp32, on the calibration inputs alone: give "
            "--data or --frames"
        )
    if labelled is not None and calibration is None:
        lines.append("calibrated on the pictures of --data: give --calib to keep them apart")
    return lines


def _exported(run: Path, work: Path) -> Path:
    # Imported here: most who compress bring an ONNX model, and need not wait for torch.
    from edgehaul_tools.export.run import export_run  # noqa: PLC0415

    work.mkdir(parents=True, exist_ok=True)
    export_run(run, work / _EXPORTED)
    return work / _EXPORTED


def _part(run: Path, part: str) -> Path | None:
    path = run / f"{part}.json"
    return path if path.is_file() else None
