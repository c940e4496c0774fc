"""ONNX Runtime's execution providers: which of the configured ones are here, and their options."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from edgehaul.config.engine import EngineSection
from edgehaul.errors import UsageError

_log = logging.getLogger(__name__)

Options = dict[str, str]


def choose_providers(section: EngineSection, available: Sequence[str]) -> tuple[str, ...]:
    """Return the configured providers that this build of ONNX Runtime has, in their order.

    Args:
        section: What is configured.
        available: What the build has.

    Raises:
        UsageError: It has none of them.
    """
    wanted = section.provider_names
    chosen = tuple(name for name in wanted if name in available)
    missing = ", ".join(name for name in wanted if name not in available)
    if not chosen:
        raise UsageError(
            f"this build of ONNX Runtime has none of the configured providers ({missing})",
            where="engine.providers",
            remedy=f"add cpu, or install a build that has them; this one has "
            f"{', '.join(available)}",
        )
    if missing:
        _log.warning(
            "engine.providers: this build of ONNX Runtime has no %s; models run on %s",
            missing,
            ", ".join(chosen),
        )
    return chosen


def options_of(provider: str, section: EngineSection, cache: Path, threads: int) -> Options:
    """Return the options of a provider; what is configured overrides what follows from the rest.

    Args:
        provider: ONNX Runtime's name of it.
        section: What is configured.
        cache: Folder for what providers compile, below the device's root.
        threads: Threads within one run.
    """
    defaults: dict[str, Options] = {
        # It has a pool of threads of its own.
        "XnnpackExecutionProvider": {"intra_op_num_threads": str(threads)},
        # Building an engine takes minutes; it is built once.
        "TensorrtExecutionProvider": {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(cache / "tensorrt"),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(cache / "tensorrt"),
        },
        "OpenVINOExecutionProvider": {
            "device_type": "CPU",
            "num_of_threads": str(threads),
            "cache_dir": str(cache / "openvino"),
        },
        "CoreMLExecutionProvider": {
            "ModelFormat": "MLProgram",
            "ModelCacheDirectory": str(cache / "coreml"),
        },
        # Twice the memory that is asked for would be taken each time; boxes share it with the rest.
        "CUDAExecutionProvider": {"arena_extend_strategy": "kSameAsRequested"},
        "QNNExecutionProvider": {"backend_type": "htp"},
    }
    return defaults.get(provider, {}) | section.provider_options(provider)
