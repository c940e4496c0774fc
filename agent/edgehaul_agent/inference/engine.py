"""What the agent needs of anything that runs models."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any, Protocol

import msgspec
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput, SequenceInput
from edgehaul.errors import SpecMismatchError

Array = NDArray[Any]
Shape = tuple[int | str | None, ...]
"""Extent of each axis; a name or None where it is dynamic."""


class TensorInfo(msgspec.Struct, frozen=True):
    """One input or output of a model.

    Attributes:
        name: Its name in the graph.
        shape: Its shape.
        dtype: Its element type as NumPy calls it, such as ``float32``.
    """

    name: str
    shape: Shape
    dtype: str


class Engine(Protocol):
    """A model ready to run, by several threads at a time."""

    @property
    def inputs(self) -> Sequence[TensorInfo]:
        """The model's inputs."""
        ...

    @property
    def outputs(self) -> Sequence[TensorInfo]:
        """The model's outputs."""
        ...

    @property
    def providers(self) -> Sequence[str]:
        """What really runs it, the preferred one first."""
        ...

    def run(self, tensor: Array) -> list[Array]:
        """Run the model on its input tensor and return its outputs, in the model's order.

        Raises:
            ModelError: The run failed.
        """
        ...


def check_input(
    engine: Engine, spec: ImageInput | SequenceInput, *, where: str | PathLike[str]
) -> None:
    """Make sure that a model takes what its spec says.

    Raises:
        SpecMismatchError: Name, shape or element type differ.
    """
    if len(engine.inputs) != 1:
        names = ", ".join(info.name for info in engine.inputs)
        raise SpecMismatchError(
            f"the model has {len(engine.inputs)} inputs ({names}), only one can be fed",
            where=where,
            remedy="export it with one input",
        )
    info = engine.inputs[0]
    dtype = spec.dtype if isinstance(spec, ImageInput) else "float32"
    expected = spec.tensor_shape
    fits = len(info.shape) == len(expected) and all(
        not isinstance(actual, int) or actual == wanted
        for actual, wanted in zip(info.shape, expected, strict=True)
    )
    if (spec.name and spec.name != info.name) or info.dtype != dtype or not fits:
        raise SpecMismatchError(
            f"the spec feeds {spec.name or 'the first input'} {dtype}{list(expected)}, "
            f"the model takes {info.name} {info.dtype}{list(info.shape)}",
            where=where,
            remedy="correct the input of the spec and pack the bundle again",
        )
