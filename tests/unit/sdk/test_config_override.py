from __future__ import annotations

import pytest

from edgehaul.config.override import overridden
from edgehaul.config.recipe import DetectorRecipe, SequenceRecipe
from edgehaul.errors import ConfigError


def test_single_values_are_replaced() -> None:
    given = ["optimizer.epochs=5", "size=small", "width=160", "channels=[1, 2, 3, 4]"]
    recipe = overridden(DetectorRecipe(), given)
    assert (recipe.optimizer.epochs, recipe.size, recipe.width) == (5, "small", 160)
    assert recipe.channels == (1, 2, 3, 4)
    assert recipe.optimizer.batch == DetectorRecipe().optimizer.batch
    assert overridden(SequenceRecipe(), ["features=[speed_mps]"]).features == ("speed_mps",)


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("optimizer.epoch=5", "there is no key 'epoch'; did you mean 'epochs'?"),
        ("optimizer.epochs=many", "expected"),
        ("optimizer.epochs=0", "epochs and batch must be at least 1"),
        ("width=33", "multiple of 16"),
        ("width.x=33", "'width' has no keys of its own"),
        ("width", "write key=value"),
        ("=3", "write key=value"),
        ("width=", "no value is given"),
        ("width=[", "cannot be read as YAML"),
    ],
)
def test_what_does_not_fit_is_refused(assignment: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        overridden(DetectorRecipe(), [assignment])
    assert said in str(caught.value)
    assert f"--set {assignment}" in str(caught.value)


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"(?s)widht.*epochs=0"):
        overridden(DetectorRecipe(), ["widht=32", "optimizer.epochs=0"])
