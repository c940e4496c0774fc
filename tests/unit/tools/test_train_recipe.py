"""Recipes: every one that is shipped loads, and faults are named."""

from pathlib import Path

import msgspec
import pytest

from edgehaul.config.loader import load, load_text
from edgehaul.config.recipe import Recipe
from edgehaul.errors import ConfigError
from edgehaul.motion.features import check_features


def test_every_shipped_recipe_loads(repository: Path) -> None:
    files = sorted((repository / "configs" / "recipe").glob("*.yaml"))
    assert len(files) >= 3
    for file in files:
        recipe = load(file, Recipe)
        dataset = (file.parent / recipe.training.dataset).resolve()
        # `make clean` removes build and dist: nobody's pictures are to lie there.
        assert dataset.parent == repository / "runs"
        if recipe.sequence:
            check_features(recipe.sequence.features)


@pytest.mark.parametrize(
    ("text", "needle"),
    [
        ("detector: {widht: 320}", "width"),
        ("detector: {width: 321}", "multiple of 16"),
        ("detector: {width: 16000}", "up to 8192"),
        ("detector: {seed: -1}", "seed"),
        ("detector: {split: {seed: -1}}", "seed"),
        ("detector: {score_threshold: -1}", "score_threshold"),
        ("detector: {iou_threshold: 7}", "iou_threshold"),
        ("sequence: {score_threshold: 2}", "score_threshold"),
        ("sequence: {seed: -1}", "seed"),
        ("detector: {augment: {flip: 2}}", "flip"),
        ("detector: {split: {train: 0.5}}", "sum to 1"),
        ("detector: {optimizer: {epochs: 0}}", "epochs"),
        ("sequence: {overlap_s: 9}", "overlap_s"),
        ("{}", "exactly one"),
        ("{detector: {}, sequence: {}}", "exactly one"),
    ],
)
def test_faults_are_named(text: str, needle: str) -> None:
    with pytest.raises(ConfigError, match=needle):
        load_text(text, Recipe)


def test_a_recipe_survives_json() -> None:
    recipe = load_text("detector: {seed: 4}", Recipe)
    assert msgspec.json.decode(msgspec.json.encode(recipe), type=Recipe) == recipe
