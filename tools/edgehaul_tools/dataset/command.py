"""``edgehaul data``: make virtual datasets, look at real ones, and split them."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from edgehaul_tools.dataset.read import READERS, detect_form, read_dataset
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.dataset.split import near_duplicates, split, write_splits
from edgehaul_tools.dataset.traces import read_truck_dataset
from edgehaul_tools.dataset.virtual import (
    Progress,
    generate_conveyor_dataset,
    generate_truck_dataset,
)

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
    with _progress("rendering", images) as progress:
        dataset = generate_conveyor_dataset(
            out, images, seed, width=width, height=height, progress=progress
        )
    _print(_summary(dataset, "coco"), as_json=as_json)


@virtual.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder.")
@click.option("--trips", type=int, default=24, show_default=True, help="Number of trips.")
@click.option(
    "--duration-s", type=click.FloatRange(60), default=1800.0, show_default=True, help="Of a trip."
)
@_SEED
@_AS_JSON
def truck(out: Path, trips: int, duration_s: float, seed: int, *, as_json: bool) -> None:
    """Drive trucks and write their GPS traces with the drivers' faults."""
    with _progress("driving", trips) as progress:
        generate_truck_dataset(out, trips, seed, duration_s=duration_s, progress=progress)
    _print(_truck_summary(out), as_json=as_json)


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@_FORM
@_AS_JSON
def stats(dataset: Path, form: str, *, as_json: bool) -> None:
    """Check a dataset and say what is in it."""
    if (dataset / "labels.json").is_file() and (dataset / "trips").is_dir():
        _print(_truck_summary(dataset), as_json=as_json)
        return
    content = read_dataset(dataset, form)
    summary = _summary(content, detect_form(dataset) if form == "auto" else form)
    summary["near_duplicates"] = sum(1 for _ in near_duplicates(content.samples))
    _print(summary, as_json=as_json)


@click.command("split")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for the COCO files."
)
@click.option(
    "--fractions",
    nargs=3,
    type=float,
    default=(0.7, 0.15, 0.15),
    show_default=True,
    help="Shares of train, val and test.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be written.")
@_SEED
@_FORM
@_AS_JSON
def split_command(
    dataset: Path,
    out: Path,
    fractions: tuple[float, float, float],
    seed: int,
    form: str,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write train.json, val.json and test.json (COCO) that share no scene.

    Pictures stay where they are; groups (cameras, videos, days) and near-duplicates are
    never torn apart.
    """
    parts = split(read_dataset(dataset, form), fractions, seed)
    summary: dict[str, object] = {"written": not dry_run}
    if not dry_run:
        write_splits(parts, out)
    for name, part in (("train", parts.train), ("val", parts.val), ("test", parts.test)):
        summary[name] = {
            "file": str(out / f"{name}.json"),
            "images": len(part),
            "groups": len({sample.group for sample in part.samples}),
            "objects": _class_counts(part),
        }
    _print(summary, as_json=as_json)


def _class_counts(dataset: DetectionDataset) -> dict[str, int]:
    counts = Counter(mark.class_id for sample in dataset.samples for mark in sample.boxes)
    return {label: counts[number] for number, label in enumerate(dataset.labels)}


def _summary(dataset: DetectionDataset, form: str) -> dict[str, object]:
    sizes = Counter(f"{sample.width}x{sample.height}" for sample in dataset.samples)
    return {
        "path": str(dataset.root),
        "form": form,
        "images": len(dataset),
        "groups": len({sample.group for sample in dataset.samples}),
        "sizes": dict(sizes.most_common(5)),
        "objects": _class_counts(dataset),
        "ignored": sum(len(sample.ignored) for sample in dataset.samples),
        "without_objects": sum(not sample.boxes for sample in dataset.samples),
        "faults": list(dataset.faults),
    }


def _truck_summary(root: Path) -> dict[str, object]:
    traces = read_truck_dataset(root)
    anomalies = Counter(anomaly.label for trace in traces for anomaly in trace.anomalies)
    spans_s = [trace.fixes[-1].captured_at_s - trace.fixes[0].captured_at_s for trace in traces]
    return {
        "path": str(root),
        "form": "truck",
        "trips": len(traces),
        "fixes": sum(len(trace.fixes) for trace in traces),
        "hours": round(sum(spans_s) / 3600, 2),
        "anomalies": dict(sorted(anomalies.items())),
    }


def _print(summary: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(summary))
        return
    for name, value in summary.items():
        if isinstance(value, list):
            click.echo(f"{name:16} {len(value)}")
            for line in value[:_FAULTS_SHOWN]:
                click.echo(f"  {line}")
            if len(value) > _FAULTS_SHOWN:
                click.echo(f"  and {len(value) - _FAULTS_SHOWN} more; --json lists all")
        else:
            click.echo(f"{name:16} {_text(value)}")


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items()) or "none"
    return str(value)


@contextmanager
def _progress(label: str, length: int) -> Iterator[Progress | None]:
    """Show a bar on stderr where that is a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=max(length, 1), label=label, file=sys.stderr) as bar:
        step: Callable[[int, int], None] = lambda _done, _all: bar.update(1)  # noqa: E731 - short
        yield step
