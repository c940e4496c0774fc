"""``edgehaul verify``: prove that every variant of a model answers as fp32 does."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from edgehaul.bundle.spec import SequenceInput
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.evaluate.material import Content, Material, read_pictures, read_recordings
from edgehaul_tools.finite import FiniteRange
from edgehaul_tools.quantize.directory import read_directory
from edgehaul_tools.verify.gate import Gate
from edgehaul_tools.verify.measure import RESAMPLES
from edgehaul_tools.verify.memory import ROUNDS
from edgehaul_tools.verify.proof import raise_unless_passed
from edgehaul_tools.verify.table import lines_of
from edgehaul_tools.verify.verify import Options, Recorded, verify_directory

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("directory", type=_PATH)
@click.option("--frames", type=_PATH, help="Folder of images, video or GPS traces, no labels.")
@click.option(
    "--data",
    type=_PATH,
    help="Labelled pictures, trips or series; of `edgehaul train` what it did not learn from.",
)
@click.option(
    "--part",
    type=click.Choice(["all", "train", "val", "test"]),
    help="Part of --data. Default: test, where --run or the dataset says which that is; else all.",
)
@click.option("--run", type=_PATH, help="Run directory that the model is from: compare with torch.")
@click.option(
    "--max-drop",
    type=FiniteRange(0, 1),
    default=Gate().max_drop,
    show_default=True,
    help="Largest loss of the metric against fp32, as a fraction: 0.01 is one point (of mean "
    "errors: growth by 1 %).",
)
@click.option(
    "--min-agreement",
    type=FiniteRange(0, 1),
    default=Gate().min_agreement,
    show_default=True,
    help="With fp32, where there are no labels.",
)
@click.option("--sure", is_flag=True, help="The end of the 95 % interval must pass the gate, too.")
@click.option("--limit", type=click.IntRange(0), default=0, help="Most inputs of --frames; 0: all.")
@click.option("--normal", default="", help="Class of normal pictures, for anomaly models.")
@click.option(
    "--bootstrap",
    type=click.IntRange(0, 100_000),
    default=RESAMPLES,
    show_default=True,
    help="Resamples for the 95 % intervals; 0: none.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of resamples.")
@click.option("--no-memory", is_flag=True, help="Leave out the peak memory, which takes seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(  # noqa: PLR0913, PLR0917 - one for each option
    directory: Path,
    frames: Path | None,
    data: Path | None,
    part: str | None,
    run: Path | None,
    max_drop: float,
    min_agreement: float,
    limit: int,
    normal: str,
    bootstrap: int,
    seed: int,
    *,
    sure: bool,
    no_memory: bool,
    as_json: bool,
) -> None:
    """Compare all variants of a model DIRECTORY with its fp32 on the same inputs.

    On labelled data the metric must not drop by more than --max-drop: mAP50 of detectors,
    accuracy of classifiers, F1 of events, AUROC of anomalies, mean error of places. Without
    labels the answers must agree to --min-agreement. Exit code 3 where that is missed.
    """
    proof = verify_directory(
        directory,
        frames=frames,
        data=_labelled(directory, data, part, run) if data is not None else None,
        run=run,
        gate=Gate(max_drop, min_agreement, sure),
        limit=limit,
        options=Options(bootstrap, seed, normal, 0 if no_memory else ROUNDS),
        progress=_told,
    )
    if as_json:
        click.echo(msgspec.json.encode(proof))
    else:
        for line in lines_of(proof):
            click.echo(line)
    raise_unless_passed(proof, directory)


def _labelled(
    directory: Path, data: Path, part: str | None, run: Path | None
) -> DetectionDataset | Recorded:
    # All of the data asks for no split, which not every run keeps.
    split_from = run if part != "all" else None
    if isinstance(read_directory(directory).spec.input, SequenceInput):
        recordings = read_recordings(data, part or "", split_from)
        _tell_choice(recordings, "recordings", split_from)
        return Recorded(data, recordings.content)
    pictures = read_pictures(data, part or "", split_from)
    _tell_choice(pictures, "pictures", split_from)
    return pictures.content


def _tell_choice(material: Material[Content], what: str, split_from: Path | None) -> None:
    part = "all of it" if material.part == "all" else f"the {material.part} part"
    _told(f"measuring on {len(material.content)} {what} ({part})")
    if split_from is not None:
        for note in material.notes:
            _told(note)


def _told(line: str) -> None:
    click.echo(line, err=True)
