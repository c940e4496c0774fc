"""``edgehaul data import``: make a dataset of any form ours."""

from __future__ import annotations

from pathlib import Path

import click

from edgehaul_tools.dataset.read import READERS, read_dataset


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--form", type=click.Choice(["auto", *READERS]), default="auto", show_default=True)
def import_command(source: Path, form: str) -> None:
    """Read SOURCE and say how many pictures are in it."""
    click.echo(f"{len(read_dataset(source, form))} pictures")
