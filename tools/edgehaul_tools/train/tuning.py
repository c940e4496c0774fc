"""Search for better values of a recipe with Optuna: resumable, and by several workers.

The study lies in a journal file beside the trials. Workers, on one machine or on several with
the folder between them, share it; whoever starts again goes on where it stopped. Trials that
lag behind the median of the others at the same epoch are given up (median pruning, Golovin
et al. 2017).
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from edgehaul.config.override import overridden
from edgehaul.config.recipe import ClassifierRecipe, Recipe
from edgehaul.errors import ConfigError, ModelError, UsageError
from edgehaul_tools.train.architectures.published import load_published
from edgehaul_tools.train.architectures.table import build_classifier
from edgehaul_tools.train.follow import follow_recipe
from edgehaul_tools.train.loop.optimization import EpochReport
from edgehaul_tools.train.run_directory import TrainingRun
from edgehaul_tools.train.search_identity import require_same
from edgehaul_tools.train.search_space import Choice

JOURNAL_FILE = "study.log"
BEST_FILE = "best.yaml"
_STUDY = "edgehaul"
_STARTUP_TRIALS = 4
"""Trials before the sampler learns from them, and before any is given up."""
_DONE = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class Trial(msgspec.Struct, frozen=True):
    """One trial of a study.

    Attributes:
        number: From 0.
        state: ``complete``, ``pruned``, ``fail`` or ``running``.
        values: What was chosen, by key.
        measure: Name of the figure.
        figure: What it came to; of a pruned trial the last that was seen.
        reason: Why it failed.
        higher_is_better: Whether a larger figure is a better one, as the training says.
    """

    number: int
    state: str
    values: dict[str, str | int | float]
    measure: str = ""
    figure: float | None = None
    reason: str = ""
    higher_is_better: bool = True


Told = Callable[[Trial], None]


@dataclass(frozen=True)
class Search:
    """What is searched, and where it is kept.

    Attributes:
        recipe: Where every trial starts from.
        dataset: What every trial learns from.
        choices: What a trial may choose.
        folder: Holds the journal and a run directory for each trial.
        trials: How many trials the study is to have, those of all workers and earlier
            sessions counted.
        seed: Of the sampler.
        threads: Processor threads of a trial whose recipe leaves them open; 0 takes all.
    """

    recipe: Recipe
    dataset: Path
    choices: tuple[Choice, ...]
    folder: Path
    trials: int
    seed: int = 0
    threads: int = 0


def search(plan: Search, worker: int = 0, told: Told = lambda _trial: None) -> tuple[Trial, ...]:
    """Run trials until the study has as many as wanted; return all of them.

    Args:
        plan: What is searched.
        worker: Number of this worker on its machine.
        told: Called after each trial of this worker.

    Raises:
        UsageError: The folder holds a study of another recipe, dataset or of other choices.
        ConfigError: A choice names no key, or values that it does not take.
        ModelError: The weights to start from cannot be read, or are of another network.
        DatasetError: The dataset cannot be learnt from.
    """
    if plan.recipe.generator is not None:
        raise UsageError(
            "a generator has no figure to search by", remedy="choose its values by its pictures"
        )
    _try_ends(plan)
    _try_weights(plan)
    study = _open_study(plan, worker)
    _fail_abandoned(study)
    while sum(trial.state in _DONE for trial in study.get_trials(deepcopy=False)) < plan.trials:
        if _claimed(study) >= plan.trials:
            break  # the others are at the last ones
        trial = study.ask()
        if trial.number >= plan.trials:  # another worker asked at the same time
            trial.set_user_attr("reason", "one more than was wanted")
            study.tell(trial, state=TrialState.FAIL)
            break
        told(_run_trial(plan, study, trial))
    return trials_of(study)


def trials_of(study: optuna.Study) -> tuple[Trial, ...]:
    """Return what is known of every trial."""
    return tuple(_shown(trial) for trial in study.get_trials(deepcopy=False))


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the complete trial with the best figure."""
    complete = [t for t in trials if t.state == "complete" and t.figure is not None]
    return max(complete, key=_rank, default=None)


def write_best(plan: Search, best: Trial) -> Path:
    """Write the recipe with the best trial's values; return its path."""
    training = overridden(plan.recipe.training, _assignments(best))
    training = msgspec.structs.replace(training, dataset=os.path.relpath(plan.dataset, plan.folder))
    if isinstance(training, ClassifierRecipe) and training.weights:
        weights = os.path.relpath(training.weights, plan.folder)
        training = msgspec.structs.replace(training, weights=weights)
    recipe = plan.recipe.with_training(training)
    path = plan.folder / BEST_FILE
    content = {plan.recipe.kind: msgspec.to_builtins(recipe)[plan.recipe.kind]}
    path.write_bytes(msgspec.yaml.encode(content))
    return path


def _open_study(plan: Search, worker: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan.folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=_STUDY,
        storage=JournalStorage(JournalFileBackend(str(plan.folder / JOURNAL_FILE))),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS),
        direction="maximize",
        load_if_exists=True,
    )
    require_same(study, plan.recipe, plan.dataset, plan.choices, plan.folder)
    # A session that goes on, or joins, must not draw again what the first one drew.
    begun = len(study.get_trials(deepcopy=False))
    seed = np.random.SeedSequence((plan.seed, worker, begun)).generate_state(1)
    study.sampler = optuna.samplers.TPESampler(
        seed=int(seed[0]), n_startup_trials=_STARTUP_TRIALS, constant_liar=True
    )
    return study


def _claimed(study: optuna.Study) -> int:
    running = (TrialState.RUNNING, TrialState.WAITING)
    return sum(t.state in {*_DONE, *running} for t in study.get_trials(deepcopy=False))


def _fail_abandoned(study: optuna.Study) -> None:
    """Close the trials of this machine whose worker is gone, as after kill -9."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        host, pid = trial.user_attrs.get("host"), trial.user_attrs.get("pid")
        if host == socket.gethostname() and pid is not None and not Path(f"/proc/{pid}").exists():
            study.tell(trial.number, state=TrialState.FAIL)


def _try_ends(plan: Search) -> None:
    """Refuse choices that the recipe does not take, before anything is trained."""
    for choice in plan.choices:
        ends = choice.options or tuple(
            str(int(end)) if choice.whole else repr(end) for end in (choice.low, choice.high)
        )
        for end in ends:
            overridden(plan.recipe.training, [f"{choice.key}={end}"], where="--vary")


def _try_weights(plan: Search) -> None:
    """Refuse weights that no trial could start from, before anything is trained."""
    section = plan.recipe.classifier
    if section is None or not section.weights:
        return
    if {"network", "width", "height"} & {choice.key for choice in plan.choices}:
        return  # they fit some of the networks at best; the trials with others fail
    network = build_classifier(section.network, 2, width=section.width, height=section.height)
    load_published(network, Path(section.weights))


def _run_trial(plan: Search, study: optuna.Study, trial: optuna.Trial) -> Trial:
    trial.set_user_attr("host", socket.gethostname())
    trial.set_user_attr("pid", os.getpid())
    out = plan.folder / "trials" / f"{trial.number:04d}"
    shutil.rmtree(out, ignore_errors=True)

    def report(epoch: EpochReport) -> None:
        if epoch.value is None:
            return
        trial.set_user_attr("measure", epoch.measure)
        trial.set_user_attr("higher_is_better", epoch.higher_is_better)
        trial.report(_signed(epoch.value, upwards=epoch.higher_is_better), epoch.epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        training = overridden(
            plan.recipe.training, [choice.assignment(trial) for choice in plan.choices]
        )
        training = msgspec.structs.replace(training, threads=training.threads or plan.threads)
        run = follow_recipe(plan.recipe.with_training(training), plan.dataset, out, report)
        upwards = bool(trial.user_attrs.get("higher_is_better", True))
        study.tell(trial, _signed(run.metrics[_measure_of(trial, run)], upwards=upwards))
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except (ModelError, ConfigError) as error:  # it diverged, or the values do not go together
        trial.set_user_attr("reason", str(error))
        study.tell(trial, state=TrialState.FAIL)
        logging.getLogger(__name__).warning("trial %d failed: %s", trial.number, error)
    except BaseException:
        study.tell(trial, state=TrialState.FAIL)
        raise
    return _shown(study.get_trials(deepcopy=False)[trial.number])


def _measure_of(trial: optuna.Trial, run: TrainingRun) -> str:
    measure = str(trial.user_attrs.get("measure", ""))
    if measure not in run.metrics:
        raise UsageError(
            "there is no figure to search by", remedy="give the recipe a validation part"
        )
    return measure


def _signed(value: float, *, upwards: bool) -> float:
    """Return a figure so that more is better; it is its own inverse."""
    return value if upwards else -value


def _rank(trial: Trial) -> float:
    return _signed(trial.figure or 0.0, upwards=trial.higher_is_better)


def _shown(trial: FrozenTrial) -> Trial:
    upwards = bool(trial.user_attrs.get("higher_is_better", True))
    value = trial.value if trial.state == TrialState.COMPLETE else None
    if value is None and trial.intermediate_values:
        value = trial.intermediate_values[max(trial.intermediate_values)]
    return Trial(
        number=trial.number,
        state=trial.state.name.lower(),
        values=dict(trial.params),
        measure=str(trial.user_attrs.get("measure", "")),
        figure=None if value is None else _signed(value, upwards=upwards),
        reason=str(trial.user_attrs.get("reason", "")),
        higher_is_better=upwards,
    )


def _assignments(trial: Trial) -> list[str]:
    return [f"{key}={value}" for key, value in trial.values.items()]
