"""``edgehaul bench``: measure models, trainings and agents on this machine."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import click
import msgspec

from edgehaul.config.recipe import DetectorRecipe, DetectorSize
from edgehaul.errors import GateError, UsageError
from edgehaul_tools.bench.agents.command import agent
from edgehaul_tools.bench.contest_command import compress
from edgehaul_tools.bench.models import (
    ROUNDS,
    ModelCost,
    markdown_page,
    measure_models,
    times_shown,
)
from edgehaul_tools.bench.training import PICTURES, measure_training
from edgehaul_tools.bench.training import ROUNDS as TRAINING_ROUNDS
from edgehaul_tools.finite import FiniteRange
from edgehaul_tools.train.architectures.table import ARCHITECTURES
from edgehaul_tools.train.durable import written_whole

_SIZES = get_args(DetectorSize)
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group()
def bench() -> None:
    """Measure models, trainings and agents here."""


bench.add_command(agent)
bench.add_command(compress)


@bench.command()
@click.argument("names", nargs=-1)
@click.option("--rounds", type=click.IntRange(1), default=ROUNDS, show_default=True)
@click.option(
    "--markdown",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write a page with the table here.",
)
@_AS_JSON
def models(names: tuple[str, ...], rounds: int, markdown: Path | None, *, as_json: bool) -> None:
    """Measure the networks with these NAMES, or all: weights, multiplications, fp32 and int8.

    Times are those of one thread, without any weights learnt: int8 here is all-int8.
    """
    unknown = [name for name in names if name not in ARCHITECTURES]
    if unknown:
        raise UsageError(
            f"there is no network {unknown[0]!r}",
            remedy=f"choose of {', '.join(ARCHITECTURES)}",
        )
    rows = [ARCHITECTURES[name] for name in names or ARCHITECTURES]
    if not as_json:
        click.echo(_LINE.format(*_HEADING))
    with ExitStack() as stack:
        # Opened first: after minutes of measuring it is late to learn that there is no way to.
        page = stack.enter_context(written_whole(markdown)) if markdown else None
        costs = measure_models(rows, rounds, _quiet if as_json else _told)
        if page:
            page.write(markdown_page(costs).encode())
    if as_json:
        click.echo(msgspec.json.encode(costs))


_HEADING = ("network", "parameters", "MACs", "int8", "fp32 ms", "int8 ms", "ratio")
_LINE = "{:<18} {:>11} {:>10} {:<5} {:>9} {:>9} {:>6}"


def _quiet(cost: ModelCost) -> None:
    del cost


def _told(cost: ModelCost) -> None:
    click.echo(_line(cost))


def _line(cost: ModelCost) -> str:
    size = (f"{cost.parameters / 1e6:.3f} M", f"{cost.macs / 1e6:.1f} M")
    return _LINE.format(cost.name, *size, cost.int8, *times_shown(cost))


@bench.command()
@click.option("--size", type=click.Choice(_SIZES), default="nano", show_default=True)
@click.option("--pictures", type=click.IntRange(16), default=PICTURES, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=TRAINING_ROUNDS, show_default=True)
@click.option(
    "--least", type=FiniteRange(0), default=0.0, help="Fail where the ratio is below this."
)
@_AS_JSON
def training(
    size: DetectorSize, pictures: int, rounds: int, least: float, *, as_json: bool
) -> None:
    """Compare the training of a detector with a bare loop over batches that lie ready."""
    speed = measure_training(DetectorRecipe(size=size), pictures, rounds)
    if as_json:
        click.echo(msgspec.json.encode(speed))
    else:
        click.echo(f"bare loop       {speed.bare_per_s:8.1f} pictures/s")
        click.echo(f"edgehaul train  {speed.trained_per_s:8.1f} pictures/s")
        spread = f"(rounds {min(speed.ratios):.3f} to {max(speed.ratios):.3f})"
        click.echo(f"ratio           {speed.ratio:8.3f}  {spread}")
    if speed.ratio < least:
        raise GateError(
            f"the training reaches {speed.ratio:.3f} of a bare loop, less than {least:g}",
            remedy="see which variation takes the time (augment:), or free a processor core",
        )
