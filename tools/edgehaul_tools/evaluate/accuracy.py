"""Accuracy of a detector on labelled pictures, by COCO's definitions (faster-coco-eval)."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from faster_coco_eval import COCO, COCOeval_faster  # type: ignore[import-untyped]  # it ships no types

from edgehaul.errors import DatasetError
from edgehaul.geometry import Box
from edgehaul.vision.decode import Detections
from edgehaul_tools.dataset.samples import DetectionDataset, Sample

_MAX_DETECTIONS = (1, 10, 100)
_ALL_AREAS, _MOST_DETECTIONS, _IOU_50 = 0, -1, 0


class DetectorAccuracy(msgspec.Struct, frozen=True):
    """What a detector reached on a test split.

    Attributes:
        map50: Mean average precision at IoU 0.5, 0..1.
        map50_95: Mean average precision over IoU 0.5, 0.55 ... 0.95, 0..1.
        ap50_by_label: Average precision at IoU 0.5 of each class that occurs.
        recall: Recall points of the curve, 0..1.
        precision: Precision at IoU 0.5 at each of them, averaged over the classes.
        pictures: Number of pictures.
        objects: Number of objects in them.
    """

    map50: float
    map50_95: float
    ap50_by_label: dict[str, float]
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    pictures: int
    objects: int


def measure_accuracy(found: Sequence[Detections], dataset: DetectionDataset) -> DetectorAccuracy:
    """Compare detections with the marks of a dataset.

    Give detections down to a very low score: average precision weighs them itself. Regions
    that the dataset ignores count neither for nor against.

    Args:
        found: For each sample of the dataset, in order, what the detector found.
        dataset: The pictures and their marks.

    Raises:
        DatasetError: There is no marked object to measure by.
    """
    objects = sum(len(sample.boxes) for sample in dataset.samples)
    if not objects:
        raise DatasetError(
            "no object is marked in these pictures, so accuracy cannot be measured",
            where=dataset.root,
            remedy="give labelled pictures, or leave the accuracy out",
        )
    with contextlib.redirect_stdout(io.StringIO()):  # the library tells its progress there
        truth = COCO(_truth(dataset))
        evaluation = COCOeval_faster(truth, truth.loadRes(_answers(found)), iouType="bbox")
        evaluation.params.maxDets = list(_MAX_DETECTIONS)
        evaluation.evaluate()
        evaluation.accumulate()
    return _summary(evaluation, dataset, objects)


def _summary(
    evaluation: COCOeval_faster, dataset: DetectionDataset, objects: int
) -> DetectorAccuracy:
    # (IoU, recall, class, area, detections); -1 where a class has no marked object.
    precision = np.asarray(evaluation.eval["precision"])[..., _ALL_AREAS, _MOST_DETECTIONS]
    occurs = np.all(precision[_IOU_50] >= 0, axis=0)
    by_class = precision[:, :, occurs]
    labels = [label for label, there in zip(dataset.labels, occurs, strict=True) if there]
    ap50 = by_class[_IOU_50].mean(axis=0)
    return DetectorAccuracy(
        map50=float(ap50.mean()),
        map50_95=float(by_class.mean()),
        ap50_by_label=dict(zip(labels, (float(v) for v in ap50), strict=True)),
        recall=tuple(float(v) for v in evaluation.params.recThrs),
        precision=tuple(float(v) for v in by_class[_IOU_50].mean(axis=1)),
        pictures=len(dataset),
        objects=objects,
    )


def _truth(dataset: DetectionDataset) -> dict[str, Any]:
    """Return the dataset in COCO's form; ids start at 1, as the evaluation wants them."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, sample in enumerate(dataset.samples, start=1):
        images.append({"id": image_id, "width": sample.width, "height": sample.height})
        for box, class_id, ignored in _marks(sample, len(dataset.labels)):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": class_id + 1,
                    "bbox": [box.x1, box.y1, box.width, box.height],
                    "area": box.area,
                    "iscrowd": int(ignored),
                }
            )
    categories = [{"id": i, "name": label} for i, label in enumerate(dataset.labels, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _marks(sample: Sample, classes: int) -> list[tuple[Box, int, bool]]:
    """Return box, class and whether it is ignored; an ignored region is so for every class."""
    marks = [(mark.box, mark.class_id, False) for mark in sample.boxes]
    return marks + [(box, c, True) for box in sample.ignored for c in range(classes)]


def _answers(found: Sequence[Detections]) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    for image_id, detections in enumerate(found, start=1):
        for box, score, class_id in zip(
            detections.boxes.tolist(),
            detections.scores.tolist(),
            detections.class_ids.tolist(),
            strict=True,
        ):
            if not math.isfinite(score):
                continue
            x1, y1, x2, y2 = box
            answers.append(
                {
                    "image_id": image_id,
                    "category_id": class_id + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": score,
                }
            )
    return answers
