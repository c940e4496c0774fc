"""Guesses for well-known models, from shapes and metadata alone."""

import pytest

from edgehaul.errors import SpecMismatchError
from edgehaul_tools.export.guess import Shape, Signature, guess_spec

PICTURE = (1, 3, 416, 416)


def signature(
    outputs: list[Shape],
    names: tuple[str, ...] = (),
    metadata: dict[str, str] | None = None,
    *,
    shape: Shape = PICTURE,
    labels: tuple[str, ...] = (),
    is_uint8: bool = False,
) -> Signature:
    return Signature(shape, tuple(outputs), tuple(names), metadata or {}, tuple(labels), is_uint8)


NANODET = [(1, n, c) for c in (80, 32) for n in (2704, 676, 169)]
YUNET = [(1, None, c) for c in (1, 1, 4, 10) for _ in range(3)]
TF_NAMES = ("num_detections:0", "detection_boxes:0", "detection_scores:0", "detection_classes:0")
ULTRALYTICS = {"names": "{0: 'cat', 1: 'dog'}", "stride": "32", "task": "detect"}


@pytest.mark.parametrize(
    ("given", "head", "color", "labels"),
    [
        (signature([(1, 3549, 85)]), "yolox", "bgr", 80),
        (signature([(1, 3 * 3549, 85)]), "yolov5", "rgb", 80),
        (signature(NANODET), "nanodet", "bgr", 80),
        (signature([(1, 6, 3549)], metadata=ULTRALYTICS), "yolov8", "rgb", 2),
        (signature([(1, 3 * 3549, 7)], metadata=ULTRALYTICS), "yolov5", "rgb", 2),
        (signature([(1, 4420, 2), (1, 4420, 4)], shape=(1, 3, 240, 320)), "ssd", "rgb", 1),
        (signature(YUNET), "yunet", "bgr", 1),
        (signature([(1, 10)]), "classify", "rgb", 10),
        (signature([(1, 300, 6)], metadata=ULTRALYTICS), "end2end", "rgb", 2),
        (
            signature([(1, None, 6)], metadata={**ULTRALYTICS, "args": "{'nms': True}"}),
            "end2end",
            "rgb",
            2,
        ),
        (signature([(1, 3549, 6)], metadata=ULTRALYTICS), "yolov8", "rgb", 2),
        (signature([(1, 300, 6)], labels=("a", "b")), "end2end", "rgb", 2),
        (
            signature([(9, 4), (9,), (9,)], ("boxes", "labels", "scores")),
            "torchvision",
            "rgb",
            0,
        ),
        (signature([(1,), (1, 10, 4), (1, 10), (1, 10)], TF_NAMES), "ssd_tf", "rgb", 0),
        (signature([(None, 4)], metadata={"character": "0\n90\n180\n270"}), "classify", "rgb", 4),
        (
            signature(
                [(1, 64, 4), (1, 64, 2)], ("boxes", "scores"), shape=(1, 64, 64, 3), is_uint8=True
            ),
            "edgehaul",
            "rgb",
            2,
        ),
    ],
)
def test_well_known_models(given: Signature, head: str, color: str, labels: int) -> None:
    guess = guess_spec(given, where="m.onnx")
    assert guess.spec.output.head == head
    assert guess.spec.input.color == color
    assert len(guess.spec.output.labels) == labels
    assert guess.reason
    expected = given.input_shape[1:]
    assert guess.spec.input.tensor_shape[1:] == expected


def test_a_free_size_of_yunet_is_chosen_and_said() -> None:
    guess = guess_spec(signature(YUNET, shape=(1, 3, None, None)), where="m.onnx")
    assert guess.spec.input.tensor_shape == (1, 3, 320, 320)
    assert "320x320 is chosen" in guess.reason


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (signature([(1, 5)], shape=(1, 30, 4)), "is no picture"),
        (signature([(1, 9, 1)], shape=(1, 3, None, None)), "leaves it open"),
        (signature([(1, 9, 1)] * 12), "no known head"),
        (signature([()]), "does not say their shape"),
        (signature([(1, 10)], shape=(1, 3, 20000, 20000)), "width and height"),
        (
            signature([(1, 6, 9)], metadata={"names": "{0: 'cat', 1: 'cat'}", "stride": "32"}),
            "labels must differ",
        ),
    ],
)
def test_unknown_models_ask_for_a_spec(given: Signature, message: str) -> None:
    with pytest.raises(SpecMismatchError, match=message) as caught:
        guess_spec(given, where="m.onnx")
    assert "--spec" in str(caught.value)


def test_names_that_are_no_numbered_classes_are_left_out() -> None:
    metadata = {"names": "{'note': 'by hand', 1: 'dog', 0: 'cat'}", "stride": "32"}
    guess = guess_spec(signature([(1, 6, 3549)], metadata=metadata), where="m.onnx")
    assert guess.spec.output.labels == ("cat", "dog")


def test_the_order_of_named_outputs_is_kept() -> None:
    given = signature([(1,), (1, 10, 4), (1, 10), (1, 10)], TF_NAMES)
    output = guess_spec(given, where="m.onnx").spec.output
    assert output.tensors == ("count", "boxes", "scores", "classes")


def test_given_labels_win() -> None:
    guess = guess_spec(signature([(1, 3)], labels=("a", "b", "c")), where="m.onnx")
    assert guess.spec.output.labels == ("a", "b", "c")
