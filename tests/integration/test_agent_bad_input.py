"""What goes wrong at the agent's command line is one line with the way out, and an exit code."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgehaul.subscriber.client import Subscriber
from tests.brokers import Mosquitto, free_port
from tests.fakes.devices import make_device

AGENT = [sys.executable, "-m", "edgehaul_agent"]
CONVEYOR = {"type": "virtual_conveyor", "frames": 20, "width": 160, "height": 120}


def run_agent(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [*AGENT, *(str(argument) for argument in arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_the_failure_of_the_only_stream_is_told_once(tmp_path: Path) -> None:
    source = {"type": "file", "path": "gone away.mp4"}
    config = make_device(tmp_path, port=free_port(), source=source)
    result = run_agent("run", "--config", config)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.endswith("gone away.mp4: no such video file; correct the path of the source")


@pytest.mark.parametrize("mqtt", [{"ca_file": "no.pem"}, {"password_file": "no", "username": "u"}])
def test_credentials_are_read_before_anything_runs(tmp_path: Path, mqtt: dict[str, str]) -> None:
    config = make_device(tmp_path, port=free_port(), source=CONVEYOR)
    text = config.read_text()
    inner = "".join(f"  {key}: {value}\n" for key, value in mqtt.items())
    config.write_text(text.replace("mqtt:\n", f"mqtt:\n{inner}"))
    result = run_agent("run", "--config", config)
    assert result.returncode == 4
    (line,) = result.stderr.splitlines()
    # Relative to the configuration, not to where the agent was started.
    assert f"error: {tmp_path}/no" in line


@pytest.mark.parametrize("given", ["nan", "inf", "-1", "soon"])
def test_a_waiting_time_must_be_one(tmp_path: Path, given: str) -> None:
    result = run_agent("run", "--config", tmp_path / "d.yaml", "--drain-timeout-s", given)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert f"'{given}' is not in 0..86400 seconds" in line


def test_a_root_that_is_no_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run_agent("status", "--root", tmp_path / "file" / "below")
    assert "Traceback" not in result.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*AGENT, "status", "--root", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.close()
        assert process.stderr
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.broker
def test_a_stop_while_waiting_for_a_collector_ends_the_wait(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        config = make_device(tmp_path, port=broker.port, source=CONVEYOR)
        config.write_text(
            config.read_text().replace("mqtt:\n", "mqtt:\n  acknowledge: collector\n")
        )
        words = [*AGENT, "run", "--config", str(config)]
        with (
            Subscriber(port=broker.port) as subscriber,
            subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
        ):
            # The last message of the run is its last health.
            while (message := subscriber.receive(20)) and not message.topic.endswith("health"):
                pass
            time.sleep(0.5)
            asked_at_s = time.monotonic()
            process.send_signal(signal.SIGTERM)
            _, diagnostics = process.communicate(timeout=20)
    assert process.returncode == 0
    assert time.monotonic() - asked_at_s < 4
    assert b"are kept in" in diagnostics
