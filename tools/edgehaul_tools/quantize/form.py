"""The int8 forms that a model can be given: which numbers, how many scales, which operators."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgehaul_tools.quantize.saturation import NARROW, WeightBits

Representation = Literal["qdq", "qoperator", "dynamic"]
"""``qdq``: pairs of QuantizeLinear and DequantizeLinear around float operators, which ONNX
Runtime fuses; ``qoperator``: its integer operators themselves (QLinearConv, ...); ``dynamic``:
activations are ranged while the model runs."""
Activations = Literal["u8", "s8"]
Weights = Literal["s8", "u8"]


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One int8 form.

    Attributes:
        representation: How int8 is written into the graph.
        activations: Unsigned or signed bytes between the layers.
        weights: Signed or unsigned bytes within them.
        per_channel: Whether each output channel of a layer has a scale of its own.
        weight_bits: 7 for processors whose U8 x S8 products overflow: as wide as pairs of
            products bear, at least seven bits. Else 8.
    """

    representation: Representation = "qdq"
    activations: Activations = "u8"
    weights: Weights = "s8"
    per_channel: bool = True
    weight_bits: WeightBits = 8

    @property
    def name(self) -> str:
        """Name of the variant, such as ``int8-u8s8`` or ``int8-dynamic``."""
        numbers = f"{self.activations}{self.weights}"
        if self.representation == "dynamic":
            numbers = "dynamic" if self.weights == "s8" else "dynamic-u8"
        qoperator = "-qoperator" if self.representation == "qoperator" else ""
        scales = "" if self.per_channel else "-per-tensor"
        return f"int8-{numbers}{qoperator}{scales}"

    @property
    def reduce_range(self) -> bool:
        """Whether ONNX Runtime's quantizer is to leave a bit of the weights away.

        That of weights whose scales it is not told otherwise.
        """
        return self.weight_bits == NARROW

    @property
    def is_limited_by_pairs(self) -> bool:
        """Whether only sums of two products limit its weights, not each weight alone."""
        mixed = self.activations == "u8" and self.weights == "s8"
        return mixed and self.weight_bits == NARROW and self.representation != "dynamic"

    @property
    def can_saturate(self) -> bool:
        """Whether its products overflow on x86 processors without VNNI."""
        mixed = self.activations == "u8" and self.weights == "s8"
        return mixed and self.weight_bits != NARROW
