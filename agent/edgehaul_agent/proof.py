"""Prove an unpacked bundle on this box: golden answers first, then the fastest variant."""

from __future__ import annotations

import logging
import statistics
import time
from pathlib import Path

import numpy as np

from edgehaul.bundle.golden import Array, check_golden
from edgehaul.bundle.manifest import Manifest, Variant
from edgehaul.bundle.tensors import tensor_maker
from edgehaul.errors import BundleError, ModelError, ParityError
from edgehaul_agent.inference.engine import Engine
from edgehaul_agent.inference.onnxruntime import open_engine
from edgehaul_agent.inference.trial import decode_once, open_model

_log = logging.getLogger(__name__)

TIMING_ROUNDS = 9


def prove(manifest: Manifest, folder: Path) -> str:
    """Return the fastest variant that answers the golden inputs as it did when packed.

    A model that passes is one that a stream can use: its declared inputs and outputs are those
    of the spec, and each golden answer is decoded.

    Args:
        manifest: The bundle's manifest.
        folder: Where the bundle's files lie.

    Raises:
        ParityError: No variant answers as it did; the message names the cause.
        BundleError: The bundle carries no golden answers.
        ModelError: No variant can be loaded, or none is what the spec says.
    """
    if manifest.golden is None or not manifest.golden.cases:
        raise BundleError(
            f"bundle {manifest.name} carries no golden answers, so it cannot be proved here",
            where=folder,
            remedy="pack it with edgehaul pack",
        )
    engines: dict[str, Engine] = {}
    failures: list[ModelError | ParityError] = []
    for variant in manifest.variants:
        try:
            engines[variant.name] = _proved_engine(manifest, folder, variant)
        except (ModelError, ParityError) as error:
            _log.warning("variant %s is not usable here: %s", variant.name, error)
            failures.append(error)
    if not engines:
        raise failures[0]
    times_ms = time_engines(engines, np.load(folder / manifest.golden.cases[0].tensor))
    for name, time_ms in times_ms.items():
        _log.info("variant %s: %.2f ms on this box", name, time_ms)
    return min(times_ms, key=times_ms.__getitem__)


def time_engines(engines: dict[str, Engine], tensor: Array) -> dict[str, float]:
    """Return the median time of each engine in ms, measured in turns so that noise is shared."""
    for engine in engines.values():
        engine.run(tensor)
    samples: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(TIMING_ROUNDS):
        for name, engine in engines.items():
            start_s = time.perf_counter()
            engine.run(tensor)
            samples[name].append((time.perf_counter() - start_s) * 1000)
    return {name: statistics.median(times) for name, times in samples.items()}


def _proved_engine(manifest: Manifest, folder: Path, variant: Variant) -> Engine:
    path, spec = folder / variant.path, manifest.spec
    engine = open_engine(path)
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
    return engine
