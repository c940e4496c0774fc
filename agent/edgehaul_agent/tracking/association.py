"""Which detection continues which track."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgehaul_agent.tracking.kalman import Motion

Array = NDArray[np.float64]
Pair = tuple[float, int, int]
"""Cost, row and column."""

OVERLAP_GATE = 0.3
"""Intersection over union from which a pair is possible whatever the motion says."""
DISTANCE_GATE = 9.21
"""Squared Mahalanobis distance of the centres up to which a pair is possible: 99 % of true
pairs lie within (chi-square, two degrees of freedom)."""
REACH = 1.0
"""Most that the centres may differ, in sizes of the object: however unsure the filter has become
about an object that is long unseen, it does not jump to the next parcel on the belt."""
SIZE_RATIO_GATE = 3.0
"""Most that width or height may differ between the expected and the detected box: whoever comes
into view from behind something grows, but to one side."""
AREA_RATIO_GATE = 4.0
"""Most that the areas may differ: what is larger both ways is another object."""
LABEL_COST = 0.2
"""Added where the labels differ: a hint only, since one bad frame may change a label."""
ABSENCE_COST = 0.02
"""Added for each frame that a track was not seen: the one seen last has the better claim."""


def overlaps(first: Array, second: Array) -> Array:
    """Return the intersection over union of every pair of boxes, (N, M).

    Args:
        first: (N, 4) centre x, centre y, width, height.
        second: (M, 4) of the same.
    """
    area = _shared_area(first, second)
    union = _areas(first)[:, None] + _areas(second) - area
    ratio: Array = area / np.maximum(union, 1e-9)
    return ratio


def shares_of_smaller(first: Array, second: Array) -> Array:
    """Return what part of the smaller of two boxes lies in the other one, for every pair, (N, M).

    Args:
        first: (N, 4) centre x, centre y, width, height.
        second: (M, 4) of the same.
    """
    area, smaller = _shared_area(first, second), np.minimum(_areas(first)[:, None], _areas(second))
    ratio: Array = area / np.maximum(smaller, 1e-9)
    return ratio


def motion_pairs(motion: Motion, centers: Array) -> list[Pair]:
    """Return the pairs of track and detection that are possible, at 0 for a perfect match to 1.5.

    Fast objects may not overlap their expected box at all in the frame after their first, so
    a pair is possible by overlap or by distance in units of the filter's own uncertainty,
    which is wide for new tracks and narrow for settled ones.

    Args:
        motion: The tracks, as expected in this frame.
        centers: The detections, (detections, 4) centre x, centre y, width, height.
    """
    expected = motion.position
    overlap = overlaps(expected, centers)
    step = centers[None, :, :2] - expected[:, None, :2]
    step *= step
    squared_px = step[..., 0] + step[..., 1]
    distance = squared_px / motion.center_variance[:, None]
    reach_px2 = REACH**2 * expected[:, 2] * expected[:, 3]
    near = (distance <= DISTANCE_GATE) & (squared_px <= reach_px2[:, None])
    rows, columns = np.nonzero(near | (overlap >= OVERLAP_GATE))
    costs = 1 - overlap[rows, columns]
    costs += np.minimum(distance[rows, columns] * (0.5 / DISTANCE_GATE), 0.5)
    sizes, found = expected[:, 2:].tolist(), centers[:, 2:].tolist()
    return [
        (cost, row, column)
        for cost, row, column in zip(costs.tolist(), rows.tolist(), columns.tolist(), strict=True)
        if _alike(sizes[row], found[column])
    ]


def overlap_pairs(expected: Array, centers: Array, least_overlap: float) -> list[Pair]:
    """Return the pairs that overlap by ``least_overlap`` or more, at ``1 - overlap``."""
    overlap = overlaps(expected, centers)
    rows, columns = np.nonzero(overlap >= least_overlap)
    costs = 1 - overlap[rows, columns]
    return list(zip(costs.tolist(), rows.tolist(), columns.tolist(), strict=True))


def assign(pairs: Iterable[Pair]) -> list[tuple[int, int]]:
    """Pair rows with columns, cheapest pair first, each used once."""
    chosen: list[tuple[int, int]] = []
    rows: set[int] = set()
    columns: set[int] = set()
    for _cost, row, column in sorted(pairs):
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            chosen.append((row, column))
    return chosen


def _alike(expected: Sequence[float], found: Sequence[float]) -> bool:
    """Return whether two sizes (width, height) can be those of one object."""
    width = max(found[0], 1.0) / expected[0]
    height = max(found[1], 1.0) / expected[1]
    area = width * height
    return (
        max(width, 1 / width, height, 1 / height) <= SIZE_RATIO_GATE
        and max(area, 1 / area) <= AREA_RATIO_GATE
    )


def _areas(centers: Array) -> Array:
    areas: Array = centers[:, 2] * centers[:, 3]
    return areas


def _shared_area(first: Array, second: Array) -> Array:
    half, other_half = first[:, None, 2:] * 0.5, second[None, :, 2:] * 0.5
    center, other = first[:, None, :2], second[None, :, :2]
    shared = np.minimum(center + half, other + other_half)
    shared -= np.maximum(center - half, other - other_half)
    np.maximum(shared, 0.0, out=shared)
    area: Array = shared[..., 0] * shared[..., 1]
    return area
