"""Which part each group of pictures or trips goes to, so that each part gets its share of all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def assigned(
    counts: NDArray[np.float64], fractions: NDArray[np.float64], seed: int
) -> list[list[int]]:
    """Give each group to the part that lacks most of what it holds, large groups first.

    Args:
        counts: (G, K) how much of each thing each group holds; of the first, its items.
        fractions: Shares of the parts; a part with 0 stays empty, and no other does.
        seed: The same seed gives the same parts.

    Returns:
        The groups of each part.
    """
    total = np.maximum(counts.sum(axis=0), 1)
    lacking = fractions[:, None] * total
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order, 0], kind="stable")]
    parts: list[list[int]] = [[] for _ in fractions]
    for place, row in enumerate(order):
        empty = [p for p, part in enumerate(parts) if fractions[p] > 0 and not part]
        # The last groups go to parts that would otherwise stay empty.
        candidates = empty if len(order) - place <= len(empty) else np.nonzero(fractions)[0]
        gain = [(lacking[p] * counts[row] / total**2 / fractions[p]).sum() for p in candidates]
        best = int(candidates[int(np.argmax(gain))])
        parts[best].append(int(row))
        lacking[best] -= counts[row]
    return parts
