"""What runs the models, in ``device.yaml``."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edgehaul.config.section import Section

CPU = "CPUExecutionProvider"
PROVIDERS = {
    "cpu": CPU,
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "dml": "DmlExecutionProvider",
    "qnn": "QNNExecutionProvider",
}
"""Short names of ONNX Runtime's execution providers."""
_SUFFIX = "ExecutionProvider"


def provider_name(name: str) -> str:
    """Return ONNX Runtime's name of an execution provider.

    Args:
        name: A short name, or one that is ONNX Runtime's own already.

    Raises:
        ValueError: It is neither.
    """
    if name.endswith(_SUFFIX) and name != _SUFFIX:
        return name
    if name.lower() in PROVIDERS:
        return PROVIDERS[name.lower()]
    near = difflib.get_close_matches(name.lower(), PROVIDERS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(PROVIDERS)}"
    raise ValueError(f"unknown execution provider {name!r}; {hint}")


class EngineSection(Section, frozen=True, kw_only=True):
    """What runs the models.

    Attributes:
        runtime: ``onnxruntime``, or ``openvino``, which must be installed beside the agent.
        providers: ONNX Runtime's execution providers, the preferred one first: short names (cpu,
            cuda, tensorrt, openvino, coreml, xnnpack, dml, qnn) or its own. Those that this
            machine has not are passed over with a warning.
        options: More options of a provider, by its name; they override the agent's own.
        threads: Threads within one run; 0 takes the number that was fastest for one stream at
            installation where the configuration has one stream, and 1 where it has more.
        warmup_runs: Runs of a model before its first frame.
        cache: Whether the graph that ONNX Runtime has optimised for this machine is kept beside
            the model and loaded in its place.
        retune_s: Most seconds that a start spends on timing the variants again, where processor,
            runtime, providers or workers are others than at installation; 0 keeps the old choice.
    """

    runtime: Literal["onnxruntime", "openvino"] = "onnxruntime"
    providers: tuple[str, ...] = (CPU,)
    options: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)
    threads: Annotated[int, Meta(ge=0, le=256)] = 1
    warmup_runs: Annotated[int, Meta(ge=0, le=1000)] = 1
    cache: bool = True
    retune_s: Annotated[float, Meta(ge=0, le=600)] = 10.0

    def __post_init__(self) -> None:
        """Refuse providers that nobody knows, and what would be ignored."""
        if not self.providers:
            raise ValueError("providers must name one at least, such as cpu")
        names = [provider_name(name) for name in self.providers]
        if len(set(names)) != len(names):
            raise ValueError("providers must differ from each other")
        for name in self.options:
            if provider_name(name) not in names:
                raise ValueError(f"options are given for {name!r}, which is not among providers")
        if self.runtime == "openvino" and (self.options or names != [CPU]):
            raise ValueError("providers and options are ONNX Runtime's; runtime is openvino")

    @property
    def provider_names(self) -> tuple[str, ...]:
        """The providers by ONNX Runtime's names, the preferred one first."""
        return tuple(provider_name(name) for name in self.providers)

    def provider_options(self, name: str) -> dict[str, str]:
        """Return the options configured for a provider, by ONNX Runtime's name of it."""
        found: dict[str, str] = {}
        for key, options in self.options.items():
            if provider_name(key) == name:
                found |= options
        return found
