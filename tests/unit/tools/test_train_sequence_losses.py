"""Losses, draws and thresholds that classifiers and anomaly detectors share."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.nn import functional

from edgehaul.config.recipe_sections import ClassLossSection
from edgehaul.errors import DatasetError
from edgehaul_tools.train.loop.anomaly_scores import alarm_threshold, anomaly_metrics
from edgehaul_tools.train.loop.class_loss import ClassLoss, class_weights, drawn_balanced

RARE = np.array([0] * 90 + [1] * 8 + [2] * 2)
LOGITS = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))


def test_plain_it_is_cross_entropy() -> None:
    loss = ClassLoss(ClassLossSection(), RARE, 3)(LOGITS, torch.from_numpy(RARE))
    assert torch.allclose(loss, functional.cross_entropy(LOGITS, torch.from_numpy(RARE)))


def test_weighed_every_class_counts_alike() -> None:
    loss = ClassLoss(ClassLossSection(balance="weigh"), RARE, 3)(LOGITS, torch.from_numpy(RARE))
    each = functional.cross_entropy(LOGITS, torch.from_numpy(RARE), reduction="none").numpy()
    assert loss.item() == pytest.approx(np.mean([each[c == RARE].mean() for c in range(3)]))


def test_focus_counts_what_is_known_well_less() -> None:
    logits, classes = torch.tensor([[4.0, 0.0], [0.0, 0.5]]), torch.tensor([0, 0])
    plain = functional.cross_entropy(logits, classes, reduction="none")
    focal = ClassLoss(ClassLossSection(focal_gamma=2.0), np.array([0, 1]), 2)
    known, unknown = (focal(logits[i : i + 1], classes[i : i + 1]) for i in range(2))
    assert known / plain[0] < 1e-3
    assert unknown / plain[1] == pytest.approx((1 - np.exp(-float(plain[1]))) ** 2, rel=1e-4)


@given(hnp.arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 4)))
def test_weights_are_one_in_the_mean_over_samples(classes: np.ndarray) -> None:
    weights = class_weights(classes, 5)
    assert weights[classes].mean() == pytest.approx(1.0, rel=1e-5)
    assert (weights[np.bincount(classes, minlength=5) == 0] == 0).all()


def test_draws_make_rare_classes_frequent_and_leave_the_undecided() -> None:
    classes = np.concatenate([RARE, np.full(50, -1)])
    drawn = classes[drawn_balanced(classes, 6000, np.random.default_rng(0))]
    assert np.bincount(drawn, minlength=3) / 6000 == pytest.approx([1 / 3] * 3, abs=0.03)
    normal = classes[drawn_balanced(classes, 6000, np.random.default_rng(0), first_share=0.5)]
    assert np.bincount(normal) / 6000 == pytest.approx([0.5, 0.25, 0.25], abs=0.03)
    assert drawn.min() == 0


@given(
    hnp.arrays(np.float32, st.integers(1, 200), elements=st.floats(0, 100, width=32)),
    st.floats(0.001, 0.5),
)
def test_no_more_normal_samples_are_reported_than_allowed(
    scores: np.ndarray, false_alarms: float
) -> None:
    threshold = alarm_threshold(scores, false_alarms)
    assert (scores >= threshold).mean() <= false_alarms


def test_figures_say_how_well_scores_tell_apart() -> None:
    scores, truth = np.array([0.1, 0.2, 0.3, 0.9]), np.array([False, False, True, True])
    metrics = anomaly_metrics(scores, truth, 0.5)
    assert metrics == {
        "auroc": 1.0,
        "average_precision": 1.0,
        "recall": 0.5,
        "false_alarm_rate": 0.0,
    }
    assert anomaly_metrics(scores[:2], truth[:2], 0.15) == {"false_alarm_rate": 0.5}


def test_without_normal_samples_there_is_no_threshold() -> None:
    with pytest.raises(DatasetError, match="no normal sample"):
        alarm_threshold(np.empty(0), 0.01)
