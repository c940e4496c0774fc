"""Several processes learn what one would; they are real ones, started by torchrun."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from edgehaul.config.loader import load
from edgehaul.config.recipe import Recipe
from edgehaul.errors import UsageError
from edgehaul_tools.dataset.virtual import generate_conveyor_dataset
from edgehaul_tools.train.follow import follow_recipe
from edgehaul_tools.train.loop.processes import Processes, joined, processor_threads, this_process
from edgehaul_tools.train.run_directory import WEIGHTS_FILE
from tests.fakes.running import wait_until
from tests.fakes.tasks import SHORT, train_short

LIMIT_S = 120.0


def torchrun(task: str, folder: Path) -> list[str]:
    """Return the command that starts two processes on this host."""
    folder.mkdir(exist_ok=True)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, "--nproc-per-node", "2", "-m", "tests.fakes.tasks", task, str(folder)]


def losses(folder: Path) -> list[float]:
    lines = (folder / "metrics.csv").read_text().splitlines()
    return [float(row["loss"]) for row in csv.DictReader(lines)]


@pytest.mark.slow
def test_two_processes_learn_the_same_as_one(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "one").mkdir()
    train_short(tmp_path / "one")
    command = torchrun("short", tmp_path / "two")
    subprocess.run(command, cwd=repository, check=True, timeout=LIMIT_S, capture_output=True)
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(two) == SHORT.epochs
    assert max(abs(a - b) / a for a, b in zip(one, two, strict=True)) < 1e-5
    first, second, alone = (
        torch.load(tmp_path / name, weights_only=True)
        for name in ("two/process0.pt", "two/process1.pt", "one/process0.pt")
    )
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
        assert torch.allclose(value.float(), alone[name].float(), atol=1e-3), name


DETECTOR = """\
detector:
  dataset: conveyor
  width: 96
  height: 64
  channels: [4, 4, 8, 8]
  threads: 1
  precision: float32
  split: {train: 1, val: 0, test: 0}
  # AdamW and clipping would hide a gradient that is a factor too large.
  optimizer: {algorithm: sgd, epochs: 2, batch: 8, learning_rate: 2e-3, gradient_norm: 0}
"""


@pytest.mark.slow
def test_two_processes_train_the_detector_that_one_would(tmp_path: Path, repository: Path) -> None:
    # 23 pictures are batches of 8, 8 and 7: the last one has no two like halves.
    generate_conveyor_dataset(tmp_path / "conveyor", 23, 1, width=160, height=128)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(DETECTOR)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    train = ["--nproc-per-node", "2", "-m", "edgehaul_tools", "train", str(recipe)]
    command = [*launcher, *train, "--out", str(tmp_path / "two")]
    subprocess.run(command, cwd=repository, check=True, timeout=LIMIT_S, capture_output=True)
    follow_recipe(load(recipe, Recipe), tmp_path / "conveyor", tmp_path / "one")
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(two) == 2
    assert two == pytest.approx(one, rel=1e-4)
    alone, shared = (
        torch.load(tmp_path / name / WEIGHTS_FILE, weights_only=True) for name in ("one", "two")
    )
    for name, value in alone.items():
        assert torch.allclose(value.float(), shared[name].float(), atol=2e-4), name


@pytest.mark.slow
def test_the_loss_of_an_epoch_that_two_processes_resume_is_that_of_the_whole_epoch(
    tmp_path: Path, repository: Path
) -> None:
    (tmp_path / "one").mkdir()
    train_short(tmp_path / "one")
    for task in ("stopped", "short"):
        command = torchrun(task, tmp_path / "two")
        subprocess.run(command, cwd=repository, check=True, timeout=LIMIT_S, capture_output=True)
        kept = tmp_path / "two" / "checkpoint.pt"
        if task == "stopped":
            assert torch.load(kept, weights_only=True)["steps"] % 4 != 0
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert two == pytest.approx(one, rel=1e-5)


@pytest.mark.slow
def test_a_training_that_diverges_ends_all_processes(tmp_path: Path, repository: Path) -> None:
    command = torchrun("broken", tmp_path / "run")
    ended = subprocess.run(
        command, cwd=repository, check=False, timeout=LIMIT_S, capture_output=True, text=True
    )
    assert ended.returncode != 0
    assert "epoch 1, batch" in ended.stderr
    assert "point 5" in ended.stderr


@pytest.mark.slow
def test_where_one_process_is_killed_none_waits_for_it(tmp_path: Path, repository: Path) -> None:
    command = torchrun("long", tmp_path / "run")
    with subprocess.Popen(command, cwd=repository, stderr=subprocess.PIPE, text=True) as launcher:
        wait_until((tmp_path / "run" / "metrics.csv").exists, timeout_s=60)
        workers = _children(launcher.pid)
        os.kill(workers[1], signal.SIGKILL)
        began_s = time.monotonic()
        assert launcher.wait(LIMIT_S) != 0
        assert time.monotonic() - began_s < LIMIT_S / 2
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    assert (tmp_path / "run" / "checkpoint.pt").exists()


def _children(parent: int) -> list[int]:
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(pid) for pid in text.split()]


def test_each_process_takes_its_part_of_a_batch() -> None:
    parts = [Processes(rank, 3).slice_of(np.arange(8)).tolist() for rank in range(3)]
    assert parts == [[0, 1, 2], [3, 4, 5], [6, 7]]


def test_alone_nobody_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with joined() as processes:
        assert processes == Processes() == this_process()
        assert processes.sum(1.5, 2) == (1.5, 2)
        assert processes.from_leader(b"told") == b"told"


def test_processes_of_one_host_share_its_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    all_of_them = len(os.sched_getaffinity(0))
    assert processor_threads(0) == all_of_them
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(2 * all_of_them))
    assert processor_threads(0) == 1
    assert processor_threads(3) == 3


def test_variables_that_torchrun_would_not_set_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(UsageError, match="torchrun"):
        this_process()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(UsageError, match="cannot join"), joined():
        pass
