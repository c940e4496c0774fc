"""A generator learns classes, goes on after a kill, and makes pictures that say what they are."""

import json
import re
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehaul.bundle.spec import ImageInput
from edgehaul.config.recipe import DetectorRecipe, GeneratorRecipe, Recipe
from edgehaul.config.recipe_sections import AugmentSection, OptimizerSection
from edgehaul.errors import DatasetError, ModelError, UsageError
from edgehaul.geometry import Box
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox
from edgehaul_tools.train.generator.crops import cut_crops
from edgehaul_tools.train.generator.duel import Duel
from edgehaul_tools.train.generator.synthesis import synthesize
from edgehaul_tools.train.generator.training import train_generator
from edgehaul_tools.train.generator.variation import varied
from edgehaul_tools.train.loop.checkpoint import CHECKPOINT_FILE
from edgehaul_tools.train.loop.optimization import DivergedError, EpochReport
from edgehaul_tools.train.run_directory import TrainingRun, read_run, write_run
from edgehaul_tools.train.synthesize_command import synthesize as synthesize_command

LABELS = ("red", "blue")
BGR = ((30, 30, 200), (200, 60, 30))
RECIPE = GeneratorRecipe(
    width=16,
    height=16,
    channels=8,
    latent=8,
    dataset="parcels",
    generator_rate=1.0,
    optimizer=OptimizerSection(epochs=45, batch=16, learning_rate=4e-3, average_decay=0.9),
    augment=AugmentSection(flip=0.5),
    threads=1,
)
SHORT = msgspec.structs.replace(RECIPE, optimizer=OptimizerSection(epochs=4, batch=16))
CANVAS = ImageInput(width=16, height=16, resize="stretch")
EMPTY = DetectionDataset(Path(), LABELS, ())


def scene(path: Path, random: np.random.Generator, class_ids: list[int]) -> Sample:
    """Write a grey picture with a coloured square of each class, one beside the other."""
    image = np.full((24, 24 * len(class_ids), 3), 120, np.uint8)
    marks = []
    for at, class_id in enumerate(class_ids):
        x, y = 24 * at + int(random.integers(2, 8)), int(random.integers(2, 8))
        cv2.rectangle(image, (x, y), (x + 13, y + 13), BGR[class_id], -1)
        marks.append(TrueBox(Box(x, y, x + 14, y + 14), class_id))
    cv2.imwrite(str(path), image)
    return Sample(path, path.stem, image.shape[1], image.shape[0], tuple(marks))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DetectionDataset:
    """Forty red squares and four blue ones."""
    root = tmp_path_factory.mktemp("scenes")
    random = np.random.default_rng(0)
    contents = [[0, 0, 0, 0]] * 9 + [[0, 1]] * 4
    samples = [
        scene(root / f"{number}.png", random, classes) for number, classes in enumerate(contents)
    ]
    return DetectionDataset(root, LABELS, tuple(samples))


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, dataset: DetectionDataset
) -> tuple[Path, TrainingRun]:
    out = tmp_path_factory.mktemp("run")
    return out, train_generator(RECIPE, dataset, EMPTY, out)


def test_objects_are_cut_out_with_a_margin(dataset: DetectionDataset) -> None:
    crops = cut_crops(dataset, CANVAS)
    assert np.bincount(crops.classes).tolist() == [40, 4]
    assert crops.images.shape == (44, 16, 16, 3)
    for image, class_id in zip(crops.images, crops.classes, strict=True):
        np.testing.assert_allclose(image[8, 8], BGR[class_id][::-1], atol=3)
        np.testing.assert_allclose(image[0, 0], 120, atol=60)


def test_whole_pictures_are_taken_as_they_are_and_small_objects_left_out(tmp_path: Path) -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, :8] = 255
    cv2.imwrite(str(tmp_path / "a.png"), image)
    whole = Sample(tmp_path / "a.png", "a", 16, 16, (TrueBox(Box(0, 0, 16, 16), 1),))
    small = Sample(tmp_path / "a.png", "b", 16, 16, (TrueBox(Box(0, 0, 7, 9), 0),))
    crops = cut_crops(DetectionDataset(tmp_path, LABELS, (whole, small)), CANVAS)
    np.testing.assert_array_equal(crops.images[0], image)
    assert crops.classes.tolist() == [1]
    assert crops.too_small == 1


def test_drawn_pictures_are_of_their_class(
    trained: tuple[Path, TrainingRun], tmp_path: Path
) -> None:
    for label, (strong, weak) in {"red": (2, 0), "blue": (0, 2)}.items():
        synthesize(trained[0], label, 12, tmp_path / label)
        pictures = [cv2.imread(str(p)) for p in sorted((tmp_path / label / label).iterdir())]
        middle = np.stack([p for p in pictures if p is not None])[:, 6:10, 6:10].mean((1, 2))
        assert (middle[:, strong] > middle[:, weak] + 30).mean() >= 0.9


def test_the_run_says_what_was_learnt(trained: tuple[Path, TrainingRun]) -> None:
    out, run = trained
    assert read_run(out) == run
    assert run.kind == "generator"
    assert run.counts == {"train": 44, "val": 0, "train/red": 40, "train/blue": 4}
    assert [record.epoch for record in run.history] == list(range(1, 46))
    assert run.spec.output.labels == LABELS
    grid = cv2.imread(str(out / "samples" / "epoch_0045.png"))
    assert grid is not None
    assert grid.shape == (2 * 20, 10 * 20, 3)


class _KilledError(Exception):
    pass


def test_it_goes_on_to_the_same_weights_after_a_kill(
    dataset: DetectionDataset, tmp_path: Path
) -> None:
    out, killed = tmp_path / "straight", tmp_path / "killed"

    def kill(report: EpochReport) -> None:
        if report.epoch >= 2 and (killed / CHECKPOINT_FILE).exists():
            raise _KilledError

    with pytest.raises(_KilledError):
        train_generator(SHORT, dataset, EMPTY, killed, kill, checkpoint_s=0.0)
    with pytest.raises(UsageError, match="unfinished training"):
        train_generator(SHORT, dataset, EMPTY, killed)
    smaller = dataset.subset(dataset.samples[2:])
    with pytest.raises(UsageError, match="another training"):
        train_generator(SHORT, smaller, EMPTY, killed, resume=True)
    run = train_generator(SHORT, dataset, EMPTY, killed, resume=True)
    straight = train_generator(SHORT, dataset, EMPTY, out)
    assert [r.figures for r in run.history] == [r.figures for r in straight.history]
    weights, expected = (
        torch.load(folder / "weights.pt", weights_only=True) for folder in (killed, out)
    )
    for name, value in expected.items():
        assert torch.equal(weights[name], value), name
    assert not (killed / CHECKPOINT_FILE).exists()


def test_made_pictures_say_where_they_are_from(
    trained: tuple[Path, TrainingRun], tmp_path: Path
) -> None:
    answer = CliRunner().invoke(
        synthesize_command,
        [str(trained[0]), "--label", "blue", "--count", "70", "--out", str(tmp_path / "a")],
    )
    assert answer.exit_code == 0, answer.output
    assert "made 70 pictures of 'blue'" in answer.output
    assert "learnt from 4 real ones" in answer.output
    record = json.loads((tmp_path / "a" / "synthetic.json").read_text())
    assert {k: record[k] for k in ("label", "count", "seed", "learnt_from", "dataset")} == {
        "label": "blue",
        "count": 70,
        "seed": 0,
        "learnt_from": 4,
        "dataset": "parcels",
    }
    assert re.fullmatch("[0-9a-f]{64}", record["generator_sha256"])
    read = read_dataset(tmp_path / "a")
    assert read.labels == ("blue",)
    assert read.task == "classify"
    assert len(read) == 70


def test_the_seed_decides_which_pictures_are_made(
    trained: tuple[Path, TrainingRun], tmp_path: Path
) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        synthesize(trained[0], "red", 3, tmp_path / name, seed)
    first, again, other = (
        [p.read_bytes() for p in sorted((tmp_path / name / "red").iterdir())] for name in "abc"
    )
    assert first == again
    assert not set(first) & set(other)
    assert len(set(first)) == 3


def test_what_cannot_be_made_is_refused(trained: tuple[Path, TrainingRun], tmp_path: Path) -> None:
    out, run = trained
    with pytest.raises(UsageError, match="did you mean 'blue'"):
        synthesize(out, "blu", 3, tmp_path / "a")
    with pytest.raises(UsageError, match="cannot be made"):
        synthesize(out, "blue", 0, tmp_path / "a")
    with pytest.raises(DatasetError, match="no empty folder"):
        synthesize(out, "blue", 3, out)
    assert not (tmp_path / "a").exists()
    with pytest.raises(ModelError, match="no training run"):
        synthesize(tmp_path, "blue", 3, tmp_path / "a")
    other = Recipe(detector=DetectorRecipe())
    changed = TrainingRun(
        **{name: getattr(run, name) for name in run.__struct_fields__}
        | {"kind": "detector", "recipe": other}
    )
    write_run(tmp_path / "detector", changed, torch.nn.Linear(1, 1))
    with pytest.raises(ModelError, match="draws nothing"):
        synthesize(tmp_path / "detector", "blue", 3, tmp_path / "a")


def test_classes_without_objects_are_refused(dataset: DetectionDataset, tmp_path: Path) -> None:
    alone = dataset.subset(dataset.samples[:4])
    with pytest.raises(DatasetError, match="of: blue"):
        train_generator(RECIPE, alone, EMPTY, tmp_path / "run")
    with pytest.raises(DatasetError, match="any class"):
        train_generator(RECIPE, DetectionDataset(tmp_path, (), ()), EMPTY, tmp_path / "run")
    tiny = Sample(alone.samples[0].path, "", 24, 24, (TrueBox(Box(0, 0, 5, 5), 1),))
    with pytest.raises(DatasetError, match="1 objects are below 8 pixels"):
        train_generator(RECIPE, alone.subset((*alone.samples, tiny)), EMPTY, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_several_processes_are_refused(
    dataset: DetectionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="trains in one process"):
        train_generator(SHORT, dataset, EMPTY, tmp_path)


def test_damaged_pictures_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    sample = Sample(tmp_path / "a.png", "a", 16, 16, (TrueBox(Box(0, 0, 16, 16), 0),))
    with pytest.raises(DatasetError, match=r"a\.png: this picture cannot be read"):
        cut_crops(DetectionDataset(tmp_path, LABELS, (sample,)), CANVAS)


def test_a_rate_that_is_far_too_high_is_told(dataset: DetectionDataset, tmp_path: Path) -> None:
    optimizer = OptimizerSection(epochs=20, batch=16, learning_rate=1e30, gradient_norm=0.0)
    recipe = GeneratorRecipe(
        width=16, height=16, channels=4, latent=4, optimizer=optimizer, threads=1
    )
    with pytest.raises(ModelError, match=r"became .*epoch \d+, batch \d.*learning_rate") as caught:
        train_generator(recipe, dataset, EMPTY, tmp_path)
    assert CHECKPOINT_FILE not in caught.value.message, "there is none"


def test_a_gradient_that_is_no_number_is_not_learnt() -> None:
    """The loss is a number still; its way back through the network is none."""
    duel = Duel(SHORT, len(LABELS))
    before = {name: value.clone() for name, value in duel.discriminator.state_dict().items()}
    images = torch.zeros(2, 3, 16, 16)
    parameter = next(duel.discriminator.parameters())
    parameter.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(DivergedError, match=r"gradient of the discriminator's loss .* became"):
        duel.step(images, torch.tensor([0, 1]), 1)
    weights = dict(duel.discriminator.named_parameters())
    assert all(torch.equal(value, before[name]) for name, value in weights.items())


def test_it_goes_on_at_a_lower_rate_after_it_diverged(
    dataset: DetectionDataset, tmp_path: Path
) -> None:
    def spoil(report: EpochReport) -> None:
        if report.epoch == 2:
            raise _KilledError

    with pytest.raises(_KilledError):
        train_generator(SHORT, dataset, EMPTY, tmp_path, spoil, checkpoint_s=0.0)
    before = (tmp_path / CHECKPOINT_FILE).read_bytes()
    wild = msgspec.structs.replace(SHORT.optimizer, learning_rate=1e38, gradient_norm=0.0)
    recipe = msgspec.structs.replace(SHORT, optimizer=wild)
    with pytest.raises(ModelError, match=r"still holds good weights.*--resume"):
        train_generator(recipe, dataset, EMPTY, tmp_path, resume=True, checkpoint_s=0.0)
    assert (tmp_path / CHECKPOINT_FILE).read_bytes() == before
    low = msgspec.structs.replace(SHORT.optimizer, learning_rate=1e-6)
    recipe = msgspec.structs.replace(SHORT, optimizer=low)
    run = train_generator(recipe, dataset, EMPTY, tmp_path, resume=True)
    assert [record.learning_rate for record in run.history[-1:]] == [1e-6]
    assert len(run.history) == 4


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), flip=st.sampled_from([0.0, 0.5, 1.0]))
def test_variation_depends_on_its_seed_and_lets_gradients_through(seed: int, flip: float) -> None:
    images = torch.rand(3, 3, 16, 32, generator=torch.Generator().manual_seed(seed))
    images.requires_grad_()
    results = [varied(images, torch.Generator().manual_seed(seed), flip=flip) for _ in range(2)]
    assert torch.equal(results[0], results[1])
    assert results[0].shape == images.shape
    results[0].sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().sum((1, 2, 3)) > 0).all(), "no picture is covered as a whole"
