"""``edgehaul data export``: write a dataset in another form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

from edgehaul_tools.dataset.export_dataset import WRITERS, export_dataset, report_of, writer_of
from edgehaul_tools.dataset.new_directory import refuse_filled
from edgehaul_tools.dataset.progress import shown_progress
from edgehaul_tools.dataset.read import READERS, read_dataset


@click.command("export")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--form", type=click.Choice(list(WRITERS)), required=True, help="Form to write.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder.")
@click.option(
    "--from",
    "source_form",
    type=click.Choice(["auto", *READERS]),
    default="auto",
    show_default=True,
    help="Form of DATASET.",
)
@click.option(
    "--link",
    type=click.Choice(["copy", "hardlink"]),
    default="copy",
    show_default=True,
    help="Hard links take no space, but changing one picture changes the other.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be written.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export_command(
    dataset: Path,
    form: str,
    out: Path,
    source_form: str,
    link: Literal["copy", "hardlink"],
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write DATASET with its pictures in another form."""
    content = read_dataset(dataset, source_form)
    writer_of(content, form)
    if dry_run:
        refuse_filled(out)
        report = report_of(content, form)
    else:
        with shown_progress("exporting") as progress:
            report = export_dataset(content, form, out, link, progress)
    if as_json:
        summary = {
            "path": str(out),
            "written": not dry_run,
            "form": report.form,
            "images": report.images,
            "objects": report.objects,
            "lost": list(report.lost),
        }
        click.echo(json.dumps(summary))
        return
    verb = "would write" if dry_run else "wrote"
    click.echo(f"{verb} {report.images} pictures with {report.objects} marks to {out} ({form})")
    for line in report.lost:
        click.echo(f"not held by this form: {line}")
