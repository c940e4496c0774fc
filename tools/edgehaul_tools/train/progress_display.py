"""How a training shows where it is: a bar on a terminal, lines elsewhere, TensorBoard."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from edgehaul.errors import EdgeHaulError
from edgehaul_tools.train.loop.optimization import EpochReport, Progress, no_progress


@contextmanager
def shown(*, as_json: bool) -> Iterator[Progress]:
    """Show a bar on a terminal, one line for each epoch elsewhere, nothing with ``--json``."""
    if as_json:
        yield no_progress
    elif sys.stderr.isatty():
        with _bar() as progress:
            yield progress
    else:
        yield lambda report: click.echo(epoch_line(report), err=True)


def epoch_line(report: EpochReport) -> str:
    """Return one line that says how far a training is."""
    figure = "" if report.value is None else f"  {report.measure} {report.value:.4f}"
    place = f"epoch {report.epoch}/{report.epochs}"
    return f"{place}  loss {report.loss:.4f}{figure}  {report.elapsed_s:.0f} s"


@contextmanager
def _bar() -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("training", total=None)

        def show(report: EpochReport) -> None:
            bar.update(
                task,
                total=report.epochs,
                completed=report.epoch,
                description=epoch_line(report),
            )

        yield show


@contextmanager
def on_tensorboard(folder: Path, progress: Progress) -> Iterator[Progress]:
    """Write every epoch's figures for TensorBoard, too.

    Args:
        folder: Where its files go; it is made at the first epoch's end, not for a training that
            is refused.
        progress: Is told of every epoch as before.

    Raises:
        EdgeHaulError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an optional extra
    except ModuleNotFoundError as error:
        raise EdgeHaulError(
            f"--tensorboard needs the package {error.name}, which is not installed",
            remedy="run: pip install 'edgehaul[tensorboard]'",
        ) from error
    writers: list[SummaryWriter] = []

    def note(report: EpochReport) -> None:
        if not writers:
            writers.append(SummaryWriter(str(folder)))
        writer = writers[0]
        values = {"loss": report.loss, "learning_rate": report.learning_rate, **report.figures}
        for name, value in values.items():
            writer.add_scalar(name, value, report.epoch)
        writer.flush()
        progress(report)

    try:
        yield note
    finally:
        for writer in writers:
            writer.close()
