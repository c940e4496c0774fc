"""A model of half precision as one of single precision: the same weights, wider arithmetic."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from edgehaul_tools.quantize.tensors import graphs_of, nodes_of, tensors_of

_TYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_datatype"})
"""Attributes that name the type of what a node makes (Cast, RandomNormal, EyeLike, DFT...)."""


def is_half(model: onnx.ModelProto) -> bool:
    """Return whether a model computes in fp16 anywhere."""
    values = (*model.graph.input, *model.graph.output)
    return (
        any(tensor.data_type == TensorProto.FLOAT16 for tensor in tensors_of(model))
        or any(v.type.tensor_type.elem_type == TensorProto.FLOAT16 for v in values)
        or any(_names_half(a) for node in nodes_of(model) for a in node.attribute)
    )


def to_single(model: onnx.ModelProto) -> None:
    """Turn every fp16 tensor, input, output and cast of ``model`` into fp32, in place.

    Each fp16 number is an fp32 number, so that no weight changes; the answers differ by what
    fp16 arithmetic had rounded. Inferred types are dropped, to be inferred again.
    """
    for tensor in tensors_of(model):
        if tensor.data_type == TensorProto.FLOAT16:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for graph in graphs_of(model):
        del graph.value_info[:]
        for value in (*graph.input, *graph.output):
            if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
    attributes = (attribute for node in nodes_of(model) for attribute in node.attribute)
    for attribute in filter(_names_half, attributes):
        attribute.i = TensorProto.FLOAT


def _names_half(attribute: onnx.AttributeProto) -> bool:
    return attribute.name in _TYPE_ATTRIBUTES and attribute.i == TensorProto.FLOAT16
