"""The AP that a training watches."""

import numpy as np
import pytest

from edgehaul.vision.decode import Detections
from edgehaul_tools.train.detector.average_precision import mean_average_precision
from edgehaul_tools.train.pictures.canvases import IGNORED, CanvasSet

Row = tuple[float, float, float, float, float, int]
BOXES = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], dtype=np.float32)


def truth(classes: list[int]) -> CanvasSet:
    image = np.zeros((1, 8, 8, 3), dtype=np.uint8)
    return CanvasSet(image, (BOXES[: len(classes)],), (np.array(classes, dtype=np.int64),))


def found(*rows: Row) -> list[Detections]:
    values = np.array([row[:4] for row in rows], dtype=np.float32).reshape(-1, 4)
    scores = np.array([row[4] for row in rows], dtype=np.float32)
    return [Detections(values, scores, np.array([row[5] for row in rows], dtype=np.int64))]


@pytest.mark.parametrize(
    ("classes", "rows", "expected"),
    [
        ([0, 0], [(0, 0, 10, 10, 0.9, 0), (20, 0, 30, 10, 0.8, 0)], 1.0),
        ([0, 0], [(0, 0, 10, 10, 0.9, 0)], 51 / 101),
        ([0, 1], [(0, 0, 10, 10, 0.9, 0), (20, 0, 30, 10, 0.8, 1)], 1.0),
        ([0, 1], [(0, 0, 10, 10, 0.9, 0), (20, 0, 30, 10, 0.8, 0)], 0.5),
        ([0, 0], [], 0.0),
        ([0], [(0, 0, 10, 10, 0.9, 0), (0, 0, 10, 10, 0.8, 0)], 1.0),
        ([0], [(50, 50, 60, 60, 0.9, 0), (0, 0, 10, 10, 0.8, 0)], 0.5),
        ([0, IGNORED], [(20, 0, 30, 10, 0.9, 0), (0, 0, 10, 10, 0.8, 0)], 1.0),
        ([], [(0, 0, 10, 10, 0.9, 0)], 0.0),
    ],
)
def test_average_precision(classes: list[int], rows: list[Row], expected: float) -> None:
    value = mean_average_precision(found(*rows), truth(classes), 2)
    assert value == pytest.approx(expected, abs=1e-6)
