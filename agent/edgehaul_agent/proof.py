"""Prove an unpacked bundle on this box: golden answers first, then the fastest variant."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np

from edgehaul.bundle.golden import Array, check_golden
from edgehaul.bundle.manifest import Manifest, Variant
from edgehaul.bundle.tensors import tensor_maker
from edgehaul.config.engine import EngineSection
from edgehaul.errors import BundleError, ModelError, ParityError
from edgehaul_agent.engines import EngineOpener
from edgehaul_agent.inference.autotune import Timer, thread_counts, time_alone, time_shared
from edgehaul_agent.inference.engine import Engine
from edgehaul_agent.inference.onnxruntime import write_optimised
from edgehaul_agent.inference.trial import decode_once, open_model
from edgehaul_agent.pipeline.workers import default_workers
from edgehaul_agent.update.files import sync_file, sync_folder
from edgehaul_agent.update.slots import digest_of_file
from edgehaul_agent.update.tuning import OptimisedModel, Proof, Tuning, VariantTiming

_log = logging.getLogger(__name__)

OPTIMISED_FOLDER = "optimised"
INSTALL_BUDGET_S = 20.0
_SHARED_PART = 0.6


class Prover:
    """Proves bundles, and times their variants the way the agent will run them.

    Args:
        opener: Opens models as configured.
        workers: Threads that will run the models; 0 takes one for each processor.
        budget_s: Most seconds for timing; a round that has begun is ended.
        timer: Seconds from any start.
    """

    def __init__(
        self,
        opener: EngineOpener,
        *,
        workers: int = 0,
        budget_s: float = INSTALL_BUDGET_S,
        timer: Timer = time.perf_counter,
    ) -> None:
        self._opener = opener
        self._workers = workers or default_workers()
        self._budget_s = budget_s
        self._timer = timer

    def __call__(self, manifest: Manifest, folder: Path) -> Proof:
        """Return the fastest variant that answers the golden inputs as it did when packed.

        A model that passes is one that a stream can use: its declared inputs and outputs are those
        of the spec, and each golden answer is decoded. Fastest is what takes the least time for a
        frame while all workers are busy.

        Args:
            manifest: The bundle's manifest.
            folder: Where the bundle's files lie.

        Raises:
            ParityError: No variant answers as it did; the message names the cause.
            BundleError: The bundle carries no golden answers.
            ModelError: No variant can be loaded, or none is what the spec says.
            UsageError: What is configured to run the models is not here.
        """
        if manifest.golden is None or not manifest.golden.cases:
            raise BundleError(
                f"bundle {manifest.name} carries no golden answers, so it cannot be proved here",
                where=folder,
                remedy="pack it with edgehaul pack",
            )
        machine = self._opener.machine
        engines, faults = self._proved(manifest, folder)
        tensor = np.load(folder / manifest.golden.cases[0].tensor, allow_pickle=False)
        timings = self._time(manifest, folder, engines, tensor)
        chosen = min(timings.values(), key=lambda timing: timing.shared_ms).variant
        every = {name: VariantTiming(variant=name, fault=text) for name, text in faults.items()}
        tuning = Tuning(
            cpu=machine.cpu,
            runtime=machine.runtime,
            providers=machine.providers,
            workers=self._workers,
            variants=tuple((every | timings)[variant.name] for variant in manifest.variants),
            optimised=self._optimised(manifest, folder, manifest.variant(chosen)),
        )
        return Proof(chosen, tuning)

    def _proved(self, manifest: Manifest, folder: Path) -> tuple[dict[str, Engine], dict[str, str]]:
        """Return the variants that may run, and why the others may not."""
        engines: dict[str, Engine] = {}
        failures: dict[str, ModelError | ParityError] = {}
        for variant in manifest.variants:
            path = folder / variant.path
            try:
                engine = self._opener.open(path)
                _prove_engine(engine, manifest, folder, variant, path)
            except (ModelError, ParityError) as error:
                _log.warning("variant %s is not usable here: %s", variant.name, error)
                failures[variant.name] = error
            else:
                engines[variant.name] = engine
        if not engines:
            raise next(iter(failures.values()))
        return engines, {name: str(error) for name, error in failures.items()}

    def _time(
        self, manifest: Manifest, folder: Path, engines: dict[str, Engine], tensor: Array
    ) -> dict[str, VariantTiming]:
        """Time the engines, and take each from the table when it is done with."""
        shared_ms = time_shared(
            engines,
            tensor,
            workers=self._workers,
            budget_s=self._budget_s * _SHARED_PART,
            timer=self._timer,
        )
        rest_s = self._budget_s * (1 - _SHARED_PART) / len(engines)
        timings = {}
        for name in list(engines):
            engine = engines.pop(name)  # sessions are large, and more are opened for each variant
            path = folder / manifest.variant(name).path
            by_threads = {
                threads: engine if threads == 1 else self._opener.open(path, threads)
                for threads in thread_counts(default_workers())
            }
            single_ms = time_alone(by_threads, tensor, budget_s=rest_s, timer=self._timer)
            timings[name] = VariantTiming(
                variant=name, shared_ms=shared_ms[name], single_ms=single_ms
            )
            _log.info("variant %s: %.2f ms a frame at full load", name, shared_ms[name])
        return timings

    def _optimised(
        self, manifest: Manifest, folder: Path, variant: Variant
    ) -> OptimisedModel | None:
        """Keep the optimised graph of the variant chosen, where it is one that can be kept.

        It is a help, and no condition: whatever fails here, the original runs.
        """
        if not self._opener.keeps_optimised:
            return None
        path = f"{OPTIMISED_FOLDER}/{variant.name}.onnx"
        target = folder / path
        try:
            target.parent.mkdir(exist_ok=True)
            write_optimised(folder / variant.path, target)
            engine = self._opener.open(target, optimised=True)
            _prove_engine(engine, manifest, folder, variant, target)
            sync_file(target)
            sync_folder(target.parent)
            sync_folder(folder)
            return OptimisedModel(variant=variant.name, path=path, sha256=digest_of_file(target))
        except (ModelError, ParityError, BundleError, OSError) as error:
            _log.warning("the optimised graph of %s is not kept: %s", variant.name, error)
            target.unlink(missing_ok=True)
            return None


def prove(manifest: Manifest, folder: Path) -> Proof:
    """Prove a bundle on this box with the settings that apply where nothing is configured."""
    return Prover(EngineOpener(EngineSection(), folder))(manifest, folder)


def _prove_engine(
    engine: Engine, manifest: Manifest, folder: Path, variant: Variant, path: Path
) -> None:
    """Let an engine answer the golden inputs of a variant.

    Raises:
        ParityError: It answers otherwise.
        ModelError: It fails, or is not what the spec says.
        BundleError: There are no golden answers for the variant.
    """
    spec = manifest.spec
    open_model(engine, spec, where=path)

    def run(tensor: Array) -> list[Array]:
        outputs = engine.run(tensor)
        decode_once(spec, tensor, outputs, where=path)
        return outputs

    report = check_golden(manifest, folder, variant.name, tensor_maker(spec), run)
    _log.info(
        "variant %s: %d golden answers moved by at most %.2g of their range (%.2g allowed)",
        variant.name,
        report.cases,
        report.output_difference,
        report.tolerance,
    )
