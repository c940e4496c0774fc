"""A training is killed at any moment, again and again: the weights become the very same."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from edgehaul_tools.train.loop.checkpoint import CHECKPOINT_FILE
from tests.fakes.running import wait_until
from tests.fakes.tasks import LONG, train_long

KILLS = 3


def steps_done(folder: Path) -> int:
    try:
        return int(torch.load(folder / CHECKPOINT_FILE, weights_only=True)["steps"])
    except FileNotFoundError:
        return 0


@pytest.mark.slow
def test_a_training_that_is_killed_again_and_again_ends_with_the_same_weights(
    tmp_path: Path, repository: Path
) -> None:
    expected = train_long(tmp_path / "whole")
    random_, folder = random.Random(3), tmp_path / "killed"
    command = [sys.executable, "-m", "tests.fakes.tasks", "long", str(folder)]
    seen = [0]
    for _ in range(KILLS):
        with subprocess.Popen(command, cwd=repository) as training:
            wait_until(lambda: steps_done(folder) > seen[-1])
            time.sleep(random_.uniform(0, 0.2))
            training.kill()
        assert training.returncode < 0, "it ended before it could be killed"
        seen.append(steps_done(folder))
    assert seen == sorted(set(seen)), "each run goes on from where the one before was killed"
    assert seen[-1] < LONG.epochs * 8
    resumed = train_long(folder)
    assert all(torch.equal(value, resumed[name]) for name, value in expected.items())
