"""What a comparison with torch found; it needs no torch to be read."""

from __future__ import annotations

import msgspec

PARITY_LIMIT = 1e-3
"""The clean-up before quantization may fold constants, which rounds otherwise than torch."""


class TorchParity(msgspec.Struct, frozen=True):
    """How far fp32 in ONNX Runtime is from torch, on the same inputs.

    Attributes:
        run: The run directory.
        inputs: Number of inputs compared.
        difference: Largest difference by output, relative above 1.
    """

    run: str
    inputs: int
    difference: dict[str, float]

    @property
    def failures(self) -> tuple[str, ...]:
        """Outputs that moved further than the limit."""
        return tuple(
            f"fp32: output {name!r} differs from torch by {value:.2g}, more than {PARITY_LIMIT:g}"
            for name, value in self.difference.items()
            if not value <= PARITY_LIMIT  # NaN fails too
        )
