"""LSTM, GRU, TCN and Transformer against gradient boosting on labelled driving events.

The driver-behaviour set (Ferreira et al. 2017, "Driver behavior profiling"): a phone's
accelerometer and gyroscope, about 15 events in each trip. Three questions, in rising order of
what they say about a vehicle that was never seen:

* ``events within``: which kind of event is this? Every event is held out once, with one event
  of every other kind. Where a kind occurs in one trip alone, a model may also answer by the trip.
* ``events across``: the same with whole trips held out, over the kinds that the other trips have.
* ``windows across``: is anything aggressive going on? Windows of whole trips, most of them
  plain driving (or a non-aggressive event); whole trips held out.

All models see the same windows: 4 s of six channels at 10 Hz. Gradient boosting sees statistics
of each channel of a window. Nothing is chosen by what is held out: no early stopping, one
set of sizes and epochs for all networks, scikit-learn's own for boosting. Run::

    python tests/bench/driver_behavior.py --data ../shared/data/gps/driver_behavior
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from saying import say
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score

from edgehaul.bundle.spec import ModelSpec, OutputSpec
from edgehaul.config.recipe import SequenceRecipe
from edgehaul.config.recipe_sections import ClassLossSection, OptimizerSection
from edgehaul.motion.fields import Rejections
from edgehaul_tools.dataset.series import Series
from edgehaul_tools.dataset.series_import import driver_trips, read_driver_trip
from edgehaul_tools.dataset.traces import AnomalySpan
from edgehaul_tools.train.sequence.tasks import answers_of, normalised
from edgehaul_tools.train.sequence.training import fit_sequence
from edgehaul_tools.train.sequence.windows import (
    UNDECIDED,
    WindowSet,
    cut_windows,
    load_windows,
    scaled_input,
    unscaled_input,
)

NETWORKS = ("lstm", "gru", "tcn", "transformer")
BOOSTING = "boosting"
WINDOW, INTERVAL_S = 40, 0.1
JITTER_S = 0.75
EVERY = 5
"""Sliding windows begin every half second: their neighbours are nearly the same."""


@dataclass(frozen=True)
class Fold:
    """What is learnt from, and what was held out."""

    train: WindowSet
    test: WindowSet


def recipe_of(network: str, seed: int, channels: tuple[str, ...], epochs: int) -> SequenceRecipe:
    """Return the one recipe of all networks."""
    return SequenceRecipe(
        network=network,
        features=channels,
        window=WINDOW,
        interval_s=INTERVAL_S,
        decision_s=WINDOW * INTERVAL_S,
        overlap_s=2.0,
        hidden=32,
        layers=2,
        dropout=0.2,
        normal_label="",
        loss=ClassLossSection(balance="draw", label_smoothing=0.05),
        optimizer=OptimizerSection(
            epochs=epochs, batch=32, learning_rate=2e-3, average_decay=0.95, weight_decay=0.05
        ),
        seed=seed,
        threads=1,
    )


def event_windows(
    trip: Series, recipe: SequenceRecipe, labels: Sequence[str]
) -> list[tuple[int, WindowSet]]:
    """Return for each event its class and the windows about its middle, the middle one first."""
    cut = cut_windows(trip, unscaled_input(recipe))
    middle_s = (cut.started_at_s + cut.ended_at_s) / 2
    events = []
    for span in trip.spans:
        distance_s = np.abs(middle_s - (span.started_at_s + span.ended_at_s) / 2)
        near = np.flatnonzero(distance_s <= JITTER_S)
        if span.label not in labels or not len(near):
            continue
        near = near[np.argsort(distance_s[near], kind="stable")]
        class_id = labels.index(span.label)
        windows = WindowSet(cut.features[near], np.full(len(near), class_id))
        events.append((class_id, windows))
    return events


def joined(sets: Sequence[WindowSet]) -> WindowSet:
    """Return all windows of these sets."""
    return WindowSet(
        np.concatenate([s.features for s in sets]), np.concatenate([s.classes for s in sets])
    )


def held_out(events: Sequence[WindowSet]) -> WindowSet:
    """Return the middle window of each event."""
    return joined([WindowSet(e.features[:1], e.classes[:1]) for e in events])


def folds_within(trips: Sequence[Series], recipe: SequenceRecipe, labels: list[str]) -> list[Fold]:
    """Hold out one event of every kind at a time, each event once."""
    events = [event for trip in trips for event in event_windows(trip, recipe, labels)]
    place: Counter[int] = Counter()
    turns = []
    for class_id, _ in events:
        turns.append(place[class_id])
        place[class_id] += 1
    folds = []
    for turn in range(max(turns) + 1):
        test = [e for (_, e), t in zip(events, turns, strict=True) if t == turn]
        train = [e for (_, e), t in zip(events, turns, strict=True) if t != turn]
        folds.append(Fold(joined(train), held_out(test)))
    return folds


def folds_across(
    trips: Sequence[Series], recipe: SequenceRecipe, labels: list[str]
) -> Iterator[tuple[str, Fold]]:
    """Hold out one trip at a time, and of it the kinds of events that other trips have."""
    for out in trips:
        known = {s.label for trip in trips if trip is not out for s in trip.spans}
        held = event_windows(out, recipe, labels)
        test = [windows for class_id, windows in held if labels[class_id] in known]
        train = [
            e for trip in trips if trip is not out for _, e in event_windows(trip, recipe, labels)
        ]
        if test:
            yield out.name, Fold(joined(train), held_out(test))


def folds_of_windows(trips: Sequence[Series], recipe: SequenceRecipe) -> Iterator[tuple[str, Fold]]:
    """Hold out one trip at a time; class 1 is any aggressive event, class 0 all else."""
    sets = {}
    for trip in trips:
        spans = tuple(
            AnomalySpan("aggressive", s.started_at_s, s.ended_at_s)
            for s in trip.spans
            if s.label.startswith("aggressive")
        )
        plain = Series(trip.name, trip.time_s, trip.channels, trip.values, spans)
        normal = SequenceRecipe(
            **{f: getattr(recipe, f) for f in ("features", "window", "interval_s", "decision_s")},
            overlap_s=recipe.overlap_s,
        )
        windows = load_windows([plain], normal, ("normal", "aggressive"))
        kept = np.arange(0, len(windows), EVERY)
        kept = kept[windows.classes[kept] != UNDECIDED]
        sets[trip.name] = WindowSet(windows.features[kept], windows.classes[kept])
    for name, test in sets.items():
        yield name, Fold(joined([s for n, s in sets.items() if n != name]), test)


def statistics_of(windows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what gradient boosting sees: eight statistics of each channel, (n, 8 C)."""
    values = windows.astype(np.float64)
    steps = np.arange(values.shape[1]) - (values.shape[1] - 1) / 2
    change = np.diff(values, axis=1)
    columns = (
        values.mean(axis=1),
        values.std(axis=1),
        values.min(axis=1),
        values.max(axis=1),
        np.median(values, axis=1),
        np.tensordot(steps, values, axes=(0, 1)) / (steps**2).sum(),
        np.abs(change).mean(axis=1),
        values[:, values.shape[1] // 2 :].mean(axis=1)
        - values[:, : values.shape[1] // 2].mean(axis=1),
    )
    return np.concatenate(columns, axis=1)


def answers(model: str, fold: Fold, seed: int, labels: Sequence[str], epochs: int) -> NDArray:
    """Learn from one fold and return the classes of what was held out."""
    if model == BOOSTING:
        boosting = HistGradientBoostingClassifier(
            class_weight="balanced", max_features=0.5, random_state=seed, min_samples_leaf=10
        )
        boosting.fit(statistics_of(fold.train.features), fold.train.classes)
        return boosting.predict(statistics_of(fold.test.features))
    channels = tuple(f"channel_{n}" for n in range(fold.train.features.shape[2]))
    recipe = recipe_of(model, seed, channels, epochs)
    scaled = scaled_input(recipe, fold.train.features)
    spec = ModelSpec("sequence", scaled, OutputSpec("sequence", tuple(labels)))
    nothing = WindowSet(fold.test.features[:0], fold.test.classes[:0])
    network = fit_sequence(recipe, spec, fold.train, nothing).network
    return answers_of(network, normalised(spec, fold.test.features)).argmax(axis=1)


def measure(
    title: str, folds: Sequence[Fold], labels: Sequence[str], seeds: int, epochs: int
) -> None:
    """Print the macro F1 of all models over all folds together, seed by seed."""
    truth = np.concatenate([fold.test.classes for fold in folds])
    kinds = sorted(set(truth.tolist()))
    counts = ", ".join(f"{labels[k]} {int((truth == k).sum())}" for k in kinds)
    say(f"\n{title}\n  held out: {len(truth)} ({counts})")
    means = {}
    for model in (*NETWORKS, BOOSTING):
        started = time.perf_counter()
        scores = []
        for seed in range(seeds):
            given = np.concatenate([answers(model, f, seed, labels, epochs) for f in folds])
            scores.append(f1_score(truth, given, labels=kinds, average="macro", zero_division=0))
        means[model] = float(np.mean(scores))
        took_s = (time.perf_counter() - started) / seeds
        sd = np.std(scores, ddof=1) if seeds > 1 else 0.0
        say(f"  {model:12} {means[model]:.3f} +- {sd:.3f}   {took_s:5.1f} s a seed")
    say(f"  best: {max(means, key=lambda m: means[m])}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True, help="Folder of the trips.")
    parser.add_argument("--more", type=Path, help="Folder of further trips of the same form.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    folders = driver_trips(options.data) + (driver_trips(options.more) if options.more else [])
    trips = [read_driver_trip(folder, Rejections()) for folder in folders]
    for trip in trips:
        say(f"{trip.name}: {dict(Counter(span.label for span in trip.spans))}")
    labels = sorted({span.label for trip in trips for span in trip.spans})
    recipe = recipe_of("lstm", 0, trips[0].channels, options.epochs)
    seeds, epochs = options.seeds, options.epochs
    measure("events within", folds_within(trips, recipe, labels), labels, seeds, epochs)
    across = list(folds_across(trips, recipe, labels))
    if across:
        names = ", ".join(name for name, _ in across)
        title = f"events across ({names} held out in turn)"
        measure(title, [fold for _, fold in across], labels, seeds, epochs)
    else:
        say("\nevents across: no kind of event occurs in two of these trips; not defined")
    two = ("plain", "aggressive")
    pairs = list(folds_of_windows(trips, recipe))
    measure("windows across, all trips", [fold for _, fold in pairs], two, seeds, epochs // 2)


if __name__ == "__main__":
    main()
