"""From the marks in an exported graph to the names of the tensors whose ranges were learnt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import numpy_helper

from edgehaul.errors import ModelError
from edgehaul_tools.train.qat.marks import UNIT
from edgehaul_tools.train.qat.ranges import LearntRange

RANGES_KEY = "edgehaul.ranges"
"""Of the metadata of an ONNX file: JSON, from the name of a tensor to its range [low, high]."""


def named_ranges(path: Path, ranges: Sequence[LearntRange]) -> str:
    """Take the marks out of an ONNX file, and return what belongs under ``RANGES_KEY``.

    The graph is the same as if nothing had been marked.

    Args:
        path: The file, with a mark for each range; replaced.
        ranges: As they were marked, in their order.

    Raises:
        ModelError: A mark is missing: the exporter has changed the model.
    """
    model = onnx.load(path)
    names = _take_marks(model.graph)
    missing = [one for at, one in enumerate(ranges) if at not in names]
    if missing or len(names) != len(ranges):
        raise ModelError(
            f"{len(names)} of {len(ranges)} tensors with a learnt range are in the exported graph",
            where=path,
            remedy="report it: the exporter has changed the model",
        )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    named = {names[at]: (one.low, one.high) for at, one in enumerate(ranges)}
    return msgspec.json.encode(named).decode()


def _take_marks(graph: onnx.GraphProto) -> dict[int, str]:
    """Remove all marks and return which tensor each was at, by its number from 0."""
    numbers = {
        one.name: number
        for one in graph.initializer
        if one.data_type == onnx.TensorProto.FLOAT and (number := _mark(one)) is not None
    }
    marks = {node.output[0]: node for node in graph.node if _marked(node, numbers)}
    outputs = {value.name for value in graph.output}
    names: dict[int, str] = {}
    renamed: dict[str, str] = {}
    for output, node in marks.items():
        source, mark = node.input if node.input[1] in numbers else reversed(node.input)
        # An output of the model keeps its name; what is marked takes it.
        old, new = (source, output) if output in outputs else (output, source)
        renamed[old] = new
        names[numbers[mark]] = new
    _rename(graph, marks, renamed)
    _forget(graph, {*renamed, *numbers})
    return names


def _mark(tensor: onnx.TensorProto) -> int | None:
    """Return which mark a constant is, from 0; none where it is another constant."""
    values = numpy_helper.to_array(tensor)
    if values.size != 1 or not np.isfinite(values).all() or float(values.item()) < UNIT:
        return None
    return round(float(values.item()) / UNIT) - 1


def _marked(node: onnx.NodeProto, numbers: dict[str, int]) -> bool:
    return node.op_type == "Min" and any(name in numbers for name in node.input)


def _rename(
    graph: onnx.GraphProto, marks: dict[str, onnx.NodeProto], renamed: dict[str, str]
) -> None:
    removed = {node.name for node in marks.values()}
    kept = [node for node in graph.node if node.name not in removed]
    for node in kept:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    del graph.node[:]
    graph.node.extend(kept)


def _forget(graph: onnx.GraphProto, names: set[str]) -> None:
    for values in (graph.initializer, graph.value_info):
        kept = [value for value in values if value.name not in names]
        del values[:]
        values.extend(kept)
