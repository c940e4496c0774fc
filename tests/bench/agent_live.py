"""Live streams on a small box: how many frames a second, how fairly, how late, in how much memory.

The clip of ``edgehaul bench agent`` plays in real time, over and over, on as many streams as
``--streams`` says, 25 frames a second each, and the agent looks at the latest ones. It is stopped
after ``--seconds``; a subscriber on a real mosquitto measures how long after its capture each
frame's detections, and each event, arrive. Detections wait for their group (``--group-ms``, see
``SpoolSection``), events do not. Each number of streams runs in an agent of its own, as often in
turns as ``--rounds`` says. Run::

    python tests/bench/agent_live.py --work FOLDER [--streams 1,4,8,16]
"""

import argparse
import json
import re
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from saying import say

from edgehaul.clock import parse_utc
from edgehaul.messages.codec import decode
from edgehaul.mqtt import BrokerAddress, Connector, Received, Session
from edgehaul_tools.bench.agents.broker import mosquitto
from edgehaul_tools.bench.agents.material import LINE, NAME, VARIANTS, Material, prepare
from edgehaul_tools.bench.agents.programs import AGENT, install_agent, write_device

_WARM_UP_S = 3.0


@dataclass(frozen=True)
class Run:
    """What one run gave.

    Attributes:
        processed: Frames by stream.
        seconds: How long it ran.
        latencies_ms: From capture to the subscriber, after the warm-up, of detections.
        event_latencies_ms: The same of events.
        rss_mb: Resident memory after the warm-up, and at the end.
    """

    processed: list[int]
    seconds: float
    latencies_ms: list[float]
    event_latencies_ms: list[float]
    rss_mb: tuple[float, float]


class Listener(threading.Thread):
    """Measures how late detections and events come."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.latencies_ms: dict[str, list[float]] = {"detections": [], "events": []}
        self.over = threading.Event()
        self._from_s = time.time() + _WARM_UP_S
        wake = threading.Event()
        self._link = Connector(BrokerAddress(host="127.0.0.1", port=port), wake=wake).open(
            Session(client_id="bench-listener")
        )
        self._link.subscribe([f"edgehaul/v1/bench/bench/{kind}/#" for kind in self.latencies_ms])

    def run(self) -> None:
        """Listen until it is over."""
        while not self.over.is_set():
            for event in self._link.events():
                now_s = time.time()
                if isinstance(event, Received) and now_s > self._from_s:
                    captured_s = parse_utc(decode(event.content).time)
                    kind = event.topic.split("/")[4]
                    self.latencies_ms[kind].append((now_s - captured_s) * 1000)
            self._link.wait(0.05)
        self._link.close()


def rss_mb(pid: int) -> float:
    """Return a process's resident memory in MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def run_once(
    material: Material, variant: str, streams: int, seconds: float, spool: dict[str, object]
) -> Run:
    """Run the agent for some seconds."""
    with tempfile.TemporaryDirectory() as name, mosquitto() as port:
        folder, clip = Path(name), material.clips[1]
        install_agent(material.bundle, folder / "root")
        stream = {
            "source": {"type": "file", "path": str(clip), "realtime": True, "loop": True},
            "model": NAME,
            "variant": VARIANTS[variant],
            "policy": "latest",
            "lines": [{"name": "middle", "points": LINE}],
        }
        named = [{**stream, "name": f"camera{number}"} for number in range(streams)]
        config = write_device(
            folder / "device.yaml", named, root=folder / "root", port=port, spool=spool
        )
        listener = Listener(port)
        process = subprocess.Popen(
            [*AGENT, "run", "--json", "--config", str(config)], stdout=subprocess.PIPE
        )
        listener.start()
        time.sleep(_WARM_UP_S)
        first_mb = rss_mb(process.pid)
        time.sleep(seconds)
        last_mb = rss_mb(process.pid)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate()
        listener.over.set()
        listener.join()
    report = json.loads(output)
    health = report["streams"].values()
    took_s = statistics.median(one["processed"] / max(one["fps"], 1e-6) for one in health)
    counts = [one["processed"] for one in health]
    late = listener.latencies_ms
    return Run(counts, took_s, late["detections"], late["events"], (first_mb, last_mb))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="keeps clips and models")
    parser.add_argument("--streams", default="1,4,8,16")
    parser.add_argument("--variant", default="int8", choices=list(VARIANTS))
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--group-ms", type=int, help="instead of the default")
    given = parser.parse_args()
    material = prepare(given.work.absolute())
    numbers = [int(part) for part in given.streams.split(",")]
    spool: dict[str, object] = {} if given.group_ms is None else {"group_ms": given.group_ms}
    runs: dict[int, list[Run]] = {number: [] for number in numbers}
    for _ in range(given.rounds):
        for number in numbers:
            runs[number].append(run_once(material, given.variant, number, given.seconds, spool))
    heads = ("streams", "frames/s", "least/most", "median ms", "99 % ms", "events: median", "99 %")
    say("{:>8}{:>10}{:>12}{:>11}{:>9}{:>15}{:>7}{:>7}{:>11}".format(*heads, "MiB", "MiB later"))
    for number, made in runs.items():
        rate = statistics.median(sum(one.processed) / one.seconds for one in made)
        fair = min(min(one.processed) / max(one.processed) for one in made)
        late = np.concatenate([one.latencies_ms for one in made])
        p50, p99 = np.percentile(late, [50, 99])
        e50, e99 = np.percentile(np.concatenate([one.event_latencies_ms for one in made]), [50, 99])
        first, last = (statistics.median(one.rss_mb[at] for one in made) for at in (0, 1))
        say(
            f"{number:>8}{rate:>10.1f}{fair:>12.2f}{p50:>11.1f}{p99:>9.1f}{e50:>15.1f}{e99:>7.1f}"
            f"{first:>7.0f}{last:>11.0f}"
        )


if __name__ == "__main__":
    main()
