"""The whole agent as a program: real model, real spool, real broker, real signals."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgehaul.config.device import DeviceConfig
from edgehaul.config.loader import load
from edgehaul.errors import BundleCompatibilityError, SpecMismatchError
from edgehaul.messages.payloads import StateData
from edgehaul.subscriber.client import Subscriber
from edgehaul_agent.assembly import Assembly
from edgehaul_agent.proof import prove
from edgehaul_agent.update.install import install_bundle
from edgehaul_agent.update.tuning import Proof
from tests.brokers import Mosquitto, free_port
from tests.fakes.devices import (
    make_device,
    write_config,
    write_misfit_bundle,
    write_model_bundle,
)
from tests.fakes.running import wait_until

AGENT = [sys.executable, "-m", "edgehaul_agent"]
CONVEYOR = {"type": "virtual_conveyor", "frames": 40, "width": 160, "height": 120}


def agent(*arguments: object, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    words = [*AGENT, *(str(argument) for argument in arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False)


@contextlib.contextmanager
def running_agent(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Start the agent; whatever the test does, it does not outlive it."""
    words = [*AGENT, *(str(argument) for argument in arguments)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def spooled(folder: Path) -> int:
    """Return the number of messages in the device's spool."""
    path = folder / "device/spool/spool.db"
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            (count,) = database.execute("SELECT COUNT(*) FROM message").fetchone()
    except sqlite3.OperationalError:  # the agent has not made it yet
        return 0
    return int(count)


@pytest.mark.broker
def test_a_run_delivers_all_and_says_stopped(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        gps = [{"name": "van", "source": {"type": "virtual_truck", "duration_s": 60}}]
        config = make_device(tmp_path, port=broker.port, source=CONVEYOR, gps=gps)
        arguments = ("run", "--config", config, "--json")
        with Subscriber(port=broker.port) as subscriber, running_agent(*arguments) as process:
            channels: Counter[str] = Counter()
            sequences = set()
            for topic, envelope in subscriber:
                channels[topic.split("/")[4]] += 1
                sequences.add(envelope.sequence)
                if isinstance(envelope.data, StateData) and envelope.data.status == "stopped":
                    break
            output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    report = json.loads(output)
    assert report["delivered"]
    assert report["streams"]["dock"]["processed"] == 40
    assert channels["detections"] == 40
    assert channels["positions"] == report["streams"]["van"]["processed"]
    assert sequences - {0} == set(range(1, report["spool"]["produced"] + 1))


@pytest.mark.broker
def test_sigterm_stops_an_endless_stream_orderly(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        source = {**CONVEYOR, "frames": 0, "realtime": True}
        config = make_device(tmp_path, port=broker.port, source=source)
        arguments = ("run", "--config", config)
        with Subscriber(port=broker.port) as subscriber, running_agent(*arguments) as process:
            statuses = []
            for _, envelope in subscriber:
                data = envelope.data
                if isinstance(data, StateData):
                    statuses.append(data.status)
                elif envelope.sequence == 10:
                    process.send_signal(signal.SIGTERM)
                if statuses[-1:] == ["stopped"]:
                    break
            assert process.wait(30) == 0
    assert statuses[0] == "online"
    assert spooled(tmp_path) == 0


def test_without_a_broker_all_is_kept_for_the_next_start(tmp_path: Path) -> None:
    config = make_device(tmp_path, port=free_port(), source=CONVEYOR)
    result = agent("run", "--config", config, "--drain-timeout-s", 0.1)
    assert result.returncode == 5
    assert "not delivered yet; they are kept" in result.stderr
    before = spooled(tmp_path)
    assert before > 40
    assert agent("run", "--config", config, "--drain-timeout-s", 0.1).returncode == 5
    assert spooled(tmp_path) == 2 * before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_keeps_what_was_processed(tmp_path: Path, number: int) -> None:
    source = {**CONVEYOR, "frames": 0, "realtime": True}
    config = make_device(tmp_path, port=free_port(), source=source)
    with running_agent("run", "--config", config, "--json") as process:
        wait_until(lambda: spooled(tmp_path) > 10)
        process.send_signal(number)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    report = json.loads(output)
    assert report["streams"]["dock"]["processed"] > 10
    assert report["spool"]["pending"] == report["spool"]["produced"] == spooled(tmp_path)


def test_one_stream_that_cannot_start_does_not_stop_the_other(tmp_path: Path) -> None:
    streams = [
        {"name": "dock", "model": "parcels", "source": CONVEYOR},
        {"name": "gate", "model": "parcels", "source": {"type": "file", "path": "gone.mp4"}},
    ]
    config = make_device(tmp_path, port=free_port(), source=CONVEYOR, streams=streams)
    result = agent("run", "--config", config, "--drain-timeout-s", 0.1, "--json")
    assert result.returncode == 5
    report = json.loads(result.stdout)
    assert report["streams"]["dock"]["processed"] == 40
    assert "gone.mp4" in report["failures"]["gate"]
    assert "Traceback" not in result.stderr


def test_answers_that_do_not_fit_stop_their_own_stream_only(tmp_path: Path) -> None:
    streams = [
        {"name": "dock", "model": "parcels", "source": CONVEYOR},
        {"name": "gate", "model": "misfit", "source": CONVEYOR},
    ]
    config = make_device(tmp_path, port=free_port(), source=CONVEYOR, streams=streams)
    bundle = write_misfit_bundle(tmp_path / "bundle", name="misfit")
    # As if it had been proved with an answer of another shape.
    install_bundle(bundle, tmp_path / "device", prove=lambda _manifest, _folder: Proof("fp32"))
    result = agent("run", "--config", config, "--drain-timeout-s", 0.1, "--json")
    assert result.returncode == 5
    report = json.loads(result.stdout)
    assert report["streams"]["dock"]["processed"] == 40
    assert "answers for 3 classes, but the spec has 1 labels" in report["failures"]["gate"]
    assert "Traceback" not in result.stderr
    assembly = Assembly(load(config, DeviceConfig), tmp_path)
    dock, gate = assembly.config.streams
    assert assembly.try_model(dock).name == "parcels"
    with pytest.raises(SpecMismatchError, match=r"fp32\.onnx: the model answers for 3 classes"):
        assembly.try_model(gate)


def test_a_model_that_does_not_fit_does_not_replace_the_one_in_use(tmp_path: Path) -> None:
    make_device(tmp_path, port=free_port(), source=CONVEYOR)
    bundle = write_misfit_bundle(tmp_path / "bundle", version="1.1.0")
    result = agent("install", bundle, "--root", tmp_path / "device")
    assert result.returncode == 1
    assert "answers for 3 classes, but the spec has 1 labels" in result.stderr
    status = agent("status", "--root", tmp_path / "device")
    assert status.stdout.splitlines()[0] == "parcels: 1.0.0, variant fp32"


def test_a_model_for_other_devices_is_not_run(tmp_path: Path) -> None:
    config = make_device(tmp_path, port=free_port(), source=CONVEYOR)
    bundle = write_model_bundle(tmp_path / "bundle", version="1.1.0", device_types=("jetson",))
    install_bundle(bundle, tmp_path / "device", prove=prove)
    result = agent("run", "--config", config)
    assert result.returncode == 1
    assert "made for jetson; this device is 'x86-64'" in result.stderr
    assembly = Assembly(load(config, DeviceConfig), tmp_path)
    with pytest.raises(BundleCompatibilityError, match="made for jetson"):
        assembly.try_model(assembly.config.streams[0])
    config.write_text(config.read_text().replace("  type: x86-64\n", ""))
    assembly = Assembly(load(config, DeviceConfig), tmp_path)
    assert assembly.try_model(assembly.config.streams[0]).version == "1.1.0"


def bad_source(folder: Path, name: str, content: bytes) -> dict[str, object]:
    (folder / name).write_bytes(content)
    return {"type": "file", "path": name}


def test_what_cannot_run_is_one_line(tmp_path: Path) -> None:
    missing = {"type": "file", "path": "gone.mp4"}
    config = make_device(tmp_path, port=free_port(), source=missing)
    broken = bad_source(tmp_path, "broken.mp4", b"no video at all")
    (tmp_path / "empty").mkdir()
    expectations = [
        (missing, 1, "gone.mp4: no such video file; correct the path"),
        (broken, 1, "broken.mp4: this is no video"),
        ({"type": "images", "path": "empty"}, 1, "no image in this folder"),
    ]
    for source, code, text in expectations:
        write_config(tmp_path, port=free_port(), source=source)
        result = agent("run", "--config", config)
        lines = [line for line in result.stderr.splitlines() if "error:" in line]
        assert result.returncode == code
        assert len(lines) == 1
        assert text in lines[0]
        assert "Traceback" not in result.stderr


def test_damaged_models_are_refused_by_name(tmp_path: Path) -> None:
    config = make_device(tmp_path, port=free_port(), source=CONVEYOR)
    (model,) = (tmp_path / "device/models/parcels/slots").glob("*/fp32.onnx")
    model.write_bytes(model.read_bytes()[:-1])
    result = agent("run", "--config", config)
    assert result.returncode == 1
    assert "fp32.onnx: the file is not the one that was installed" in result.stderr
    assert "Traceback" not in result.stderr
    status = agent("status", "--root", tmp_path / "device")
    assert status.returncode == 5
    assert "fp32.onnx: the file is not the one that was installed" in status.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["run"], 2, "--config"),
        (["fly"], 2, "invalid choice"),
        (["run", "--config", "gone.yaml"], 2, "gone.yaml"),
        (["status"], 2, "either --root or --config"),
        (["install", "gone.edgehaul", "--root", "."], 1, "gone.edgehaul"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str],
    code: int,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = agent(*arguments)
    assert result.returncode == code
    assert len(result.stderr.strip().splitlines()) == 1
    assert text in result.stderr


def test_errors_are_json_where_asked() -> None:
    result = agent("run", "--config", "gone.yaml", "--json")
    error = json.loads(result.stderr)["error"]
    assert (error["type"], error["exit_code"]) == ("ConfigError", 2)


def test_install_status_and_check_tell_of_the_model(tmp_path: Path) -> None:
    bundle = write_model_bundle(tmp_path / "bundle")
    root = tmp_path / "device"
    root.mkdir()
    installed = agent("install", bundle, "--root", root, "--json")
    assert installed.returncode == 0, installed.stderr
    report = json.loads(installed.stdout)
    assert (report["name"], report["version"], report["variant"]) == ("parcels", "1.0.0", "fp32")
    status = json.loads(agent("status", "--root", root, "--json").stdout)
    assert [model["name"] for model in status["models"]] == ["parcels"]
    assert status["agent"] is None
    port = free_port()
    config = write_config(tmp_path, port=port, source=CONVEYOR)
    check = agent("check", "--config", config, "--json")
    results = {result["kind"]: result for result in json.loads(check.stdout)}
    assert check.returncode == 1
    assert results["model"]["exit_code"] == results["source"]["exit_code"] == 0
    assert results["source"]["detail"] == "virtual_conveyor, 160x120 pixels"
    assert str(port) in results["broker"]["detail"]


@pytest.mark.broker
def test_the_state_names_every_model_and_stream(tmp_path: Path) -> None:
    streams = [
        {"name": name, "model": "parcels", "variant": variant, "source": CONVEYOR}
        for name, variant in (("dock", ""), ("gate", "fp32"))
    ]
    with Mosquitto(tmp_path / "broker") as broker:
        config = make_device(tmp_path, port=broker.port, source=CONVEYOR, streams=streams)
        result = agent("run", "--config", config)
        assert result.returncode == 0, result.stderr
        with Subscriber(port=broker.port) as subscriber:
            _, envelope = next(iter(subscriber))
    state = envelope.data
    assert isinstance(state, StateData)
    assert (state.status, state.streams) == ("stopped", ("dock", "gate"))
    assert [(m.name, m.version, m.variant) for m in state.models] == [("parcels", "1.0.0", "fp32")]
