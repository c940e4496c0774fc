"""``edgehaul demo``."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console

from edgehaul.errors import GateError
from edgehaul_tools.demo.board import Board
from edgehaul_tools.demo.promises import unmet_promises
from edgehaul_tools.demo.report import render
from edgehaul_tools.demo.result import DemoResult
from edgehaul_tools.demo.stages import Demo, DemoSettings
from edgehaul_tools.demo.summary import summary_of, summary_table

REPORT_NAME = "report.html"


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/demo"),
    show_default=True,
    help="Folder for everything that the demo makes; an earlier demo in it is replaced.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=7,
    show_default=True,
    help="Seed of the live conveyor and truck.",
)
@click.option(
    "--images",
    type=click.IntRange(10),
    default=600,
    show_default=True,
    help="Pictures: 80 % to learn from, the rest to watch and to test it by.",
)
@click.option(
    "--frames",
    type=click.IntRange(1),
    default=1500,
    show_default=True,
    help="Least number of frames that the box looks at.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def demo(out: Path, *, seed: int, images: int, frames: int, as_json: bool) -> None:
    """Run the whole chain on virtual devices, and show what happened.

    Two models are trained on a virtual conveyor and a virtual truck, exported, quantized,
    verified, packed, flashed to a virtual box and run there by the agent; a collector stores
    what the box publishes. Nothing but this machine is needed.

    Exit code 3 where int8 loses more than a point of mAP50, a parcel is not counted, or a
    message is neither received nor declared lost.
    """
    console = Console(stderr=as_json, highlight=False)
    board = Board(console)
    settings = DemoSettings(seed=seed, images=images, frames=frames)
    result = Demo(out, settings, board).run()
    report = out / REPORT_NAME
    report.write_text(render(result), encoding="utf-8")
    if as_json:
        click.echo(msgspec.json.encode(summary_of(result)).decode())
    else:
        console.print(summary_table(result))
        console.print(f"Report with pictures: {report}", markup=False, soft_wrap=True)
    raise_unless_kept(result, out)


def raise_unless_kept(result: DemoResult, out: Path) -> None:
    """Print each promise that the run did not keep.

    Raises:
        GateError: There is one.
    """
    unmet = unmet_promises(result)
    for line in unmet:
        click.echo(f"not met: {line}", err=True)
    if unmet:
        raise GateError(
            f"the demo did not keep {len(unmet)} of its promises",
            where=out,
            remedy=f"look at {REPORT_NAME} and agent.log in this folder",
        )
