"""The sequence autoencoder's AUROC on virtual trucks and on NAB, beside two simple baselines.

* ``autoencoder``: as ``edgehaul train`` makes it, learnt from normal windows alone.
* ``global z``: mean squared z-score of the window's values, by mean and deviation of what the
  autoencoder learnt from: what an autoencoder that always draws the mean would answer.
* ``rolling z``: how far each step lies from the mean of the steps before it, in their deviation;
  the mean over the window's steps, of the channel that is furthest off.

A window is judged by its end. Windows that only just touch an event count for neither side.

Trucks: trips that nobody learnt from. NAB (Lavin and Ahmad 2015): each series is learnt from its
first part alone, either NAB's probation (15 %) or all before the first labelled window (at most
half), and judged on the rest. NAB's windows are generous, about a tenth of each series, so
that no window-level AUROC can be near 1. Run::

    python tests/bench/series_anomaly.py --nab ../shared/data/series/nab
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from saying import say
from sklearn.metrics import average_precision_score, roc_auc_score

from edgehaul.bundle.spec import ModelSpec, OutputSpec
from edgehaul.config.loader import load
from edgehaul.config.recipe import Recipe, SequenceRecipe
from edgehaul.config.recipe_sections import OptimizerSection
from edgehaul.motion.fields import Rejections
from edgehaul_tools.dataset.series import Series
from edgehaul_tools.dataset.series_import import read_nab
from edgehaul_tools.dataset.traces import LabelledTrace, read_truck_dataset
from edgehaul_tools.dataset.virtual import generate_truck_dataset
from edgehaul_tools.train.sequence.deployed import DeployedSequenceAnomaly
from edgehaul_tools.train.sequence.tasks import answers_of, normalised
from edgehaul_tools.train.sequence.training import fit_sequence
from edgehaul_tools.train.sequence.windows import (
    Recording,
    WindowSet,
    cut_windows,
    load_surprises,
    scaled_input,
    unscaled_input,
)

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "recipe"
PROBATION = 0.15
NAB_FILES = (
    "realTraffic/TravelTime_387.csv",
    "realTraffic/TravelTime_451.csv",
    "artificialWithAnomaly",
)
NAB_STEP_S, NAB_WINDOW = 1800.0, 12
"""Six hours in steps of half an hour: the traffic series have pauses of up to a day."""
ROLLING_STEPS = 96


def nab_recipe(seed: int, channels: tuple[str, ...]) -> SequenceRecipe:
    """Return the one recipe of all NAB series."""
    return SequenceRecipe(
        network="autoencoder",
        goal="anomaly",
        features=channels,
        window=NAB_WINDOW,
        interval_s=NAB_STEP_S,
        decision_s=2 * NAB_STEP_S,
        overlap_s=NAB_STEP_S,
        hidden=16,
        layers=2,
        optimizer=OptimizerSection(epochs=120, batch=32, learning_rate=3e-3, average_decay=0.98),
        seed=seed,
        threads=1,
    )


def autoencoder_scores(
    recipe: SequenceRecipe, train: WindowSet, test: WindowSet
) -> NDArray[np.float32]:
    """Learn from the normal windows of ``train`` and return the scores of ``test``."""
    normal = WindowSet(train.features[train.classes == 0], train.classes[train.classes == 0])
    scaled = scaled_input(recipe, normal.features)
    spec = ModelSpec("sequence", scaled, OutputSpec("anomaly"))
    nothing = WindowSet(test.features[:0], test.classes[:0])
    network = fit_sequence(recipe, spec, normal, nothing).network
    return answers_of(DeployedSequenceAnomaly(network), normalised(spec, test.features))[:, 0]


def global_z_scores(train: WindowSet, test: WindowSet) -> NDArray[np.float64]:
    """Return the mean squared z-score of each window."""
    normal = train.features[train.classes == 0].reshape(-1, train.features.shape[2])
    std = np.where(normal.std(axis=0) > 0, normal.std(axis=0), 1.0)
    return (((test.features - normal.mean(axis=0)) / std) ** 2).mean(axis=(1, 2))


def rolling_z_scores(recordings: Sequence[Recording], recipe: SequenceRecipe) -> NDArray:
    """Return the mean rolling z-score over the steps of each window of these recordings."""
    one_step = msgspec.structs.replace(unscaled_input(recipe), window=1)
    scores = []
    for recording in recordings:
        steps = cut_windows(recording, one_step)
        values, time_s = steps.features[:, 0].astype(np.float64), steps.ended_at_s
        z = np.zeros(len(values))
        for at in range(1, len(values)):
            before = values[max(0, at - ROLLING_STEPS) : at]
            std = np.maximum(before.std(axis=0), 1e-3 * np.abs(before).max(axis=0) + 1e-9)
            z[at] = (np.abs(values[at] - before.mean(axis=0)) / std).max()
        for end_s in cut_windows(recording, unscaled_input(recipe)).ended_at_s:
            last = int(np.searchsorted(time_s, end_s + 1e-6))
            scores.append(z[max(0, last - recipe.window) : last].mean())
    return np.array(scores)


def auroc(scores: NDArray, windows: WindowSet) -> tuple[float, float]:
    """Return AUROC and average precision over the decided windows."""
    decided = windows.classes >= 0
    truth, given = windows.classes[decided], scores[decided]
    return float(roc_auc_score(truth, given)), float(average_precision_score(truth, given))


def bench_trucks(seeds: int, trips: int) -> None:
    """Learn from most trips of a generated set and judge the others."""
    config = load(CONFIGS / "trace_anomaly.yaml", Recipe).sequence
    with tempfile.TemporaryDirectory() as folder:
        generate_truck_dataset(Path(folder) / "truck", trips, 0)
        traces: tuple[LabelledTrace, ...] = read_truck_dataset(Path(folder) / "truck")
    learnt, unseen = traces[: trips * 2 // 3], traces[trips * 2 // 3 :]
    train, test = load_surprises(learnt, config), load_surprises(unseen, config)
    normal, anomalous = int((test.classes == 0).sum()), int((test.classes == 1).sum())
    say(f"virtual trucks: {len(learnt)} trips learnt from (their normal windows), {len(unseen)}")
    say(f"unseen trips: {normal} normal windows, {anomalous} anomalous; AUROC, average precision")
    found = []
    for seed in range(seeds):
        recipe = msgspec.structs.replace(config, seed=seed, threads=1)
        found.append(auroc(autoencoder_scores(recipe, train, test), test))
    mean, sd = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) if seeds > 1 else np.zeros(2)
    say(f"  autoencoder {mean[0]:.4f} +- {sd[0]:.4f}   {mean[1]:.3f} +- {sd[1]:.3f}")
    say("  global z    {:.4f}            {:.3f}".format(*auroc(global_z_scores(train, test), test)))
    rolling = auroc(rolling_z_scores(unseen, config), test)
    say("  rolling z   {:.4f}            {:.3f}".format(*rolling))


def between(series: Series, begin: float, end: float) -> Series:
    """Return the part of a series between two shares of its samples."""
    rows = slice(int(begin * len(series.time_s)), int(end * len(series.time_s)))
    return Series(
        series.name, series.time_s[rows], series.channels, series.values[rows], series.spans
    )


def normal_share(series: Series) -> float:
    """Return the share of the samples before the first labelled window, at most half."""
    before = np.searchsorted(series.time_s, series.spans[0].started_at_s)
    return min(0.5, float(before) / len(series.time_s))


def bench_nab(root: Path, seeds: int) -> None:
    """Judge every series by models of its own first part."""
    found = [s for file in NAB_FILES for s in read_nab(root / file, root, Rejections())]
    for title, share_of in (
        (f"first {PROBATION:.0%}", lambda _: PROBATION),
        ("all before the first labelled window, at most half", normal_share),
    ):
        say(f"\nNAB, learnt from {title}: AUROC of windows of {NAB_WINDOW} steps")
        say(f"  {'series':48} {'windows':>11}  autoencoder      global z  rolling z")
        table = [nab_row(series, share_of(series), seeds) for series in found]
        mean = np.mean(table, axis=0)
        say(f"  {'mean':48} {'':>11}  {mean[0]:.3f}            {mean[1]:.3f}     {mean[2]:.3f}")


def nab_row(series: Series, share: float, seeds: int) -> tuple[float, float, float]:
    """Judge one series and print its line."""
    recipe = nab_recipe(0, series.channels)
    first, rest = between(series, 0.0, share), between(series, share, 1.0)
    train, test = load_surprises([first], recipe), load_surprises([rest], recipe)
    scores = []
    for seed in range(seeds):
        seeded = msgspec.structs.replace(recipe, seed=seed)
        scores.append(auroc(autoencoder_scores(seeded, train, test), test)[0])
    sd = np.std(scores, ddof=1) if seeds > 1 else 0.0
    plain = auroc(global_z_scores(train, test), test)[0]
    rolling = auroc(rolling_z_scores([rest], recipe), test)[0]
    counts = f"{len(train)}/{len(test)}"
    mean = float(np.mean(scores))
    say(f"  {series.name:48} {counts:>11}  {mean:.3f} +- {sd:.3f}   {plain:.3f}     {rolling:.3f}")
    return mean, plain, rolling


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--nab", type=Path, help="Folder of NAB; without it trucks alone.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trips", type=int, default=36)
    options = parser.parse_args()
    bench_trucks(options.seeds, options.trips)
    if options.nab:
        bench_nab(options.nab, options.seeds)


if __name__ == "__main__":
    main()
