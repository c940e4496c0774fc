"""``edgehaul bench compress``: our int8 forms beside those of other tools."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from edgehaul.errors import UsageError
from edgehaul_tools.bench.contest import IMAGES, JUDGED, ROUNDS, Rules, hold_contest
from edgehaul_tools.bench.options import (
    envs_option,
    json_option,
    markdown_option,
    rounds_option,
    steps_option,
    work_option,
)
from edgehaul_tools.bench.peers.table import PEERS
from edgehaul_tools.bench.standings import lines_of, page_of, surroundings
from edgehaul_tools.bench.zoo.zoo import DATA, ZOO
from edgehaul_tools.train.durable import written_whole

_Row = TypeVar("_Row")


@click.command("compress")
@click.argument("names", nargs=-1, metavar="[MODELS]...")
@click.option(
    "--peers",
    default="ort",
    show_default=True,
    metavar="NAMES",
    help=f"Whom to compare with, by commas: {','.join(PEERS)}; empty for none.",
)
@envs_option
@work_option("what the networks learnt")
@rounds_option(ROUNDS)
@click.option(
    "--images",
    type=click.IntRange(1),
    default=IMAGES,
    show_default=True,
    help="Inputs to calibrate on.",
)
@click.option(
    "--judged",
    type=click.IntRange(1),
    default=JUDGED,
    show_default=True,
    help="Other inputs to judge on.",
)
@steps_option("each network")
@markdown_option
@json_option
def compress(  # noqa: PLR0913 - one for each option
    names: tuple[str, ...],
    *,
    peers: str,
    envs: Path,
    work: Path,
    rounds: int,
    images: int,
    judged: int,
    steps: int | None,
    markdown: Path | None,
    as_json: bool,
) -> None:
    """Compare what `edgehaul compress` makes of these MODELS, or all, with other tools' int8.

    Same models, same data, one run: times, sizes, answers. The networks first learn for a minute
    or two, on data that is made here. A peer that does not install or fails stays in the table.
    """
    chosen = [_of(ZOO, name, "model") for name in names or ZOO]
    asked = [name for name in peers.split(",") if name]
    rules = Rules(
        peers=tuple(_of(PEERS, name, "peer") for name in asked),
        envs=envs.absolute(),
        work=work.absolute(),
        rounds=rounds,
        images=images,
        judged=judged,
        steps=steps,
    )
    contests = []
    with ExitStack() as stack:
        # Opened first: after minutes of measuring it is late to learn that there is no way to.
        page = stack.enter_context(written_whole(markdown)) if markdown else None
        for model in chosen:
            contests.append(hold_contest(model, rules, lambda line: click.echo(line, err=True)))
            if not as_json:
                click.echo("\n".join([*lines_of(contests[-1]), ""]))
        if page:
            page.write(page_of(contests).encode())
    if as_json:
        click.echo(msgspec.json.encode(contests))
        return
    for kind in sorted({model.data for model in chosen}):
        click.echo(f"{kind}: {DATA[kind]} (synthetic)")
    click.echo("* the fastest in ONNX Runtime (within 3 %) of those whose answers hold")
    click.echo(surroundings(contests))


def _of(table: Mapping[str, _Row], name: str, kind: str) -> _Row:
    if name not in table:
        raise UsageError(f"there is no {kind} {name!r}", remedy=f"choose of {', '.join(table)}")
    return table[name]
