"""Accuracy against pycocotools on random answers, and the cases one can do by hand."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgehaul.errors import DatasetError
from edgehaul.geometry import Box
from edgehaul.vision.decode import Detections
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox
from edgehaul_tools.evaluate.accuracy import _answers, _truth, measure_accuracy

LABELS = ("parcel", "damaged", "pallet")


def dataset_of(*pictures: list[TrueBox], ignored: tuple[Box, ...] = ()) -> DetectionDataset:
    samples = tuple(
        Sample(Path(f"{i}.jpg"), str(i), 640, 480, tuple(boxes), ignored)
        for i, boxes in enumerate(pictures)
    )
    return DetectionDataset(Path("set"), LABELS, samples)


def detections(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def test_perfect_answers_score_one() -> None:
    truth = dataset_of([TrueBox(Box(10, 10, 60, 60), 0)], [TrueBox(Box(0, 0, 30, 40), 1)])
    found = [detections((10, 10, 60, 60, 0.9, 0)), detections((0, 0, 30, 40, 0.3, 1))]
    result = measure_accuracy(found, truth)
    assert (result.map50, result.map50_95) == pytest.approx((1.0, 1.0))
    assert result.ap50_by_label == pytest.approx({"parcel": 1.0, "damaged": 1.0})
    assert (result.pictures, result.objects) == (2, 2)


def test_finding_nothing_scores_zero() -> None:
    truth = dataset_of([TrueBox(Box(10, 10, 60, 60), 0)])
    assert measure_accuracy([Detections.empty()], truth).map50 == 0.0


def test_what_lies_on_an_ignored_region_is_no_fault() -> None:
    truth = dataset_of([TrueBox(Box(10, 10, 60, 60), 0)], ignored=(Box(300, 0, 400, 100),))
    found = detections((300, 0, 380, 100, 0.99, 0), (10, 10, 60, 60, 0.5, 0))
    assert measure_accuracy([found], truth).map50 == pytest.approx(1.0)


def test_pictures_without_marks_are_refused() -> None:
    with pytest.raises(DatasetError, match="no object is marked"):
        measure_accuracy([Detections.empty()], dataset_of([]))


def test_it_agrees_with_pycocotools() -> None:
    rng = np.random.default_rng(5)
    pictures, found = [], []
    for _ in range(12):
        corners = rng.uniform(0, 400, (6, 2))
        sizes = rng.uniform(15, 120, (6, 2))
        boxes = np.hstack([corners, corners + sizes])
        classes = rng.integers(0, len(LABELS), 6)
        pictures.append(
            [TrueBox(Box(*map(float, b)), int(c)) for b, c in zip(boxes, classes, strict=True)]
        )
        moved = boxes + rng.normal(0, 6, boxes.shape)
        wrong = rng.uniform(0, 300, (3, 2))
        every = np.vstack([moved, np.hstack([wrong, wrong + 40])])
        guesses = np.append(np.where(rng.random(6) < 0.8, classes, 0), rng.integers(0, 3, 3))
        table = np.column_stack([every, rng.random(9), guesses])
        found.append(detections(*map(tuple, table)))
    truth = dataset_of(*pictures, ignored=(Box(200, 200, 330, 330),))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = _truth(truth)
        coco.createIndex()
        reference = COCOeval(coco, coco.loadRes(_answers(found)), "bbox")
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    result = measure_accuracy(found, truth)
    assert 0.1 < result.map50 < 0.95
    assert result.map50_95 == pytest.approx(reference.stats[0], abs=1e-9)
    assert result.map50 == pytest.approx(reference.stats[1], abs=1e-9)
