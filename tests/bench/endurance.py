"""Half a day of frames through one agent, with new models meanwhile: what grows, what is lost?

A clip of small pictures plays over and over as fast as the agent goes, every frame of it, through
a tiny detector, tracker, a counting line, a zone, pictures of events, the durable spool and a real
mosquitto to a collector that acknowledges. New versions of the model are installed by
``edgehaul-agent install`` and taken over at SIGHUP, spread over the run. An hour's worth is 90,000
frames, 25 a second; health is told as often in it as in an hour by default. What hangs on the clock
alone (reconnects, sessions that expire) is not made faster. Run::

    python tests/bench/endurance.py --work FOLDER [--hours 12] [--swaps 20]
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
from saying import say
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[2]))

from edgehaul.subscriber.client import ReceivedMessage, Subscriber
from edgehaul.subscriber.collector import Collector, collected_topics
from edgehaul.subscriber.ordering import SequenceTotals
from tests.brokers import Mosquitto
from tests.fakes.devices import make_device, write_model_bundle
from tests.fakes.models import write_tiny_detector
from tests.fakes.processes import Vitals, vitals_of

FPS = 25
HOUR_FRAMES = 3600 * FPS
PERIOD, PERIODS = 200, 10
"""Frames in which the object goes to and fro across the line, and how often a clip shows it."""
SIDE_PX = 64
LEVELS = (60, 200)
BALLAST_MIB = 8
"""Weights of the model, so that a session which is kept is seen."""
WARM_UP = 0.15
"""Part of the run that the slope leaves out."""
BLOCKS, ROWS = 40, 24
HEALTH_S, SAMPLE_S = 1.0, 2.0
AGENT = (sys.executable, "-m", "edgehaul_agent")


def draw_clip(path: Path) -> Path:
    """Write pictures that grow brighter and darker: the detector's one box follows their level."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (SIDE_PX, SIDE_PX))
    for frame in range(PERIODS * PERIOD):
        part = abs((frame % PERIOD) / (PERIOD / 2) - 1)
        level = LEVELS[1] - part * (LEVELS[1] - LEVELS[0])
        writer.write(np.full((SIDE_PX, SIDE_PX, 3), round(level), np.uint8))
    writer.release()
    return path


class Tally:
    """A sink that only counts."""

    def __init__(self) -> None:
        self.channels: Counter[str] = Counter()

    def write(self, batch: Sequence[ReceivedMessage]) -> int:
        """Count messages by channel, and events by what they tell."""
        for message in batch:
            event = getattr(message.envelope.data, "event", None)
            channel = message.topic.split("/")[4]
            self.channels[channel if event is None else f"{channel} {type(event).__name__}"] += 1
        return len(batch)

    def stored(self) -> Iterator[object]:
        """Know of nothing from before."""
        return iter(())

    def close(self) -> None:
        """Do nothing."""


class Listener(threading.Thread):
    """Collects and acknowledges until it is over."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.tally = Tally()
        self.over = threading.Event()
        self.ready = threading.Event()
        self._port = port

    def run(self) -> None:
        """Collect."""
        with Subscriber(port=self._port, filter=collected_topics()) as source:
            self._collector = Collector(source, self.tally, name="endurance")
            self.ready.set()
            while not self.over.is_set():
                self._collector.step(0.2)

    @property
    def account(self) -> SequenceTotals:
        """What was numbered by the device, and what came of it."""
        (account,) = self._collector.ledger.totals()
        return account


@dataclass(frozen=True)
class Sample:
    """How the agent is at one moment.

    Attributes:
        frames: Processed so far.
        vitals: Its memory, descriptors and threads.
        spool_mib: Size of the spool's files.
        pending: Messages in it.
    """

    frames: int
    vitals: Vitals
    spool_mib: float
    pending: int


class Watched:
    """An agent that runs, and what can be read of it from outside.

    Args:
        config: Its configuration.
    """

    def __init__(self, config: Path) -> None:
        self._root = config.parent / "device"
        self.config = config
        words = [*AGENT, "run", "--config", str(config), "--json", "--drain-timeout-s", "120"]
        with config.with_suffix(".log").open("w") as errors:
            self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors)
        self.samples: list[Sample] = []

    def status(self) -> dict[str, object]:
        """Return the status file; nothing where there is none yet."""
        try:
            return json.loads((self._root / "run/status.json").read_bytes())
        except FileNotFoundError:
            return {}

    @property
    def version(self) -> str:
        """The version of the model that the agent says it runs."""
        models = self.status().get("models", [])
        return ", ".join(model["version"] for model in models)

    def sample(self) -> Sample | None:
        """Look at it once."""
        if self.process.poll() is not None:
            raise SystemExit(f"the agent has ended: {self.config.with_suffix('.log').read_text()}")
        status = self.status()
        if not status:
            return None
        health = status["health"]
        size = sum(file.stat().st_size for file in (self._root / "spool").glob("spool.db*"))
        taken = Sample(
            health["streams"]["belt"]["processed"],
            vitals_of(self.process.pid),
            size / 2**20,
            health["spool"]["pending"],
        )
        self.samples.append(taken)
        return taken

    def swap(self, bundle: Path, version: str) -> float:
        """Install another version and let the agent take it; return the seconds from SIGHUP on."""
        words = [*AGENT, "install", str(bundle), "--config", str(self.config)]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        started_s = time.monotonic()
        self.process.send_signal(signal.SIGHUP)
        while self.version != version:
            if time.monotonic() - started_s > 60:
                raise SystemExit(f"version {version} has not been taken over, but {self.version}")
            time.sleep(0.02)
        return time.monotonic() - started_s

    def stop(self) -> dict[str, object]:
        """End it in good order and return its report."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=300)
        return json.loads(output)


def slope(samples: Sequence[Sample]) -> tuple[float, float, float]:
    """Return the growth of memory in MiB per hour's worth, and its 95 % interval.

    Least squares on means of blocks; the interval is wider the more the residuals of neighbours
    are alike (Santer et al. 2000, effective sample size by the autocorrelation at lag 1).
    """
    late = [s for s in samples if s.frames >= WARM_UP * samples[-1].frames]
    blocks = np.array_split(np.arange(len(late)), min(BLOCKS, len(late)))
    hours = np.array([np.mean([late[i].frames for i in b]) for b in blocks]) / HOUR_FRAMES
    rss = np.array([np.mean([late[i].vitals.rss_mib for i in b]) for b in blocks])
    fit = stats.linregress(hours, rss)
    residuals = rss - fit.intercept - fit.slope * hours
    alike = max(0.0, float(np.corrcoef(residuals[:-1], residuals[1:])[0, 1]))
    count = len(hours) * (1 - alike) / (1 + alike)
    if count <= 2:
        return float(fit.slope), float("-inf"), float("inf")
    error = float(fit.stderr) * np.sqrt((len(hours) - 2) / (count - 2))
    reach = float(stats.t.ppf(0.975, count - 2)) * error
    return float(fit.slope), float(fit.slope) - reach, float(fit.slope) + reach


def tell(one: Sample) -> None:
    """Print how memory, descriptors, threads and spool are."""
    say(
        f"{one.frames / HOUR_FRAMES:8.2f}{one.frames:10}{one.vitals.rss_mib:9.1f}"
        f"{one.vitals.files:7}{one.vitals.threads:9}{one.spool_mib:11.2f}{one.pending:7}"
    )


def run(agent: Watched, bundles: Sequence[Path], frames: int) -> list[float]:
    """Let the agent process so many frames, and swap its model at even intervals."""
    took_s: list[float] = []
    told = 0
    say("   hours    frames      MiB  files  threads  spool MiB   held")
    while True:
        now = agent.sample()
        done = now.frames if now is not None else 0
        if now is not None and done >= frames * told / ROWS:
            tell(now)
            told = done * ROWS // frames + 1
        if done >= frames and len(took_s) == len(bundles):
            return took_s
        if len(took_s) < len(bundles) and done >= frames * (len(took_s) + 1) / (len(bundles) + 1):
            took_s.append(agent.swap(bundles[len(took_s)], f"1.0.{len(took_s) + 1}"))
        time.sleep(SAMPLE_S)


def conclude(agent: Watched, listener: Listener, took_s: Sequence[float], elapsed_s: float) -> None:
    """Stop the agent and print what came of it all."""
    report = agent.stop()
    listener.over.set()
    listener.join()
    stream, spool = report["streams"]["belt"], report["spool"]
    processed = stream["processed"]
    worth = f"{processed / HOUR_FRAMES:.2f} hours' worth in {elapsed_s / 60:.1f} min"
    say(f"{worth}, {processed / elapsed_s:.0f} frames a second")
    counters = ("frames", "processed", "dropped", "bad", "restarts", "snapshots_lost")
    say("stream: " + told_of(stream, *counters))
    account = spool | msgspec.to_builtins(listener.account)
    named = ("produced", "received", "duplicates", "declared_lost", "missing", "write_errors")
    say(f"messages: {told_of(account, *named)}, delivered {report['delivered']}")
    say(f"  {told_of(listener.tally.channels, *sorted(listener.tally.channels))}")
    counted, passes = listener.tally.channels["events CountEvent"], 2 * processed // PERIOD
    say(f"line: {counted} crossings told, {passes} in as many frames without a break")
    if took_s:
        times = f"{np.median(took_s):.2f} s, at most {max(took_s):.2f} s"
        say(f"{len(took_s)} swaps; from SIGHUP until the status tells of the new version: {times}")
    middle, least, most = slope(agent.samples)
    say(f"memory: {middle:+.3f} MiB per hour's worth (95 % interval {least:+.3f} to {most:+.3f})")


def told_of(numbers: Mapping[str, object], *names: str) -> str:
    """Return some of the numbers in words."""
    return ", ".join(f"{name} {numbers[name]}" for name in names)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, required=True, help="for clip, models and device")
    parser.add_argument("--hours", type=float, default=12.0, help="worth of frames")
    parser.add_argument("--swaps", type=int, default=20, help="new versions of the model")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=given.work.absolute(), prefix="endurance-"))
    clip = draw_clip(folder / "clip.avi")
    model = write_tiny_detector(folder / "model.onnx", ballast_mib=BALLAST_MIB)
    bundles = [
        write_model_bundle(folder / "bundles", version=f"1.0.{number + 1}", model=model)
        for number in range(given.swaps)
    ]
    x = 8 * SIDE_PX / 32
    belt = {
        "name": "belt",
        "model": "parcels",
        "source": {"type": "file", "path": str(clip), "loop": True},
        "lines": [{"name": "middle", "points": [[x, SIDE_PX], [x, 0]]}],
        "zones": [
            {"name": "left", "points": [[0, 0], [x, 0], [x, SIDE_PX], [0, SIDE_PX]]},
        ],
        "snapshots": {},
    }
    with Mosquitto(folder / "broker") as broker:
        listener = Listener(broker.port)
        listener.start()
        listener.ready.wait()
        config = make_device(
            folder,
            port=broker.port,
            source={},
            model=model,
            streams=[belt],
            health={"interval_s": HEALTH_S},
            mqtt={"port": broker.port, "backlog_per_s": 1e5, "window": 100},
        )
        started_s = time.monotonic()
        agent = Watched(config)
        try:
            took_s = run(agent, bundles, round(given.hours * HOUR_FRAMES))
            conclude(agent, listener, took_s, time.monotonic() - started_s)
        finally:
            agent.process.kill()


if __name__ == "__main__":
    main()
