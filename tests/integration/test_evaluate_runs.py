"""From a training's run directory to its evaluation: the split, the export, the leak."""

import json
from pathlib import Path

import msgspec
import pytest

from edgehaul_tools.cli import main
from edgehaul_tools.evaluate.result import Evaluation

RECIPE = """
detector:
  dataset: {data}
  split: {{train: 0.5, val: 0.25, test: 0.25}}
  width: 160
  height: 128
  channels: [8, 8, 16, 16]
  threads: 1
  optimizer: {{epochs: 1, batch: 8}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector that was trained for a moment, and its dataset beside it."""
    root = tmp_path_factory.mktemp("evaluate")
    data = root / "data"
    sizes = ["--images", "48", "--width", "160", "--height", "128"]
    assert main(["data", "virtual", "conveyor", "--out", str(data), *sizes]) == 0
    (root / "recipe.yaml").write_text(RECIPE.format(data=data))
    assert main(["train", str(root / "recipe.yaml"), "--out", str(root / "run")]) == 0
    return root / "run"


def report(out: Path) -> Evaluation:
    return msgspec.json.decode((out / "report.json").read_bytes(), type=Evaluation)


def pictures(run: Path, part: str) -> int:
    return len(json.loads((run / f"{part}.json").read_text())["images"])


@pytest.mark.slow
def test_a_run_is_measured_on_its_own_test_part(run: Path, tmp_path: Path) -> None:
    data = run.parent / "data"
    outs = tmp_path / "named", tmp_path / "own"
    arguments = ["evaluate", str(run), "--bootstrap", "50"]
    assert main([*arguments, "--data", str(data), "--out", str(outs[0])]) == 0
    assert main([*arguments, "--out", str(outs[1])]) == 0
    named, own = (report(out) for out in outs)
    assert (named.part, named.samples) == ("test", pictures(run, "test"))
    assert named.models[0].figures == own.models[0].figures
    assert named.warnings == own.warnings


@pytest.mark.slow
def test_to_be_measured_on_what_it_learnt_from_is_said(run: Path, tmp_path: Path) -> None:
    data = run.parent / "data"
    arguments = ["evaluate", str(run), "--data", str(data), "--part", "all", "--bootstrap", "20"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    found = report(tmp_path)
    assert found.samples == sum(pictures(run, part) for part in ("train", "val", "test"))
    learnt = pictures(run, "train")
    assert any(f"learnt from {learnt} of these" in line for line in found.warnings)


@pytest.mark.slow
def test_every_variant_of_a_model_directory_is_compared(run: Path, tmp_path: Path) -> None:
    model, folder = tmp_path / "model.onnx", tmp_path / "model"
    images = run.parent / "data" / "images"
    assert main(["export", str(run), "--out", str(model)]) == 0
    assert main(["quantize", str(model), "--calib", str(images), "--out", str(folder)]) == 0
    arguments = ["evaluate", str(folder), "--data", str(run.parent / "data"), "--compare"]
    options = ["--split-from", str(run), "--bootstrap", "100", "--out", str(tmp_path / "out")]
    assert main([*arguments, *options]) == 0
    found = report(tmp_path / "out")
    assert len(found.models) >= 2
    assert found.models[0].name.endswith("fp32")
    count = len(found.models)
    assert len(found.comparisons) == count * (count - 1) // 2
