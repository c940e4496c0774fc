"""The ranges that a quantization-aware training has learnt, read from the model's metadata."""

from __future__ import annotations

import math

import msgspec
import onnx

from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import ModelError
from edgehaul_tools.export.learnt import RANGES_KEY
from edgehaul_tools.quantize.calibrate import Ranges

_REMEDY = "export the run again with `edgehaul export`"


def learnt_ranges(model: onnx.ModelProto) -> Ranges:
    """Return the learnt range of each tensor that has one; empty for most models.

    They take the place of measured ones: ``{**measured, **learnt_ranges(model)}``.

    Args:
        model: As it was exported, or cleaned; tensors keep their names.

    Raises:
        ModelError: The metadata cannot be read, a range is impossible, or the graph has no such
            tensor: another tool has changed it.
    """
    text = next((one.value for one in model.metadata_props if one.key == RANGES_KEY), "")
    if not text:
        return {}
    try:
        ranges = msgspec.json.decode(text, type=dict[str, tuple[float, float]])
    except UNREADABLE_JSON as error:
        raise ModelError(f"its {RANGES_KEY!r} cannot be read: {error}", remedy=_REMEDY) from error
    graph = model.graph
    there = {value.name for value in graph.input}
    there.update(name for node in graph.node for name in node.output)
    for name, (low, high) in ranges.items():
        if name not in there:
            raise ModelError(
                f"a range was learnt for tensor {name!r}, and the graph has none of this name",
                remedy=_REMEDY,
            )
        if not (math.isfinite(low) and math.isfinite(high) and low <= 0 <= high):
            raise ModelError(
                f"tensor {name!r} cannot lie between {low} and {high}: a range holds 0",
                remedy=_REMEDY,
            )
    return ranges
