"""Several processes that train one network: what ``torchrun`` started, on one or more hosts.

Each takes its slice of every batch, so that all of them together do what one would do alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from edgehaul.errors import ModelError, UsageError

_TIMEOUT = timedelta(minutes=30)
"""How long a process waits for another, which may be evaluating; it ends sooner if that one
dies, as its connection does."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: Its number, from 0, over all hosts.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether it is the one that evaluates, writes and reports."""
        return self.rank == 0

    def slice_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this process's part of a batch's sample numbers (n,), in their order."""
        return np.array_split(numbers, self.count)[self.rank]

    def sum(self, *values: float) -> tuple[float, ...]:
        """Return the sums of the values over all processes."""
        if self.count == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return tuple(float(v) for v in total)

    def from_leader(self, content: bytes) -> bytes:
        """Return the leader's bytes in every process; what others give is not looked at."""
        if self.count == 1:
            return content
        size = torch.tensor(len(content))
        dist.broadcast(size, 0)
        if self.leads:
            data = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else None
        else:
            data = torch.empty(int(size), dtype=torch.uint8)
        if data is None or not int(size):
            return b""
        dist.broadcast(data, 0)
        return bytes(data.numpy())


def this_process() -> Processes:
    """Return which process this is, by the variables that ``torchrun`` sets.

    Raises:
        UsageError: The variables are no numbers.
    """
    try:
        return Processes(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    except ValueError as error:
        raise UsageError(
            "RANK and WORLD_SIZE must be numbers", remedy="start several processes by torchrun"
        ) from error


def processor_threads(wanted: int) -> int:
    """Return how many threads torch gets; 0 divides all among the processes on this host."""
    together = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return wanted or max(1, len(os.sched_getaffinity(0)) // together)


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the other processes, if there are any, and leave them at the end.

    Raises:
        UsageError: The other processes cannot be reached.
        ModelError: Another process has ended.
    """
    processes = this_process()
    if processes.count == 1 or dist.is_initialized():
        yield processes
        return
    try:
        dist.init_process_group("gloo", timeout=_TIMEOUT)
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"process {processes.rank} of {processes.count} cannot join the others: {error}",
            remedy="start all of them by torchrun, and check that hosts reach each other",
        ) from error
    try:
        yield processes
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        raise ModelError(
            f"process {processes.rank} of {processes.count} lost the others",
            remedy="see the error of the process that ended first; then go on with --resume",
        ) from error
    finally:
        dist.destroy_process_group()


def _is_lost_connection(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()
