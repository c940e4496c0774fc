"""``edgehaul data import``: make a dataset of any form ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
from edgehaul_tools.dataset.unpack import is_archive
from edgehaul_tools.dataset.video_frames import Sampling
from edgehaul_tools.finite import FiniteRange

_TRACES = ("gps", "series")
_TRACE_SUFFIXES = frozenset({".gpx", ".jsonl", ".log", ".nma", ".nmea"})
"""Of files that are never those of pictures."""
_FAULTS_SHOWN = 20
_LISTS = ("left_out", "faults")


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
@click.option("--fps", type=FiniteRange(0, min_open=True), help="Or so many a second.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    help="FIELD=TITLE: what a field or channel of ours (time, lat, lon, speed, vehicle, trip, ...) "
    "is called in a table of traces or series.",
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
    CVAT, Label Studio, folders of pictures, a CSV table, IDX, a video, or traces: GPX, NMEA,
    gpsd, Traccar, OsmAnd, tables. A file with several vehicles or trips becomes a trip for each.
    """
    if every is not None and fps is not None:
        raise UsageError("--every and --fps exclude each other", remedy="give one of them")
    titles = _titles(columns)
    about = About(name, version, licence, origin)
    if form in _TRACES or (form == "auto" and _holds_traces(source, titles)):
        wrong = {"--every": every, "--fps": fps, "--link": link == "hardlink", "--dry-run": dry_run}
        _refuse_given(wrong, "pictures")
        _print(_import_traces(source, out, titles, about, form), as_json=as_json)
        return
    if titles:
        raise UsageError(
            "--column is for traces, and these are pictures",
            where=source,
            remedy="leave it out, or add --form gps or --form series",
        )
    options = ImportOptions(form, about, link, Sampling(every or 1, fps))
    if dry_run:
        refuse_filled(out)
        _print(_previewed(source, options), as_json=as_json)
        return
    with shown_progress("importing") as progress:
        imported = import_dataset(source, out, options, progress)
    _print(_summary(imported, out), as_json=as_json)


def _titles(columns: tuple[str, ...]) -> dict[str, str]:
    """Return what our fields are called."""
    pairs = [column.partition("=") for column in columns]
    if not all(field and title for field, _, title in pairs):
        raise UsageError("--column must be FIELD=TITLE", remedy="write e.g. --column speed_mps=v")
    return {field: title for field, _, title in pairs}


def _refuse_given(options: Mapping[str, object], purpose: str) -> None:
    for option, value in options.items():
        if value:
            raise UsageError(f"{option} is for {purpose}", remedy="leave it out")


def _holds_traces(source: Path, titles: dict[str, str]) -> bool:
    """Return whether these are traces rather than pictures; columns are those of a table."""
    from edgehaul_tools.dataset.trace_files import (  # noqa: PLC0415 - as below
        archive_holds_traces,
        is_table_of_positions,
    )
    from edgehaul_tools.dataset.trace_import import holds_traces  # noqa: PLC0415 - as below

    if is_archive(source):
        return archive_holds_traces(source)
    if not source.is_dir():
        told = bool(titles) or source.suffix.lower() in _TRACE_SUFFIXES
        return told or (source.is_file() and is_table_of_positions(source))
    if find_pictures(source):
        return False
    return bool(titles) or (detect_form(source) == "folder" and holds_traces(source))


def _import_traces(
    source: Path, out: Path, titles: dict[str, str], about: About, form: str
) -> dict[str, object]:
    # Imported here: pictures need nothing of it.
    from edgehaul_tools.dataset.trace_import import TraceOptions, import_traces  # noqa: PLC0415

    asked: Literal["auto", "gps", "series"] = (
        "gps" if form == "gps" else "series" if form == "series" else "auto"
    )
    options = TraceOptions(asked, about)
    with shown_progress("importing") as progress:
        made = import_traces(source, out, titles or None, progress, options)
    return {
        "path": str(out),
        "name": made.manifest.name,
        "version": made.manifest.version,
        "licence": made.manifest.licence,
        "form": made.kind,
        "names": len(made.names),
        "vehicles": made.vehicles,
        "records": made.count,
        "spans": made.spans,
        "digest": made.manifest.digest,
        "left_out": list(made.left_out),
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
        if name in _LISTS and isinstance(value, list):
            click.echo(f"{name:10} {len(value)}")
            # A file that is lost is worth a line each; of faults the first ones tell.
            for line in value if name == "left_out" else value[:_FAULTS_SHOWN]:
                click.echo(f"  {line}")
        elif isinstance(value, dict):
            click.echo(f"{name:10} {', '.join(f'{k} {v}' for k, v in value.items()) or 'none'}")
        else:
            click.echo(f"{name:10} {'not given' if value == '' else value}")
