"""From a file that nobody knows to a cleaned model and its spec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgehaul.bundle.spec import ModelSpec
from edgehaul.config.loader import load
from edgehaul_tools.export.spec_choice import choose_spec
from edgehaul_tools.quantize.contained import tried
from edgehaul_tools.quantize.limits import Limits


@dataclass(frozen=True, slots=True)
class Opened:
    """A model that can be quantized.

    Attributes:
        model: Cleaned, with a size for each dimension but the batch.
        spec: What goes in and comes out.
        spec_source: Where the spec is from.
        notes: What was changed on the way, for the user.
    """

    model: onnx.ModelProto
    spec: ModelSpec
    spec_source: str
    notes: tuple[str, ...]


def open_unknown(
    path: Path,
    spec_file: Path | None,
    labels: Sequence[str],
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Opened:
    """Read, clean and run a model in a limited process, and choose its spec.

    Args:
        path: Any ONNX file.
        spec_file: The spec, where the user gave one.
        labels: Names of the classes; they win over the spec's.
        limits: What the trial may take.

    Raises:
        ModelError: The model cannot be used, or takes more than the limits.
        SpecMismatchError: There is no spec, or the model does not fit it.
        ConfigError: The spec file has faults.
    """
    given = load(spec_file, ModelSpec) if spec_file else None
    found = tried(path, limits, spec=given)
    spec, source = choose_spec(found.header, where=path, file=spec_file, labels=labels)
    if _has_free_sizes(found.model):  # a guess has chosen them
        found = tried(path, limits, spec=spec)
    return Opened(found.model, spec, source, found.notes)


def _has_free_sizes(model: onnx.ModelProto) -> bool:
    _, *sizes = model.graph.input[0].type.tensor_type.shape.dim
    return any(not dim.dim_value for dim in sizes)
