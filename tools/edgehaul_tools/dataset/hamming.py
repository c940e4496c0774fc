"""Find all pairs of bit strings that differ in few bits, without comparing every pair."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Pairs = NDArray[np.int64]

_FEW = 192
"""Up to so many strings are compared each with each; looking for a shortcut takes longer."""
_WORTH = 0.5
"""Buckets that leave a larger share of the pairs to compare are no shortcut."""
_WAITING = 1 << 20
_PAIRS_AT_ONCE = 1 << 20
"""Bounds the memory to some 40 MB."""


def pairs_within(words: Words, limit: int) -> Pairs:
    """Return all pairs of strings that differ in at most ``limit`` bits.

    The answer is exact. Of ``limit + 1`` disjoint sets of bits, two such strings agree in at
    least one entirely, so that only strings in one bucket need comparing (multi-index hashing,
    Norouzi et al. 2012). The sets are dealt by how much each bit tells within the strings at
    hand, and large buckets are divided again: bits that are nearly always zero, as of pictures
    with a black margin, make no bucket of everything.

    Args:
        words: (N, W) strings of 64 W bits; equal ones must have been joined before, as there
            may be too many pairs of those to list.
        limit: Most differing bits.

    Returns:
        (P, 2) indices, the smaller first, sorted.
    """
    if len(words) < 2:  # noqa: PLR2004 - a pair
        return np.zeros((0, 2), dtype=np.int64)
    bits = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1)
    keys, waiting, count = np.zeros(0, dtype=np.int64), [], 0
    for pairs in _search(words, bits, np.arange(len(words)), limit):
        waiting.append(_keys(pairs, len(words)))
        count += len(pairs)
        # One pair may be found in each of the sets of bits; those are joined before they pile up.
        if count > max(_WAITING, len(keys)):
            keys, waiting, count = np.unique(np.concatenate([keys, *waiting])), [], 0
    keys = np.unique(np.concatenate([keys, *waiting]))
    return np.stack([keys // len(words), keys % len(words)], axis=1)


def sorted_pairs(pairs: Pairs, count: int) -> Pairs:
    """Return each pair of indices below ``count`` once, the smaller first, sorted."""
    keys = np.unique(_keys(pairs, count))
    return np.stack([keys // count, keys % count], axis=1)


def _keys(pairs: Pairs, count: int) -> NDArray[np.int64]:
    """Return one number for each pair, the same whichever index comes first."""
    return np.asarray(pairs.min(axis=1) * count + pairs.max(axis=1))


def _search(
    words: Words, bits: NDArray[np.uint8], members: NDArray[np.int64], limit: int
) -> Iterator[Pairs]:
    """Yield the pairs among some of the strings, some of them more than once."""
    if len(members) <= _FEW:
        yield from _each_with_each(words, members, limit)
        return
    keys = _bucket_keys(bits[members], limit + 1)
    sizes = [np.unique(key, return_counts=True)[1].astype(np.float64) for key in keys]
    compared = sum(float((size * (size - 1)).sum()) for size in sizes)
    if not keys or compared >= _WORTH * len(members) * (len(members) - 1):
        yield from _each_with_each(words, members, limit)
        return
    for key in keys:
        order = np.argsort(key, kind="stable")
        starts = np.flatnonzero(np.diff(key[order], prepend=key[order[0]] ^ np.uint64(1)))
        counts = np.diff(starts, append=len(order))
        small = np.repeat(counts <= _FEW, counts)
        yield from _within_buckets(words, members[order[small]], key[order[small]], limit)
        for start, count in zip(starts, counts, strict=True):
            if count > _FEW:
                yield from _search(words, bits, members[order[start : start + count]], limit)


def _bucket_keys(bits: NDArray[np.uint8], sets: int) -> list[Words]:
    """Deal the bits that differ among the strings into sets, and return each set's values."""
    share = bits.mean(axis=0)
    telling = np.argsort(-share * (1 - share), kind="stable")
    telling = telling[: int(np.count_nonzero((share > 0) & (share < 1)))]
    keys = []
    for number in range(min(sets, len(telling))):
        dealt = telling[number::sets][:64]
        packed = np.zeros((len(bits), 8), dtype=np.uint8)
        columns = np.packbits(bits[:, dealt], axis=1)
        packed[:, : columns.shape[1]] = columns
        keys.append(packed.view(np.uint64).ravel())
    # With fewer telling bits than sets, one set is empty, and all strings agree in it.
    return keys if len(keys) == sets else []


def _within_buckets(
    words: Words, members: NDArray[np.int64], key: Words, limit: int
) -> Iterator[Pairs]:
    """Compare each string with those after it in its bucket; ``key`` is sorted."""
    left, step = np.arange(len(members)), 1
    while True:
        left = left[left + step < len(members)]
        left = left[key[left] == key[left + step]]
        if not left.size:
            return
        a, b = members[left], members[left + step]
        near = _distance(words[a], words[b]) <= limit
        yield np.stack([a[near], b[near]], axis=1)
        step += 1


def _each_with_each(words: Words, members: NDArray[np.int64], limit: int) -> Iterator[Pairs]:
    own = words[members]
    step = max(1, _PAIRS_AT_ONCE // len(members))
    for start in range(0, len(members), step):
        rows = own[start : start + step]
        distance = _distance(rows[:, None, :], own[None, start:, :])
        row, column = np.nonzero(distance <= limit)
        later = row < column
        yield np.stack([members[start + row[later]], members[start + column[later]]], axis=1)


def _distance(a: Words, b: Words) -> NDArray[np.int32]:
    """Return the number of differing bits along the last axis, word by word."""
    total = np.bitwise_count(a[..., 0] ^ b[..., 0]).astype(np.int32)
    for word in range(1, a.shape[-1]):
        total += np.bitwise_count(a[..., word] ^ b[..., word])
    return np.asarray(total)
