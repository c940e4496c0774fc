"""Whether int8 products overflow on this processor, and how wide weights may be for it.

x86 processors without VNNI multiply U8 by S8 with ``vpmaddubsw``, which adds two products in 16
bits: 2 * 255 * 127 does not fit, and is cut to 32,767 without a word. ONNX Runtime takes that
instruction on AVX2 and on AVX-512 without VNNI. Weights of seven bits cannot overflow it
(2 * 255 * 64 = 32,640), nor can wider ones where no two that are added have more than 128 steps
together (:mod:`~edgehaul_tools.quantize.pair_sums`); everywhere else they would give a part of a
bit away.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgehaul_tools.export.runtime import runner

WeightBits = Literal[7, 8]
NARROW: WeightBits = 7

_PRODUCTS = 16
_MOST_U8, _MOST_S8 = 255, 127


def weight_bits_here() -> WeightBits:
    """Return how many bits weights may have on a box with this machine's processor.

    Seven are those that any weight may have there; what pairs of products bear comes on top.
    """
    return NARROW if products_saturate() else 8


@cache
def products_saturate() -> bool:
    """Return whether a sum of large U8 x S8 products comes out too small, tried once."""
    weights = np.full((_PRODUCTS, 4), _MOST_S8, np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["values", "weights"], ["sums"])],
        "saturation",
        [helper.make_tensor_value_info("values", TensorProto.UINT8, [4, _PRODUCTS])],
        [helper.make_tensor_value_info("sums", TensorProto.INT32, [4, 4])],
        [numpy_helper.from_array(weights, "weights")],
    )
    opset = helper.make_opsetid("", 17)
    run = runner(helper.make_model(graph, opset_imports=[opset], ir_version=8))
    (sums,) = run(np.full((4, _PRODUCTS), _MOST_U8, np.uint8))
    return bool((sums < _PRODUCTS * _MOST_U8 * _MOST_S8).any())
