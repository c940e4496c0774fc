"""``edgehaul-agent bench`` as a program: real model, real pipeline, real spool, real broker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgehaul_agent.benching.job import STAGES
from edgehaul_agent.proof import prove
from edgehaul_agent.update.install import install_bundle
from tests.brokers import Mosquitto
from tests.fakes.devices import write_model_bundle

AGENT = [sys.executable, "-m", "edgehaul_agent"]


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [*AGENT, "bench", *(str(argument) for argument in arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)


def found(*arguments: object) -> dict[str, Any]:
    result = bench(*arguments, "--rounds", 1, "--json")
    assert result.returncode == 0, result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    return report


@pytest.mark.slow
def test_a_bundle_on_the_virtual_camera(tmp_path: Path) -> None:
    report = found(write_model_bundle(tmp_path), "--frames", 40, "--streams", 2)
    assert report["delivery"] == "the spool alone, no broker was named"
    assert report["model"] == "parcels 1.0.0"
    assert 0 < report["fps_least"] <= report["fps_most"] < report["fps_total"]
    assert set(report["stages_ms_per_frame"]) == {*STAGES, "rest"}
    assert sum(report["stages_ms_per_frame"].values()) == pytest.approx(
        report["cpu_ms_per_frame"], rel=1e-6
    )
    assert 0 < report["latency_p50_ms"] <= report["latency_p99_ms"]
    assert 0 < report["rss_end_mib"] <= report["rss_peak_mib"]
    assert report["efficiency"] > 0
    assert report["dropped_frames"] == 0


@pytest.mark.slow
def test_an_installed_model_is_measured_and_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "device"
    root.mkdir()
    install_bundle(write_model_bundle(tmp_path / "bundle"), root, prove=prove)

    def state() -> dict[Path, tuple[int, int]]:
        files = [path for path in root.rglob("*") if path.is_file()]
        return {one: (one.stat().st_size, one.stat().st_mtime_ns) for one in files}

    before = state()
    result = bench("parcels", "--root", root, "--seconds", 0.5, "--rate", 20, "--rounds", 1)
    assert result.returncode == 0, result.stderr
    assert "efficiency" in result.stdout
    assert "20 frames a second each" in result.stdout
    assert state() == before


def write_clip(path: Path, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (96, 64))
    for number in range(frames):
        writer.write(np.full((64, 96, 3), 10 * number, np.uint8))
    writer.release()
    return path


@pytest.mark.slow
@pytest.mark.broker
def test_a_short_clip_serves_and_the_broker_is_named(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        report = found(
            write_model_bundle(tmp_path),
            *("--source", write_clip(tmp_path / "clip.mp4", 10)),
            *("--frames", 30, "--broker", f"127.0.0.1:{broker.port}"),
        )
    assert report["delivery"] == f"spool and broker 127.0.0.1:{broker.port}, MQTT 5"
    assert report["source"].startswith("clip.mp4, ")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nothing.edgehaul"], 5, "no such bundle file"),
        (["{bundle}", "--streams", "0"], 2, "is no whole number in 1..64"),
        (["{bundle}", "--rate", "nan"], 2, "is not above 0"),
        (["{bundle}", "--frames", "30", "--seconds", "1"], 2, "not allowed with"),
        (["{bundle}", "--broker", "127.0.0.1:9"], 1, "cannot reach the MQTT broker"),
        (["{bundle}", "--source", "nothing.mp4"], 1, "no such video file"),
        (["{bundle}", "--variant", "int4"], 1, "int4"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    bundle = str(write_model_bundle(tmp_path))
    result = bench(*(one.format(bundle=bundle) for one in arguments))
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.returncode == code


def test_help_says_what_is_measured() -> None:
    result = bench("--help")
    assert result.returncode == 0
    assert "durable spool" in result.stdout
    for option in ("--streams", "--source", "--frames", "--seconds", "--rate", "--broker"):
        assert option in result.stdout
