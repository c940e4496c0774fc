"""A run directory through the whole search: exported, pruned, trained on, int8, proved."""

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edgehaul.config.recipe import ClassifierRecipe, Recipe
from edgehaul.config.recipe_sections import AugmentSection, OptimizerSection, SplitSection
from edgehaul_tools.cli import main
from edgehaul_tools.compress.networks import WORK
from edgehaul_tools.compress.result import RESULT_NAME, Compression
from edgehaul_tools.quantize.directory import read_directory
from edgehaul_tools.train.follow import follow_recipe
from edgehaul_tools.verify.proof import read_verification

pytestmark = pytest.mark.slow

RECIPE = Recipe(
    classifier=ClassifierRecipe(
        network="resnet18",
        width=32,
        height=32,
        threads=1,
        precision="float32",
        augment=AugmentSection(flip=0),
        split=SplitSection(train=0.5, val=0.25, test=0.25),
        optimizer=OptimizerSection(epochs=3, batch=16, learning_rate=2e-3, average_decay=0),
    )
)


def write_pictures(folder: Path) -> Path:
    """Write bright pictures and dark ones: what a network learns at once."""
    random = np.random.default_rng(0)
    for label, level in (("bright", 200), ("dark", 50)):
        (folder / label).mkdir(parents=True)
        for index in range(48):
            noise = random.integers(-40, 40, (32, 32, 3))
            picture = np.clip(level + noise, 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / label / f"{index}.png"), picture)
    return folder


def test_a_run_is_pruned_trained_on_and_proved_on_what_nobody_learnt_from(tmp_path: Path) -> None:
    follow_recipe(RECIPE, write_pictures(tmp_path / "pictures"), tmp_path / "run")
    out = tmp_path / "out"
    asked = ["--prune", "0.5", "--qat", "1", "--max-drop", "50", "--budget", "10m"]
    assert main(["compress", str(tmp_path / "run"), *asked, "--out", str(out)]) == 0
    result = msgspec.json.decode((out / RESULT_NAME).read_bytes(), type=Compression)
    networks = {row.candidate.network for row in result.judged}
    assert networks == {"given", "pruned50", "pruned50-qat", "qat"}
    assert result.metric == "accuracy"
    learnt = [row.candidate for row in result.judged if row.candidate.network.endswith("qat")]
    assert any(one.plan is not None for one in learnt)
    pruned = [row.candidate for row in result.judged if row.candidate.network == "pruned50"]
    assert min(one.size_ratio for one in pruned) < 0.15, "fewer channels, and each a byte"
    directory = read_directory(out)
    proof = read_verification(out, directory)
    assert "test.json" in proof.data or "pictures" in proof.data
    assert proof.torch is not None, "fp32 is compared with the network that was trained"
    assert (out / WORK / "pruned50" / "run.json").is_file()
