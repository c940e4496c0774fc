"""A tiny thing to learn: noisy points on a curve, by a small network with a batch norm."""

import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edgehaul.config.recipe_sections import OptimizerSection
from edgehaul_tools.train.loop.fit import Plan, fit
from edgehaul_tools.train.loop.processes import this_process

Points = tuple[Tensor, Tensor]


class CurveTask:
    """A regression of a few points; every epoch adds other noise.

    Args:
        samples: Number of points.
        seed: Of the points, the noise and the network.
        with_validation: Whether :meth:`evaluate` has a figure.
        broken: Number of a sample whose value is no number.
        dropout: Share of the values that are left out while learning.
    """

    measure = "error"
    higher_is_better = False

    def __init__(
        self,
        samples: int = 32,
        seed: int = 0,
        *,
        with_validation: bool = True,
        broken: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        self._seed, self._samples, self._with_validation = seed, samples, with_validation
        self._x = np.linspace(-1, 1, samples, dtype=np.float32)
        self._y = np.sin(3 * self._x)
        if broken is not None:
            self._y[broken] = np.nan
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network: nn.Module = nn.Sequential(
                nn.Linear(1, 16, bias=False),
                nn.BatchNorm1d(16),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(16, 1),
            )

    def order(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng((self._seed, epoch)).permutation(self._samples)

    def batch(self, numbers: NDArray[np.int64], epoch: int) -> Points:
        noise = [np.random.default_rng((self._seed, epoch, int(n))).normal() for n in numbers]
        x = self._x[numbers] + 0.05 * np.array(noise, dtype=np.float32)
        return torch.from_numpy(x)[:, None], torch.from_numpy(self._y[numbers])[:, None]

    def loss(self, network: nn.Module, batch: Points) -> Tensor:
        return functional.mse_loss(network(batch[0]).float(), batch[1])

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        if not self._with_validation:
            return {}
        x, y = torch.from_numpy(self._x)[:, None], torch.from_numpy(self._y)[:, None]
        return {"error": float(functional.mse_loss(network(x), y))}

    def sample_name(self, number: int) -> str:
        return f"point {number}"


LONG = OptimizerSection(epochs=150, batch=4, learning_rate=0.01)
SHORT = OptimizerSection(epochs=8, batch=8, learning_rate=0.02)


def train_long(folder: Path) -> dict[str, Tensor]:
    """Train for some seconds, going on from what is in ``folder``; return the weights."""
    plan = Plan(LONG, threads=1, folder=folder, digest="long", resume=True, checkpoint_s=0.0)
    return fit(CurveTask(dropout=0.1), plan).network.state_dict()


class StoppedError(Exception):
    """The training was stopped from outside."""


class StoppingTask(CurveTask):
    """Is stopped at its seventh step, within the second epoch."""

    steps = 0

    def loss(self, network: nn.Module, batch: Points) -> Tensor:
        self.steps += network.training
        if self.steps == 7:
            raise StoppedError
        return super().loss(network, batch)


def train_stopped(folder: Path) -> None:
    """Begin as :func:`train_short` does, and leave a checkpoint within an epoch."""
    plan = Plan(SHORT, threads=1, precision="float32", folder=folder, checkpoint_s=0.0)
    with suppress(StoppedError):
        fit(StoppingTask(36), plan)


def train_short(folder: Path, *, broken: int | None = None) -> None:
    """Train on 36 points, which batches and two processes cannot share evenly."""
    plan = Plan(SHORT, threads=1, precision="float32", folder=folder, resume=True)
    network = fit(CurveTask(36, broken=broken), plan).network
    torch.save(network.state_dict(), folder / f"process{this_process().rank}.pt")


def main(task: str, folder: Path) -> None:
    """Do one of the trainings above, in a process of its own."""
    if task == "long":
        train_long(folder)
    elif task == "stopped":
        train_stopped(folder)
    else:
        train_short(folder, broken=5 if task == "broken" else None)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
