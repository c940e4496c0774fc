"""Options that the benches with peers share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


class Option(Protocol):
    """Adds an option to a command."""

    def __call__(self, command: Command, /) -> Command:
        """Return the command with the option."""
        ...


_FOLDER = click.Path(path_type=Path, file_okay=False)

envs_option = click.option(
    "--envs",
    type=_FOLDER,
    default=Path("peer-envs"),
    show_default=True,
    help="Where the peers' virtual environments are, or are made (gigabytes).",
)
markdown_option = click.option(
    "--markdown",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write a page with the table here.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def work_option(kept: str) -> Option:
    """Return the option for the folder that keeps something for the next run."""
    return click.option(
        "--work",
        type=_FOLDER,
        default=Path("bench-work"),
        show_default=True,
        help=f"Keeps {kept}, so that the next run is quick.",
    )


def rounds_option(default: int) -> Option:
    """Return the option for how often all take their turn."""
    return click.option("--rounds", type=click.IntRange(1), default=default, show_default=True)


def steps_option(learner: str) -> Option:
    """Return the option for how long something learns."""
    return click.option(
        "--steps",
        type=click.IntRange(0),
        help=f"Batches that {learner} learns from; 0 leaves its weights random.",
    )
