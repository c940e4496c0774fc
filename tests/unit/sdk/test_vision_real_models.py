"""Published models find what is really there, through specs written from their papers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.vision.decode import Detections, check_outputs, decoder_for
from edgehaul.vision.match import match_detections
from edgehaul.vision.preprocess import Preprocessor

pytestmark = pytest.mark.shared_data

# Frame 100 of vtest.avi: people in the open, drawn and checked by eye.
PEOPLE = np.array(
    [[346, 199, 379, 273], [380, 182, 407, 255], [588, 154, 619, 236], [224, 61, 238, 95]],
    dtype=np.float32,
)


def coco(shared_data: Path) -> tuple[str, ...]:
    return tuple((shared_data / "models" / "coco.names").read_text().split("\n")[:80])


def yolox(labels: tuple[str, ...]) -> ModelSpec:
    canvas = ImageInput(416, 416, anchor="top-left", color="bgr", layout="nchw", dtype="float32")
    return ModelSpec("detect", canvas, OutputSpec("yolox", labels, score_threshold=0.5))


def nanodet(labels: tuple[str, ...]) -> ModelSpec:
    canvas = ImageInput(
        416,
        416,
        color="bgr",
        layout="nchw",
        dtype="float32",
        mean=(103.53, 116.28, 123.675),
        std=(57.375, 57.12, 58.395),
    )
    return ModelSpec("detect", canvas, OutputSpec("nanodet", labels, score_threshold=0.35))


def run(path: Path, spec: ModelSpec, image: np.ndarray) -> Detections:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    check_outputs(spec, [tuple(output.shape) for output in session.get_outputs()])
    tensor, placement = Preprocessor(spec.input)(image)
    return decoder_for(spec)(session.run(None, {session.get_inputs()[0].name: tensor}), placement)


@pytest.mark.parametrize(("model", "spec_of"), [("yolox_nano_coco", yolox), ("nanodet_m", nanodet)])
def test_coco_detectors_find_the_people(shared_data: Path, model: str, spec_of: Callable) -> None:
    capture = cv2.VideoCapture(str(shared_data / "video" / "vtest.avi"))
    for _ in range(101):
        _, image = capture.read()
    found = run(shared_data / "models" / f"{model}.onnx", spec_of(coco(shared_data)), image)
    ones = np.ones(len(PEOPLE), dtype=np.float32)
    truth = Detections(PEOPLE, ones, np.zeros(len(PEOPLE), dtype=np.int64))
    matched, missed, _ = match_detections(truth, found, 0.6)
    assert (matched, missed) == (len(PEOPLE), 0)


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "crop"])
def test_ultraface_finds_the_face_however_it_is_resized(shared_data: Path, resize: str) -> None:
    cbook = pytest.importorskip("matplotlib.cbook")
    portrait = cv2.imread(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    # Wider than the canvas, so that a letterbox pads and a crop cuts.
    image = cv2.copyMakeBorder(cv2.resize(portrait, (358, 420)), 40, 40, 150, 250, 0)
    canvas = ImageInput(
        320,
        240,
        resize=resize,
        layout="nchw",
        dtype="float32",
        mean=(127.0,) * 3,
        std=(128.0,) * 3,
    )
    output = OutputSpec("ssd", ("face",), score_threshold=0.7, iou_threshold=0.3)
    spec = ModelSpec("detect", canvas, output)
    found = run(shared_data / "models" / "ultraface_RFB-320.onnx", spec, image)
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes[0], [269, 124, 396, 268], atol=12)
