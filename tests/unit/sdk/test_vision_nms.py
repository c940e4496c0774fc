"""Suppression equals its definition; matching counts pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehaul.geometry import Box
from edgehaul.vision.decode import Detections
from edgehaul.vision.match import f1, match_detections
from edgehaul.vision.nms import FEW, iou_matrix, nms

box = st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20)).map(
    lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3])
)
# The decoder has left out what has no area.
solid = box.map(lambda v: (v[0], v[1], v[2] + 1, v[3] + 1))
scored_solid = st.lists(st.tuples(solid, st.integers(0, 10), st.integers(0, 2)), max_size=25)
scored = st.lists(st.tuples(box, st.integers(0, 10), st.integers(0, 2)), max_size=25)


def arrays(items: list) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    boxes = np.array([b for b, _, _ in items], dtype=np.float32).reshape(-1, 4)
    scores = np.array([s / 10 for _, s, _ in items], dtype=np.float32)
    return boxes, scores, np.array([c for _, _, c in items], dtype=np.int64)


def found(*rows: tuple) -> Detections:
    boxes, scores, class_ids = arrays(rows)
    return Detections(boxes, scores, class_ids)


def by_definition(items: list, threshold: float, *, by_class: bool) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(items)), key=lambda i: (-items[i][1], i)):
        rivals = [k for k in kept if not by_class or items[k][2] == items[i][2]]
        if all(Box(*items[k][0]).iou(Box(*items[i][0])) <= threshold for k in rivals):
            kept.append(i)
    return kept


# Thresholds that no ratio of small whole numbers meets: there float32 and float64 agree.
@given(
    items=scored_solid,
    threshold=st.sampled_from([0.0001, 0.3001, 0.5001, 1.0]),
    by_class=st.booleans(),
)
def test_nms_is_what_its_definition_says(*, items: list, threshold: float, by_class: bool) -> None:
    boxes, scores, class_ids = arrays(items)
    got = nms(boxes, scores, threshold, class_ids=class_ids if by_class else None)
    assert got.tolist() == by_definition(items, threshold, by_class=by_class)


@pytest.mark.parametrize("limit", [None, 1, 65, 150])
@pytest.mark.parametrize("count", [FEW, FEW + 1])
def test_nms_of_many_boxes_is_the_same(count: int, limit: int | None) -> None:
    random = np.random.default_rng(5)
    corners = random.integers(0, 200, (count, 2))
    rows = np.concatenate([corners, corners + random.integers(5, 40, (count, 2))], axis=1)
    scores_of = range(1, count + 1)
    items = [(tuple(row), score, 0) for row, score in zip(rows.tolist(), scores_of, strict=True)]
    boxes, scores, _ = arrays(items)
    expected = by_definition(items, 0.3001, by_class=False)
    assert len(expected) > 150
    assert nms(boxes, scores, 0.3001, limit=limit).tolist() == expected[:limit]


@given(items=scored)
def test_the_matrix_holds_the_overlap_of_each_pair(items: list) -> None:
    boxes, _, _ = arrays(items)
    expected = [[Box(*a).iou(Box(*b)) for b, _, _ in items] for a, _, _ in items]
    shape = (len(items), len(items))
    np.testing.assert_allclose(iou_matrix(boxes, boxes), np.reshape(expected, shape), atol=1e-6)


def test_matching_pairs_the_closest_boxes_of_one_class() -> None:
    a = found(((0, 0, 10, 10), 9, 0), ((50, 50, 60, 60), 8, 1), ((80, 80, 90, 90), 5, 0))
    b = found(((0, 0, 10, 9), 9, 0), ((0, 0, 10, 10), 3, 0), ((50, 50, 60, 60), 8, 2))
    assert match_detections(a, b, 0.5) == (1, 2, 2)
    assert match_detections(a, a, 0.5) == (3, 0, 0)
    assert match_detections(a, Detections.empty(), 0.5) == (0, 3, 0)
    assert match_detections(Detections.empty(), Detections.empty(), 0.5) == (0, 0, 0)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [((0, 0, 0), 1.0), ((3, 0, 0), 1.0), ((0, 2, 1), 0.0), ((2, 1, 1), 2 / 3)],
)
def test_f1(counts: tuple[int, int, int], expected: float) -> None:
    assert f1(*counts) == pytest.approx(expected)
