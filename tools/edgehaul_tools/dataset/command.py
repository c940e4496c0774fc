"""``edgehaul data``: make virtual datasets, look at real ones, and split them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgehaul.errors import UsageError
from edgehaul_tools.dataset.grouping import GROUPINGS, regrouped
from edgehaul_tools.dataset.imbalance import class_counts
from edgehaul_tools.dataset.manifest import SPLIT_FILE
from edgehaul_tools.dataset.progress import shown_progress
from edgehaul_tools.dataset.read import READERS, detect_form, read_dataset
from edgehaul_tools.dataset.series import is_series_dataset
from edgehaul_tools.dataset.split import near_duplicates, split, write_splits
from edgehaul_tools.dataset.statistics import (
    picture_statistics,
    series_statistics,
    trace_statistics,
)
from edgehaul_tools.dataset.trace_checks import is_trace_dataset
from edgehaul_tools.dataset.trace_split import split_trace_dataset
from edgehaul_tools.dataset.virtual import (
    Truth,
    generate_conveyor_dataset,
    generate_truck_dataset,
)
from edgehaul_tools.finite import FiniteRange

_FAULTS_SHOWN = 20

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_FORM = click.option(
    "--form",
    type=click.Choice(["auto", *READERS]),
    default="auto",
    show_default=True,
    help="Form of the dataset.",
)
_SEED = click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same result."
)


@click.group()
def virtual() -> None:
    """Make datasets with the virtual devices."""


@virtual.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder.")
@click.option("--images", type=int, default=600, show_default=True, help="Number of pictures.")
@click.option("--width", type=click.IntRange(96, 4096), default=640, show_default=True)
@click.option("--height", type=click.IntRange(96, 4096), default=480, show_default=True)
@_SEED
@_AS_JSON
def conveyor(out: Path, images: int, width: int, height: int, seed: int, *, as_json: bool) -> None:
    """Render parcels on conveyors as a COCO dataset."""
    with shown_progress("rendering") as progress:
        dataset = generate_conveyor_dataset(
            out, images, seed, width=width, height=height, progress=progress
        )
    _print(picture_statistics(dataset, "coco"), as_json=as_json)


@virtual.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder.")
@click.option("--trips", type=int, default=24, show_default=True, help="Number of trips.")
@click.option(
    "--duration-s", type=FiniteRange(60), default=1800.0, show_default=True, help="Of a trip."
)
@click.option(
    "--truth",
    type=click.Choice(["faults", "modes"]),
    default="faults",
    show_default=True,
    help="Label the drivers' faults, or standing and driving in depot, city and on highways.",
)
@_SEED
@_AS_JSON
def truck(
    out: Path, trips: int, duration_s: float, truth: Truth, seed: int, *, as_json: bool
) -> None:
    """Drive trucks and write their GPS traces with the drivers' faults, or what they did."""
    with shown_progress("driving") as progress:
        generate_truck_dataset(
            out, trips, seed, duration_s=duration_s, truth=truth, progress=progress
        )
    _print(trace_statistics(out), as_json=as_json)


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@_FORM
@_AS_JSON
def stats(dataset: Path, form: str, *, as_json: bool) -> None:
    """Say what is in DATASET: pictures, trips or series."""
    _print(_statistics(dataset, form), as_json=as_json)


def _statistics(path: Path, form: str) -> dict[str, object]:
    if form == "auto" and is_series_dataset(path):
        return series_statistics(path)
    if form == "auto" and is_trace_dataset(path):
        return trace_statistics(path)
    content = read_dataset(path, form)
    summary = picture_statistics(content, detect_form(path) if form == "auto" else form)
    summary["near_duplicates"] = sum(1 for _ in near_duplicates(content.samples))
    return summary


@click.command("split")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for the files; of trips and series that of DATASET, where training looks for it.",
)
@click.option(
    "--fractions",
    nargs=3,
    type=FiniteRange(0, 1),
    default=(0.7, 0.15, 0.15),
    show_default=True,
    help="Shares of train, val and test.",
)
@click.option(
    "--group-by",
    type=click.Choice(list(GROUPINGS)),
    default="dataset",
    show_default=True,
    help="What is never torn apart: as the dataset says; the camera or vehicle before the date or "
    "number in a name; the day in name or EXIF; a folder; a name's prefix; or nothing.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be written.")
@_SEED
@_FORM
@_AS_JSON
def split_command(  # noqa: PLR0913 - one for each option
    dataset: Path,
    out: Path,
    fractions: tuple[float, float, float],
    group_by: str,
    seed: int,
    form: str,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write train.json, val.json and test.json (COCO) that share no scene.

    Pictures stay where they are; groups (cameras, videos, days) and near-duplicates are
    never torn apart. Of trips and series it writes split.json with the names of each part;
    vehicles and copies of a trip are never torn apart.
    """
    if form == "auto" and is_trace_dataset(dataset):
        if group_by != "dataset":
            raise UsageError(
                "--group-by is for pictures",
                remedy="leave it out: what never is torn apart are the vehicles in labels.json",
            )
        found = split_trace_dataset(dataset, None if dry_run else out, fractions, seed)
        _print({"written": not dry_run, "file": str(out / SPLIT_FILE), **found}, as_json=as_json)
        return
    parts = split(regrouped(read_dataset(dataset, form), group_by), fractions, seed)
    summary: dict[str, object] = {"written": not dry_run}
    if not dry_run:
        write_splits(parts, out)
    for name, part in (("train", parts.train), ("val", parts.val), ("test", parts.test)):
        summary[name] = {
            "file": str(out / f"{name}.json"),
            "images": len(part),
            "groups": len({sample.group for sample in part.samples}),
            "objects": class_counts(part),
        }
    _print(summary, as_json=as_json)


def _print(summary: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(summary))
        return
    for name, value in summary.items():
        if name == "faults" and isinstance(value, list):
            click.echo(f"{name:16} {len(value)}")
            for line in value[:_FAULTS_SHOWN]:
                click.echo(f"  {line}")
            if len(value) > _FAULTS_SHOWN:
                click.echo(f"  and {len(value) - _FAULTS_SHOWN} more; --json lists all")
        elif isinstance(value, dict) and any(isinstance(inner, dict) for inner in value.values()):
            click.echo(name)
            for key, inner in value.items():
                click.echo(f"  {key:16} {_text(inner)}")
        else:
            click.echo(f"{name:16} {_text(value)}")


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _short(value: object) -> str:
    """Return a value within a line; quantiles as `least..median..most`."""
    if isinstance(value, dict):
        kept = [value[key] for key in ("least", "median", "most") if key in value]
        return "..".join(f"{number:g}" for number in kept) if kept else f"({_text(value)})"
    return str(value)
