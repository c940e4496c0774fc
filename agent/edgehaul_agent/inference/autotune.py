"""Timing models the way the agent will run them.

Two questions are answered. How much time does a frame take while all workers run one shared session
with one thread each (:func:`time_shared`)? And how long does one stream alone wait for an answer,
by number of threads within a run (:func:`time_alone`)? What is compared is measured in turns, so
that whatever else the machine does is shared, and medians are taken; what is far behind after some
rounds is left out of the others.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from edgehaul_agent.inference.engine import Array, Engine

MAX_ROUNDS = 25
"""Of variants to choose from."""
FEW_ROUNDS = 5
"""Where nothing is chosen by the figures."""
_FAIR_ROUNDS = 3
_HOPELESS = 1.5
"""What takes so many times as long as the fastest after some rounds is measured no further."""
_TURN_S = 0.04
"""A turn with one engine takes so long at least: shorter ones measure threads that start."""
_MAX_RUNS = 200

Key = TypeVar("Key", bound=Hashable)
Timer = Callable[[], float]


def time_shared(
    engines: Mapping[Key, Engine],
    tensor: Array,
    *,
    workers: int,
    budget_s: float,
    timer: Timer = time.perf_counter,
) -> dict[Key, float]:
    """Return the time of a frame, in ms, while ``workers`` threads run each engine at once.

    Args:
        engines: What is compared.
        tensor: What goes in.
        workers: Threads that share an engine.
        budget_s: No turn begins later than this, but for the first of each.
        timer: Seconds from any start.

    Raises:
        ModelError: A run failed.
    """

    def run(engine: Engine, runs: int) -> float:
        start_s = timer()
        for done in [pool.submit(_repeat, engine, tensor, runs) for _ in range(workers)]:
            done.result()
        return (timer() - start_s) * 1000 / (workers * runs)

    rounds = MAX_ROUNDS if len(engines) > 1 else FEW_ROUNDS
    with ThreadPoolExecutor(workers) as pool:
        return _in_turns(engines, run, rounds=rounds, budget_s=budget_s, timer=timer)


def time_alone(
    engines: Mapping[Key, Engine],
    tensor: Array,
    *,
    budget_s: float,
    timer: Timer = time.perf_counter,
) -> dict[Key, float]:
    """Return the time of a run, in ms, of each engine while nothing else runs.

    Args:
        engines: What is compared.
        tensor: What goes in.
        budget_s: No turn begins later than this, but for the first of each.
        timer: Seconds from any start.

    Raises:
        ModelError: A run failed.
    """

    def run(engine: Engine, runs: int) -> float:
        start_s = timer()
        _repeat(engine, tensor, runs)
        return (timer() - start_s) * 1000 / runs

    return _in_turns(engines, run, rounds=FEW_ROUNDS, budget_s=budget_s, timer=timer)


def _in_turns(
    engines: Mapping[Key, Engine],
    run: Callable[[Engine, int], float],
    *,
    rounds: int,
    budget_s: float,
    timer: Timer,
) -> dict[Key, float]:
    start_s = timer()
    # The first run of all touches the memory, and tells how many make a turn.
    runs = {key: _runs_for(run(engine, 1)) for key, engine in engines.items()}
    samples = {key: [run(engine, runs[key])] for key, engine in engines.items()}
    for number in range(1, rounds):
        for key in list(engines) if number < _FAIR_ROUNDS else _hopeful(samples):
            if timer() - start_s >= budget_s:
                return _medians(samples)
            samples[key].append(run(engines[key], runs[key]))
    return _medians(samples)


def _medians(samples: Mapping[Key, list[float]]) -> dict[Key, float]:
    return {key: statistics.median(times) for key, times in samples.items()}


def _hopeful(samples: Mapping[Key, list[float]]) -> list[Key]:
    medians = _medians(samples)
    most_ms = _HOPELESS * min(medians.values())
    return [key for key, time_ms in medians.items() if time_ms <= most_ms]


def _runs_for(time_ms: float) -> int:
    return max(1, min(_MAX_RUNS, round(_TURN_S * 1000 / max(time_ms, 1e-3))))


def _repeat(engine: Engine, tensor: Array, runs: int) -> None:
    for _ in range(runs):
        engine.run(tensor)


def thread_counts(cores: int) -> tuple[int, ...]:
    """Return the numbers of threads to try on so many processors: powers of two, and all."""
    return tuple(sorted({2**power for power in range(cores.bit_length())} | {cores}))
