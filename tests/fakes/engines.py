"""An engine without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul_agent.inference.engine import Array, TensorInfo


class FakeEngine:
    """Answers by a function instead of a model."""

    providers = ("fake",)

    def __init__(
        self,
        spec: ModelSpec,
        shapes: Sequence[tuple[int, ...]],
        answer: Callable[[Array], list[Array]],
    ) -> None:
        dtype = spec.input.dtype if isinstance(spec.input, ImageInput) else "float32"
        self.inputs = [TensorInfo("input", spec.input.tensor_shape, dtype)]
        self.outputs = [TensorInfo(f"out{i}", shape, "float32") for i, shape in enumerate(shapes)]
        self._answer = answer

    def run(self, tensor: Array) -> list[Array]:
        return self._answer(tensor)
