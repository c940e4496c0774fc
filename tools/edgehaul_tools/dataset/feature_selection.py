"""Which features tell the labels of a dataset apart: a ranking and a recommendation.

Three questions in turn. Does a feature say anything about the label (mutual information
against that with the labels of other times)? Does it say more than another, better one (rank
correlation)? Would a model miss it (permutation importance of gradient boosting, on recordings
that the model has not seen)? Correlated features are dropped before the last question: they
would stand in for each other, and none of them would be missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehaul.errors import DatasetError
from edgehaul.motion.features import FEATURES
from edgehaul_tools.dataset.feature_models import held_out_f1, importances
from edgehaul_tools.dataset.feature_statistics import information_of, rank_correlation
from edgehaul_tools.dataset.feature_windows import FeatureWindows, load_feature_windows

CORRELATED = 0.95
"""Rank correlation from which two features say the same."""
_MOST_WINDOWS = 4000
_ERRORS = 2.0
"""A feature is missed if the loss is so many standard errors above zero."""
_LEAST_LOSS = 0.01
"""A smaller loss of macro F1 is none, however surely it is there."""
_AS_GOOD = 0.02
"""A macro F1 this little below another is as good."""

Progress = Callable[[int, int], None]
"""Called with the number of items done and the number of all."""


@dataclass(frozen=True)
class RankedFeature:
    """What is known of one feature.

    Attributes:
        name: Its name.
        mutual_information: With the label, in nats: the best of its four summaries.
        by_chance: The same with the labels moved in time: neighbouring windows are alike, and
            so are their labels, which alone seems to tell something.
        importance: Macro F1 that is lost where it is shuffled; None where it was not asked.
        importance_error: Standard error of that.
        twin: The better feature that it is correlated with; empty without one.
        correlation: Rank correlation with that.
        recommended: Whether to take it.
        reason: Why, or why not.
    """

    name: str
    mutual_information: float
    by_chance: float
    importance: float | None = None
    importance_error: float | None = None
    twin: str = ""
    correlation: float = 0.0
    recommended: bool = False
    reason: str = ""


@dataclass(frozen=True, eq=False)
class FeatureRanking:
    """The features of a dataset, best first.

    Attributes:
        dataset: Its folder.
        window: Steps in a window.
        interval_s: Time between two steps.
        windows: Number of windows by label.
        groups: Number of recordings or blocks that were held out in turn.
        grouped_by: ``recording`` or ``block``.
        macro_f1_all: Macro F1 of gradient boosting with all features, on held-out groups.
        macro_f1_recommended: The same with the recommended ones alone.
        features: Best first.
        correlation: (F, F) rank correlation of the features' means, in the order of
            ``features``.
    """

    dataset: Path
    window: int
    interval_s: float
    windows: dict[str, int]
    groups: int
    grouped_by: str
    macro_f1_all: float
    macro_f1_recommended: float
    features: tuple[RankedFeature, ...]
    correlation: NDArray[np.float64]

    @property
    def recommended(self) -> tuple[str, ...]:
        """Names of the features to take, best first."""
        return tuple(feature.name for feature in self.features if feature.recommended)


def rank_features(
    dataset: Path,
    *,
    window: int,
    interval_s: float,
    seed: int = 0,
    labelled_only: bool = False,
    progress: Progress | None = None,
) -> FeatureRanking:
    """Rank the features of labelled trips, or the channels of labelled series.

    Args:
        dataset: Folder of the dataset.
        window: Steps in a window.
        interval_s: Time between two steps.
        seed: The same seed gives the same ranking.
        labelled_only: Leave out windows outside all spans instead of calling them normal.
        progress: Told of each step.

    Raises:
        DatasetError: It cannot be read, shows one class alone, or no class is in two groups.
    """
    report = progress or (lambda _done, _all: None)
    random = np.random.default_rng(seed)
    content = load_feature_windows(dataset, window, interval_s, labelled_only=labelled_only)
    content = _drawn(_with_common_classes(dataset, content), random)
    report(1, 5)
    information, by_chance = information_of(content, random)
    correlation = rank_correlation(content.values[:, :, 0])
    found = _without_twins(content, information, by_chance, correlation)
    report(2, 5)
    asked = [i for i, feature in enumerate(found) if not feature.reason]
    losses = importances(content, asked, random) if asked else np.zeros((0, 1))
    report(3, 5)
    for place, index in enumerate(asked):
        found[index] = _judged(found[index], losses[place])
    found = _at_least_one(found)
    everything = list(range(len(found)))
    f1_all = held_out_f1(content, everything)
    report(4, 5)
    found, f1_taken = _filled_up(content, found, f1_all)
    report(5, 5)
    order = sorted(everything, key=lambda i: _place(found[i]))
    return FeatureRanking(
        dataset,
        window,
        interval_s,
        dict(sorted(Counter(content.labels.tolist()).items())),
        len(set(content.groups.tolist())),
        content.grouped_by,
        f1_all,
        f1_taken,
        tuple(found[i] for i in order),
        correlation[np.ix_(order, order)],
    )


def about(name: str) -> str:
    """Return what a feature is, in one line; a channel of a series is just that."""
    return FEATURES[name].summary if name in FEATURES else "channel of the series"


def _with_common_classes(dataset: Path, content: FeatureWindows) -> FeatureWindows:
    """Return the windows of the classes that at least two groups show."""
    common = [
        label
        for label in np.unique(content.labels)
        if len(np.unique(content.groups[content.labels == label])) > 1
    ]
    if len(common) < 2:  # noqa: PLR2004 - there is nothing to tell apart
        raise DatasetError(
            f"fewer than two labels are in more than one {content.grouped_by}",
            where=dataset,
            remedy="add recordings: what one alone shows cannot be told from its other traits",
        )
    return content.only(np.isin(content.labels, common))


def _drawn(content: FeatureWindows, random: np.random.Generator) -> FeatureWindows:
    """Return at most so many windows that it takes seconds; rare classes are kept whole."""
    if len(content) <= _MOST_WINDOWS:
        return content
    labels, counts = np.unique(content.labels, return_counts=True)
    room, kept = _MOST_WINDOWS, []
    for done, index in enumerate(np.argsort(counts)):
        share = room // (len(labels) - done)
        members = np.flatnonzero(content.labels == labels[index])
        chosen = members if len(members) <= share else random.choice(members, share, replace=False)
        kept.append(chosen)
        room -= len(chosen)
    return content.only(np.sort(np.concatenate(kept)))


def _without_twins(
    content: FeatureWindows,
    information: NDArray[np.float64],
    by_chance: NDArray[np.float64],
    correlation: NDArray[np.float64],
) -> list[RankedFeature]:
    """Return the features; those without information and the twins of better ones say why."""
    found = [
        RankedFeature(name, round(float(value), 4), round(float(chance), 4))
        for name, value, chance in zip(content.names, information, by_chance, strict=True)
    ]
    kept: list[int] = []
    for index in np.argsort(-information, kind="stable").tolist():
        feature = found[index]
        twins = [k for k in kept if abs(correlation[index, k]) >= CORRELATED]
        if not np.ptp(content.values[:, index], axis=0).any():
            found[index] = replace(feature, reason="never changes here")
        elif information[index] <= by_chance[index]:
            found[index] = replace(feature, reason="tells no more than by chance")
        elif twins:
            twin = max(twins, key=lambda k: abs(correlation[index, k]))
            value = float(correlation[index, twin])
            found[index] = replace(
                feature,
                twin=content.names[twin],
                correlation=round(value, 3),
                reason=f"says the same as {content.names[twin]} (correlation {value:.2f})",
            )
        else:
            kept.append(index)
    return found


def _judged(feature: RankedFeature, losses: NDArray[np.float64]) -> RankedFeature:
    """Return the feature with its importance (over folds) and what follows from it."""
    mean = float(losses.mean())
    error = float(losses.std(ddof=1) / np.sqrt(len(losses))) if len(losses) > 1 else 0.0
    is_missed = mean > max(_ERRORS * error, _LEAST_LOSS)
    reason = (
        f"without it {mean:.3f} of macro F1 are lost" if is_missed else "the others make up for it"
    )
    return replace(
        feature,
        importance=round(mean, 4),
        importance_error=round(error, 4),
        recommended=is_missed,
        reason=reason,
    )


def _at_least_one(found: list[RankedFeature]) -> list[RankedFeature]:
    """Return the features, the most informative one recommended where none is."""
    if any(feature.recommended for feature in found):
        return found
    best = max(found, key=lambda f: (f.importance is not None, f.mutual_information))
    chosen = replace(best, recommended=True, reason="none is surely missed; it tells the most")
    return [chosen if feature is best else feature for feature in found]


def _filled_up(
    content: FeatureWindows, found: list[RankedFeature], f1_all: float
) -> tuple[list[RankedFeature], float]:
    """Recommend the next best until a model with these is as good as one with all.

    Features that stand in for each other are not missed one by one, but all together are.

    Returns:
        The features, and the macro F1 with the recommended ones.
    """
    taken = [i for i, feature in enumerate(found) if feature.recommended]
    f1_taken = held_out_f1(content, taken)
    waiting = [i for i, f in enumerate(found) if f.importance is not None and not f.recommended]
    for index in sorted(waiting, key=lambda i: _place(found[i])):
        if f1_taken >= f1_all - _AS_GOOD:
            break
        f1_more = held_out_f1(content, [*taken, index])
        if f1_more > f1_taken + _LEAST_LOSS:
            reason = f"with those above it lifts macro F1 from {f1_taken:.2f} to {f1_more:.2f}"
            found[index] = replace(found[index], recommended=True, reason=reason)
            taken, f1_taken = [*taken, index], f1_more
    return found, f1_taken


def _place(feature: RankedFeature) -> tuple[bool, bool, float, float]:
    """Return where a feature stands in the ranking: recommended ones first, then by value."""
    importance = feature.importance if feature.importance is not None else 0.0
    asked = feature.importance is not None
    return (not feature.recommended, not asked, -importance, -feature.mutual_information)
