"""From an installed model to an engine that is ready for its first frame.

Loading a detector (320x320) and running it by two threads took, on two cores of an AMD EPYC with
ONNX Runtime 1.32 (``tests/bench/session_memory.py``): 28 ms and 43 MiB (fp32), 25 ms and 33 MiB
(int8) as it is; 17 ms and 39 MiB, 11 ms and 31 MiB from the graph that was optimised before.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import msgspec
import numpy as np

from edgehaul.bundle.spec import ImageInput
from edgehaul.config.engine import EngineSection
from edgehaul.errors import BundleIntegrityError, InstallError, ModelError
from edgehaul_agent.engines import EngineOpener
from edgehaul_agent.inference.engine import Array, Engine
from edgehaul_agent.proof import Prover
from edgehaul_agent.update.slots import InstalledModel, ModelStore, digest_of_file
from edgehaul_agent.update.tuning import Tuning

_log = logging.getLogger(__name__)

_PATIENCE = 3.0
"""So many times ``retune_s`` others wait for a timing: proving and loading take time as well."""


class LoadedModel(msgspec.Struct, frozen=True):
    """An installed model, and the file that its session runs for all streams.

    Attributes:
        installed: The model.
        engine: Runs it.
        path: The variant's file as it was packed.
        optimised: Whether the graph optimised for this machine runs in its place.
    """

    installed: InstalledModel
    engine: Engine
    path: Path
    optimised: bool = False


class ModelLoader:
    """Loads models as configured.

    Args:
        store: The installed models.
        opener: Opens their files.
        section: What is configured.
        workers: Threads that run them.
    """

    def __init__(
        self, store: ModelStore, opener: EngineOpener, section: EngineSection, *, workers: int
    ) -> None:
        self._store = store
        self._opener = opener
        self._section = section
        self._workers = workers
        self._kept: dict[Path, InstalledModel] = {}
        self._tuning = threading.Lock()
        self._waiting_ends_s = 0.0

    def tuned(self, installed: InstalledModel) -> InstalledModel:
        """Return a model with the variant that is fastest on this machine as it is now.

        What was timed on another processor, with another version of the runtime, other providers or
        workers says nothing of this one: golden answers and timings are made again, within
        ``retune_s``. Where that cannot be recorded, it is not tried again before the next start.

        Raises:
            ParityError: No variant answers as it did any more.
            ModelError: No variant can be loaded any more.
            UsageError: What is configured to run the models is not here.
        """
        tuning = installed.tuning
        if tuning is None or self._section.retune_s == 0 or self._is_current(tuning):
            return installed
        # Streams start at the same time: one times the model, the others wait, but not for ever.
        if not self._tuning.acquire(timeout=max(0.0, self._patience_s())):
            _log.warning("the timing of %s does not end; the old choice stays", installed.name)
            return installed
        try:
            kept = self._kept.get(installed.folder)
            if kept is None or kept.manifest != installed.manifest:
                self._waiting_ends_s = time.monotonic() + _PATIENCE * self._section.retune_s
                kept = self._kept[installed.folder] = self._retuned(installed, tuning)
            return kept
        finally:
            self._tuning.release()

    def _patience_s(self) -> float:
        longest_s = _PATIENCE * self._section.retune_s
        if not self._tuning.locked():
            return longest_s
        return min(longest_s, self._waiting_ends_s - time.monotonic())

    def _retuned(self, installed: InstalledModel, tuning: Tuning) -> InstalledModel:
        _log.warning(
            "model %s was timed with other workers, or on another processor, runtime or provider "
            "(%s, %s); it is proved and timed again",
            installed.name,
            tuning.runtime,
            tuning.cpu,
        )
        prove = Prover(self._opener, workers=self._workers, budget_s=self._section.retune_s)
        try:
            return self._store.retune(installed, prove)
        except (InstallError, OSError) as error:
            _log.warning("the old choice of %s stays: %s", installed.name, error)
            return installed

    def load(self, installed: InstalledModel, variant: str, *, alone: bool) -> LoadedModel:
        """Return an engine for a model; it is not warm yet.

        Args:
            installed: The model.
            variant: The variant; empty takes the one chosen.
            alone: Whether one stream is all that there is.

        Raises:
            ModelError: The model cannot be loaded.
            UsageError: What is configured to run the models is not here.
        """
        variant = variant or installed.variant
        path, threads = installed.model_path(variant), self._threads(installed, variant, alone)
        optimised = self._optimised(installed, variant)
        engine = self._opener.open(optimised or path, threads, optimised=optimised is not None)
        return LoadedModel(installed, engine, path, optimised is not None)

    def warm_up(self, loaded: LoadedModel) -> None:
        """Run a model as often as configured: the first runs of all touch its memory.

        Raises:
            ModelError: It cannot be run.
        """
        if self._section.warmup_runs:
            tensor = trial_tensor(loaded.installed)
            for _ in range(self._section.warmup_runs):
                loaded.engine.run(tensor)

    def _threads(self, installed: InstalledModel, variant: str, alone: bool) -> int:  # noqa: FBT001 - as configured
        if self._section.threads:
            return self._section.threads
        tuning = installed.tuning
        timing = tuning.timing(variant) if tuning is not None else None
        return timing.best_threads if alone and timing is not None else 1

    def _optimised(self, installed: InstalledModel, variant: str) -> Path | None:
        """Return the optimised graph of a variant, if it was made on this machine and is whole."""
        tuning = installed.tuning
        if tuning is None or tuning.optimised is None or tuning.optimised.variant != variant:
            return None
        if not (self._opener.keeps_optimised and self._is_made_here(tuning)):
            return None
        path = installed.folder / tuning.optimised.path
        try:
            if digest_of_file(path) == tuning.optimised.sha256:
                return path
            fault = "it is not the file that was proved"
        except BundleIntegrityError as error:
            fault = error.message
        _log.warning("%s: %s; the original runs, install the bundle again", path, fault)
        return None

    def _is_made_here(self, tuning: Tuning) -> bool:
        machine = self._opener.machine
        return tuning.fits(cpu=machine.cpu, runtime=machine.runtime, providers=machine.providers)

    def _is_current(self, tuning: Tuning) -> bool:
        return tuning.workers == self._workers and self._is_made_here(tuning)


def trial_tensor(installed: InstalledModel) -> Array:
    """Return a proved input of the model, or zeros where it was installed without one."""
    golden, model_input = installed.manifest.golden, installed.manifest.spec.input
    if golden is not None and golden.cases:
        path = installed.folder / golden.cases[0].tensor
        try:
            tensor: Array = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ModelError(
                f"unreadable golden vector: {error}", where=path, remedy="install the bundle again"
            ) from error
        return tensor
    dtype = model_input.dtype if isinstance(model_input, ImageInput) else "float32"
    return np.zeros(model_input.tensor_shape, dtype)
