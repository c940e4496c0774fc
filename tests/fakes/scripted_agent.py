"""``python -m tests.fakes.scripted_agent run --config FILE``: an agent whose model fails once.

Everything else is the real agent. ``FAULT`` says whether the model's run number ``FAULT_AT``, of
all streams together, is to ``raise`` or to ``hang``.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import sys
import threading
from pathlib import Path

from edgehaul.config.device import DeviceConfig
from edgehaul.config.loader import load
from edgehaul_agent.assembly import Assembly
from edgehaul_agent.cli import run_agent
from edgehaul_agent.engines import EngineOpener
from edgehaul_agent.inference.engine import Array, Engine
from edgehaul_agent.reload import Reloader

FAULT = os.environ["FAULT"]
FAULT_AT = int(os.environ["FAULT_AT"])
RUNS = itertools.count()


class FailingEngine:
    """A real engine that fails once in the life of the process."""

    def __init__(self, engine: Engine) -> None:
        self.inputs, self.outputs = engine.inputs, engine.outputs
        self.providers = engine.providers
        self._engine = engine

    def run(self, tensor: Array) -> list[Array]:
        if next(RUNS) == FAULT_AT:
            if FAULT == "hang":
                threading.Event().wait()
            raise RuntimeError("this model fails")
        return self._engine.run(tensor)


class FailingOpener(EngineOpener):
    """Opens such engines."""

    def open(self, path: Path, threads: int = 1, *, optimised: bool = False) -> Engine:
        return FailingEngine(super().open(path, threads, optimised=optimised))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["run"])
    parser.add_argument("--config", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--drain-timeout-s", type=float)
    options = parser.parse_args()
    logging.basicConfig(level="WARNING", stream=sys.stderr)
    path = options.config
    config = load(path, DeviceConfig)
    assembly = Assembly(
        config,
        path.parent,
        opener=FailingOpener(config.engine, path.parent / config.root),
    )
    reloader = Reloader(lambda: load(path, DeviceConfig))
    return run_agent(
        assembly, reloader, drain_timeout_s=options.drain_timeout_s, as_json=options.json
    )


if __name__ == "__main__":
    sys.exit(main())
