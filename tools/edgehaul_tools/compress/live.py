"""How a search shows where it is: the front so far on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edgehaul_tools.compress.candidate import Candidate
from edgehaul_tools.compress.frontier import frontier
from edgehaul_tools.compress.measuring import Told
from edgehaul_tools.quantize.quantizer import Progress
from edgehaul_tools.verify.agreement import METRIC


@dataclass(frozen=True)
class Shown:
    """Where a search tells what it does.

    Attributes:
        progress: Told in words.
        told: Told each candidate.
    """

    progress: Progress
    told: Told


@contextmanager
def shown(*, as_json: bool) -> Iterator[Shown]:
    """Show the Pareto front on a terminal, one line for each candidate elsewhere."""
    if as_json:
        yield Shown(lambda _line: None, lambda _one: None)
    elif sys.stderr.isatty():
        with Live(console=Console(stderr=True), refresh_per_second=4) as live:
            board = _Board(live)
            yield Shown(board.progress, board.told)
    else:
        yield Shown(lambda line: click.echo(line, err=True), _line)


def _line(one: Candidate) -> None:
    click.echo(line_of(one), err=True)


def line_of(one: Candidate) -> str:
    """Return a candidate and what was measured of it in one line."""
    measured = ""
    if one.metric != METRIC:  # else the agreement is the metric, and what it lacks is lost
        value = "?" if one.value is None else f"{one.value:.4f}"
        measured = f"{one.metric} {value}, {one.loss_shown} lost, "
    return (
        f"{one.summary}: {measured}agreement {one.agreement:.3f}, "
        f"time {one.latency_ratio:.2f}, size {one.size_ratio:.2f}"
    )


class _Board:
    """The front so far, and what is being done."""

    def __init__(self, live: Live) -> None:
        self._live, self._doing = live, ""
        self._all: list[Candidate] = []

    def progress(self, line: str) -> None:
        self._doing = line
        self._draw()

    def told(self, one: Candidate) -> None:
        self._all.append(one)
        self._draw()

    def _draw(self) -> None:
        table = Table(title=f"Pareto front of {len(self._all)} forms tried", title_justify="left")
        table.add_column("form")
        for heading in ("lost", "agreement", "time", "size"):
            table.add_column(heading, justify="right")
        for one in frontier(self._all):
            table.add_row(
                one.summary,
                one.loss_shown,
                f"{one.agreement:.3f}",
                f"{one.latency_ratio:.2f}",
                f"{one.size_ratio:.2f}",
            )
        self._live.update(Group(table, Text(self._doing, style="dim")))
