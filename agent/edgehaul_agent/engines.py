"""Opening models with the runtime and the providers that are configured."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path

from edgehaul.config.engine import CPU, EngineSection
from edgehaul_agent.inference import onnxruntime, openvino
from edgehaul_agent.inference.engine import Engine
from edgehaul_agent.inference.machine import Machine, cpu_id
from edgehaul_agent.inference.providers import choose_providers, options_of

_log = logging.getLogger(__name__)

_CACHE_FOLDER = "engines"


class EngineOpener:
    """Opens models as configured.

    Args:
        section: What is configured.
        root: The device's root folder: what providers compile is kept below it.
        workers: Threads that will run a model at a time.
    """

    def __init__(self, section: EngineSection, root: Path, *, workers: int = 1) -> None:
        self._section = section
        self._cache = root / _CACHE_FOLDER
        self._workers = workers
        self._told_missing: tuple[str, ...] = ()

    @cached_property
    def machine(self) -> Machine:
        """The processor, the runtime, and the configured providers that are here.

        Raises:
            UsageError: The runtime is not installed, or has none of the providers.
        """
        if self._section.runtime == "openvino":
            return Machine(cpu=cpu_id(), runtime=openvino.runtime_version())
        providers = choose_providers(self._section, onnxruntime.available_providers())
        return Machine(cpu=cpu_id(), runtime=onnxruntime.runtime_version(), providers=providers)

    @property
    def keeps_optimised(self) -> bool:
        """Whether optimised graphs are kept: only those for the processor can be written."""
        return self._section.cache and self.machine.providers == (CPU,)

    def open(self, path: Path, threads: int = 1, *, optimised: bool = False) -> Engine:
        """Load a model.

        Args:
            path: The ONNX file.
            threads: Threads within one run.
            optimised: Whether it is a graph that was optimised on this machine.

        Raises:
            UsageError: The runtime is not installed, or has none of the providers.
            ModelError: There is no such file, or the runtime cannot use it.
        """
        machine = self.machine
        if self._section.runtime == "openvino":
            return openvino.open_openvino(path, threads, workers=self._workers)
        providers = {
            name: options_of(name, self._section, self._cache, threads)
            for name in machine.providers
        }
        engine = onnxruntime.open_engine(path, threads, providers=providers, optimised=optimised)
        self._tell_missing(tuple(name for name in providers if name not in engine.providers))
        return engine

    def _tell_missing(self, missing: tuple[str, ...]) -> None:
        """Warn once of providers that ONNX Runtime left out, for want of a library or device."""
        if missing and missing != self._told_missing:
            self._told_missing = missing
            _log.warning(
                "engine.providers: %s cannot start on this machine (is its library, driver or "
                "device missing?); models run on the others",
                ", ".join(missing),
            )
