"""Pictures of one class, made by a trained generator, with a record of where they are from."""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path

import msgspec
import torch

from edgehaul import __version__
from edgehaul.errors import ModelError, UsageError
from edgehaul_tools.dataset.new_directory import new_directory
from edgehaul_tools.train.architectures.adversarial import Generator
from edgehaul_tools.train.generator.samples import drawn, png
from edgehaul_tools.train.generator.training import LEARNT_FROM
from edgehaul_tools.train.run_directory import (
    WEIGHTS_FILE,
    TrainingRun,
    load_weights,
    read_run,
)

RECORD_FILE = "synthetic.json"
_AT_ONCE = 64
_UNFIT_FOR_FOLDERS = ("/", "\\", "\0")


class Synthesis(msgspec.Struct, frozen=True, kw_only=True):
    """Where made pictures come from, as ``synthetic.json`` beside them says.

    Attributes:
        label: Their class.
        count: How many there are.
        seed: The same seed and generator make the same pictures.
        learnt_from: Number of real pictures of that class that the generator has seen.
        dataset: What the recipe of the generator's training names as its dataset.
        generator_sha256: SHA-256 of the generator's weights.
        tool: What made them.
    """

    label: str
    count: int
    seed: int
    learnt_from: int
    dataset: str
    generator_sha256: str
    tool: str = f"edgehaul {__version__}"


def synthesize(run_folder: Path, label: str, count: int, out: Path, seed: int = 0) -> Synthesis:
    """Make pictures of one class: an image folder ``OUT/LABEL/*.png``, and ``synthetic.json``.

    They are for the training part alone: a model that is measured on made pictures is
    measured by nothing.

    Args:
        run_folder: The run directory of a generator.
        label: The class.
        count: Number of pictures.
        out: New or empty folder; it appears whole or not at all.
        seed: The same seed makes the same pictures.

    Raises:
        ModelError: The run is not that of a generator, or its weights cannot be loaded.
        UsageError: It knows no such class, or ``count`` is not above zero.
        DatasetError: The folder is not empty, or cannot be written.
    """
    if count < 1:
        raise UsageError(f"{count} pictures cannot be made", where="count", remedy="ask for some")
    run = read_run(run_folder)
    generator = load_generator(run_folder, run)
    class_id = _class_of(label, run.spec.output.labels)
    random = torch.Generator().manual_seed(seed)
    with new_directory(out) as folder:
        (folder / label).mkdir()
        for first in range(0, count, _AT_ONCE):
            noise = torch.randn(min(_AT_ONCE, count - first), generator.latent, generator=random)
            for at, picture in enumerate(drawn(generator, class_id, noise), start=first):
                path = folder / label / f"synthetic_{seed}_{at:06d}.png"
                path.write_bytes(png(picture, color=_color(run)))
        made = Synthesis(
            label=label,
            count=count,
            seed=seed,
            learnt_from=run.counts.get(LEARNT_FROM + label, 0),
            dataset=run.recipe.training.dataset,
            generator_sha256=hashlib.sha256((run_folder / WEIGHTS_FILE).read_bytes()).hexdigest(),
        )
        text = msgspec.json.format(msgspec.json.encode(made), indent=1)
        (folder / RECORD_FILE).write_bytes(text + b"\n")
    return made


def load_generator(folder: Path, run: TrainingRun) -> Generator:
    """Return the generator of a run directory, in evaluation mode.

    Raises:
        ModelError: The run is not that of a generator, or its weights cannot be loaded.
    """
    recipe = run.recipe.generator
    if recipe is None:
        raise ModelError(
            f"this is the run of a {run.kind}, which draws nothing",
            where=folder,
            remedy="train a recipe with a 'generator' section",
        )
    generator = Generator(
        len(run.spec.output.labels),
        recipe.latent,
        recipe.channels,
        width=recipe.width,
        height=recipe.height,
    )
    load_weights(folder, generator)
    return generator.eval()


def _color(run: TrainingRun) -> str:
    return run.recipe.generator.color if run.recipe.generator else "rgb"


def _class_of(label: str, labels: tuple[str, ...]) -> int:
    if label not in labels:
        near = difflib.get_close_matches(label, labels, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(labels)}"
        raise UsageError(f"the generator knows no class {label!r}", where="label", remedy=hint)
    if label in {".", ".."} or any(sign in label for sign in _UNFIT_FOR_FOLDERS):
        raise UsageError(
            f"no folder can be called {label!r}", where="label", remedy="rename the class"
        )
    return labels.index(label)
