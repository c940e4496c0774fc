"""Runs jobs, each in a fork of a process that has imported everything once: quick and apart.

Read from the standard input, one JSON object a line: ``{"run": "quantize" | "trial",
"arguments": [...], "seconds": limit, "errors": file}``. Answered on the standard output by
``{"status": exit status, "seconds": taken}``; a negative status is a signal, and
:data:`STOPPED` one that was stopped at its limit.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TRACEBACK = 70
STOPPED = 124


@dataclass(frozen=True)
class End:
    """How a job ended, and what it wrote on the standard error."""

    status: int
    seconds: float
    errors: str


class Forks:
    """Asks the server, one job after the other."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self._process = process
        self._errors = errors

    def __call__(self, run: str, arguments: Sequence[object], seconds: float) -> End:
        assert self._process.stdin
        assert self._process.stdout
        job = {"run": run, "seconds": seconds, "errors": str(self._errors)}
        line = json.dumps({**job, "arguments": [str(a) for a in arguments]})
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return End(**answer, errors=self._errors.read_text("utf-8", "replace"))


@contextmanager
def forks(errors: Path) -> Iterator[Forks]:
    """The server, as long as it is wanted."""
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.forked"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[2],
    ) as process:
        yield Forks(process, errors)


def _serve() -> None:
    import onnxslim  # noqa: PLC0415, F401 - imported once for all forks, by the server alone

    from edgehaul_tools.cli import main  # noqa: PLC0415
    from edgehaul_tools.quantize import command, trial  # noqa: PLC0415

    del command
    for line in sys.stdin:
        job = json.loads(line)
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            file = os.open(job["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            code = TRACEBACK
            try:
                run = {"quantize": main, "trial": trial.main}[job["run"]]
                code = run(job["arguments"])
            except BaseException:  # noqa: BLE001 - whatever it is, it is what the test looks for
                traceback.print_exc()
            finally:
                os._exit(code)
        status = _wait(pid, started + job["seconds"])
        seconds = time.monotonic() - started
        sys.stdout.write(json.dumps({"status": status, "seconds": seconds}) + "\n")
        sys.stdout.flush()


def _wait(pid: int, until: float) -> int:
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return STOPPED


if __name__ == "__main__":
    _serve()
