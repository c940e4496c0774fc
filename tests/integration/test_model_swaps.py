"""New versions of a model under a running agent: it takes them, and nothing of the old is left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.brokers import Mosquitto
from tests.fakes.devices import make_device, write_model_bundle
from tests.fakes.models import write_tiny_detector
from tests.fakes.processes import Vitals, vitals_of
from tests.fakes.running import RunningCollector, wait_until

AGENT = [sys.executable, "-m", "edgehaul_agent"]
SOURCE = {"type": "virtual_conveyor", "frames": 0, "width": 96, "height": 96}
BALLAST_MIB = 32


@pytest.mark.broker
@pytest.mark.slow
def test_three_swaps_under_load_leave_nothing_behind_and_lose_nothing(tmp_path: Path) -> None:
    model = write_tiny_detector(tmp_path / "large.onnx", ballast_mib=BALLAST_MIB)
    with (
        Mosquitto(tmp_path / "broker") as broker,
        RunningCollector(broker.port, tmp_path / "results.db") as collector,
    ):
        config = make_device(
            tmp_path,
            port=broker.port,
            source=SOURCE,
            model=model,
            health={"interval_s": 0.2},
            mqtt={"port": broker.port, "backlog_per_s": 1e5},
        )
        words = [*AGENT, "run", "--config", str(config), "--json", "--drain-timeout-s", "60"]
        with (
            config.with_suffix(".log").open("w") as errors,
            subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors) as process,
        ):
            try:
                works(config, "1.0.0")
                before = steady(process.pid)
                rss_mib = [before.rss_mib]
                for version in ("1.0.1", "1.0.2", "1.0.3"):
                    bundle = write_model_bundle(tmp_path / version, version=version, model=model)
                    swap(config, process, bundle, version)
                    now = steady(process.pid)
                    rss_mib.append(now.rss_mib)
                    assert (now.files, now.threads) == (before.files, before.threads)
                process.send_signal(signal.SIGTERM)
                output, _ = process.communicate(timeout=120)
            finally:
                process.kill()
        report = json.loads(output)
        account = collector.account()
    assert report["delivered"]
    assert report["streams"]["dock"]["restarts"] == 0, "to take over a model is no failure"
    assert report["streams"]["dock"]["dropped"] == report["streams"]["dock"]["bad"] == 0
    assert account.received == report["spool"]["produced"]
    assert (account.missing, account.declared_lost) == (0, 0)
    assert rss_mib[-1] - rss_mib[0] < 0.75 * BALLAST_MIB, rss_mib
    print(f"MiB: {', '.join(f'{mib:.1f}' for mib in rss_mib)}")  # noqa: T201 - for reports


def swap(config: Path, process: subprocess.Popen[bytes], bundle: Path, version: str) -> None:
    """Install another version, and wait until the agent works with it."""
    words = [*AGENT, "install", str(bundle), "--config", str(config)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, timeout=120)
    process.send_signal(signal.SIGHUP)
    works(config, version)


def works(config: Path, version: str) -> None:
    """Wait until the agent delivers what it sees with this version, and with no other one."""
    first = processed(config)

    def come() -> bool:
        status = written(config)
        versions = [model["version"] for model in status.get("models", [])]
        return (
            versions == [version]
            and status["broker"]["connected"]
            and processed(config) > first + 100
        )

    wait_until(come, timeout_s=60)


def steady(pid: int) -> Vitals:
    """Return what a process needs at the least of many moments: files are opened for a blink."""
    seen = []
    for _ in range(50):
        seen.append(vitals_of(pid))
        time.sleep(0.02)
    return Vitals(
        min(one.rss_mib for one in seen),
        min(one.files for one in seen),
        min(one.threads for one in seen),
    )


def written(config: Path) -> dict[str, object]:
    try:
        return json.loads((config.parent / "device/run/status.json").read_bytes())
    except FileNotFoundError:
        return {}


def processed(config: Path) -> int:
    streams = written(config).get("health", {}).get("streams", {})
    return streams.get("dock", {}).get("processed", 0)
