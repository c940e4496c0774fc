"""What the training loop must know of each goal: samples, loss and figures."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edgehaul.bundle.spec import ModelSpec, SequenceInput
from edgehaul.config.recipe import SequenceRecipe
from edgehaul.motion.windows import to_tensor
from edgehaul_tools.train.loop.anomaly_scores import alarm_threshold, anomaly_metrics
from edgehaul_tools.train.loop.class_loss import ClassLoss, drawn_balanced
from edgehaul_tools.train.sequence.deployed import Bounded, DeployedSequenceAnomaly, RealUnits
from edgehaul_tools.train.sequence.moves import MoveSet, move_metrics
from edgehaul_tools.train.sequence.windows import UNDECIDED, WindowSet

_NORMAL_SHARE = 0.5
"""Share of normal windows in what is drawn: in real traces nearly all are."""
_ROWS_AT_ONCE = 2048
_BEYOND = 0.01
"""Share of a feature's normal values on either side that an autoencoder never draws."""
_Network = TypeVar("_Network", bound=nn.Module)


class _WindowTask(Generic[_Network]):
    """The windows of a training part in a seeded order.

    Args:
        network: What is trained.
        recipe: How.
        spec: Normalises the windows.
        features: (n, window, F) of the training part, in the features' own units.
        learnt: Numbers of the windows that are learnt from.
    """

    measure: str
    higher_is_better: bool

    def __init__(
        self,
        network: _Network,
        recipe: SequenceRecipe,
        spec: ModelSpec,
        features: NDArray[np.float32],
        learnt: NDArray[np.int64],
    ) -> None:
        self.network: nn.Module = network
        self._recipe = recipe
        self._spec = spec
        self._inputs = normalised(spec, features)
        self._learnt = learnt

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return all windows that are learnt from, shuffled."""
        return self._random(epoch).permutation(self._learnt)

    def _random(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng((self._recipe.seed, epoch))

    def _answers(self, network: nn.Module, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return answers_of(network, normalised(self._spec, features))


class ClassifyTask(_WindowTask[nn.Module]):
    """Names what happens in a window.

    Args:
        network: Logits (B, classes) for windows.
        recipe: How.
        spec: Normalises the windows and names the classes.
        train: What is learnt from.
        val: What is measured on.
    """

    measure = "macro_f1"
    higher_is_better = True

    def __init__(
        self,
        network: nn.Module,
        recipe: SequenceRecipe,
        spec: ModelSpec,
        train: WindowSet,
        val: WindowSet,
    ) -> None:
        decided = np.flatnonzero(train.classes != UNDECIDED)
        super().__init__(network, recipe, spec, train.features, decided)
        self._classes = train.classes
        self._val = val
        self._loss = ClassLoss(recipe.loss, train.classes[decided], len(spec.output.labels))

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the windows of an epoch; rare classes may be drawn more often.

        Half of what is drawn is normal, and every other class as frequent as the others.
        """
        if self._recipe.loss.balance != "draw":
            return super().order(epoch)
        first_share = _NORMAL_SHARE if self._spec.output.normal_label else None
        count = len(self._learnt)
        random = self._random(epoch)
        return drawn_balanced(self._classes, count, random, first_share=first_share)

    def batch(self, numbers: NDArray[np.int64], epoch: int) -> tuple[Tensor, Tensor]:
        """Return windows (B, steps, features) and classes (B,)."""
        del epoch
        chosen = torch.from_numpy(numbers)
        return self._inputs[chosen], torch.from_numpy(self._classes[numbers])

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss that the recipe asks for."""
        windows, classes = batch
        return self._loss(network(windows), classes)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Return accuracy and F1; see :func:`evaluate_windows`."""
        return evaluate_windows(network, self._spec, self._val)


class NextPositionTask(_WindowTask[RealUnits]):
    """Says where the vehicle will be.

    Args:
        network: Metres (B, 2) for windows; its units are set here.
        recipe: How.
        spec: Normalises the windows.
        train: What is learnt from.
        val: What is measured on.
    """

    measure = "mae_m"
    higher_is_better = False

    def __init__(
        self,
        network: RealUnits,
        recipe: SequenceRecipe,
        spec: ModelSpec,
        train: MoveSet,
        val: MoveSet,
    ) -> None:
        super().__init__(network, recipe, spec, train.features, np.arange(len(train)))
        self._moves_m = torch.from_numpy(train.moves_m)
        self._val = val
        self._std_m = self._moves_m.std(dim=0, correction=0).clamp(min=1e-3)
        network.mean.copy_(self._moves_m.mean(dim=0))
        network.std.copy_(self._std_m)

    def batch(self, numbers: NDArray[np.int64], epoch: int) -> tuple[Tensor, Tensor]:
        """Return windows (B, steps, features) and moves (B, 2) in metres."""
        del epoch
        chosen = torch.from_numpy(numbers)
        return self._inputs[chosen], self._moves_m[chosen]

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean absolute error in units of the moves' deviation, smooth at 0.

        Smooth L1 (Girshick 2015, arXiv:1504.08083): jumps of a receiver count once, not squared.
        """
        windows, moves_m = batch
        error = (network(windows) - moves_m) / self._std_m
        return functional.smooth_l1_loss(error, torch.zeros_like(error), beta=0.1)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Return distances to the true places; see :func:`move_metrics`."""
        if not len(self._val):
            return {}
        return move_metrics(self._answers(network, self._val.features), self._val)


class SurpriseTask(_WindowTask[Bounded]):
    """Learns to reproduce normal windows alone.

    Args:
        network: Windows (B, steps, features) for windows; its bounds are set here.
        recipe: How.
        spec: Normalises the windows.
        train: Of it, windows of class 0 are learnt from.
        val: What the threshold is chosen by, and measured on.
    """

    measure = "normal_error"
    higher_is_better = False

    def __init__(
        self,
        network: Bounded,
        recipe: SequenceRecipe,
        spec: ModelSpec,
        train: WindowSet,
        val: WindowSet,
    ) -> None:
        normal = np.flatnonzero(train.classes == 0)
        super().__init__(network, recipe, spec, train.features, normal)
        self._val = val
        values = self._inputs[torch.from_numpy(normal)].flatten(0, 1).numpy()
        for bound, share in ((network.low, _BEYOND), (network.high, 1 - _BEYOND)):
            bound.copy_(torch.from_numpy(np.quantile(values, share, axis=0)))

    def batch(self, numbers: NDArray[np.int64], epoch: int) -> Tensor:
        """Return windows (B, steps, features)."""
        del epoch
        return self._inputs[torch.from_numpy(numbers)]

    def loss(self, network: nn.Module, batch: Tensor) -> Tensor:
        """Return the mean squared error of the reproduction."""
        return functional.mse_loss(network(batch).float(), batch)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Return the error on normal windows, the threshold, and how well anomalies are found.

        ``normal_error`` decides which weights are best: a choice by the anomalies' own
        figures would learn from them.
        """
        scores = self._answers(DeployedSequenceAnomaly(network), self._val.features)[:, 0]
        classes = self._val.classes
        normal, decided = classes == 0, classes != UNDECIDED
        if not normal.any():
            return {}
        threshold = alarm_threshold(scores[normal], self._recipe.false_alarms)
        found = anomaly_metrics(scores[decided], classes[decided] > 0, threshold)
        return {"normal_error": float(scores[normal].mean()), "threshold": threshold, **found}


def normalised(spec: ModelSpec, features: NDArray[np.float32]) -> Tensor:
    """Return the model's input (n, window, F) for features in their own units."""
    assert isinstance(spec.input, SequenceInput)  # noqa: S101 - ModelSpec refuses others
    return torch.from_numpy(to_tensor(features, spec.input)[0])


@torch.no_grad()
def answers_of(network: nn.Module, inputs: Tensor) -> NDArray[np.float32]:
    """Return the network's (first) answer to each window, (n, ...) float32."""
    answers = []
    for rows in torch.split(inputs, _ROWS_AT_ONCE):
        answer = network(rows)
        answers.append(answer[0] if isinstance(answer, tuple) else answer)
    return torch.cat(answers).float().numpy() if answers else np.empty((0, 1), dtype=np.float32)


def evaluate_windows(network: nn.Module, spec: ModelSpec, windows: WindowSet) -> dict[str, float]:
    """Return accuracy and F1 of the decided windows.

    ``macro_f1`` is the mean over all classes that are there or are answered, but the normal one.
    """
    decided = windows.classes != UNDECIDED
    if not decided.any():
        return {}
    answers = answers_of(network, normalised(spec, windows.features[decided])).argmax(axis=-1)
    classes = windows.classes[decided]
    scores = {}
    for class_id, label in enumerate(spec.output.labels):
        if label == spec.output.normal_label:
            continue
        hits = float(((answers == class_id) & (classes == class_id)).sum())
        wanted, given = (classes == class_id).sum(), (answers == class_id).sum()
        if wanted + given:
            scores[f"f1_{label}"] = float(2 * hits / (wanted + given))
    mean = float(np.mean(list(scores.values()))) if scores else 0.0
    return {
        ClassifyTask.measure: mean,
        "accuracy": float((answers == classes).mean()),
        **scores,
    }
