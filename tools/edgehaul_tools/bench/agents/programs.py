"""Starts programs whose time and memory are measured, ours and the peers'."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec

from edgehaul.messages.payloads import CountEvent, DetectionsData, EventData
from edgehaul.subscriber.client import Subscriber
from edgehaul_tools.bench.agents.material import LINE, NAME, SIDE_PX, VARIANTS
from edgehaul_tools.bench.peers.environment import run_program

AGENT = (sys.executable, "-m", "edgehaul_agent")
_SCRIPTS = Path(__file__).with_name("peers")
_LIMIT_S = 600
_STEP_S, _QUIET_S = 0.1, 1.0
_SCORE, _IOU = 0.3, 0.5


class Took(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a program.

    Attributes:
        cpu_s: Processor time of the whole process.
        wall_s: From its start to its end.
        rss_peak_mib: Most resident memory.
        first_result_s: From its start to its first result; 0 where none was asked for.
        forward: Crossings to the right; none where nothing was counted.
        backward: Crossings to the left.
        note: What there is to say about it.
        versions: Of its packages.
    """

    cpu_s: float
    wall_s: float
    rss_peak_mib: float
    first_result_s: float = 0.0
    forward: int | None = None
    backward: int | None = None
    note: str = ""
    versions: dict[str, str] = {}


@dataclass(frozen=True)
class Engine:
    """What runs the model in a peer's script.

    Attributes:
        python: Of its environment.
        script: In ``peers``.
        model: The ONNX file.
        threads: Of the engine; 0 as shipped.
    """

    python: Path
    script: str
    model: Path
    threads: int


def run_peer(engine: Engine, clip: Path, folder: Path, *, part: str, port: int = 0) -> Took:
    """Run a contender's script on a clip.

    Args:
        engine: What runs the model.
        clip: The video.
        folder: For the job and what came of it.
        part: ``whole``, or ``bare`` for decoding and the model alone.
        port: The broker's; 0 for none.

    Raises:
        PeerFaultError: It fails; the text says why.
    """
    job = {
        "clip": str(clip),
        "model": str(engine.model),
        "side": SIDE_PX,
        "line": LINE,
        "score": _SCORE,
        "iou": _IOU,
        "threads": engine.threads,
        "port": port,
        "part": part,
    }
    asked, answer = folder / "job.json", folder / "answer.json"
    asked.write_text(json.dumps(job), encoding="utf-8")
    child = [str(_SCRIPTS / "child.py"), engine.script, str(asked), str(answer)]
    took = _launch([str(engine.python), "-I", *child], folder)
    told: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return _took(
        took,
        told["first_result_s"],
        forward=told.get("forward"),
        backward=told.get("backward"),
        note=told.get("note", ""),
        versions=told["versions"],
    )


def install_agent(bundle: Path, root: Path) -> None:
    """Install the bundle below a root folder.

    Raises:
        PeerFaultError: It fails.
    """
    _run_own([*AGENT, "install", str(bundle), "--root", str(root)])


def run_agent(root: Path, clip: Path, form: str, folder: Path, *, port: int) -> Took:
    """Run our agent on a clip, with tracking, a counting line, its spool and the broker.

    Raises:
        PeerFaultError: It fails.
    """
    line = {"name": "middle", "points": LINE}
    stream = {
        "name": "camera",
        "source": {"type": "file", "path": str(clip)},
        "model": NAME,
        "variant": VARIANTS[form],
        "lines": [line],
    }
    config = write_device(folder / "device.yaml", [stream], root=root, port=port)
    with _Listener(port) as listener:
        took = _launch([*AGENT, "run", "--config", str(config)], folder)
    return _took(
        took,
        listener.first_s,
        forward=listener.counts.get("forward", 0),
        backward=listener.counts.get("backward", 0),
    )


def write_device(
    path: Path,
    streams: Sequence[Mapping[str, object]],
    *,
    root: Path,
    port: int,
    spool: Mapping[str, object] | None = None,
) -> Path:
    """Write a configuration of the agent, which YAML's reader takes as JSON."""
    config = {
        "root": str(root),
        "device": {"id": "bench", "site": "bench"},
        "mqtt": {"port": port, "acknowledge": "puback"},
        "spool": spool or {},
        "streams": streams,
    }
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


class _Listener(threading.Thread):
    """Listens to the agent, as a dashboard would; use it in ``with``."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.first_s = 0.0
        self.counts: dict[str, int] = {}
        self._numbers: set[tuple[str, int]] = set()
        self._over = threading.Event()
        self._subscriber = Subscriber(port=port, filter="edgehaul/v1/bench/bench/#")

    def __enter__(self) -> Self:
        self._subscriber.__enter__()
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self.join()
        self._subscriber.__exit__()

    def run(self) -> None:
        """Listen until it is over and nothing comes any more."""
        heard_s = time.monotonic()
        while not self._over.is_set() or time.monotonic() - heard_s < _QUIET_S:
            message = self._subscriber.receive(_STEP_S)
            if message is None:
                continue
            heard_s = time.monotonic()
            number = (message.envelope.epoch, message.envelope.sequence)
            if number in self._numbers:  # what was not confirmed in time comes again
                continue
            self._numbers.add(number)
            data = message.envelope.data
            if isinstance(data, DetectionsData):
                self.first_s = self.first_s or time.time()
            elif isinstance(data, EventData) and isinstance(data.event, CountEvent):
                direction = data.event.direction
                self.counts[direction] = self.counts.get(direction, 0) + 1


def _took(took: Mapping[str, float], first_s: float, **more: Any) -> Took:  # noqa: ANN401 - of Took
    return Took(
        cpu_s=took["cpu_s"],
        wall_s=took["wall_s"],
        rss_peak_mib=took["rss_peak_mib"],
        first_result_s=first_s - took["started_s"] if first_s else 0.0,
        **more,
    )


def _launch(command: Sequence[str], folder: Path) -> dict[str, float]:
    result = folder / "took.json"
    result.unlink(missing_ok=True)
    _run_own([sys.executable, "-I", str(_SCRIPTS / "launch.py"), str(result), *command])
    content: dict[str, float] = json.loads(result.read_text(encoding="utf-8"))
    return content


def _run_own(command: Sequence[str]) -> None:
    run_program(command, limit_s=_LIMIT_S, failing="fails", is_own=True)
