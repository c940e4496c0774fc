"""What a search starts from: the model and the data, of an ONNX file or of a run directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgehaul.bundle.spec import ModelSpec, SequenceInput
from edgehaul_tools.dataset.manifest import SPLIT_FILE
from edgehaul_tools.dataset.parts import PARTS
from edgehaul_tools.dataset.samples import DetectionDataset, Part
from edgehaul_tools.evaluate.material import read_pictures, read_recordings
from edgehaul_tools.verify.verify import Recorded

EVERYTHING = "all"
"""Of a dataset that the user names every sample is meant."""
EXPORTED = "source.onnx"
"""The model of a run, in the folder for what is made on the way."""
Labelled = DetectionDataset | Recorded


@dataclass(frozen=True)
class LabelledSource:
    """Labelled data that is read when the model's spec is known.

    Attributes:
        path: The dataset.
        part: Which part of it; empty means the test part where one is named, else all.
        run: The run that says which sample is in which part.
    """

    path: Path
    part: Part | str = ""
    run: Path | None = None

    def read(self, spec: ModelSpec) -> Labelled:
        """Read the samples that a model of this spec takes.

        Raises:
            DatasetError: The dataset is unusable, or the part is empty.
        """
        if isinstance(spec.input, SequenceInput):
            return Recorded(self.path, read_recordings(self.path, self.part, self.run).content)
        return read_pictures(self.path, self.part, self.run).content


@dataclass(frozen=True)
class Material:
    """The model and its data.

    Attributes:
        model: The ONNX file.
        run: The run directory that it was exported from; none where an ONNX file was given.
        calibration: What ranges are measured on.
        labelled: What to choose by; none where there are no labels.
        proof: What the choice is proved on; none where there are no labels.
        frames: Inputs without labels to choose and prove by, where there are no labelled ones.
        warnings: What the user should know of it.
    """

    model: Path
    run: Path | None
    calibration: Path | None
    labelled: LabelledSource | None
    proof: LabelledSource | None
    frames: Path | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Given:
    """Paths as the user gave them.

    Attributes:
        calibration: What ranges are measured on.
        data: Labelled data to choose by.
        proof: Labelled data to prove the choice on.
        frames: Inputs without labels.
    """

    calibration: Path | None = None
    data: Path | None = None
    proof: Path | None = None
    frames: Path | None = None


def gather(source: Path, work: Path, given: Given) -> Material:
    """Return the model and its data; a run directory is exported, and brings its own split.

    Of a run, ranges are measured on its training part, forms are chosen by its validation part
    and proved on its test part, as far as nothing else is given.

    Args:
        source: An ONNX file or a run directory.
        work: Folder for what is made on the way.
        given: The user's data.

    Raises:
        ModelError: The run cannot be read or exported.
    """
    run = source if source.is_dir() else None
    parts = _parts_of(run) if run is not None and given.frames is None else {}
    labelled = LabelledSource(given.data, EVERYTHING) if given.data else parts.get("val")
    proof = (
        LabelledSource(given.proof, EVERYTHING) if given.proof else parts.get("test") or labelled
    )
    calibration = given.calibration
    if calibration is None and "train" in parts:
        calibration = parts["train"].path
    return Material(
        model=source if run is None else _exported(run, work),
        run=run,
        calibration=calibration or given.frames or given.data,
        labelled=labelled,
        proof=proof,
        frames=given.frames,
        warnings=tuple(_warnings(labelled, proof, calibration, given.frames)),
    )


def _warnings(
    labelled: LabelledSource | None,
    proof: LabelledSource | None,
    calibration: Path | None,
    frames: Path | None,
) -> list[str]:
    chosen_by = labelled.path if labelled is not None else frames
    proved_on = proof.path if proof is not None else frames
    if chosen_by is None:
        compared = "without labels int8 is compared with fp32, on the calibration inputs alone"
        return [f"{compared}: give --data or --frames"]
    lines = []
    if calibration is None or _is_same(calibration, chosen_by):
        lines.append("calibrated on what the form is chosen by: give --calib to keep them apart")
    if proof == labelled or _is_same(chosen_by, proved_on):
        more = "give --proof" if labelled is not None else "labelled data can be kept apart"
        lines.append(f"chosen and proved on the same samples, which flatters the choice: {more}")
    return lines


def _is_same(one: Path, other: Path | None) -> bool:
    return other is not None and one.resolve() == other.resolve()


def _exported(run: Path, work: Path) -> Path:
    # Imported here: most who compress bring an ONNX model, and need not wait for torch.
    from edgehaul_tools.export.run import export_run  # noqa: PLC0415

    work.mkdir(parents=True, exist_ok=True)
    export_run(run, work / EXPORTED)
    return work / EXPORTED


def _parts_of(run: Path) -> dict[str, LabelledSource]:
    """Return the parts that a run keeps: as COCO of pictures, else by its own dataset."""
    from edgehaul_tools.train.run_directory import read_run  # noqa: PLC0415 - torch, as above

    if (run / SPLIT_FILE).is_file():
        dataset = Path(read_run(run).recipe.training.dataset)
        return {part: LabelledSource(dataset, part, run) for part in PARTS}
    files = {part: run / f"{part}.json" for part in PARTS}
    return {part: LabelledSource(f, EVERYTHING) for part, f in files.items() if f.is_file()}
