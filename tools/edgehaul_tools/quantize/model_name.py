"""The name of a model, as an option and by its file."""

from __future__ import annotations

from pathlib import Path

import click

from edgehaul.bundle.manifest import MAX_NAME_CHARS, require_name
from edgehaul.errors import UsageError


def _checked(_context: click.Context, _option: click.Parameter, name: str) -> str:
    if name:
        try:
            require_name(name)
        except ValueError as error:
            raise UsageError(
                str(error), where="--name", remedy=f"give, say, --name {_plain(name)}"
            ) from error
    return name


model_name = click.option(
    "--name", default="", callback=_checked, help="Name of the model; else the file's."
)
"""``--name``, refused before any work where no bundle could bear it."""


def name_of(path: Path) -> str:
    """Return a model's name by its file."""
    return _plain(path.stem)


def _plain(text: str) -> str:
    # Letters beyond ASCII are letters to Python, and none to a bundle.
    kept = [c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text.lower()]
    return "".join(kept).strip("._-")[:MAX_NAME_CHARS] or "model"
