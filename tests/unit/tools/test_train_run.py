"""What a training leaves behind, and how it shows where it is."""

import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.config.recipe import ClassifierRecipe, Recipe
from edgehaul.errors import EdgeHaulError
from edgehaul_tools.train.curves import write_curves
from edgehaul_tools.train.durable import write_whole
from edgehaul_tools.train.loop.optimization import EpochReport
from edgehaul_tools.train.progress_display import epoch_line, on_tensorboard, shown
from edgehaul_tools.train.run_directory import (
    EpochRecord,
    Fitted,
    Started,
    TrainingRun,
    keep_run,
    read_run,
    write_metrics,
)

SPEC = ModelSpec(
    "classify", ImageInput(width=8, height=8), OutputSpec(head="classify", labels=("a", "b"))
)
HISTORY = (
    EpochRecord(1, 2.0, learning_rate=0.1, samples_per_s=10.0, elapsed_s=1.0),
    EpochRecord(2, 1.0, 0.5, {"macro_f1": 0.5, "accuracy": 0.75}, 0.05, 11.0, 2.0),
)
REPORT = EpochReport(2, 9, 1.0, "macro_f1", 0.5, 2.0, {"macro_f1": 0.5}, 0.05)


def keep(folder: Path, size: int = 2) -> TrainingRun:
    fitted = Fitted(nn.Linear(size, size), HISTORY, {"macro_f1": 0.5})
    recipe = Recipe(classifier=ClassifierRecipe(threads=1))
    return keep_run(folder, "classifier", SPEC, recipe, fitted, {"train": 3}, Started())


def test_a_run_says_what_it_was_trained_on_and_shows_its_curves(tmp_path: Path) -> None:
    tmp_path.joinpath("checkpoint.pt").write_bytes(b"of the training that is finished now")
    run = keep(tmp_path)
    assert run == read_run(tmp_path)
    assert run.environment["torch"] == torch.__version__
    assert run.environment["numpy"] == np.__version__
    assert run.environment["threads"] == run.environment["processes"] == "1"
    assert run.history == HISTORY
    assert {p.name for p in tmp_path.iterdir()} == {"curves.png", "run.json", "weights.pt"}
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_processes_that_do_not_lead_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert keep(tmp_path).environment["processes"] == "2"
    assert not list(tmp_path.iterdir())


@pytest.fixture
def files_of_at_most_256_kib() -> Iterator[None]:
    """Let no file grow beyond 256 KiB, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 10, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("files_of_at_most_256_kib")
def test_on_a_full_disk_the_run_before_stays(tmp_path: Path) -> None:
    keep(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OSError, match=r"too large.*weights\.pt"):
        keep(tmp_path, size=1000)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after.keys() == before.keys()
    assert after["weights.pt"] == before["weights.pt"]
    assert after["run.json"] == before["run.json"]
    with pytest.raises(OSError, match="too large"):
        write_whole(tmp_path / "run.json", bytes(1 << 20))
    assert (tmp_path / "run.json").read_bytes() == before["run.json"]


def test_metrics_have_a_column_for_each_figure(tmp_path: Path) -> None:
    write_metrics(tmp_path, HISTORY)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "epoch,loss,learning_rate,samples_per_s,elapsed_s,macro_f1,accuracy",
        "1,2.0,0.1,10.0,1.0,,",
        "2,1.0,0.05,11.0,2.0,0.5,0.75",
    ]


def test_curves_are_drawn_without_a_validation_part(tmp_path: Path) -> None:
    write_curves(tmp_path, HISTORY[:1])
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_a_training_shows_a_line_for_each_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    assert epoch_line(REPORT) == "epoch 2/9  loss 1.0000  macro_f1 0.5000  2 s"
    with shown(as_json=False) as progress:
        progress(REPORT)
    with shown(as_json=True) as progress:
        progress(REPORT)
    assert capsys.readouterr().err.splitlines() == [epoch_line(REPORT)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard.*")
def test_tensorboard_gets_the_figures_too(tmp_path: Path) -> None:
    seen: list[EpochReport] = []
    with on_tensorboard(tmp_path / "tensorboard", seen.append) as progress:
        progress(REPORT)
    assert seen == [REPORT]
    (events,) = (tmp_path / "tensorboard").iterdir()
    content = events.read_bytes()
    assert all(name in content for name in (b"macro_f1", b"loss", b"learning_rate"))


def test_without_tensorboard_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with (
        pytest.raises(EdgeHaulError, match=r"edgehaul\[tensorboard\]"),
        on_tensorboard(tmp_path, lambda _: None),
    ):
        pass
