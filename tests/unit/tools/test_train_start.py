"""Trainings that begin with a network that has learnt already, or was made narrower."""

from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.config.recipe import AnomalyRecipe, ClassifierRecipe, GeneratorRecipe, Recipe
from edgehaul.config.recipe_sections import AugmentSection, OptimizerSection, SplitSection
from edgehaul.errors import DatasetError, ModelError, UsageError
from edgehaul_tools.train.architectures.mobilenet import MobileNetV2
from edgehaul_tools.train.architectures.resnet import ResNet
from edgehaul_tools.train.continued import open_run_recipe
from edgehaul_tools.train.follow import follow_recipe
from edgehaul_tools.train.loop.optimization import EpochReport
from edgehaul_tools.train.loop.task import Task
from edgehaul_tools.train.narrowed import ShapeError, answer_shapes, narrow
from edgehaul_tools.train.run_directory import (
    Fitted,
    Started,
    keep_run,
    load_weights,
    read_run,
)
from edgehaul_tools.train.start import AFRESH, Start, origin_of

RECIPE = Recipe(
    anomaly=AnomalyRecipe(
        width=16,
        height=16,
        channels=2,
        latent=4,
        threads=1,
        augment=AugmentSection(flip=0),
        split=SplitSection("made", 0.5, 0.25, 0.25),
        optimizer=OptimizerSection(epochs=1, batch=4, average_decay=0),
    )
)


def write_pictures(folder: Path, names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for seed, name in enumerate(names):
        random = np.random.default_rng(seed)
        image = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        cv2.imwrite(
            str(folder / f"{name}.png"),
            cv2.resize(image, (16, 16), interpolation=cv2.INTER_NEAREST),
        )
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    follow_recipe(RECIPE, write_pictures(tmp_path / "data", "abcdefghij"), tmp_path / "run")
    return tmp_path / "run"


def kept(folder: Path) -> dict[str, list[str]]:
    return {
        part: [
            Path(image["file_name"]).name
            for image in msgspec.json.decode((folder / f"{part}.json").read_bytes())["images"]
        ]
        for part in ("train", "val", "test")
    }


def begun_with(folder: Path, seen: list[Tensor] | None = None) -> Start:
    def network(fresh: nn.Module) -> nn.Module:
        load_weights(folder, fresh)
        if seen is not None:
            seen.append(next(fresh.parameters()).detach().clone())
        return fresh

    return Start(network, origin=origin_of(folder, read_run(folder), "retrained"))


def test_a_run_is_gone_on_with_on_the_very_parts_that_it_had(run: Path, tmp_path: Path) -> None:
    found = open_run_recipe(run)
    write_pictures(found.dataset, "abcdefghijxyz")  # a split made anew would be another one
    seen: list[Tensor] = []
    again = tmp_path / "again"
    follow_recipe(found.recipe, found.dataset, again, start=begun_with(run, seen), split_from=run)
    assert kept(again) == kept(run)
    weights = torch.load(run / "weights.pt", weights_only=True)
    assert torch.equal(seen[0], next(iter(weights.values())))
    origin = read_run(again).origin
    assert origin is not None
    assert (origin.how, origin.run, len(origin.weights_sha256)) == ("retrained", "run", 64)


def test_a_dataset_that_moved_still_has_the_same_parts(run: Path, tmp_path: Path) -> None:
    moved = (tmp_path / "data").rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=r"not here any more.*--dataset"):
        open_run_recipe(run)
    found = open_run_recipe(run, moved)
    follow_recipe(found.recipe, moved, tmp_path / "again", split_from=run)
    assert kept(tmp_path / "again") == kept(run)


def test_a_picture_that_is_gone_is_named(run: Path, tmp_path: Path) -> None:
    lost = kept(run)["train"][0]
    (tmp_path / "data" / lost).unlink()
    with pytest.raises(DatasetError, match=f"1 of the 10 pictures .*: {lost}"):
        follow_recipe(RECIPE, tmp_path / "data", tmp_path / "again", split_from=run)


def test_a_run_that_keeps_no_split_is_not_gone_on_with(run: Path, tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        (run / f"{part}.json").unlink()
    with pytest.raises(DatasetError, match="does not say what it learnt from"):
        follow_recipe(RECIPE, tmp_path / "data", tmp_path / "again", split_from=run)


def test_what_is_finished_is_kept_and_its_task_was_wrapped(run: Path, tmp_path: Path) -> None:
    def finish(network: nn.Module) -> nn.Module:
        for weight in network.parameters():
            weight.data.fill_(0.25)
        return network

    wrapped: list[Task[Any]] = []

    def wrap(task: Task[Any]) -> Task[Any]:
        wrapped.append(task)
        return task

    start = Start(task=wrap, finish=finish)
    follow_recipe(RECIPE, tmp_path / "data", tmp_path / "again", start=start, split_from=run)
    weights = torch.load(tmp_path / "again" / "weights.pt", weights_only=True)
    assert bool((weights["squeeze.weight"] == 0.25).all())
    assert len(wrapped) == 1


def test_two_trainings_that_begin_otherwise_are_never_mixed(run: Path, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(_report: EpochReport) -> None:
        raise StopError

    training = RECIPE.training
    slow = msgspec.structs.replace(training.optimizer, epochs=3)
    recipe = RECIPE.with_training(msgspec.structs.replace(training, optimizer=slow))
    data, out, start = tmp_path / "data", tmp_path / "again", begun_with(run)
    follow_recipe(recipe, data, out, start=start, split_from=run)
    with pytest.raises(UsageError, match="began with another network"):
        follow_recipe(recipe, data, out, resume=True)
    assert follow_recipe(recipe, data, out, resume=True, start=start).origin == start.origin
    assert list(AFRESH.digested()) == []
    assert start.origin is not None
    other = msgspec.structs.replace(start.origin, notes={"distill": "1"})
    assert list(start.digested()) != list(Start(origin=other).digested())


def test_no_generator_begins_with_another_network(run: Path, tmp_path: Path) -> None:
    (tmp_path / "labelled").mkdir()
    write_pictures(tmp_path / "labelled" / "crack", "abcdef")
    recipe = Recipe(generator=GeneratorRecipe(threads=1))
    with pytest.raises(UsageError, match="a generator begins with random weights"):
        follow_recipe(recipe, tmp_path / "labelled", tmp_path / "again", start=begun_with(run))


def halved(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a network of which every width but those at its ends is halved."""
    narrow_weights = {}
    for name, tensor in network.state_dict().items():
        kept_rows = tensor
        if tensor.ndim and not name.startswith("classifier"):
            kept_rows = kept_rows[: len(tensor) // 2]
        if tensor.ndim > 1 and tensor.shape[1] not in {1, 3}:
            kept_rows = kept_rows[:, : tensor.shape[1] // 2]
        narrow_weights[name] = kept_rows.clone()
    return narrow_weights


def test_a_network_becomes_as_narrow_as_its_weights() -> None:
    network, weights = MobileNetV2(5), halved(MobileNetV2(5))
    wanted = answer_shapes(network, (1, 3, 32, 32))
    narrow(network, weights)
    assert answer_shapes(network, (1, 3, 32, 32)) == wanted == [(1, 5)]
    assert network.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
    assert all(torch.equal(a, weights[name]) for name, a in network.state_dict().items())
    depthwise = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert all(m.groups == m.in_channels == m.out_channels == len(m.weight) for m in depthwise)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("conv1.weight", (65, 3, 7, 7)),  # wider than the recipe's
        ("conv1.weight", (32, 3, 3, 3)),  # another kernel
        ("conv1.weight", (0, 3, 7, 7)),
        ("fc.weight", (7,)),
    ],
)
def test_weights_that_no_pruning_leaves_are_refused(name: str, shape: tuple[int, ...]) -> None:
    network = ResNet(18, 7)
    weights = {**network.state_dict(), name: torch.zeros(shape)}
    with pytest.raises(ShapeError, match=name.removesuffix(".weight")):
        narrow(network, weights)


def keep_narrowed(folder: Path, weights: dict[str, Tensor], share: float) -> ResNet:
    """Write a run whose weights are these, as a pruning of a share would."""
    network = ResNet(18, 2)
    canvas = ImageInput(width=32, height=32)
    spec = ModelSpec("classify", canvas, OutputSpec(head="classify", labels=("a", "b")))
    recipe = Recipe(classifier=ClassifierRecipe(threads=1, width=32, height=32))
    fitted = Fitted(network, (), {})
    run = keep_run(folder, "classifier", spec, recipe, fitted, {"train": 1}, Started())
    origin = origin_of(folder, run, "pruned", share=share)
    torch.save(weights, folder / "weights.pt")
    text = msgspec.json.encode(msgspec.structs.replace(run, origin=origin))
    (folder / "run.json").write_bytes(text)
    return network


def inner_narrowed(network: ResNet) -> dict[str, Tensor]:
    """Return weights with 40 of 64 channels between the first block's convolutions."""
    weights = dict(network.state_dict())
    for name, tensor in weights.items():
        if name.startswith(("layer1.0.conv1", "layer1.0.bn1")) and tensor.ndim:
            weights[name] = tensor[:40].clone()
    weights["layer1.0.conv2.weight"] = weights["layer1.0.conv2.weight"][:, :40].clone()
    return weights


def test_only_a_run_that_was_pruned_has_narrower_weights(tmp_path: Path) -> None:
    weights = inner_narrowed(ResNet(18, 2))
    keep_narrowed(tmp_path / "pruned", weights, share=0.2)
    network = ResNet(18, 2)
    load_weights(tmp_path / "pruned", network)
    narrowed = network.get_submodule("layer1.0.conv1")
    assert isinstance(narrowed, nn.Conv2d)
    assert narrowed.out_channels == 40
    keep_narrowed(tmp_path / "dense", weights, share=0.0)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_weights(tmp_path / "dense", ResNet(18, 2))


def test_narrow_layers_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    weights = inner_narrowed(ResNet(18, 2))
    weights["layer1.0.conv2.weight"] = weights["layer1.0.conv2.weight"][:, :39].clone()
    keep_narrowed(tmp_path, weights, share=0.2)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_weights(tmp_path, ResNet(18, 2))
    head = dict(ResNet(18, 2).state_dict())
    head["fc.weight"], head["fc.bias"] = head["fc.weight"][:1], head["fc.bias"][:1]
    keep_narrowed(tmp_path / "head", head, share=0.2)
    with pytest.raises(ModelError, match=r"answers with \[\(1, 1\)\]"):
        load_weights(tmp_path / "head", ResNet(18, 2))


def test_a_pruned_run_that_is_trained_on_stays_pruned(tmp_path: Path) -> None:
    keep_narrowed(tmp_path, inner_narrowed(ResNet(18, 2)), share=0.2)
    origin = origin_of(tmp_path, read_run(tmp_path), "quantization-aware")
    assert (origin.share, origin.how) == (0.2, "quantization-aware")
