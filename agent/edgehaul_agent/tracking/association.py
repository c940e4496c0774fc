"""Which detection continues which track."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehaul_agent.tracking.kalman import Motion

Array = NDArray[np.float64]

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
_IMPOSSIBLE = np.inf


def overlaps(first: Array, second: Array) -> Array:
    """Return the intersection over union of every pair, (N, M), for (N, 4) and (M, 4) boxes."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=2)
    areas = [np.prod(np.maximum(b[:, 2:] - b[:, :2], 0.0), axis=1) for b in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    ratio: Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio


def motion_costs(motion: Motion, boxes: Array) -> Array:
    """Return the cost of every pair of track and detection, infinite where it is impossible.

    Fast objects may not overlap their expected box at all in the frame after their first, so
    a pair is possible by overlap or by distance in units of the filter's own uncertainty,
    which is wide for new tracks and narrow for settled ones.

    Args:
        motion: The tracks, as expected in this frame.
        boxes: The detections, (detections, 4).

    Returns:
        (tracks, detections): 0 for a perfect match, up to 1.5.
    """
    overlap = overlaps(motion.boxes, boxes)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    step = centers[None, :, :] - motion.position[:, None, :2]
    distance = (step**2 / motion.innovation_variance[:, None, :2]).sum(axis=2)
    reach_px = REACH * np.sqrt(motion.position[:, 2] * motion.position[:, 3])
    within = (step**2).sum(axis=2) <= reach_px[:, None] ** 2
    sizes = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    ratio = sizes[None, :, :] / motion.position[:, None, 2:]
    alike = (np.maximum(ratio, 1 / ratio) <= SIZE_RATIO_GATE).all(axis=2)
    area_ratio = ratio[..., 0] * ratio[..., 1]
    alike &= np.maximum(area_ratio, 1 / area_ratio) <= AREA_RATIO_GATE
    near = (distance <= DISTANCE_GATE) & within
    cost = (1 - overlap) + 0.5 * np.minimum(distance / DISTANCE_GATE, 1.0)
    return np.where((near | (overlap >= OVERLAP_GATE)) & alike, cost, _IMPOSSIBLE)


def overlap_costs(motion: Motion, boxes: Array, least_overlap: float) -> Array:
    """Return ``1 - overlap`` for every pair, infinite below ``least_overlap``."""
    overlap = overlaps(motion.boxes, boxes)
    return np.where(overlap >= least_overlap, 1 - overlap, _IMPOSSIBLE)


def assign(costs: Array) -> list[tuple[int, int]]:
    """Pair rows with columns, cheapest pair first, each used once; infinite costs never pair."""
    pairs: list[tuple[int, int]] = []
    rows, columns = np.nonzero(np.isfinite(costs))
    used_rows: set[int] = set()
    used_columns: set[int] = set()
    for index in np.argsort(costs[rows, columns], kind="stable"):
        row, column = int(rows[index]), int(columns[index])
        if row in used_rows or column in used_columns:
            continue
        used_rows.add(row)
        used_columns.add(column)
        pairs.append((row, column))
    return pairs
