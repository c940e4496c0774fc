"""``edgehaul data export``: write a dataset in another form."""

from __future__ import annotations

from pathlib import Path

import click

from edgehaul_tools.dataset.coco import write_coco
from edgehaul_tools.dataset.read import read_dataset


@click.command("export")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The COCO file.")
def export_command(dataset: Path, out: Path) -> None:
    """Write DATASET as one COCO file."""
    write_coco(read_dataset(dataset), out)
