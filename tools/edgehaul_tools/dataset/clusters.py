"""What belongs together, by pairs that do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from edgehaul_tools.dataset.perceptual_hash import Looks, similar_pairs
from edgehaul_tools.dataset.samples import Sample


def clusters(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the sets of indices below ``count`` that chains of pairs join, in order."""
    leader = list(range(count))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    for a, b in pairs:
        # The smallest index leads, so that the clusters come in the order of their first one.
        low, high = sorted((find(a), find(b)))
        leader[high] = low
    members: dict[int, list[int]] = defaultdict(list)
    for index in range(count):
        members[find(index)].append(index)
    return list(members.values())


def independent_groups(samples: Sequence[Sample], looks: Looks) -> list[list[int]]:
    """Return sets of indices that must stay together: groups, joined by near-duplicates."""
    first_of: dict[str, int] = {}
    same_group = [(first_of.setdefault(s.group, index), index) for index, s in enumerate(samples)]
    similar = [(int(a), int(b)) for a, b in similar_pairs(looks)]
    return clusters(len(samples), [*same_group, *similar])
