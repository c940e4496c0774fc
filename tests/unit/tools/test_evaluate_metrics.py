"""Figures against scikit-learn, scipy and brute force; intervals and tests by their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest
from sklearn import metrics

from edgehaul_tools.dataset.traces import AnomalySpan
from edgehaul_tools.evaluate.bootstrap import (
    Estimate,
    difference_p,
    draws_of,
    estimate,
    holm,
    interval,
    resampled,
)
from edgehaul_tools.evaluate.calibration import (
    LEAST_TEMPERATURE,
    MOST_TEMPERATURE,
    calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    tempered,
)
from edgehaul_tools.evaluate.classification import (
    NO_ANSWER,
    ClassScores,
    class_figures,
    confusion_matrix,
    summary,
)
from edgehaul_tools.evaluate.compare import mcnemar, verdict_of
from edgehaul_tools.evaluate.ranking import AnomalyScores, choices, curve_of
from edgehaul_tools.evaluate.regression import RegressionScores
from edgehaul_tools.evaluate.spans import joined, match_spans

SEEDS = st.integers(0, 2**31)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(2, 5))
def test_figures_of_classes_are_those_of_scikit_learn(seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    true, answered = random.integers(0, classes, (2, 40))
    ours = summary(confusion_matrix(true, answered, classes))
    options = {"average": "macro", "zero_division": 0}
    assert ours["accuracy"] == pytest.approx(metrics.accuracy_score(true, answered))
    assert ours["macro_f1"] == pytest.approx(metrics.f1_score(true, answered, **options))
    assert ours["macro_precision"] == pytest.approx(
        metrics.precision_score(true, answered, **options)
    )
    assert ours["macro_recall"] == pytest.approx(metrics.recall_score(true, answered, **options))
    mean_recall = np.mean([np.mean(answered[true == c] == c) for c in np.unique(true)])
    assert ours["balanced_accuracy"] == pytest.approx(mean_recall)


def test_no_answer_is_a_mistake_of_the_true_class_alone() -> None:
    each = class_figures(confusion_matrix(np.array([0, 0, 1]), np.array([0, NO_ANSWER, 1]), 3))
    assert each.recall[:2].tolist() == [0.5, 1.0]
    assert each.precision[:2].tolist() == [1.0, 1.0]
    assert math.isnan(each.f1[2])


def test_a_row_with_nan_is_no_answer_and_no_confidence() -> None:
    probabilities = np.array([[0.2, 0.8], [math.nan, 0.4]])
    scores = ClassScores(np.arange(2), np.array([1, 1]), probabilities)
    assert scores.answered.tolist() == [1, NO_ANSWER]
    assert scores.confidence.tolist() == [0.8, 0.0]
    assert scores.figures(np.ones(2))["accuracy"] == 0.5


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_areas_under_curves_are_those_of_scikit_learn_ties_and_weights_included(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores, truth = random.integers(0, 8, 50) / 8, random.random(50) < 0.4
    truth[:2] = (True, False)
    weights = random.integers(0, 3, 50).astype(float)
    weights[:2] = 1
    curve = curve_of(scores, truth, weights)
    expected = metrics.roc_auc_score(truth, scores, sample_weight=weights)
    assert curve.auroc == pytest.approx(expected, abs=1e-12)
    expected = metrics.average_precision_score(truth, scores, sample_weight=weights)
    assert curve.average_precision == pytest.approx(expected, abs=1e-12)


def test_one_kind_alone_has_no_auroc() -> None:
    for truth in (np.ones(3, bool), np.zeros(3, bool)):
        scores = AnomalyScores(np.arange(3), truth, np.array([0.1, 0.5, 0.9]), 0.4)
        figures = scores.figures(np.ones(3))
        assert math.isnan(figures["auroc"])
        assert math.isnan(figures["recall"]) != truth.all()


def test_a_score_that_is_no_number_counts_as_a_mistake_whichever_it_would_be() -> None:
    truth = np.array([True, True, False, False])
    good = AnomalyScores(np.arange(4), truth, np.array([3.0, 4.0, 1.0, 2.0]), 2.5)
    broken = AnomalyScores(np.arange(4), truth, np.array([3.0, math.nan, math.nan, 2.0]), 2.5)
    assert good.figures(np.ones(4))["auroc"] == 1.0
    assert broken.figures(np.ones(4))["auroc"] == 0.25
    assert broken.figures(np.ones(4))["false_alarm_rate"] == 0.5


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_thresholds_do_what_they_promise_and_no_other_does_more(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.random(60) < 0.5
    truth[:2] = (True, False)
    scores = (random.normal(truth.astype(float), 0.7)).round(1)
    chosen = {p.name: p for p in choices(curve_of(scores, truth), false_alarms=0.1, target=0.8)}

    def of(threshold: float) -> tuple[float, float, float]:
        reported = scores >= threshold
        return (
            metrics.f1_score(truth, reported, zero_division=0),
            float(reported[truth].mean()),
            float(reported[~truth].mean()),
        )

    every = [of(t) for t in np.unique(scores)]
    assert chosen["most_f1"].f1 == pytest.approx(max(f1 for f1, _, _ in every))
    assert of(chosen["recall"].threshold)[1] >= 0.8
    reachable = [recall for _, recall, alarms in every if alarms <= 0.1]
    if reachable:
        assert chosen["false_alarms"].recall == pytest.approx(max(reachable))
        assert of(chosen["false_alarms"].threshold)[2] <= 0.1


def test_calibration_error_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    correct = np.array([True, True, True, False, True, False])
    for how in ("width", "mass"):
        bins = reliability(confidence, correct, 2 if how == "mass" else 10, how)
        assert sum(b.count for b in bins) == 6
    bins = reliability(confidence, correct, 10)
    assert calibration_error(bins) == pytest.approx(4 / 6 * 0.2 + 2 / 6 * 0.05)
    assert [b.count for b in reliability(confidence, correct, 3, "mass")] == [2, 2, 2]


def test_the_temperature_is_found_that_scipy_finds_and_that_was_put_in() -> None:
    random = np.random.default_rng(4)
    logits = random.normal(0, 1.5, (6000, 4))
    honest = tempered(np.exp(logits), 1.0)
    true = np.array([random.choice(4, p=row) for row in honest])
    too_sure = tempered(honest, 1 / 2.5)
    found = fit_temperature(too_sure, true)

    def cost(temperature: float) -> float:
        return negative_log_likelihood(tempered(too_sure, temperature), true)

    best = minimize_scalar(cost, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-6})
    assert found == pytest.approx(best.x, rel=1e-3)
    assert found == pytest.approx(2.5, rel=0.06)
    assert np.array_equal(too_sure.argmax(axis=1), tempered(too_sure, found).argmax(axis=1))


def test_a_model_that_knows_nothing_gets_the_end_of_the_range() -> None:
    random = np.random.default_rng(4)
    sure = np.tile([0.9, 0.1], (400, 1))
    assert fit_temperature(sure, random.permutation(np.arange(400) % 2)) == MOST_TEMPERATURE
    assert fit_temperature(sure, np.zeros(400, np.int64)) == LEAST_TEMPERATURE


def test_errors_of_numbers_are_those_of_scikit_learn_and_nan_is_left_out() -> None:
    random = np.random.default_rng(1)
    true, answered = random.normal(size=(2, 30, 2))
    answered[7, 0] = math.nan
    scores = RegressionScores(np.arange(30), ("forward_m", "left_m"), true, answered)
    figures = scores.figures(np.ones(30))
    kept = np.arange(30) != 7
    expected = metrics.mean_absolute_error(true[kept, 1], answered[kept, 1])
    assert figures["mae:left_m"] == pytest.approx(expected)
    expected = metrics.mean_squared_error(true[kept, 0], answered[kept, 0]) ** 0.5
    assert figures["rmse:forward_m"] == pytest.approx(expected)
    lengths = np.linalg.norm(true[kept] - answered[kept], axis=1)
    assert figures["mae"] == pytest.approx(lengths.mean())


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_a_weight_of_two_is_the_sample_twice(seed: int) -> None:
    random = np.random.default_rng(seed)
    units = np.arange(20)
    truth = random.integers(0, 3, 20)
    weights = random.integers(0, 3, 20)
    again = np.repeat(units, weights)
    if not len(again):
        return
    for scores, part in (
        (
            ClassScores(units, truth, p := random.dirichlet(np.ones(3), 20), normal=0),
            ClassScores(again, truth[again], p[again], normal=0),
        ),
        (
            AnomalyScores(units, truth == 0, s := random.random(20).round(1), 0.5),
            AnomalyScores(again, truth[again] == 0, s[again], 0.5),
        ),
    ):
        weighted = scores.figures(weights.astype(float))
        assert weighted == pytest.approx(part.figures(np.ones(len(again))), nan_ok=True)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    random = np.random.default_rng(2)
    error = random.exponential(1.0, (400, 1))
    scores = RegressionScores(np.arange(400), ("x",), np.zeros((400, 1)), error)
    found = estimate(scores, 1000, 0)["mae"]
    half = 1.96 * error.std() / 20
    assert found.value == pytest.approx(error.mean())
    assert found.low == pytest.approx(error.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(error.mean() + half, abs=0.15 * half)


def test_units_are_drawn_whole_and_the_same_seed_draws_the_same() -> None:
    units = np.array([0, 0, 1, 2, 2, 2])
    for weights, again in zip(resampled(units, 20, 5), resampled(units, 20, 5), strict=True):
        assert np.array_equal(weights, again)
        assert len({*weights[units == 2].tolist()}) == 1
        assert sum(weights[units == u][0] for u in range(3)) == 3
    assert list(resampled(np.zeros(5, np.int64), 20, 5)) == []


def test_samples_that_hang_together_make_wider_intervals() -> None:
    random = np.random.default_rng(0)
    unit = np.repeat(np.arange(20), 30)
    error = (random.normal(size=20)[unit] + 3.0)[:, None]
    grouped = RegressionScores(unit, ("x",), np.zeros_like(error), error)
    alone = RegressionScores(np.arange(600), ("x",), np.zeros_like(error), error)
    widths = []
    for scores in (grouped, alone):
        found = estimate(scores, 300, 0)["mae"]
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    assert widths[0] > 3 * widths[1]


def test_a_figure_that_most_resamples_leave_undefined_has_no_interval() -> None:
    assert interval(np.array([math.nan] * 6 + [0.5] * 4)) is None
    assert interval(np.array([math.nan] * 4 + [0.5] * 6)) == (0.5, 0.5)
    scores = AnomalyScores(np.arange(40), np.arange(40) == 0, np.linspace(1, 0, 40), 0.5)
    assert len(draws_of(scores, 50, 0)["auroc"]) == 50


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ([0.01], [0.01]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([], []),
    ],
)
def test_holm_by_hand(raw: list[float], expected: list[float]) -> None:
    assert holm(raw) == pytest.approx(expected)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (5, 0), (12, 4), (40, 61)])
def test_mcnemar_is_the_binomial_test_of_the_pairs_apart(only_a: int, only_b: int) -> None:
    a = np.array([True] * only_a + [False] * only_b + [True] * 30)
    b = np.array([False] * only_a + [True] * only_b + [True] * 30)
    apart = only_a + only_b
    expected = binomtest(only_a, apart).pvalue if apart else 1.0
    assert mcnemar(a, b) == pytest.approx(expected)


def test_p_is_small_where_resamples_lie_on_one_side_and_one_where_nothing_differs() -> None:
    assert difference_p(np.full(999, 0.1)) == pytest.approx(0.002)
    assert difference_p(np.zeros(100)) == 1.0
    assert difference_p(np.array([math.nan])) == 1.0
    assert difference_p(np.random.default_rng(0).normal(0, 1, 1000)) > 0.8


@pytest.mark.parametrize(
    ("figure", "difference", "p", "expected"),
    [
        ("map50", 0.05, 0.01, "A is better than B by 0.050 map50"),
        ("map50", -0.05, 0.01, "B is better than A"),
        ("mae", 0.05, 0.01, "B is better than A"),
        ("map50", 0.05, 0.2, "no difference shown at this size"),
        ("map50", None, 0.2, "undefined"),
    ],
)
def test_a_verdict_names_the_better_model(
    figure: str, difference: float | None, p: float, expected: str
) -> None:
    assert expected in verdict_of("A", "B", figure, Estimate(difference), p)


def span(label: str, started_at_s: float, ended_at_s: float) -> AnomalySpan:
    return AnomalySpan(label, started_at_s, ended_at_s)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], (0, 0)),
        ([span("speeding", 102, 130)], (1, 0)),
        ([span("speeding", 102, 110), span("speeding", 112, 130)], (1, 0)),
        ([span("harsh_braking", 102, 130)], (0, 1)),
        ([span("speeding", 300, 310)], (0, 1)),
        ([span("speeding", 125, 140)], (1, 0)),
    ],
)
def test_a_report_counts_where_label_and_time_fit(
    found: list[AnomalySpan], expected: tuple[int, int]
) -> None:
    assert match_spans(found, [span("speeding", 100, 120)]) == expected


def test_windows_that_follow_each_other_with_one_label_are_one_report() -> None:
    labels = ["normal", "speeding", "speeding", "braking", "normal", "speeding"]
    reports = joined(labels, np.arange(10.0, 16.0), 1.0, "normal")
    assert reports == [
        span("speeding", 10, 12),
        span("braking", 12, 13),
        span("speeding", 14, 15),
    ]
