"""The engine as configured, from the command line: what runs the model, and how fast it was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edgehaul.config.device import DeviceConfig
from edgehaul.config.loader import load
from edgehaul.errors import UsageError
from edgehaul_agent.assembly import Assembly
from tests.brokers import free_port
from tests.fakes.devices import make_device, write_config, write_model_bundle

CONVEYOR = {"type": "virtual_conveyor", "seed": 1, "frames": 10, "width": 160, "height": 120}


def agent(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgehaul_agent", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_install_and_status_show_what_was_timed(tmp_path: Path) -> None:
    bundle = write_model_bundle(tmp_path / "bundle")
    (tmp_path / "device").mkdir()
    config = write_config(tmp_path, port=free_port(), source=CONVEYOR, workers=3)
    installed = agent("install", bundle, "--config", config, "--json")
    assert installed.returncode == 0, installed.stderr
    tuning = json.loads(installed.stdout)["tuning"]
    assert tuning["workers"] == 3
    assert tuning["providers"] == ["CPUExecutionProvider"]
    (timing,) = tuning["variants"]
    assert timing["variant"] == "fp32"
    assert timing["shared_ms"] > 0
    assert tuning["optimised"]["path"] == "optimised/fp32.onnx"
    status = json.loads(agent("status", "--config", config, "--json").stdout)
    assert status["models"][0]["tuning"] == tuning
    lines = agent("status", "--config", config).stdout.splitlines()
    assert "3 workers" in lines[1]
    assert lines[2].startswith("  * fp32: ")


def test_install_asks_for_one_device(tmp_path: Path) -> None:
    bundle = write_model_bundle(tmp_path / "bundle")
    neither, both = (
        agent("install", bundle),
        agent("install", bundle, "--root", "a", "--config", "b"),
    )
    assert neither.returncode == both.returncode == 2
    assert "either --root or --config" in neither.stderr


def test_a_configured_type_refuses_bundles_for_others(tmp_path: Path) -> None:
    bundle = write_model_bundle(tmp_path / "bundle", device_types=("jetson",))
    (tmp_path / "device").mkdir()
    config = write_config(tmp_path, port=free_port(), source=CONVEYOR)
    assert "made for jetson" in agent("install", bundle, "--config", config).stderr


def test_what_really_runs_is_told(tmp_path: Path) -> None:
    engine = {"providers": ["cuda", "cpu"], "warmup_runs": 2}
    config = make_device(tmp_path, port=free_port(), source=CONVEYOR, engine=engine)
    assembly = Assembly(load(config, DeviceConfig), tmp_path)
    used = assembly.try_model(assembly.config.streams[0])
    assert used.runtime.startswith("onnxruntime ")
    assert used.providers == ("CPUExecutionProvider",)
    assert used.optimised
    assert assembly.used_models == (used,)
    result = agent("run", "--config", config, "--drain-timeout-s", "0")
    assert "has no CUDAExecutionProvider; models run on CPUExecutionProvider" in result.stderr
    told = agent("status", "--config", config).stdout
    assert "on CPUExecutionProvider, optimised graph" in told
    status = json.loads(agent("status", "--config", config, "--json").stdout)
    assert status["agent"]["status"]["models"] == [json.loads(msgspec.json.encode(used))]


def test_no_provider_at_all_stops_the_agent_with_what_to_do(tmp_path: Path) -> None:
    engine = {"providers": ["dml"]}
    config = make_device(tmp_path, port=free_port(), source=CONVEYOR, engine=engine)
    result = agent("run", "--config", config)
    assert result.returncode == 2
    assert "none of the configured providers (DmlExecutionProvider); add cpu" in result.stderr
    assembly = Assembly(load(config, DeviceConfig), tmp_path)
    with pytest.raises(UsageError, match="none of the configured"):
        assembly.try_model(assembly.config.streams[0])
