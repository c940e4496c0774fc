"""Files of the MOTChallenge and what they are judged by: CLEAR MOT and IDF1.

Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT
Metrics", 2008; Ristani et al., "Performance Measures and a Data Set for Multi-Target,
Multi-Camera Tracking", 2016.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from edgehaul.geometry import Box
from edgehaul.vision.nms import iou_matrix

LEAST_IOU = 0.5
_FORBIDDEN = 1e6

Numbered = Mapping[int, Sequence[tuple[int, Box]]]
"""Boxes with an identity, by frame."""


@dataclass(frozen=True)
class Judged:
    """How a tracker did.

    Attributes:
        boxes: True boxes.
        matched: Of these, those that were found.
        false: Boxes where nothing is.
        switches: Times that a true object went on under another identity.
        same_identity: Boxes that agree under the best pairing of identities over the whole.
        given: Boxes that the tracker gave.
    """

    boxes: int
    matched: int
    false: int
    switches: int
    same_identity: int
    given: int

    @property
    def mota(self) -> float:
        """Multiple object tracking accuracy."""
        return 1 - (self.boxes - self.matched + self.false + self.switches) / self.boxes

    @property
    def idf1(self) -> float:
        """Share of the boxes under the right identity (harmonic mean)."""
        return 2 * self.same_identity / (self.boxes + self.given)

    def __add__(self, other: "Judged") -> "Judged":
        """Return both together, as of one long sequence."""
        return Judged(
            self.boxes + other.boxes,
            self.matched + other.matched,
            self.false + other.false,
            self.switches + other.switches,
            self.same_identity + other.same_identity,
            self.given + other.given,
        )


def read_mot(path: Path) -> dict[int, list[tuple[int, Box]]]:
    """Read a MOTChallenge file: frame, identity, x, y, width, height, ..."""
    frames: dict[int, list[tuple[int, Box]]] = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        frame, identity, *box = (float(value) for value in line.split(",")[:6])
        frames[int(frame)].append((int(identity), Box.from_xywh(*box)))
    return frames


def judge(truth: Numbered, given: Numbered) -> Judged:
    """Compare what a tracker gave with the truth, at an overlap of one half."""
    matched = switches = 0
    last: dict[int, int] = {}
    together: Counter[tuple[int, int]] = Counter()
    for frame in sorted(set(truth) | set(given)):
        true_ids = [identity for identity, _ in truth.get(frame, ())]
        ids = [identity for identity, _ in given.get(frame, ())]
        overlap = _overlaps(truth.get(frame, ()), given.get(frame, ()))
        for row, column in np.argwhere(overlap >= LEAST_IOU).tolist():
            together[true_ids[row], ids[column]] += 1
        for row, column in _pairs(true_ids, ids, overlap, last):
            matched += 1
            switches += last.get(true_ids[row], ids[column]) != ids[column]
            last[true_ids[row]] = ids[column]
    boxes, count = (sum(map(len, numbered.values())) for numbered in (truth, given))
    return Judged(boxes, matched, count - matched, switches, _best_pairing(together), count)


def _pairs(
    true_ids: list[int], ids: list[int], overlap: NDArray[np.float64], last: Mapping[int, int]
) -> list[tuple[int, int]]:
    """Pair true boxes with given ones: as before where that still holds, the rest at best."""
    pairs: list[tuple[int, int]] = []
    for row, true_id in enumerate(true_ids):
        column = ids.index(last[true_id]) if last.get(true_id) in ids else -1
        taken = any(column == other for _, other in pairs)
        if column >= 0 and not taken and overlap[row, column] >= LEAST_IOU:
            pairs.append((row, column))
    costs = np.where(overlap >= LEAST_IOU, 1 - overlap, _FORBIDDEN)
    for row, column in pairs:
        costs[row, :] = costs[:, column] = _FORBIDDEN
    rows, columns = linear_sum_assignment(costs)
    more = zip(rows.tolist(), columns.tolist(), strict=True)
    return pairs + [(row, column) for row, column in more if costs[row, column] < _FORBIDDEN]


def _best_pairing(together: Mapping[tuple[int, int], int]) -> int:
    rows = {identity: row for row, identity in enumerate(sorted({a for a, _ in together}))}
    columns = {identity: row for row, identity in enumerate(sorted({b for _, b in together}))}
    counts = np.zeros((len(rows), len(columns)))
    for (true_id, identity), count in together.items():
        counts[rows[true_id], columns[identity]] = count
    return int(counts[linear_sum_assignment(counts, maximize=True)].sum())


def _overlaps(
    first: Sequence[tuple[int, Box]], second: Sequence[tuple[int, Box]]
) -> NDArray[np.float64]:
    corners = [
        np.array([(b.x1, b.y1, b.x2, b.y2) for _, b in side], np.float64).reshape(-1, 4)
        for side in (first, second)
    ]
    return iou_matrix(*corners)
