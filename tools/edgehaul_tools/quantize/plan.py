"""How one int8 model is made of a float one: everything that may differ between two of them."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgehaul_tools.quantize.calibrate import Method
from edgehaul_tools.quantize.form import Form

Ranging = Method | Literal["learnt"]
"""How the activations' ranges are chosen: measured, or learnt by a training with int8 in the
loop, whose ranges the model carries."""


class Plan(msgspec.Struct, frozen=True):
    """One way to make a model int8.

    Attributes:
        form: Which numbers, scales and operators.
        method: Choice of the activation ranges; none in dynamic forms.
        float_units: Layers left in float beside the entry and the tail of the network.
        elementwise_float: Whether what has no weights stays in float altogether.
        equalized: Whether the weights of following layers are made alike first.
        bias_corrected: Whether biases make up for the mean error of the layers before.
    """

    form: Form
    method: Ranging | None = None
    float_units: tuple[str, ...] = ()
    elementwise_float: bool = False
    equalized: bool = False
    bias_corrected: bool = False

    @property
    def summary(self) -> str:
        """The plan in a few words."""
        words = [self.form.name]
        if self.method is not None:
            words.append(self.method)
        if self.elementwise_float:
            words.append("matrices alone")
        if self.equalized:
            words.append("equalised")
        if self.bias_corrected:
            words.append("biases corrected")
        if self.float_units:
            words.append(f"{len(self.float_units)} layers in float")
        return ", ".join(words)
