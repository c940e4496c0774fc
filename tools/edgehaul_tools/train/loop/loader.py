"""Batches made ahead of time in threads, in an order that does not depend on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import cv2
import torch

Job = TypeVar("Job")
Made = TypeVar("Made")

_AHEAD = 2
"""Batches that wait ready for each loader thread; more would only take memory."""
MOST_LOADERS = 4


def made_ahead(
    make: Callable[[Job], Made], jobs: Iterable[Job], loaders: int
) -> Generator[tuple[Job, Made]]:
    """Yield each job with what ``make`` makes of it, in the order of the jobs.

    Threads are enough: cv2 and numpy release the interpreter's lock while they work.

    Args:
        make: Called in ``loaders`` threads; what it raises is raised here, at its job's turn.
        jobs: What to make; taken in this thread, only as far ahead as batches are made.
        loaders: Number of threads.
    """
    # A loader's own operations must not start a team of threads each: there are loaders enough.
    pool = ThreadPoolExecutor(loaders, "loader", torch.set_num_threads, (1,))
    threads_before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    waiting: deque[tuple[Job, Future[Made]]] = deque()
    coming = iter(jobs)
    try:
        while True:
            for job in islice(coming, loaders * _AHEAD - len(waiting)):
                waiting.append((job, pool.submit(make, job)))
            if not waiting:
                return
            job, future = waiting.popleft()
            yield job, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        cv2.setNumThreads(threads_before)
