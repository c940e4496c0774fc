"""Average precision against pycocotools, also of resamples and sizes; mistakes by hand."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgehaul.geometry import Box
from edgehaul.vision.decode import Detections
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox
from edgehaul_tools.evaluate.accuracy import measure_accuracy
from edgehaul_tools.evaluate.detection import DetectionScores
from edgehaul_tools.evaluate.detectors import detector_points
from edgehaul_tools.evaluate.matching import EVERY_SIZE, SIZES, match_classes
from edgehaul_tools.evaluate.mistakes import judge, worst

LABELS = ("parcel", "damaged", "pallet")
CROWD = Box(200, 200, 330, 330)
Scene = tuple[list[Detections], list[Sample]]


def sample_of(number: int, boxes: Sequence[TrueBox], ignored: tuple[Box, ...] = ()) -> Sample:
    return Sample(Path(f"{number}.jpg"), str(number), 640, 480, tuple(boxes), ignored)


def detections(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def scene(seed: int, pictures: int) -> Scene:
    """Return random objects and a detector that is right now and then, with equal scores."""
    random = np.random.default_rng(seed)
    found, samples = [], []
    for number in range(pictures):
        count = int(random.integers(0, 8))
        most = random.choice([32, 90, 200], (count, 1))  # small, medium and large ones
        corners, sizes = random.uniform(0, 400, (count, 2)), random.uniform(20, most, (count, 2))
        boxes = np.hstack([corners, corners + sizes])
        classes = random.integers(0, 3, count)
        marks = [TrueBox(Box(*map(float, b)), int(c)) for b, c in zip(boxes, classes, strict=True)]
        samples.append(sample_of(number, marks, (CROWD,)))
        wrong = random.uniform(0, 300, (9, 2))
        every = np.vstack(
            [boxes + random.normal(0, 3, boxes.shape), np.hstack([wrong, wrong + 40])]
        )
        guesses = np.append(
            np.where(random.random(count) < 0.8, classes, 0), random.integers(0, 3, 9)
        )
        score = random.random(count + 9).round(2)
        found.append(detections(*map(tuple, np.column_stack([every, score, guesses]))))
    return found, samples


def reference(found: Sequence[Detections], samples: Sequence[Sample]) -> np.ndarray:
    """Return pycocotools' mAP50-95, mAP50, mAP75, and mAP50-95 of small, medium, large."""
    annotations, answers = [], []
    for image_id, (one, sample) in enumerate(zip(found, samples, strict=True), start=1):
        marks = [(m.box, m.class_id, 0) for m in sample.boxes]
        marks += [(box, c, 1) for box in sample.ignored for c in range(3)]
        for box, class_id, crowd in marks:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": class_id + 1,
                    "bbox": [box.x1, box.y1, box.width, box.height],
                    "area": box.area,
                    "iscrowd": crowd,
                }
            )
        for (x1, y1, x2, y2), score, class_id in zip(
            one.boxes.tolist(), one.scores.tolist(), one.class_ids.tolist(), strict=True
        ):
            bbox = [x1, y1, x2 - x1, y2 - y1]
            answers.append(
                {"image_id": image_id, "category_id": class_id + 1, "bbox": bbox, "score": score}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i + 1, "width": 640, "height": 480} for i in range(len(samples))],
            "annotations": annotations,
            "categories": [{"id": i, "name": name} for i, name in enumerate(LABELS, start=1)],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(answers), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.asarray(evaluation.stats)


def scores_of(scene: Scene, size: tuple[float, float] = EVERY_SIZE) -> DetectionScores:
    found, samples = scene
    matches = match_classes(found, samples, len(LABELS), size)
    return DetectionScores(np.arange(len(samples)), LABELS, matches, 0.5)


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_that_of_pycocotools(seed: int) -> None:
    whole = scene(seed, 15)
    expected = reference(*whole)
    figures = scores_of(whole).figures(np.ones(15))
    assert figures["map50_95"] == pytest.approx(expected[0], abs=1e-6)
    assert figures["map50"] == pytest.approx(expected[1], abs=1e-6)
    for place, size in enumerate(SIZES.values(), start=3):
        of_size = scores_of(whole, size).figures(np.ones(15))["map50_95"]
        assert of_size == pytest.approx(expected[place], abs=1e-6)


def test_average_precision_is_that_of_the_verification() -> None:
    found, samples = scene(9, 12)
    official = measure_accuracy(found, DetectionDataset(Path("set"), LABELS, tuple(samples)))
    figures = scores_of((found, samples)).figures(np.ones(12))
    assert figures["map50"] == pytest.approx(official.map50, abs=1e-6)
    assert figures["map50_95"] == pytest.approx(official.map50_95, abs=1e-6)
    for label, value in official.ap50_by_label.items():
        assert figures[f"ap50:{label}"] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_a_resample_is_what_pycocotools_says_of_the_pictures_drawn(seed: int) -> None:
    found, samples = scene(seed, 10)
    # No equal scores: between them the order is that of the pictures, which a draw changes.
    spread = np.random.default_rng(0)
    found = [Detections(f.boxes, spread.random(len(f), np.float32), f.class_ids) for f in found]
    drawn = np.sort(np.random.default_rng(seed).integers(0, 10, 10))
    weights = np.bincount(drawn, minlength=10).astype(float)
    figures = scores_of((found, samples)).figures(weights)
    expected = reference([found[i] for i in drawn], [samples[i] for i in drawn])
    assert figures["map50_95"] == pytest.approx(expected[0], abs=1e-6)
    assert figures["map50"] == pytest.approx(expected[1], abs=1e-6)


def test_what_the_threshold_does_is_counted_at_it() -> None:
    boxes = [TrueBox(Box(10, 10, 60, 60), 0), TrueBox(Box(100, 10, 160, 60), 0)]
    found = detections(
        (10, 10, 60, 60, 0.9, 0), (300, 10, 360, 60, 0.6, 0), (100, 10, 160, 60, 0.3, 0)
    )
    scores = scores_of(([found], [sample_of(0, boxes)]))
    figures = scores.figures(np.ones(1))
    assert (figures["precision"], figures["recall"], figures["f1"]) == (0.5, 0.5, 0.5)
    assert np.isnan(figures["ap50:pallet"])
    model, best = detector_points(scores)[:2]
    assert (model.threshold, model.false_alarm_rate) == (0.5, 1.0)
    assert best.threshold == pytest.approx(0.3)
    assert best.f1 == pytest.approx(0.8)


def test_mistakes_are_told_apart_and_ignored_regions_excuse() -> None:
    marks = [
        TrueBox(Box(10, 10, 60, 60), 0),
        TrueBox(Box(100, 10, 160, 60), 1),
        TrueBox(Box(300, 300, 400, 400), 2),
    ]
    found = detections(
        (10, 10, 60, 60, 0.9, 0),
        (100, 10, 160, 60, 0.8, 0),
        (500, 10, 560, 60, 0.7, 2),
        (210, 210, 300, 300, 0.95, 0),
    )
    confusion, mistakes = judge([found], [sample_of(0, marks, (CROWD,))], LABELS)
    assert confusion.rows[-1] == "(nothing there)"
    assert confusion.counts == ((1, 0, 0, 0), (1, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0))
    assert [(m.kind, m.found, m.true) for m in mistakes] == [
        ("confused", 0, 1),
        ("false", 2, -1),
        ("missed", -1, 2),
    ]


def test_an_object_goes_to_a_detection_of_its_own_class_first() -> None:
    mark = [TrueBox(Box(10, 10, 60, 60), 1)]
    found = detections((10, 10, 60, 60, 0.9, 0), (11, 10, 60, 60, 0.4, 1))
    confusion, mistakes = judge([found], [sample_of(0, mark)], LABELS)
    assert confusion.counts[1][1] == 1
    assert [m.kind for m in mistakes] == ["false"]


def test_the_worst_mistakes_are_the_surest_and_of_several_pictures() -> None:
    rows = [(10.0 * i, 10, 10.0 * i + 8, 60, 0.9 - 0.1 * i, 0) for i in range(5)]
    found = [detections(*rows), detections((10, 10, 60, 60, 0.2, 0))]
    _, mistakes = judge(found, [sample_of(0, []), sample_of(1, [])], LABELS)
    chosen = worst(mistakes, "false", 3)
    assert [round(m.score, 1) for m in chosen] == [0.9, 0.8, 0.2]
