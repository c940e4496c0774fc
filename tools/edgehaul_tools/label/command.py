"""``edgehaul data label``: mark pictures with a model, for people to correct."""

from __future__ import annotations

import click


@click.command()
def label() -> None:
    """Mark pictures with a model, for people to correct."""
