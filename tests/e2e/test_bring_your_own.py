"""Somebody else's detector, from its ONNX file to rows in SQLite, by command lines alone."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml

from edgehaul.vision.decode import Detections
from edgehaul.vision.match import f1, match_detections
from tests.brokers import Mosquitto
from tests.fakes.running import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.shared_data,
    pytest.mark.broker,
    pytest.mark.timeout(1800),
]

FRAMES = 377
IOU = 0.5
NAME = "yolox-nano"
STREAMS = {"int8": "int8-u8s8", "fp32": "fp32"}
"""Name of a stream, and the variant that it runs."""


class Row(NamedTuple):
    """An object, as the view ``detections`` shows it."""

    frame: int
    label: str
    score: float
    box: tuple[float, float, float, float]


def program(module: str, *words: object) -> list[str]:
    return [sys.executable, "-m", module, *map(str, words)]


def edgehaul(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        program("edgehaul_tools", *words),
        check=False,
        capture_output=True,
        text=True,
        # The machine may be busy: spinning threads would make it worse.
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def write_config(folder: Path, *, root: Path, port: int, stream: str, video: Path) -> Path:
    path = folder / f"{stream}.yaml"
    source = {"type": "file", "path": str(video)}
    variant = STREAMS[stream]
    content = {
        "root": str(root),
        "device": {"id": "box-1", "site": "yard"},
        "mqtt": {"port": port},
        "streams": [{"name": stream, "model": NAME, "variant": variant, "source": source}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


@contextlib.contextmanager
def collecting(port: int, database: Path, account: dict[str, Any]) -> Iterator[None]:
    """Run ``edgehaul collect`` until the end, then fill ``account`` with its report."""
    words = ("collect", "--port", port, "--sqlite", database, "--json")
    with subprocess.Popen(
        program("edgehaul_tools", *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as collector:
        try:
            wait_until(database.exists)
            yield
            collector.send_signal(signal.SIGINT)
            report, diagnostics = collector.communicate(timeout=30)
            assert collector.returncode == 0, diagnostics
            account.update(json.loads(report))
        finally:
            collector.kill()


def run_agent(config: Path) -> dict[str, Any]:
    words = ("run", "--config", config, "--json", "--drain-timeout-s", 120)
    report: dict[str, Any] = json.loads(
        done(
            subprocess.run(
                program("edgehaul_agent", *words), check=False, capture_output=True, text=True
            )
        )
    )
    return report


def read_rows(database: Path, stream: str) -> tuple[list[int], list[Row]]:
    """Return the numbers of the frames that came, and the objects in them."""
    with contextlib.closing(sqlite3.connect(database)) as store:
        frames = store.execute(
            "SELECT json_extract(data, '$.frame') FROM messages"
            " WHERE type = 'edgehaul.detections.v1' AND subject = ? ORDER BY 1",
            (stream,),
        ).fetchall()
        objects = store.execute(
            "SELECT frame, label, score, x1, y1, x2, y2 FROM detections WHERE stream = ?", (stream,)
        ).fetchall()
    rows = [Row(frame, label, score, tuple(box)) for frame, label, score, *box in objects]
    return [frame for (frame,) in frames], rows


def by_frame(rows: list[Row], labels: list[str] | None) -> list[Detections]:
    """Return the detections of each frame; without labels all are of one class."""
    frames: list[list[Row]] = [[] for _ in range(FRAMES)]
    for row in rows:
        frames[row.frame].append(row)
    return [
        Detections(
            boxes=np.array([row.box for row in found], dtype=np.float32).reshape(-1, 4),
            scores=np.array([row.score for row in found], dtype=np.float32),
            class_ids=np.array(
                [labels.index(row.label) if labels else 0 for row in found], dtype=np.int64
            ),
        )
        for found in frames
    ]


def agreement(a: list[Row], b: list[Row], *, with_classes: bool) -> float:
    labels = sorted({row.label for row in a + b}) if with_classes else None
    pairs = zip(by_frame(a, labels), by_frame(b, labels), strict=True)
    counts = [match_detections(first, second, IOU) for first, second in pairs]
    return f1(*(sum(column) for column in zip(*counts, strict=True)))


def ratios(model: Path) -> dict[str, float]:
    """Return how much smaller and faster int8 was when it was verified."""
    proofs = json.loads((model / "verify.json").read_text())["models"].values()
    fp32, int8 = (next(p for p in proofs if p["name"] == n) for n in ("fp32", "int8-u8s8"))
    return {
        "fp32_mib": fp32["size_bytes"] / 2**20,
        "size_ratio": int8["size_bytes"] / fp32["size_bytes"],
        "fp32_latency_ms": fp32["latency_ms"],
        "latency_ratio": int8["latency_ms"] / fp32["latency_ms"],
        "f1_verify": int8["measured"]["agreement"]["f1"],
    }


def make_bundle(shared_data: Path, folder: Path, video: Path) -> tuple[Path, Path]:
    """Quantize, verify and pack as the README tells; return model directory and bundle."""
    source = shared_data / "models" / "yolox_nano_coco.onnx"
    labels = shared_data / "models" / "coco.names"
    model, bundle = folder / "model", folder / f"{NAME}.edgehaul"
    options = ["--labels", labels, "--calib", video, "--images", 120, "--out", model]
    done(edgehaul("quantize", source, *options))
    done(edgehaul("verify", model, "--frames", video))
    pack(model, bundle)
    return model, bundle


def pack(model: Path, bundle: Path) -> None:
    done(edgehaul("pack", model, "--name", NAME, "--version", "1.0.0", "--out", bundle))


def assert_damage_is_refused(bundle: Path, folder: Path) -> None:
    content = bundle.read_bytes()
    for position in (600, len(content) // 2, len(content) - 5000):
        damaged, root = folder / "damaged.edgehaul", folder / f"untouched-{position}"
        flipped = bytes([content[position] ^ 1])
        damaged.write_bytes(content[:position] + flipped + content[position + 1 :])
        result = edgehaul("flash", damaged, "--root", root)
        assert result.returncode == 1, (position, result.stdout)
        assert "damaged.edgehaul" in result.stderr
        assert "Traceback" not in result.stderr
        assert not list(root.rglob("*.onnx"))
        assert not list(root.glob("models/*/*"))


def test_a_foreign_detector_gives_the_same_results_in_int8(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started_s = time.monotonic()
    video = shared_data / "video" / "car-detection.mp4"
    model, bundle = make_bundle(shared_data, tmp_path, video)
    pack(model, tmp_path / "again.edgehaul")
    assert (tmp_path / "again.edgehaul").read_bytes() == bundle.read_bytes()
    assert_damage_is_refused(bundle, tmp_path)

    root, database = tmp_path / "box", tmp_path / "results.db"
    done(edgehaul("flash", bundle, "--root", root))
    collected: dict[str, Any] = {}
    runs: dict[str, dict[str, Any]] = {}
    with Mosquitto(tmp_path / "broker") as broker, collecting(broker.port, database, collected):
        for stream in STREAMS:
            config = write_config(tmp_path, root=root, port=broker.port, stream=stream, video=video)
            runs[stream] = run_agent(config)

    rows = {}
    for stream in STREAMS:
        frames, rows[stream] = read_rows(database, stream)
        assert frames == list(range(FRAMES))
    figures = ratios(model) | {
        "f1": agreement(rows["int8"], rows["fp32"], with_classes=True),
        "f1_any_class": agreement(rows["int8"], rows["fp32"], with_classes=False),
        "objects_int8": len(rows["int8"]),
        "objects_fp32": len(rows["fp32"]),
        "wall_s": time.monotonic() - started_s,
    }
    (tmp_path / "figures.json").write_text(json.dumps(figures, indent=2))
    with capsys.disabled():
        print(f"\n{json.dumps(figures, indent=2)}\n{json.dumps(runs, indent=1)}")  # noqa: T201 - the figures are what this test is for

    (account,) = collected["devices"]
    produced = runs["fp32"]["spool"]["produced"]
    assert (account["missing"], account["earlier"], account["declared_lost"]) == (0, 0, 0)
    assert account["received"] == produced > 2 * FRAMES
    # Seen from above, cars are mostly strangers to this model; few objects would prove nothing.
    assert len(rows["fp32"]) >= 50
    assert figures["f1"] >= 0.95
    assert figures["size_ratio"] < 1
