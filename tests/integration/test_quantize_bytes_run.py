"""A model of floats, and the same folded to take bytes: quantized, packed, installed and run."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnx
import pytest

from edgehaul.bundle.spec import ImageInput
from edgehaul.messages.codec import decode
from edgehaul.messages.payloads import DetectionsData
from edgehaul.virtual.conveyor import Conveyor
from edgehaul_agent.proof import prove
from edgehaul_agent.update.install import install_bundle
from edgehaul_tools.cli import main
from edgehaul_tools.quantize.directory import read_directory
from tests.brokers import free_port
from tests.fakes.brown_detector import BROWN, HEIGHT, WIDTH, write_brown_detector
from tests.fakes.devices import write_config

pytestmark = pytest.mark.slow

FRAMES = 300
SEED = 1
VARIANTS = ("fp32", "int8-u8s8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the same model as it is and folded, each quantized and packed."""
    made = tmp_path_factory.mktemp("bytes")
    model = write_brown_detector(made / "brown.onnx")
    (made / "spec.json").write_bytes(msgspec.json.encode(BROWN))
    (made / "pictures").mkdir()
    conveyor = Conveyor(seed=9, width=WIDTH, height=HEIGHT)
    for number in range(40, 160, 5):  # never quite white: the range of bytes is not measured
        picture = np.minimum(conveyor.frame(number).image, 240)
        cv2.imwrite(str(made / "pictures" / f"{number}.png"), picture)
    given = ["--spec", str(made / "spec.json"), "--calib", str(made / "pictures")]
    forms = ["--form", "u8s8", "--method", "minmax", "--min-agreement", "0.5"]
    for name in ("as-is", "bytes"):
        out = made / name
        asked = [*given, *forms, "--input", name, "--out", str(out)]
        assert main(["quantize", str(model), *asked]) == 0
        frames = ["--frames", str(made / "pictures"), "--min-agreement", "0.5", "--no-memory"]
        assert main(["verify", str(out), *frames]) == 0
        packed = ["--name", "brown", "--version", "1.0.0", "--out", str(made / f"{name}.edgehaul")]
        assert main(["pack", str(out), *packed]) == 0
    return made


def messages(folder: Path, bundle: Path, variant: str) -> list[Any]:
    """Return what the agent tells of a conveyor, with this model in this variant."""
    root = folder / "device"
    root.mkdir(parents=True)
    install_bundle(bundle, root, prove=prove)
    conveyor = Conveyor(seed=SEED, width=WIDTH, height=HEIGHT)
    source = {"type": "virtual_conveyor", "frames": FRAMES, "width": WIDTH, "height": HEIGHT}
    line = {"name": "out", "points": msgspec.to_builtins(conveyor.counting_line())}
    stream = {"name": "dock", "model": "brown", "variant": variant, "lines": [line]}
    stream["source"] = {**source, "seed": SEED}
    config = write_config(folder, port=free_port(), source=source, streams=[stream])
    words = [sys.executable, "-m", "edgehaul_agent", "run", "--config", str(config), "--json"]
    result = subprocess.run(
        [*words, "--drain-timeout-s", "0"], capture_output=True, text=True, timeout=60, check=False
    )
    assert json.loads(result.stdout)["streams"]["dock"]["processed"] == FRAMES, result.stderr
    with contextlib.closing(sqlite3.connect(root / "spool/spool.db")) as database:
        rows = database.execute("SELECT content FROM message ORDER BY sequence").fetchall()
    return [decode(content).data for (content,) in rows]


def boxes(told: list[Any]) -> list[list[Any]]:
    found = [data for data in told if isinstance(data, DetectionsData)]
    return [[d.box for d in data.objects] for data in sorted(found, key=lambda d: d.frame)]


def totals(told: list[Any]) -> dict[str, int]:
    events = [getattr(data, "event", None) for data in told]
    counts = [event.totals for event in events if hasattr(event, "totals")]
    return dict(counts[-1])


def test_the_bundle_of_bytes_says_so(folder: Path) -> None:
    plain, folded = (read_directory(folder / name) for name in ("as-is", "bytes"))
    assert plain.spec == BROWN
    assert isinstance(BROWN.input, ImageInput)
    assert folded.spec.output == BROWN.output
    expected = ImageInput(WIDTH, HEIGHT, resize="stretch", color="bgr")
    assert folded.spec.input == expected
    assert "its pre-processing is in the graph" in folded.spec_source
    kinds = [n.op_type for n in onnx.load(folder / "bytes" / "int8.onnx").graph.node]
    assert "Cast" not in kinds
    report = json.loads((folder / "bytes" / "quantize.json").read_bytes())
    assert not any("through float" in line for line in report["warnings"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_box_finds_and_counts_the_same(folder: Path, tmp_path: Path, variant: str) -> None:
    plain, folded = (
        messages(tmp_path / name, folder / f"{name}.edgehaul", variant)
        for name in ("as-is", "bytes")
    )
    assert sum(map(len, boxes(plain))) > FRAMES
    same = [a == b for a, b in zip(boxes(plain), boxes(folded), strict=True)]
    assert np.mean(same) > (0.99 if variant == "fp32" else 0.9)
    assert totals(folded) == totals(plain)
    assert totals(plain)["forward/parcel"] >= 3
