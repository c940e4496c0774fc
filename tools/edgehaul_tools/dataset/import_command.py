"""``edgehaul data import``: make a dataset of any form ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

from edgehaul.errors import UsageError
from edgehaul_tools.dataset.import_dataset import (
    About,
    Imported,
    ImportOptions,
    import_dataset,
    preview,
)
from edgehaul_tools.dataset.new_directory import refuse_filled
from edgehaul_tools.dataset.pictures import find_pictures
from edgehaul_tools.dataset.progress import shown_progress
from edgehaul_tools.dataset.read import PACKED, READERS, detect_form
from edgehaul_tools.dataset.video_frames import Sampling

_TRACES = ("gps", "series")
_TRACE_SUFFIXES = frozenset({".gpx", ".jsonl", ".log", ".nma", ".nmea"})
"""Of files that are never those of pictures."""
_FAULTS_SHOWN = 20


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder.")
@click.option(
    "--form",
    type=click.Choice(["auto", *READERS, *PACKED, *_TRACES]),
    default="auto",
    show_default=True,
    help="Form of the source.",
)
@click.option("--name", default="", help="Name of the dataset; else that of the source.")
@click.option("--version", default="", help="Version of its content; else the source's, or 1.")
@click.option("--licence", default="", help="Licence, as SPDX names it; else the source's.")
@click.option("--origin", default="", help="Where it is from, such as an address.")
@click.option(
    "--link",
    type=click.Choice(["copy", "hardlink"]),
    default="copy",
    show_default=True,
    help="Hard links take no space, but changing one picture changes the other.",
)
@click.option("--every", type=click.IntRange(1), help="Take every so many frames of a video.")
@click.option("--fps", type=click.FloatRange(0, min_open=True), help="Or so many a second.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    help="FIELD=TITLE: what a field of ours is called in a table of traces.",
)
@click.option("--dry-run", is_flag=True, help="Read the source and say what would be made.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_command(  # noqa: PLR0913, PLR0917 - one for each option
    source: Path,
    out: Path,
    form: str,
    name: str,
    version: str,
    licence: str,
    origin: str,
    link: Literal["copy", "hardlink"],
    every: int | None,
    fps: float | None,
    columns: tuple[str, ...],
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make SOURCE a dataset directory with a manifest.

    SOURCE is a folder, an archive (.zip, .tar, .tar.gz) or a file: COCO, YOLO, Pascal VOC,
    CVAT, Label Studio, folders of pictures, a CSV table, IDX, a video, or traces.
    """
    if every is not None and fps is not None:
        raise UsageError("--every and --fps exclude each other", remedy="give one of them")
    if form in _TRACES or (form == "auto" and _holds_traces(source, columns)):
        _print(_import_traces(source, out, columns, dry_run=dry_run), as_json=as_json)
        return
    if columns:
        raise UsageError("--column is for traces", remedy="add --form gps or --form series")
    sampling = Sampling(every or 1, fps)
    options = ImportOptions(form, About(name, version, licence, origin), link, sampling)
    if dry_run:
        refuse_filled(out)
        _print(_previewed(source, options), as_json=as_json)
        return
    with shown_progress("importing") as progress:
        imported = import_dataset(source, out, options, progress)
    _print(_summary(imported, out), as_json=as_json)


def _holds_traces(source: Path, columns: tuple[str, ...]) -> bool:
    if columns or not source.is_dir():
        return bool(columns) or source.suffix.lower() in _TRACE_SUFFIXES
    if detect_form(source) != "folder" or find_pictures(source):
        return False
    from edgehaul_tools.dataset.trace_import import holds_traces  # noqa: PLC0415 - as below

    return holds_traces(source)


def _import_traces(
    source: Path, out: Path, columns: tuple[str, ...], *, dry_run: bool
) -> dict[str, object]:
    # Imported here: pictures need nothing of it.
    from edgehaul_tools.dataset.trace_import import import_traces  # noqa: PLC0415

    pairs = [column.partition("=") for column in columns]
    if not all(field and title for field, _, title in pairs):
        raise UsageError("--column must be FIELD=TITLE", remedy="write e.g. --column speed_mps=v")
    if dry_run:
        raise UsageError("--dry-run is for pictures", remedy="leave it out")
    titles = {field: title for field, _, title in pairs} or None
    with shown_progress("importing") as progress:
        made = import_traces(source, out, titles, progress)
    return {
        "path": str(out),
        "form": made.kind,
        "names": len(made.names),
        "records": made.count,
        "spans": made.spans,
        "rejected": made.rejected,
        "faults": list(made.faults),
    }


def _previewed(source: Path, options: ImportOptions) -> dict[str, object]:
    dataset, form = preview(source, options)
    if dataset is None:
        return {"form": form, "written": False}
    return {
        "form": form,
        "written": False,
        "task": dataset.task,
        "images": len(dataset),
        "labels": list(dataset.labels),
        "faults": list(dataset.faults),
    }


def _summary(imported: Imported, out: Path) -> dict[str, object]:
    manifest = imported.manifest
    return {
        "path": str(out),
        "name": manifest.name,
        "version": manifest.version,
        "licence": manifest.licence,
        "form": manifest.form,
        "task": manifest.task,
        "images": sum(manifest.counts.values()),
        "counts": manifest.counts,
        "objects": manifest.objects,
        "digest": manifest.digest,
        "faults": list(imported.faults),
    }


def _print(summary: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(summary))
        return
    for name, value in summary.items():
        if name == "faults" and isinstance(value, list):
            click.echo(f"{name:10} {len(value)}")
            for line in value[:_FAULTS_SHOWN]:
                click.echo(f"  {line}")
        elif isinstance(value, dict):
            click.echo(f"{name:10} {', '.join(f'{k} {v}' for k, v in value.items()) or 'none'}")
        else:
            click.echo(f"{name:10} {'not given' if value == '' else value}")
