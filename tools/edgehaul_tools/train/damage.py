"""What torch's reader lets through when it meets damaged bytes."""

from __future__ import annotations

import pickle
import struct

DAMAGE: tuple[type[Exception], ...] = (
    OSError,
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    struct.error,
)
"""Found by spoiling files of weights."""


def reason_of(error: Exception) -> str:
    """Return the first sentence of what torch says, which is what matters of it."""
    return str(error).strip().partition("\n")[0].partition(". ")[0] or "it is cut short"
