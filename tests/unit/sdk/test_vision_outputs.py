"""A model that cannot be what its spec says is refused before its first picture."""

from __future__ import annotations

import numpy as np
import pytest

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec, SequenceInput
from edgehaul.errors import SpecMismatchError
from edgehaul.vision.decode import check_outputs
from edgehaul.vision.outputs import check_answer

CANVAS = ImageInput(416, 416)
NANODET = [(1, n, c) for c in (3, 32) for n in (2704, 676, 169)]


def model(head: str) -> ModelSpec:
    output = OutputSpec(head, ("a", "b", "c"))
    if head == "sequence":
        window = SequenceInput(("speed_mps",), 4, 1.0, (0.0,), (1.0,))
        return ModelSpec("sequence", window, output)
    return ModelSpec("classify" if head == "classify" else "detect", CANVAS, output)


@pytest.mark.parametrize(
    ("head", "shapes"),
    [
        ("edgehaul", [(1, 99, 4), (1, 99, 3)]),
        ("edgehaul", [("batch", None, 4), ("batch", None, 3)]),
        ("edgehaul", [(-1, 0, 4), (-1, 0, 3)]),
        ("ssd", [(1, 99, 4), (1, 99, 4)]),
        ("ssd", [(1, 99, 3), (1, 99, 4)]),
        ("yolov5", [(1, 99, 8), (1, 3, 52, 52, 8)]),
        ("yolov8", [(1, 7, 99)]),
        ("yolov8", [(1, 99, 7)]),
        ("yolov8", [(1, "channels", "places")]),
        ("yolox", [(1, 3549, 8)]),
        ("nanodet", NANODET),
        ("nanodet", NANODET[::-1]),
        ("nanodet", [(1, 3549, 35)]),
        ("end2end", [(1, 300, 6)]),
        ("end2end", [("n", None, 6)]),
        ("ssd_tf", [(1, 10, 4), (1, 10), (1, 10), (1,)]),
        ("ssd_tf", [(1, None, 4), (1, None), (1, None)]),
        ("torchvision", [(None, 4), (None,), (None,)]),
        ("classify", [(1, 3)]),
        ("classify", [("n", 3, 1, 1)]),
        ("sequence", [(1, 3)]),
        ("autoencoder", [("n", 416, 416, 3)]),
    ],
)
def test_fitting_outputs_pass(head: str, shapes: list) -> None:
    check_outputs(model(head), shapes)


@pytest.mark.parametrize(
    ("head", "shapes", "words"),
    [
        ("edgehaul", [(1, 99, 4)], "needs 2 outputs"),
        ("edgehaul", [], "the outputs are none"),
        ("edgehaul", [(1, 99, 5), (1, 99, 3)], "4 values for each box, not 5"),
        ("edgehaul", [(1, 99, 4), (1, 98, 3)], "99 rows of scores, not 98"),
        ("edgehaul", [(99, 4), (99, 3)], "outputs of 3 axes"),
        ("edgehaul", [(1, 99, 4), (1, 99, 5)], "answers for 5 classes, but the spec has 3 labels"),
        ("ssd", [(1, 99, 7), (1, 99, 5)], "4 values for each box"),
        ("ssd", [(1, 99, 4), (1, 99, 9)], "answers for 9 classes"),
        ("yolov5", [(1, 99, 85)], "answers for 80 classes.*give 80 labels"),
        ("yolov8", [(1, 84, 8400)], "answers for 80 classes"),
        ("yolox", [(1, 3548, 8)], "3549 places .canvas 416x416, strides .8, 16, 32.., not 3548"),
        ("yolox", [(1, 3549, 85)], "answers for 80 classes"),
        ("nanodet", NANODET[:4], "needs 6 outputs"),
        ("nanodet", [(1, 9, 3)] * 6, "class scores 1xnxC and sides"),
        ("nanodet", [(1, 2125, 35)], "3549 places"),
        ("nanodet", [(1, n, c) for c in (80, 32) for n in (2704, 676, 169)], "for 80 classes"),
        ("end2end", [(1, 300, 7)], "6 values for each box, not 7"),
        ("end2end", [(300, 6)], "outputs of 3 axes"),
        ("ssd_tf", [(1, 10, 4), (1, 10)], "3 outputs .boxes 1xNx4, classes 1xN and scores 1xN"),
        ("ssd_tf", [(1, 10, 5), (1, 10), (1, 10)], "4 values for each box, not 5"),
        ("ssd_tf", [(1, 10, 4), (1, 10), (1, 9)], "10 rows of classes and scores, not 9"),
        ("ssd_tf", [(10, 4), (10,), (10,)], "boxes 1xNx4"),
        ("torchvision", [(1, 10, 4), (1, 10), (1, 10)], "boxes Nx4, classes N and scores N"),
        ("classify", [(1, 1000)], "answers for 1000 classes"),
        ("classify", [], "1 output"),
        ("sequence", [(1, 4)], "answers for 4 classes"),
        ("autoencoder", [(1, 3, 416, 416)], "shaped like its input, 1x416x416x3"),
        ("autoencoder", [], "1 output"),
    ],
)
def test_others_are_refused_by_name(head: str, shapes: list, words: str) -> None:
    with pytest.raises(SpecMismatchError, match=words) as caught:
        check_outputs(model(head), shapes, where="model.onnx")
    assert str(caught.value).startswith("model.onnx: ")
    assert caught.value.remedy


def answered(shapes: list) -> list[np.ndarray]:
    return [np.zeros(shape, np.float32) for shape in shapes]


@pytest.mark.parametrize(
    ("head", "shapes"),
    [
        ("edgehaul", [(1, 99, 4), (1, 99, 3)]),
        ("edgehaul", [(1, 0, 4), (1, 0, 3), (7,)]),
        ("ssd", [(1, 9, 4), (1, 9, 4)]),
        ("yolov5", [(1, 0, 8)]),
        ("yolov8", [(1, 7, 0)]),
        ("yolox", [(1, 3549, 8)]),
        ("nanodet", NANODET),
        ("end2end", [(1, 0, 6)]),
        ("ssd_tf", [(1, 2, 4), (1, 2), (1, 2), (1,)]),
        ("torchvision", [(0, 4), (0,), (0,)]),
        ("classify", [(1, 3)]),
        ("classify", [(3,)]),
        ("sequence", [(1, 3)]),
        ("autoencoder", [(1, 416, 416, 3)]),
    ],
)
def test_answers_that_fit_pass(head: str, shapes: list) -> None:
    check_answer(model(head), answered(shapes))


@pytest.mark.parametrize(
    ("head", "shapes", "words"),
    [
        ("edgehaul", [(1, 1, 4), (1, 3, 3)], "1 rows of scores, not 3"),
        ("edgehaul", [(1, 1, 4), (1, 1, 0)], "a score for at least one class"),
        ("edgehaul", [(1, 1, 3), (1, 1, 3)], "4 values for each box, not 3"),
        ("edgehaul", [(1, 1, 4), (1, 1, 4)], "answers for 4 classes, but the spec has 3 labels"),
        ("edgehaul", [(4,), (3,)], "outputs of 3 axes"),
        ("edgehaul", [(0, 1, 4), (0, 1, 3)], "one answer for one input"),
        ("ssd", [(1, 1, 4), (1, 2, 3)], "1 rows of scores, not 2"),
        ("ssd_tf", [(2, 2, 4), (2, 2), (2, 2)], "one answer for one input"),
        ("torchvision", [(3, 4), (3,), (2,)], "3 rows of classes and scores, not 2"),
        ("yolov5", [(1, 9, 4)], "a score for at least one class"),
        ("yolov8", [(1, 9, 0)], "answers for 5 classes|at least one class"),
        ("yolox", [(1, 0, 8)], "3549 places"),
        ("nanodet", [(1, n, c) for c in (3, 32) for n in (2704, 676 + c, 169)], "for each stride"),
        ("nanodet", [(1, n, 32 if n < 999 else 3) for n in (2704, 2704, 676, 676, 169, 169)], "32"),
        ("yunet", [(1, n, c) for c in (1, 1, 4, 9) for n in (2704, 676, 169)], "landmarks 1xnx10"),
        ("yunet", [(1, n, 4) for n in (2704, 676, 169)], "needs 12 outputs"),
        ("classify", [(2, 3)], "answers for 6 classes"),
        ("classify", [(1, 0)], "at least one class"),
        ("classify", [()], "answers for 1 classes"),
        ("autoencoder", [(2, 416, 416, 3)], "shaped like its input"),
    ],
)
def test_answers_that_do_not_fit_are_refused(head: str, shapes: list, words: str) -> None:
    with pytest.raises(SpecMismatchError, match=words) as caught:
        check_answer(model(head), answered(shapes), where="model.onnx")
    assert str(caught.value).startswith("model.onnx: ")
    assert caught.value.remedy


def test_answers_that_are_no_numbers_are_refused() -> None:
    names = np.array([["a", "b", "c"]], dtype=object)
    with pytest.raises(SpecMismatchError, match="outputs of numbers"):
        check_answer(model("classify"), [names])
