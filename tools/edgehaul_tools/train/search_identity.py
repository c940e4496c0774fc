"""What makes two sessions of a search the same one, wherever they run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import optuna

from edgehaul.config.recipe import ClassifierRecipe, Recipe
from edgehaul.errors import ModelError, UsageError
from edgehaul_tools.dataset.manifest import has_manifest, read_manifest
from edgehaul_tools.train.search_space import Choice

_DIFFERENCES = {
    "recipe": "of another recipe",
    "choices": "of other choices",
    "dataset": "on another dataset",
}


def require_same(
    study: optuna.Study, recipe: Recipe, dataset: Path, choices: Sequence[Choice], folder: Path
) -> None:
    """Mark a study as the one of this search, or refuse it where it is of another.

    What does not change the figures, such as the number of threads, may differ: another host
    can join, and a session can go on with other workers.

    Args:
        study: New, or from before.
        recipe: Where every trial starts from; its weights are a path from here.
        dataset: What every trial learns from.
        choices: What a trial may choose.
        folder: Of the study, for messages.

    Raises:
        UsageError: The study is of another search.
        ModelError: The weights to start from cannot be read.
        DatasetError: The dataset's manifest cannot be read.
    """
    ours = {
        "recipe": msgspec.to_builtins(_without_place(recipe)),
        "choices": msgspec.to_builtins(tuple(choices)),
        "dataset": _dataset_identity(dataset),
    }
    # As JSON gives it back: there are no tuples in it.
    ours = msgspec.json.decode(msgspec.json.encode(ours))
    theirs = study.user_attrs.get("what")
    if theirs is None:
        study.set_user_attr("what", ours)
        return
    differing = [text for name, text in _DIFFERENCES.items() if theirs.get(name) != ours[name]]
    if differing:
        raise UsageError(
            f"this folder holds a search {' and '.join(differing)}",
            where=folder,
            remedy="name another folder with --out",
        )


def _without_place(recipe: Recipe) -> Recipe:
    """Return a recipe without what only says where and with how many threads it runs."""
    training = msgspec.structs.replace(recipe.training, threads=0, dataset="")
    if isinstance(training, ClassifierRecipe) and training.weights:
        digest = _content_digest(Path(training.weights))
        training = msgspec.structs.replace(training, weights=digest)
    return recipe.with_training(training)


def _content_digest(weights: Path) -> str:
    try:
        with weights.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(
            f"the weights cannot be read: {error.strerror}",
            where=weights,
            remedy="correct 'weights:' in the recipe; it is relative to the recipe's file",
        ) from error


def _dataset_identity(dataset: Path) -> str:
    """Return the digest of a dataset's manifest, or where it lies if it has none."""
    if has_manifest(dataset):
        return read_manifest(dataset).digest
    return str(dataset.resolve())
