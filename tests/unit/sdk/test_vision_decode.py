"""Each head's tensors, written by hand, become the boxes that were put in."""

from __future__ import annotations

import numpy as np
import pytest

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec, SequenceInput
from edgehaul.errors import SpecMismatchError
from edgehaul.vision.decode import Detections, classify, decoder_for
from edgehaul.vision.heads import grid
from edgehaul.vision.placement import Placement
from edgehaul.vision.preprocess import Preprocessor

LABELS = ("car", "person", "van", "bus", "cat")
WIDTH, HEIGHT = 64, 32
PLACES = 8 * 4 + 4 * 2 + 2 * 1
# Canvas boxes with class and score; the picture is twice as large as the canvas.
TRUTH = ((10.0, 6.0, 22.0, 20.0, 1, 0.9), (30.0, 10.0, 50.0, 26.0, 2, 0.6))
SAME = Placement(0.5, 0.5, 0.0, 0.0, 128, 64)


def spec(head: str, **changes: object) -> ModelSpec:
    canvas = ImageInput(WIDTH, HEIGHT, resize="stretch")
    return ModelSpec("detect", canvas, OutputSpec(head, LABELS, **changes))


def check(head: str, outputs: list[np.ndarray], **changes: object) -> None:
    got = decoder_for(spec(head, **changes))(outputs, SAME)
    np.testing.assert_allclose(got.boxes, [[2 * v for v in row[:4]] for row in TRUTH], atol=0.05)
    np.testing.assert_allclose(got.scores, [row[5] for row in TRUTH], atol=1e-5)
    assert got.class_ids.tolist() == [row[4] for row in TRUTH]
    assert (got.boxes.dtype, got.scores.dtype) == (np.float32, np.float32)
    assert got.class_ids.dtype == np.int64


def class_scores(
    rows: int, at: list[int], background: int = 0, objectness: float = 1.0
) -> np.ndarray:
    scores = np.full((rows, len(LABELS) + background), 0.01, dtype=np.float32)
    for row, (*_, class_id, score) in zip(at, TRUTH, strict=True):
        scores[row, class_id + background] = score / objectness
    return scores


def corner_boxes(rows: int, at: list[int]) -> np.ndarray:
    boxes = np.tile(np.array([0, 0, 5, 5], dtype=np.float32), (rows, 1))
    boxes[at] = [row[:4] for row in TRUTH]
    return boxes


def center_boxes(rows: int, at: list[int]) -> np.ndarray:
    boxes = corner_boxes(rows, at)
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def test_edgehaul() -> None:
    check("edgehaul", [corner_boxes(9, [3, 7])[None], class_scores(9, [3, 7])[None]])


@pytest.mark.parametrize("boxes_first", [True, False])
@pytest.mark.parametrize("background", [0, 1])
def test_ssd_in_either_order_with_and_without_background(
    *, boxes_first: bool, background: int
) -> None:
    size = np.array([WIDTH, HEIGHT] * 2, dtype=np.float32)
    scores = class_scores(9, [3, 7], background)
    if background:
        scores[:, 0] = 0.99
    outputs = [(corner_boxes(9, [3, 7]) / size)[None], scores[None]]
    check("ssd", outputs if boxes_first else outputs[::-1])


@pytest.mark.parametrize("channels_first", [True, False])
def test_yolov8_along_either_axis(*, channels_first: bool) -> None:
    table = np.concatenate([center_boxes(50, [3, 5]), class_scores(50, [3, 5])], axis=1)
    outputs = [(table.T if channels_first else table)[None]]
    check("yolov8", outputs)


def test_yolov5_multiplies_objectness_and_class() -> None:
    table = np.concatenate(
        [
            center_boxes(9, [3, 7]),
            np.full((9, 1), 0.95, dtype=np.float32),
            class_scores(9, [3, 7], objectness=0.95),
        ],
        axis=1,
    )
    check("yolov5", [table[None]])


def test_yolox_adds_the_grid() -> None:
    corners, strides = grid(WIDTH, HEIGHT, (8, 16, 32))
    assert len(corners) == PLACES
    at = [11, 35]
    centers = center_boxes(PLACES, at)
    cell = strides[:, None]
    table = np.concatenate(
        [
            centers[:, :2] / cell - corners,
            np.log(centers[:, 2:] / cell),
            np.ones((PLACES, 1), dtype=np.float32),
            class_scores(PLACES, at),
        ],
        axis=1,
    )
    check("yolox", [table[None].astype(np.float32)])


@pytest.mark.parametrize("first", ["scores", "points"])
def test_yunet_takes_the_mean_of_both_scores_in_any_order(first: str) -> None:
    corners, strides = grid(WIDTH, HEIGHT, (8, 16, 32))
    at = [11, 35]
    centers = center_boxes(PLACES, at)
    cell = strides[:, None]
    boxes = np.concatenate([centers[:, :2] / cell - corners, np.log(centers[:, 2:] / cell)], axis=1)
    scores = np.zeros((PLACES, 1), np.float32)
    scores[at, 0] = [0.9, 0.625]
    objectness = np.full((PLACES, 1), 0.4, np.float32)
    parts = [scores, objectness, boxes, np.zeros((PLACES, 10), np.float32)]
    ends = np.cumsum([int((strides == stride).sum()) for stride in (8, 16)])
    outputs = [
        split[None].astype(np.float32)
        for part in (parts if first == "scores" else parts[::-1])
        for split in np.split(part, ends)
    ]
    canvas = ImageInput(WIDTH, HEIGHT)
    spec = ModelSpec("detect", canvas, OutputSpec("yunet", ("face",), score_threshold=0.49))
    found = decoder_for(spec)(outputs, Placement(1.0, 1.0, 0.0, 0.0, WIDTH, HEIGHT))
    assert found.scores.tolist() == pytest.approx([0.6, 0.5])
    half = centers[at, 2:] / 2
    expected = np.concatenate([centers[at, :2] - half, centers[at, :2] + half], axis=1)
    np.testing.assert_allclose(found.boxes, expected, atol=1e-3)


def test_two_yunet_scores_below_0_are_no_face() -> None:
    rows = [int((grid(WIDTH, HEIGHT, (8, 16, 32))[1] == stride).sum()) for stride in (8, 16, 32)]
    scores = [np.full((1, n, 1), -0.8, np.float32) for n in rows]
    above = [np.full((1, n, 1), -0.8, np.float32) for n in rows]
    scores[0][0, 3], above[0][0, 3] = 1.5, 0.64  # and what is above 1 counts as 1
    rest = [np.zeros((1, n, columns), np.float32) for columns in (4, 10) for n in rows]
    canvas = ImageInput(WIDTH, HEIGHT)
    spec = ModelSpec("detect", canvas, OutputSpec("yunet", ("face",), score_threshold=0.3))
    placement = Placement(1.0, 1.0, 0.0, 0.0, WIDTH, HEIGHT)
    found = decoder_for(spec)([*scores, *above, *rest], placement)
    assert found.scores.tolist() == pytest.approx([0.8])


def nanodet_tables() -> tuple[np.ndarray, np.ndarray]:
    """Return scores and sides; each side's distribution is split between two bins."""
    corners, strides = grid(WIDTH, HEIGHT, (8, 16, 32))
    at = [1 * 8 + 1, 32 + 1 * 4 + 2]
    sides = np.full((PLACES, 4, 8), -30.0, dtype=np.float32)
    boxes = corner_boxes(PLACES, at)
    for row in at:
        center = (corners[row] + 0.5) * strides[row]
        distances = np.concatenate([center - boxes[row, :2], boxes[row, 2:] - center])
        for side, distance in enumerate(distances / strides[row]):
            low = int(distance)
            part = distance - low
            sides[row, side, low] = np.log(1 - part + 1e-9)
            sides[row, side, low + 1] = np.log(part + 1e-9)
    return class_scores(PLACES, at), sides.reshape(PLACES, 32)


@pytest.mark.parametrize("order", ["scores first", "interleaved", "sides first", "one tensor"])
def test_nanodet_in_any_order(order: str) -> None:
    scores, sides = nanodet_tables()
    cuts = [(0, 32), (32, 40), (40, 42)]
    parts = [(scores[None, a:b], sides[None, a:b]) for a, b in cuts]
    outputs = {
        "scores first": [p[0] for p in parts] + [p[1] for p in parts],
        "interleaved": [t for p in parts for t in p],
        "sides first": [p[1] for p in parts[::-1]] + [p[0] for p in parts[::-1]],
        "one tensor": [np.concatenate([scores, sides], axis=1)[None]],
    }[order]
    check("nanodet", outputs)


@pytest.mark.parametrize("head", ["yolox", "nanodet"])
def test_a_wrong_grid_is_named(head: str) -> None:
    tables = {"yolox": (1, 99, 10), "nanodet": (1, 99, 37)}
    with pytest.raises(SpecMismatchError, match=r"42 places \(canvas 64x32, strides .*, not 99"):
        decoder_for(spec(head))([np.zeros(tables[head], dtype=np.float32)], SAME)


def test_letterboxed_boxes_come_back_clipped_and_padding_gives_none() -> None:
    model = ModelSpec("detect", ImageInput(100, 100), OutputSpec("edgehaul", ("a",)))
    _, placement = Preprocessor(model.input)(np.zeros((50, 200, 3), dtype=np.uint8))
    boxes = np.array([[[-5, 30, 50, 60], [10, 5, 30, 30], [20, 40, 20, 60]]], dtype=np.float32)
    scores = np.full((1, 3, 1), 0.8, dtype=np.float32)
    got = decoder_for(model)([boxes, scores], placement)
    np.testing.assert_allclose(got.boxes, [[0, 0, 100, 46]], atol=1e-3)


def overlapping(classes: list[int]) -> list[np.ndarray]:
    boxes = np.array([[[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]]], dtype=np.float32)
    scores = np.zeros((1, 3, len(LABELS)), dtype=np.float32)
    for row, (class_id, score) in enumerate(zip(classes, (0.9, 0.8, 0.7), strict=True)):
        scores[0, row, class_id] = score
    return [boxes, scores]


@pytest.mark.parametrize(
    ("changes", "classes", "kept"),
    [
        ({}, [0, 0, 0], 2),
        ({}, [0, 1, 0], 3),
        ({"class_agnostic": True}, [0, 1, 0], 2),
        ({"iou_threshold": 0.95}, [0, 0, 0], 3),
        ({"max_detections": 1}, [0, 1, 0], 1),
        ({"score_threshold": 0.75}, [0, 1, 0], 2),
        ({"score_threshold": 0.95}, [0, 1, 0], 0),
    ],
)
def test_threshold_suppression_and_limit(changes: dict, classes: list[int], kept: int) -> None:
    assert len(decoder_for(spec("edgehaul", **changes))(overlapping(classes), SAME)) == kept


def test_what_is_not_finite_is_dropped() -> None:
    boxes, scores = overlapping([0, 1, 2])
    boxes[0, 0, 2] = np.nan
    scores[0, 1, 1] = np.nan
    assert len(decoder_for(spec("edgehaul"))([boxes, scores], SAME)) == 1


def test_no_place_at_all_gives_no_detections() -> None:
    outputs = [
        np.zeros((1, 0, 4), dtype=np.float32),
        np.zeros((1, 0, len(LABELS)), dtype=np.float32),
    ]
    assert len(decoder_for(spec("edgehaul"))(outputs, SAME)) == 0


def test_detections_become_values() -> None:
    got = decoder_for(spec("edgehaul"))(overlapping([0, 1, 2]), SAME)
    values = got.to_values(("car",))
    assert [v.label for v in values] == ["car", "1", "2"]
    assert values[0].box.x2 == 20.0
    assert values[0].score == pytest.approx(0.9)
    assert len(got.above(0.75)) == 2
    assert Detections.empty().to_values(LABELS) == ()


@pytest.mark.parametrize(
    "model",
    [
        ModelSpec("classify", ImageInput(8, 8), OutputSpec("classify", ("a",))),
        ModelSpec(
            "sequence",
            SequenceInput(("speed_mps",), 4, 1.0, (0.0,), (1.0,)),
            OutputSpec("edgehaul", ("a",)),
        ),
    ],
)
def test_a_model_without_boxes_has_no_decoder(model: ModelSpec) -> None:
    with pytest.raises(
        SpecMismatchError, match="detectors have one of: edgehaul, end2end, nanodet"
    ):
        decoder_for(model)


@pytest.mark.parametrize(
    ("values", "best"),
    [([0.1, 0.7, 0.2], 0.7), ([1.0, 3.0, 1.0], 0.787), ([-1.0, 2.0, 0.0], 0.844)],
)
def test_classify_takes_the_softmax_of_logits_only(values: list[float], best: float) -> None:
    model = ModelSpec("classify", ImageInput(8, 8), OutputSpec("classify", ("a", "b", "c")))
    got = classify([np.array([values], dtype=np.float32)], model)
    assert got[0] == ("b", pytest.approx(best, abs=1e-3))
    assert sum(score for _, score in got) == pytest.approx(1.0, abs=1e-3)
    assert {label for label, _ in got} == {"a", "b", "c"}


def test_classes_without_labels_are_named_by_their_number() -> None:
    model = ModelSpec("classify", ImageInput(8, 8), OutputSpec("classify"))
    got = classify([np.array([[0.1, 0.9]], dtype=np.float32)], model)
    assert [label for label, _ in got] == ["1", "0"]


def test_a_decoder_refuses_answers_that_stop_to_fit() -> None:
    decode = decoder_for(spec("edgehaul"))
    boxes, scores = overlapping([0, 1, 2])
    assert len(decode([boxes, scores], SAME)) == 3
    assert len(decode([boxes[:, :2], scores[:, :2]], SAME)) == 2
    for misfit in ([boxes, scores[:, :2]], [boxes, scores[..., :4]], [boxes[..., :3], scores]):
        with pytest.raises(SpecMismatchError, match="head 'edgehaul'"):
            decode(misfit, SAME)
    assert len(decode([boxes, scores], SAME)) == 3


def test_a_head_of_boxes_in_parts_takes_one_class_without_labels() -> None:
    model = ModelSpec("detect", ImageInput(100, 100), OutputSpec("ssd"))
    boxes = np.array([[[0.1, 0.1, 0.5, 0.5]]], dtype=np.float32)
    scores = np.full((1, 1, 1), 0.8, dtype=np.float32)
    assert len(decoder_for(model)([boxes, scores], SAME)) == 1


# ---- models that choose their boxes themselves -----------------------------------------------

CHOSEN = np.array([[10, 6, 22, 20], [30, 10, 50, 26], [31, 10, 50, 26], [0, 0, 9, 9]], np.float32)
SCORES = np.array([0.6, 0.9, 0.8, 0.0], np.float32)
CLASSES = np.array([1, 2, 2, 0], np.float32)


def check_chosen(head: str, outputs: list[np.ndarray], **changes: object) -> None:
    """Best first, and nothing suppressed, however boxes overlap; see `check`."""
    got = decoder_for(spec(head, **changes))(outputs, SAME)
    np.testing.assert_allclose(got.boxes, 2 * CHOSEN[[1, 2, 0]], atol=1e-3)
    np.testing.assert_allclose(got.scores, [0.9, 0.8, 0.6])
    assert got.class_ids.tolist() == [2, 2, 1]
    assert (got.boxes.dtype, got.scores.dtype) == (np.float32, np.float32)
    assert got.class_ids.dtype == np.int64
    best = decoder_for(spec(head, max_detections=1, **changes))(outputs, SAME)
    assert best.scores.tolist() == [pytest.approx(0.9)]
    surer = decoder_for(spec(head, score_threshold=0.85, **changes))(outputs, SAME)
    assert len(surer) == 1


def test_end2end_takes_the_rows_as_they_are() -> None:
    table = np.concatenate([CHOSEN, SCORES[:, None], CLASSES[:, None]], axis=1)
    check_chosen("end2end", [table[None]])


@pytest.mark.parametrize("first_class", [0, 1])
@pytest.mark.parametrize("with_count", [False, True])
def test_ssd_of_tensorflow(*, first_class: int, with_count: bool) -> None:
    size = np.array([HEIGHT, WIDTH] * 2, np.float32)
    boxes = CHOSEN[:, [1, 0, 3, 2]] / size
    outputs = [boxes[None], CLASSES[None] + first_class, SCORES[None]]
    check_chosen("ssd_tf", outputs, first_class=first_class)
    if with_count:
        counted = [np.array([2.0], np.float32), outputs[2], outputs[0], outputs[1]]
        order = ("count", "scores", "boxes", "classes")
        model = spec("ssd_tf", first_class=first_class, tensors=order)
        got = decoder_for(model)(counted, SAME)
        assert got.scores.tolist() == pytest.approx([0.9, 0.6]), "the third does not count"


def test_torchvision_counts_the_background_as_0() -> None:
    labels = CLASSES.astype(np.int64) + 1
    check_chosen("torchvision", [CHOSEN, labels, SCORES])
    order = ("scores", "other", "boxes", "classes")
    check_chosen("torchvision", [SCORES, np.zeros(3), CHOSEN, labels], tensors=order)


@pytest.mark.parametrize("head", ["end2end", "torchvision"])
@pytest.mark.parametrize("class_id", [-1, len(LABELS), np.nan, np.inf])
def test_a_class_without_a_label_is_dropped(head: str, class_id: float) -> None:
    boxes, scores = CHOSEN[:1], np.array([0.9], np.float32)
    classes = np.array([class_id], np.float32)
    table = np.concatenate([boxes, scores[:, None], classes[:, None]], axis=1)
    outputs = [table[None]] if head == "end2end" else [boxes, classes + 1, scores]
    assert len(decoder_for(spec(head))(outputs, SAME)) == 0


@pytest.mark.parametrize(
    "tensors",
    [
        ("boxes", "scores"),
        ("boxes", "classes", "scores", "scores"),
        ("boxes", "scores", "count"),
        ("other",),
    ],
)
def test_tensors_must_name_all_three(tensors: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="tensors must name boxes, classes and scores, each once"):
        OutputSpec("ssd_tf", LABELS, tensors=tensors)
