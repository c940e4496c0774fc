"""``edgehaul data check``: find what is wrong with a dataset."""

from __future__ import annotations

import click


@click.command()
def check() -> None:
    """Find what is wrong with a dataset."""
