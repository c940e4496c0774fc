"""The agent as a service: crashes and hangs of a stream, reload, systemd, metrics, status."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from edgehaul.messages.payloads import HealthData, StateData
from edgehaul.subscriber.client import Subscriber
from tests.brokers import Mosquitto, free_port
from tests.fakes.devices import make_device
from tests.fakes.exposition import parse
from tests.fakes.notify_socket import NotifySocket
from tests.fakes.running import wait_until

AGENT = [sys.executable, "-m", "edgehaul_agent"]
SCRIPTED = [sys.executable, "-m", "tests.fakes.scripted_agent"]
LIVE = {
    "type": "virtual_conveyor",
    "frames": 0,
    "width": 160,
    "height": 120,
    "fps": 10,
    "realtime": True,
}


def streams(*names: str, **changes: object) -> list[dict[str, object]]:
    return [{"name": name, "model": "parcels", "source": LIVE, **changes} for name in names]


@contextlib.contextmanager
def started(
    config: Path, *, program: list[str] = AGENT, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """Run an agent; its log lies beside its configuration."""
    words = [*program, "run", "--config", str(config), "--json", "--drain-timeout-s", "0.2"]
    log = config.with_suffix(".log")
    with (
        log.open("w") as errors,
        subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **environment},
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def status(config: Path) -> dict[str, object]:
    words = [*AGENT, "status", "--config", str(config), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return json.loads(done.stdout)["agent"]


def written(config: Path) -> dict[str, object]:
    """Return the status file as it is."""
    try:
        return json.loads((config.parent / "device/run/status.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}


def stream(config: Path, name: str) -> dict[str, object]:
    return written(config).get("health", {}).get("streams", {}).get(name, {})


def curl(port: int, path: str) -> tuple[int, str]:
    words = ["curl", "-s", "-m", "10", "-w", "\n%{http_code}", f"http://127.0.0.1:{port}{path}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    content, _, code = done.stdout.rpartition("\n")
    return int(code), content


def come(condition: Callable[[], object], config: Path) -> None:
    try:
        wait_until(lambda: bool(condition()), timeout_s=60)
    except AssertionError:
        pytest.fail(f"it did not come about; {config.with_suffix('.log').read_text()}")


@pytest.mark.broker
@pytest.mark.slow
def test_a_stream_that_crashes_starts_again_alone(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        config = make_device(
            tmp_path,
            port=broker.port,
            source=LIVE,
            streams=streams("dock", "gate"),
            health={"interval_s": 600},
        )
        environment = {"FAULT": "raise", "FAULT_AT": "15"}
        with (
            Subscriber(port=broker.port) as subscriber,
            started(config, program=SCRIPTED, **environment) as process,
        ):
            told: list[HealthData] = []
            seen = 0
            for _, envelope in subscriber:
                if isinstance(envelope.data, HealthData):
                    told.append(envelope.data)
                    restarts = [s for s in envelope.data.streams.values() if s.restarts]
                    if any(s.state == "running" for s in restarts):
                        break
            for topic, _ in subscriber:
                seen += "/detections/" in topic
                if seen > 20:
                    break
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    (name,) = [n for n, s in told[-1].streams.items() if s.restarts == 1]
    other = next(n for n in ("dock", "gate") if n != name)
    waiting = told[0].streams[name]
    assert (waiting.state, told[0].streams[other].state) == ("waiting", "running")
    assert "unforeseen RuntimeError: this model fails" in waiting.fault
    report = json.loads(output)["streams"]
    assert (report[name]["restarts"], report[other]["restarts"]) == (1, 0)
    assert report[name]["processed"] > 10
    log = config.with_suffix(".log").read_text()
    assert log.count("Traceback") == 1


@pytest.mark.slow
def test_a_stream_that_hangs_is_left_behind_and_started_again(tmp_path: Path) -> None:
    port = free_port()
    config = make_device(
        tmp_path,
        port=free_port(),
        source=LIVE,
        streams=streams("dock", "gate"),
        supervision={"stall_timeout_s": 2},
        health={"interval_s": 1},
        metrics={"port": port},
        workers=1,
        engine={"retune_s": 0},  # the fault is meant for a frame, and not for the timing
    )
    environment = {"FAULT": "hang", "FAULT_AT": "15"}
    with started(config, program=SCRIPTED, **environment) as process:
        come(lambda: any(stream(config, n).get("restarts") for n in ("dock", "gate")), config)
        name = next(n for n in ("dock", "gate") if stream(config, n).get("restarts"))
        come(lambda: stream(config, name).get("state") == "running", config)
        for each in ("dock", "gate"):
            before = stream(config, each)["processed"]
            come(
                lambda each=each, before=before: stream(config, each)["processed"] > before + 5,
                config,
            )
        assert "not done with a frame after 2 s" in stream(config, name)["fault"]
        assert curl(port, "/healthz") == (200, "ok\n")
        page = parse(curl(port, "/metrics")[1])
        assert page["edgehaul_stream_restarts_total"][(("stream", name),)] == 1
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, "a thread that hangs does not keep the process"
    assert json.loads(output)["streams"][name]["restarts"] == 1


@pytest.mark.slow
def test_sighup_takes_over_what_has_changed(tmp_path: Path) -> None:
    config = make_device(
        tmp_path,
        port=free_port(),
        source=LIVE,
        streams=streams("dock", "gate"),
        health={"interval_s": 1},
    )
    with started(config) as process:
        come(lambda: stream(config, "gate").get("processed", 0) > 5, config)
        text = config.read_text()
        config.write_text(text.replace("  name: gate", "  name: gate\n  colour: red"))
        process.send_signal(signal.SIGHUP)
        log = config.with_suffix(".log")
        come(lambda: "the configuration has not been taken over" in log.read_text(), config)
        assert re.search(rf"{config}:\d+:\d+: streams\[1\]\.colour", log.read_text())
        ramp = {"name": "ramp", "model": "parcels", "source": {**LIVE, "fps": 5}}
        changed = yaml.safe_load(text)
        changed["streams"] = [*streams("dock"), *streams("gate", publish=[]), ramp]
        changed["mqtt"]["window"] = 7
        config.write_text(yaml.safe_dump(changed))
        before = stream(config, "dock")["processed"]
        process.send_signal(signal.SIGHUP)
        come(lambda: stream(config, "ramp").get("processed", 0) > 2, config)
        text = log.read_text()
        assert "streams that change: gate, ramp" in text
        assert "the change of section mqtt takes effect only when the agent is started anew" in text
        come(lambda: stream(config, "dock")["processed"] > before + 3, config)
        assert {stream(config, n)["restarts"] for n in ("dock", "gate", "ramp")} == {0}
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert set(json.loads(output)["streams"]) == {"dock", "gate", "ramp"}


@pytest.mark.slow
def test_systemd_hears_of_start_reload_and_end_and_the_watchdog_is_fed(tmp_path: Path) -> None:
    config = make_device(tmp_path, port=free_port(), source=LIVE)
    address = str(tmp_path / "notify")
    with (
        NotifySocket(address) as there,
        started(config, NOTIFY_SOCKET=address, WATCHDOG_USEC="2000000") as process,
    ):
        come(lambda: there.has("READY=1"), config)
        come(lambda: there.has("STATUS=1 of 1 streams run"), config)
        come(lambda: there.read().count("WATCHDOG=1") >= 3, config)
        process.send_signal(signal.SIGHUP)
        come(lambda: there.has("RELOADING=1\nMONOTONIC_USEC="), config)
        come(lambda: there.read().count("READY=1") == 2, config)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        told = there.read()
    assert process.returncode == 0
    assert "STOPPING=1" in told
    assert told.index("READY=1") < told.index("STOPPING=1")


@pytest.mark.slow
def test_metrics_tell_of_the_running_agent(tmp_path: Path) -> None:
    port = free_port()
    config = make_device(tmp_path, port=free_port(), source=LIVE, metrics={"port": port})
    with started(config):

        def processed() -> float:
            code, content = curl(port, "/metrics")
            frames = parse(content)["edgehaul_stream_frames_total"] if code == 200 else {}
            return frames.get((("stream", "dock"), ("outcome", "processed")), 0)

        come(lambda: processed() > 5, config)
        page = parse(curl(port, "/metrics")[1])
        assert page["edgehaul_stream_latency_seconds_count"][(("stream", "dock"),)] > 5
        assert page["edgehaul_stream_running"][(("stream", "dock"),)] == 1
        assert page["edgehaul_broker_connected"][()] == 0
        assert page["edgehaul_spool_pending_messages"][()] > 0
        assert curl(port, "/")[0] == 404


@pytest.mark.slow
def test_status_tells_of_the_running_agent_and_of_a_dead_one(tmp_path: Path) -> None:
    config = make_device(tmp_path, port=free_port(), source=LIVE, health={"interval_s": 1})
    words = [*AGENT, "status", "--config", str(config)]
    with started(config) as process:
        come(lambda: stream(config, "dock").get("processed", 0) > 5, config)
        agent = status(config)
        assert agent["life"] == "running"
        assert agent["status"]["pid"] == process.pid
        assert agent["status"]["health"]["streams"]["dock"]["state"] == "running"
        assert "cannot reach the MQTT broker" in agent["status"]["broker"]["fault"]
        text = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout
        assert f"agent: running (process {process.pid}" in text
        assert re.search(r"stream dock: running, \d+\.\d a second of \d+\.\d, latency", text)
        assert ", source playing, last frame " in text
        process.kill()
        process.wait(30)
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 5
    assert "agent: the process has ended without telling so" in done.stdout


@pytest.mark.slow
def test_status_tells_of_a_good_end(tmp_path: Path) -> None:
    config = make_device(tmp_path, port=free_port(), source=LIVE)
    with started(config) as process:
        come(lambda: written(config), config)
        assert status(config)["life"] == "running"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert status(config)["life"] == "stopped"


@pytest.mark.slow
def test_a_model_that_is_installed_later_is_taken(tmp_path: Path) -> None:
    config = make_device(
        tmp_path,
        port=free_port(),
        source=LIVE,
        streams=[*streams("dock"), {"name": "gate", "model": "later", "source": LIVE}],
        health={"interval_s": 1},
    )
    with started(config) as process:
        come(lambda: stream(config, "gate").get("state") == "waiting", config)
        assert "later" in stream(config, "gate")["fault"]
        models = tmp_path / "device/models"
        (models / "later").symlink_to("parcels")
        process.send_signal(signal.SIGHUP)
        come(lambda: stream(config, "gate").get("state") == "running", config)
        assert stream(config, "dock")["restarts"] == 0


@pytest.mark.broker
@pytest.mark.slow
def test_the_state_follows_a_reload(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        config = make_device(tmp_path, port=broker.port, source=LIVE)
        with Subscriber(port=broker.port) as subscriber, started(config) as process:
            states = []
            for _, envelope in subscriber:
                if isinstance(envelope.data, StateData):
                    states.append(envelope.data.streams)
                    if states[-1] == ("dock", "ramp"):
                        break
                elif states[-1:] == [("dock",)]:
                    text = config.read_text()
                    if "ramp" not in text:
                        config.write_text(
                            text.replace(
                                "streams:\n",
                                "gps:\n- name: ramp\n  source: {type: gpsd}\nstreams:\n",
                            )
                        )
                        process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.slow
def test_the_preview_shows_a_stream_of_the_running_agent(tmp_path: Path) -> None:
    port = free_port()
    config = make_device(tmp_path, port=free_port(), source=LIVE)
    words = [*AGENT, "run", "--config", str(config), "--preview", str(port)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: curl(port, "/")[0] == 200, timeout_s=60)
            words = ["curl", "-s", "-m", "20", f"http://127.0.0.1:{port}/dock.jpg"]
            picture = subprocess.run(words, capture_output=True, timeout=30, check=True).stdout
            image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
            assert image.shape == (120, 160, 3)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()


@pytest.mark.slow
def test_a_camera_that_is_away_is_no_stream_that_hangs(tmp_path: Path) -> None:
    away = {"type": "mjpeg", "url": f"http://127.0.0.1:{free_port()}/"}
    config = make_device(
        tmp_path,
        port=free_port(),
        source=LIVE,
        streams=[*streams("dock"), {"name": "gate", "model": "parcels", "source": away}],
        health={"interval_s": 0.5},
        supervision={"stall_timeout_s": 1},
    )
    with started(config) as process:
        come(lambda: stream(config, "dock").get("processed", 0) > 60, config)
        gate = stream(config, "gate")
        assert (gate["state"], gate["restarts"]) == ("running", 0)
        assert "refused" in gate["fault"]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
