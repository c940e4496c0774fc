"""The nine models of the comparison: how each is built, taught, exported and judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec, SequenceInput
from edgehaul_tools.bench.zoo.learning import (
    Lesson,
    learn,
    picture_lesson,
    scene_lesson,
    wave_lesson,
)
from edgehaul_tools.bench.zoo.networks import (
    FEATURES,
    SERIES_CLASSES,
    WINDOW,
    GridDetector,
    HalfVgg,
    Recurrent,
    Transformer,
)
from edgehaul_tools.bench.zoo.samples import Samples, mosaics, scenes, waves
from edgehaul_tools.export.onnx_model import TensorNames, export_module
from edgehaul_tools.train.architectures.table import ARCHITECTURES
from edgehaul_tools.train.durable import save_tensors

CLASSES, SCENE_CLASSES = 1000, 80
"""As in the published networks, though only ten occur."""
_SIDE_PX, _DETECTOR_SIDE_PX = 224, 320
_PURITY = 0.4
_THRESHOLD = 0.3
_SEED = 0
_TRACED_BATCH = 2
DATA = {
    "mosaic": (
        "pictures 224x224 tiled with digits in random colours; the most frequent one is the "
        "class; learnt on mosaics of 64x64 of other digits"
    ),
    "scene": (
        "pictures 320x320 with digits of 20 to 88 pixels, each class in an ink of its own; learnt "
        "on scenes of 160x160"
    ),
    "wave": "windows of 64 steps and 8 channels of noisy waves in five bands of frequency",
}
"""What each kind of data is, in words; all of it is made here."""


@dataclass(frozen=True)
class Goal:
    """What is wanted of a model's int8 form; of the issue's machine, which has VNNI.

    Attributes:
        ratio: Largest int8 time / fp32 time with ONNX Runtime; none where none was set.
        engine_ratio: The same with OpenVINO.
        size: Largest int8 bytes / fp32 bytes.
    """

    ratio: float | None = None
    engine_ratio: float | None = None
    size: float = 0.26


@dataclass(frozen=True)
class ZooModel:
    """One model of the comparison.

    Attributes:
        name: On the command line.
        title: In the table.
        data: Kind of its data, see ``DATA``.
        build: Makes the network with random weights.
        lesson: How it learns.
        spec: What goes in and comes out.
        goal: What is wanted of int8.
    """

    name: str
    title: str
    data: str
    build: Callable[[], nn.Module]
    lesson: Lesson
    spec: ModelSpec
    goal: Goal = field(default_factory=Goal)

    @property
    def example(self) -> torch.Tensor:
        """An input of the size that is judged and timed, twice."""
        return torch.zeros(_TRACED_BATCH, *self.spec.input.tensor_shape[1:])

    def samples(self, count: int, seed: int) -> Samples:
        """Return inputs that were not learnt from, of the size that is judged and timed."""
        rng = np.random.default_rng((_SEED, seed))
        if self.data == "mosaic":
            return mosaics(count, _SIDE_PX, _PURITY, "judge", rng)
        if self.data == "scene":
            return scenes(count, _DETECTOR_SIDE_PX, "judge", rng)
        return waves(count, WINDOW, FEATURES, rng)


def export_fp32(model: ZooModel, work: Path, steps: int | None = None) -> Path:
    """Return the ONNX file of a model; what it learnt before is taken from ``work``.

    Args:
        model: Of the zoo.
        work: Keeps the weights, by what the zoo was when they were learnt.
        steps: Batches to learn from, other than the lesson's number.
    """
    stem = f"{model.name}-{_steps(model, steps)}-{_edition()}"
    network = _taught(model, work / f"{stem}.pt", steps)
    path = work / f"{stem}.onnx"
    if not path.exists():
        export_module(network, model.example, TensorNames(("x",), ("y",)), path)
    return path


@cache
def _edition() -> str:
    """Name the lessons, networks and data: weights that came of others must be learnt anew."""
    folder = Path(__file__).parent
    digest = sha256()
    for file in sorted(folder.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _steps(model: ZooModel, steps: int | None) -> int:
    return model.lesson.steps if steps is None else steps


def _taught(model: ZooModel, weights: Path, steps: int | None) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        network = model.build()
        if weights.exists():
            network.load_state_dict(torch.load(weights, weights_only=True))
        elif _steps(model, steps):
            learn(network, model.lesson, _SEED + 1, steps)
            save_tensors(weights, network.state_dict())
    return network.eval()


def _classifier(name: str) -> nn.Module:
    return ARCHITECTURES[name].build(classes=CLASSES, width=_SIDE_PX, height=_SIDE_PX)


def _picture_spec(side_px: int, output: OutputSpec) -> ModelSpec:
    canvas = ImageInput(side_px, side_px, layout="nchw", dtype="float32", scale=1 / 255)
    return ModelSpec("detect" if output.head == "yolov8" else "classify", canvas, output)


def _labels(count: int) -> tuple[str, ...]:
    return tuple(f"class{index}" for index in range(count))


_CLASSIFY = _picture_spec(_SIDE_PX, OutputSpec("classify", labels=_labels(CLASSES)))
_DETECT = _picture_spec(
    _DETECTOR_SIDE_PX,
    OutputSpec("yolov8", labels=_labels(SCENE_CLASSES), score_threshold=_THRESHOLD),
)
_SERIES = ModelSpec(
    "sequence",
    SequenceInput(
        features=tuple(f"channel{index}" for index in range(FEATURES)),
        window=WINDOW,
        interval_s=1.0,
        mean=(0.0,) * FEATURES,
        std=(1.0,) * FEATURES,
    ),
    OutputSpec("sequence", labels=_labels(SERIES_CLASSES)),
)


def _picture(
    name: str, title: str, build: Callable[[], nn.Module], goal: Goal, lesson: Lesson
) -> ZooModel:
    return ZooModel(name, title, "mosaic", build, lesson, _CLASSIFY, goal)


def _detector(name: str, title: str, build: Callable[[], nn.Module], goal: Goal) -> ZooModel:
    return ZooModel(name, title, "scene", build, scene_lesson(), _DETECT, goal)


def _series(name: str, title: str, build: Callable[[], nn.Module], goal: Goal) -> ZooModel:
    rate = 1e-3 if name == "transformer" else 3e-3
    return ZooModel(name, title, "wave", build, wave_lesson(rate=rate), _SERIES, goal)


ZOO: dict[str, ZooModel] = {
    model.name: model
    for model in (
        _picture(
            "resnet18",
            "ResNet-18 224",
            partial(_classifier, "resnet18"),
            Goal(0.30, 0.27),
            picture_lesson(steps=220),
        ),
        _picture(
            "mobilenet_v2",
            "MobileNetV2 (ReLU6) 224",
            partial(_classifier, "mobilenet_v2"),
            Goal(0.49, 0.42, 0.28),
            picture_lesson(steps=300, rate=4e-3),
        ),
        _picture(
            "vgg16_half",
            "VGG-16 half 224",
            partial(HalfVgg, CLASSES),
            Goal(),
            picture_lesson(steps=300, rate=1e-3),
        ),
        _picture(
            "googlenet",
            "GoogLeNet 224",
            partial(_classifier, "googlenet"),
            Goal(),
            picture_lesson(steps=300, rate=1e-3),
        ),
        _detector(
            "yolo_relu", "YOLO-like 320 ReLU", partial(GridDetector, "relu"), Goal(0.44, 0.35)
        ),
        _detector("yolo_silu", "YOLO-like 320 SiLU", partial(GridDetector, "silu"), Goal()),
        _series("lstm", "LSTM-128x2", partial(Recurrent, "LSTM"), Goal(0.47)),
        _series("gru", "GRU-128x2", partial(Recurrent, "GRU"), Goal()),
        _series("transformer", "Transformer 128", Transformer, Goal(0.64)),
    )
}
"""All models by name, in the table's order."""
