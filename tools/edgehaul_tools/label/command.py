"""``edgehaul data label``: mark pictures with a model, for people to correct."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from edgehaul_tools.dataset.new_directory import refuse_filled
from edgehaul_tools.dataset.progress import shown_progress
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.export.spec_choice import read_labels
from edgehaul_tools.finite import FiniteRange
from edgehaul_tools.label.marking import Marked, mark_pictures
from edgehaul_tools.label.model import Marker, open_marker
from edgehaul_tools.label.tasks import FORMS, write_tasks

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("pictures", type=click.Path(path_type=Path))
@click.option("--model", type=click.Path(path_type=Path), required=True, help="ONNX or folder.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder.")
@click.option("--to", "form", type=click.Choice(list(FORMS)), required=True, help="Form to write.")
@click.option("--threshold", type=FiniteRange(0, 1), help="Else the model's own.")
@click.option("--spec", "spec_file", type=_FILE, help="The model's spec, in YAML or JSON.")
@click.option("--labels", "labels_file", type=_FILE, help="Names of its classes, one a line.")
@click.option("--uncertain-first", is_flag=True, help="Begin with what the model is unsure of.")
@click.option(
    "--link",
    type=click.Choice(["copy", "hardlink"]),
    default="copy",
    show_default=True,
    help="Hard links take no space, but changing one picture changes the other.",
)
@click.option("--dry-run", is_flag=True, help="Mark the pictures, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def label(  # noqa: PLR0913, PLR0917 - one for each option
    pictures: Path,
    model: Path,
    out: Path,
    form: str,
    threshold: float | None,
    spec_file: Path | None,
    labels_file: Path | None,
    uncertain_first: bool,  # noqa: FBT001 - an option
    link: Literal["copy", "hardlink"],
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Mark PICTURES with a model, and write tasks for people to correct.

    Marks that PICTURES have are left out. Correct the tasks in CVAT or Label Studio, export
    them there, and `edgehaul data import` reads the export.
    """
    refuse_filled(out)
    names = read_labels(labels_file) if labels_file is not None else ()
    marker = open_marker(model, spec_file=spec_file, labels=names)
    dataset = read_dataset(pictures)
    with shown_progress("marking") as progress:
        marked = mark_pictures(marker.run, marker.spec, dataset.samples, threshold, progress)
    if not dry_run:
        content = DetectionDataset(dataset.root, marker.spec.output.labels, ())
        write_tasks(marked, content, form, out, link=link, uncertain_first=uncertain_first)
    summary = _summary(marked, marker, out, form) | {"written": not dry_run}
    if as_json:
        click.echo(json.dumps(summary))
    else:
        _print(summary)


def _summary(marked: Sequence[Marked], marker: Marker, out: Path, form: str) -> dict[str, object]:
    labels = marker.spec.output.labels
    counts = Counter(mark.class_id for item in marked for mark in item.sample.boxes)
    unsure = sorted(marked, key=lambda item: -item.uncertainty)[:5]
    return {
        "path": str(out),
        "form": form,
        "model": marker.name,
        "spec": marker.spec_source,
        "images": len(marked),
        "marks": {labels[number]: count for number, count in sorted(counts.items())},
        "without_marks": sum(not item.sample.boxes for item in marked),
        "least_sure": {str(item.sample.path): round(item.uncertainty, 3) for item in unsure},
    }


def _print(summary: dict[str, object]) -> None:
    for name, value in summary.items():
        if isinstance(value, dict):
            click.echo(f"{name:14} {', '.join(f'{k} {v}' for k, v in value.items()) or 'none'}")
        else:
            click.echo(f"{name:14} {value}")
    if summary["written"]:
        click.echo("next: correct them, export them there, and run: edgehaul data import EXPORT")
