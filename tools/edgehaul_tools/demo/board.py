"""Shows the stages of the demo as they run: bars on a terminal, one line each elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

Advance = Callable[[int, int], None]
"""Told how much is done, of how much."""


class Board:
    """Runs stages one after the other and measures them.

    Args:
        console: Where to show.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self.stages: list[tuple[str, float]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        """Show a stage while its ``with`` runs."""
        start_s = time.monotonic()
        if self._console.is_terminal:
            with self._bar(name) as advance:
                yield advance
        else:
            yield lambda _done, _total: None
        duration_s = time.monotonic() - start_s
        self.stages.append((name, duration_s))
        self._console.print(f"[green]done[/green]  {name:<42} {duration_s:6.1f} s")

    @contextmanager
    def _bar(self, name: str) -> Iterator[Advance]:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<42}"),
            BarColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task(name, total=None)

            def advance(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            yield advance
