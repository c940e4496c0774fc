"""``edgehaul-agent bench``: its options, and what it prints."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgehaul.errors import EXIT_OK
from edgehaul_agent.benching.bench import Plan, bench
from edgehaul_agent.benching.report import lines_of
from edgehaul_agent.benching.setting import Given

HELP = "measure on this box what the agent costs, stage by stage"
MORE = (
    "The pipeline is that of run, with a durable spool of its own in a temporary folder; results "
    "are published where --broker or --config names a broker that answers, under the device "
    "bench/bench. What is installed, and an agent that runs, are left alone. Efficiency is the "
    "processor time that decoding and the model alone need / that of the whole agent, in turns."
)
FRAMES, ROUNDS = 200, 3
_MOST_STREAMS, _LEAST_FRAMES, _MOST_FRAMES, _MOST_ROUNDS = 64, 20, 1_000_000, 1000
_MOST_RATE_FPS, _MOST_SECONDS = 1000.0, 86_400.0
_PORT, _MOST_PORT = 1883, 65_535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "model", metavar="MODEL", help="a bundle file, or the name of an installed model"
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--root", metavar="DIR", help="the root folder that the model is below")
    place.add_argument(
        "--config",
        metavar="FILE",
        help="the device's configuration: its root, engine, workers, spool and broker",
    )
    parser.add_argument("--variant", default="", metavar="NAME", help="default: the one chosen")
    parser.add_argument(
        "--streams", type=_whole(1, _MOST_STREAMS), default=1, metavar="N", help="default: 1"
    )
    parser.add_argument(
        "--source", metavar="FILE", help="a video, for all streams (default: the virtual camera)"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--frames",
        type=_whole(_LEAST_FRAMES, _MOST_FRAMES),
        metavar="N",
        help=f"frames of each stream in each run (default: {FRAMES})",
    )
    length.add_argument(
        "--seconds",
        type=_above_zero(_MOST_SECONDS),
        metavar="S",
        help="length of each run, in place of a number of frames",
    )
    parser.add_argument(
        "--rate",
        type=_above_zero(_MOST_RATE_FPS),
        default=0.0,
        metavar="FPS",
        help="frames a second that each stream offers, the latest wins (default: full speed)",
    )
    parser.add_argument(
        "--rounds",
        type=_whole(1, _MOST_ROUNDS),
        default=ROUNDS,
        metavar="N",
        help="runs of each kind, in turns (default: %(default)s)",
    )
    parser.add_argument(
        "--broker", type=_broker, metavar="HOST[:PORT]", help="publish there as well"
    )


def run_bench(options: argparse.Namespace) -> int:
    """Measure, and print the table or JSON."""
    given = Given(
        model=options.model,
        config=_path(options.config),
        root=_path(options.root),
        variant=options.variant,
        streams=options.streams,
        source=_path(options.source),
        live=options.rate > 0,
    )
    plan = Plan(
        given=given,
        broker=options.broker,
        frames=options.frames or (0 if options.seconds else FRAMES),
        duration_s=options.seconds or 0.0,
        rate_fps=options.rate,
        rounds=options.rounds,
    )
    found = bench(plan, _tell)
    if options.json:
        print(msgspec.json.encode(found).decode())
    else:
        print("\n".join(lines_of(found)))
    return EXIT_OK


def _tell(line: str) -> None:
    if sys.stderr.isatty():
        print(line, file=sys.stderr)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _whole(least: int, most: int) -> Callable[[str], int]:
    """Return what reads a whole number between two others."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number in {least}..{most}")
        return int(text)

    return read


def _above_zero(most: float) -> Callable[[str], float]:
    """Return what reads a number above 0."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not above 0, up to {most:g}")
        return value

    return read


def _broker(text: str) -> tuple[str, int]:
    """Return host and port.

    Raises:
        ArgumentTypeError: It names none.
    """
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = text, str(_PORT)
    if not host or not port.isdecimal() or not 1 <= int(port) <= _MOST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST or HOST:PORT")
    return host, int(port)
