"""What belongs together, by pairs that do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from edgehaul_tools.dataset.hamming import Pairs
from edgehaul_tools.dataset.perceptual_hash import Looks, similar_pairs
from edgehaul_tools.dataset.samples import Sample


def clusters(count: int, pairs: Pairs) -> list[list[int]]:
    """Return the sets of indices that chains of pairs join, in the order of their first one.

    Args:
        count: Number of indices.
        pairs: (P, 2) indices that belong together.
    """
    leader = np.arange(count)
    left = pairs
    while len(left):
        # Of two clusters with a pair between them, the one with the smaller leader takes both.
        a, b = leader[left[:, 0]], leader[left[:, 1]]
        np.minimum.at(leader, np.maximum(a, b), np.minimum(a, b))
        while (leader != leader[leader]).any():
            leader = leader[leader]
        left = left[leader[left[:, 0]] != leader[left[:, 1]]]
    members: dict[int, list[int]] = defaultdict(list)
    for index, first in enumerate(leader.tolist()):
        members[first].append(index)
    return list(members.values())


def pairs_of_equals(keys: Iterable[Hashable]) -> Pairs:
    """Return a pair of each item with the first one of the same key."""
    first_of: dict[Hashable, int] = {}
    firsts = [first_of.setdefault(key, index) for index, key in enumerate(keys)]
    return np.stack([np.array(firsts, dtype=np.int64), np.arange(len(firsts))], axis=1)


def independent_groups(samples: Sequence[Sample], looks: Looks) -> list[list[int]]:
    """Return sets of indices that must stay together: groups, joined by near-duplicates."""
    same_group = pairs_of_equals(sample.group for sample in samples)
    return clusters(len(samples), np.concatenate([same_group, similar_pairs(looks)]))
