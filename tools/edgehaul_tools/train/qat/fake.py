"""The arithmetic of int8 in floats: values are rounded as ONNX Runtime will round them.

Activations are U8 with a zero point of their own, weights S8 around zero. Forward they are
rounded, backward the rounding is passed over ("straight-through estimator", Bengio et al. 2013).
The ends of an activation's range learn too, by what rounding and cutting cost (Esser et al. 2020,
"Learned Step Size Quantization", eq. 3; with a low end of its own, Bhalgat et al. 2020, "LSQ+").
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

LEVELS = 255
"""Steps of a U8 range."""
_LARGEST = {8: 127, 7: 64}
"""Of the weights, by their width. At seven bits ONNX Runtime's ``reduce_range`` takes 64."""
_LEAST_STEP = float(torch.finfo(torch.float32).tiny)


def byte_grid(low: float, high: float) -> tuple[float, int]:
    """Return step and zero point of U8 values, as ONNX Runtime's quantizer chooses them.

    Args:
        low: The least value, not above 0.
        high: The largest value, not below 0.
    """
    step = (high - low) / LEVELS
    return (1.0, 0) if step < _LEAST_STEP else (step, round(-low / step))


def fake_byte(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return activations as they come out of ``QuantizeLinear`` and ``DequantizeLinear``.

    Args:
        values: Of any shape, float32.
        low: Scalar, not above 0.
        high: Scalar, not below 0.
    """
    rounded: Tensor = _FakeByte.apply(values, low, high)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return rounded


def fake_weight(weight: Tensor, bits: int, *, per_channel: bool) -> Tensor:
    """Return weights as they come out of S8, around zero, by their own largest value.

    Args:
        weight: (outputs, ...) float32.
        bits: 8, or 7 for processors whose products overflow.
        per_channel: Whether each output has a step of its own.
    """
    largest = _LARGEST[bits]
    with torch.no_grad():
        dims = tuple(range(1 if per_channel else 0, weight.ndim))
        step = (weight.abs().amax(dims, keepdim=True).double() / largest).float()
        step = torch.where(step < _LEAST_STEP, torch.ones_like(step), step)
        rounded = (weight / step).round_().clamp_(-largest, largest).mul_(step)
        error = rounded - weight
    return weight + error


class _FakeByte(torch.autograd.Function):
    """Rounds to 255 steps between two ends; see :func:`fake_byte`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, low: Tensor, high: Tensor) -> Tensor:  # noqa: ANN401 - torch's context
        """Return the rounded values."""
        if not math.isfinite(float(high) - float(low)):
            # The training diverged, and must see it: its loss is no number either then.
            ctx.save_for_backward(values, values)
            ctx.ends = -math.inf, math.inf
            return torch.full_like(values, math.nan)
        step, zero = byte_grid(float(low), float(high))
        step = float(torch.tensor(step, dtype=torch.float32))
        rounded = (values / step).round_().clamp_(-zero, LEVELS - zero).mul_(step)
        ctx.save_for_backward(values, rounded)
        ctx.ends = -zero * step, (LEVELS - zero) * step
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401 - as above
        """Return the gradients of the values and of both ends."""
        (gradient,) = gradients
        values, rounded = ctx.saved_tensors
        bottom, top = ctx.ends
        inside = (values >= bottom).logical_and_(values <= top)
        of_values = gradient * inside
        cut = gradient - of_values
        # What is cut moves with its end; what is rounded, with the step, which both ends make.
        of_step = torch.dot(of_values.flatten(), (rounded - values).flatten())
        of_step = of_step / max(top - bottom, _LEAST_STEP)
        of_high = (cut * (values > top)).sum()
        fair = 1 / (values.numel() * LEVELS) ** 0.5  # Esser et al., section 2.2
        return of_values, (cut.sum() - of_high - of_step) * fair, (of_high + of_step) * fair
