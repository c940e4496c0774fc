"""``edgehaul bench agent``: our agent beside other ways to run a detector on a clip."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click
import msgspec

from edgehaul.errors import DeviceError, UsageError
from edgehaul_tools.bench.agents.broker import any_broker
from edgehaul_tools.bench.agents.contenders import CONTENDERS, Contender
from edgehaul_tools.bench.agents.material import prepare
from edgehaul_tools.bench.agents.rounds import compare
from edgehaul_tools.bench.agents.standings import lines_of, page_of, surroundings
from edgehaul_tools.bench.options import (
    envs_option,
    json_option,
    markdown_option,
    rounds_option,
    steps_option,
    work_option,
)
from edgehaul_tools.bench.peers.environment import PeerFaultError
from edgehaul_tools.train.durable import written_whole

ROUNDS = 5


@click.command("agent")
@click.option(
    "--peers",
    default=",".join(CONTENDERS),
    metavar="NAMES",
    help=f"Whom to compare with, by commas: {','.join(CONTENDERS)} (all); empty for none.",
)
@envs_option
@work_option("the clip and the model")
@rounds_option(ROUNDS)
@steps_option("the detector")
@markdown_option
@json_option
def agent(
    *,
    peers: str,
    envs: Path,
    work: Path,
    rounds: int,
    steps: int | None,
    markdown: Path | None,
    as_json: bool,
) -> None:
    """Compare our agent with other ways to run a detector on a clip.

    Same clip, same detector, tracking, a counting line, MQTT: processor time of a frame, and how
    much of it is decoding and the model. The clip and the detector are made here, in two minutes.
    A peer that does not install or fails stays in the table. Needs the agent (edgehaul[agent]).
    """
    chosen = [_contender(name) for name in peers.split(",") if name]

    def tell(line: str) -> None:
        click.echo(line, err=True)

    with ExitStack() as stack:
        # Opened first: after minutes of measuring it is late to learn that there is no way to.
        page = stack.enter_context(written_whole(markdown)) if markdown else None
        tell("preparing clip and model")
        material = prepare(work.absolute(), steps)
        port, broker = stack.enter_context(any_broker())
        try:
            found = compare(
                material,
                chosen,
                envs=envs.absolute(),
                rounds=rounds,
                port=port,
                broker=broker,
                progress=tell,
            )
        except PeerFaultError as fault:
            raise DeviceError(f"our agent {fault}", remedy="install edgehaul[agent]") from fault
        if page:
            page.write(page_of(found).encode())
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    click.echo("\n".join([*lines_of(found), surroundings(found)]))


def _contender(name: str) -> Contender:
    if name not in CONTENDERS:
        raise UsageError(f"there is no peer {name!r}", remedy=f"choose of {', '.join(CONTENDERS)}")
    return CONTENDERS[name]
