"""A training that was stopped goes on to the very same weights."""

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import torch
from torch import nn

from edgehaul.config.recipe import ClassifierRecipe
from edgehaul.config.recipe_sections import OptimizerSection
from edgehaul.errors import EdgeHaulError, ModelError, UsageError
from edgehaul_tools.train.loop.checkpoint import (
    CHECKPOINT_FILE,
    Checkpoints,
    as_digested,
    training_digest,
)
from edgehaul_tools.train.loop.fit import Plan, fit
from edgehaul_tools.train.loop.optimization import EpochReport
from tests.fakes.tasks import CurveTask

SECTION = OptimizerSection(epochs=6, batch=8, learning_rate=0.02)


class StoppedError(Exception):
    """The training was stopped from outside."""


def plan(folder: Path | None, *, resume: bool = False, **values: object) -> Plan:
    section = msgspec.structs.replace(SECTION, **values)
    return Plan(section, threads=1, folder=folder, digest="a", resume=resume, checkpoint_s=0.0)


def stop_after(epoch: int, folder: Path, **values: object) -> None:
    """Train until an epoch is done and its checkpoint written, then stop."""

    def note(report: EpochReport) -> None:
        if report.epoch >= epoch and (folder / CHECKPOINT_FILE).exists():
            raise StoppedError

    with pytest.raises(StoppedError):
        fit(CurveTask(dropout=0.2), plan(folder, **values), note)


def same(first: nn.Module, second: nn.Module) -> bool:
    one, two = first.state_dict(), second.state_dict()
    return one.keys() == two.keys() and all(torch.equal(v, two[name]) for name, v in one.items())


@pytest.mark.parametrize("algorithm", ["adamw", "sgd"])
@pytest.mark.parametrize("patience", [0, 2])
def test_the_weights_are_those_of_a_training_that_was_never_stopped(
    tmp_path: Path, algorithm: str, patience: int
) -> None:
    values = {"algorithm": algorithm, "patience": patience}
    whole = fit(CurveTask(dropout=0.2), plan(None, **values))
    stop_after(2, tmp_path, **values)
    resumed = fit(CurveTask(dropout=0.2), plan(tmp_path, resume=True, **values))
    assert same(whole.network, resumed.network)
    assert resumed.metrics == whole.metrics
    losses = [[record.loss for record in fitted.history] for fitted in (whole, resumed)]
    assert losses[0] == losses[1]


def test_a_checkpoint_within_an_epoch_is_as_good(tmp_path: Path) -> None:
    class Impatient(CurveTask):
        steps = 0

        def loss(
            self, network: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]
        ) -> torch.Tensor:
            self.steps += network.training
            if self.steps == 7:  # the second epoch's third step
                raise StoppedError
            return super().loss(network, batch)

    whole = fit(CurveTask(), plan(None))
    with pytest.raises(StoppedError):
        fit(Impatient(), Plan(SECTION, threads=1, folder=tmp_path, digest="a", checkpoint_s=0.0))
    state = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)
    assert state["steps"] % 4 != 0
    assert same(whole.network, fit(CurveTask(), plan(tmp_path, resume=True)).network)


def test_an_unfinished_training_is_neither_overwritten_nor_mistaken(tmp_path: Path) -> None:
    stop_after(1, tmp_path)
    with pytest.raises(UsageError, match=r"--resume.*remove"):
        fit(CurveTask(), plan(tmp_path))
    other = Plan(SECTION, threads=1, folder=tmp_path, digest="b", resume=True)
    with pytest.raises(UsageError, match="another training"):
        fit(CurveTask(), other)


def test_without_a_checkpoint_resuming_begins_anew(tmp_path: Path) -> None:
    assert same(
        fit(CurveTask(), plan(tmp_path / "new", resume=True)).network,
        fit(CurveTask(), plan(None)).network,
    )


@pytest.mark.parametrize("spoil", [lambda b: b[:100], lambda b: b[:0], lambda b: b[::-1]])
def test_a_damaged_checkpoint_is_an_error_in_one_line(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    stop_after(1, tmp_path)
    path = tmp_path / CHECKPOINT_FILE
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ModelError, match="cannot be read"):
        fit(CurveTask(), plan(tmp_path, resume=True))


@pytest.fixture
def files_of_at_most_64_kib() -> Iterator[None]:
    """Let no file grow beyond 64 KiB, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("files_of_at_most_64_kib")
def test_on_a_full_disk_the_checkpoint_before_stays(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "a")
    checkpoints.write({"weights": torch.arange(10)})
    with pytest.raises(EdgeHaulError, match=r"cannot be written: File too large.*intact.*--resume"):
        checkpoints.write({"weights": torch.zeros(100_000)})
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_FILE]
    kept = checkpoints.decode(checkpoints.read())
    assert kept["weights"].tolist() == list(range(10))


def test_another_recipe_or_other_data_have_another_digest() -> None:
    digests = {
        training_digest(SECTION, b"data"),
        training_digest(msgspec.structs.replace(SECTION, epochs=7), b"data"),
        training_digest(SECTION, b"date"),
        training_digest(SECTION, b"da", b"ta"),
    }
    assert len(digests) == 4
    assert training_digest(SECTION, b"data") in digests


def digest_with(**values: object) -> str:
    optimizer = msgspec.structs.replace(SECTION, **values)
    return training_digest(as_digested(ClassifierRecipe(dataset="here", optimizer=optimizer)))


def test_a_training_may_go_on_at_another_rate_and_from_another_place() -> None:
    assert digest_with() == digest_with(learning_rate=1e-5, gradient_norm=1.0)
    assert digest_with() != digest_with(momentum=0.5)
    moved = ClassifierRecipe(dataset="there", optimizer=SECTION)
    assert training_digest(as_digested(moved)) == digest_with()


def finite(state: object) -> bool:
    if isinstance(state, torch.Tensor):
        return bool(torch.isfinite(state).all())
    values = state.values() if isinstance(state, dict) else state
    return not isinstance(state, dict | list | tuple) or all(finite(value) for value in values)


def test_after_a_divergence_the_training_goes_on_at_a_lower_rate(tmp_path: Path) -> None:
    """The rate rises until the weights grow from step to step, and beyond all numbers."""
    rising = {"algorithm": "sgd", "momentum": 0.0, "average_decay": 0.0, "warmup": 0.95}
    rising |= {"learning_rate": 3.0, "gradient_norm": 0.0}
    with pytest.raises(ModelError, match=r"still holds good weights.*--resume") as caught:
        fit(CurveTask(), plan(tmp_path, **rising))
    assert "lower optimizer.learning_rate" in caught.value.remedy
    state = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)
    assert finite(state)
    assert 0 < state["steps"] < 24
    lower = rising | {"learning_rate": 0.001}
    fitted = fit(CurveTask(), plan(tmp_path, resume=True, **lower))
    assert [record.epoch for record in fitted.history] == [1, 2, 3, 4, 5, 6]
    assert fitted.history[-1].learning_rate <= 0.001


def test_spoilt_weights_do_not_replace_a_good_checkpoint(tmp_path: Path) -> None:
    stop_after(1, tmp_path, algorithm="sgd")
    before = (tmp_path / CHECKPOINT_FILE).read_bytes()
    far = {"algorithm": "sgd", "learning_rate": 3e38}
    with pytest.raises(ModelError, match="still holds good weights"):
        fit(CurveTask(dropout=0.2), plan(tmp_path, resume=True, **far))
    assert (tmp_path / CHECKPOINT_FILE).read_bytes() == before
