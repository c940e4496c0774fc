"""What goes into a model and what comes out of it, for any ONNX model."""

from __future__ import annotations

from typing import Literal

import msgspec

Resize = Literal["letterbox", "stretch", "crop"]
Anchor = Literal["center", "top-left"]
Color = Literal["bgr", "rgb", "gray"]
Layout = Literal["nhwc", "nchw"]
TensorType = Literal["uint8", "float32"]
Task = Literal["detect", "classify", "anomaly", "sequence"]
Head = Literal[
    "classify",
    "yolov5",
    "yolov8",
    "yolox",
    "nanodet",
    "ssd",
    "yunet",
    "end2end",
    "ssd_tf",
    "torchvision",
    "edgehaul",
    "sequence",
    "autoencoder",
    "anomaly",
    "regress",
]

OutputTensor = Literal["boxes", "classes", "scores", "count", "other"]
"""What an output of a model holds that chooses its boxes itself."""

FixFilter = Literal["none", "kalman"]

MAX_SIDE_PX = 8192


class ImageInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="image"):
    """How a picture becomes the model's input tensor.

    The picture is resized into a canvas of ``height`` x ``width``, its colours are put in
    order, and each value ``v`` becomes ``(v * scale - mean) / std``. Models exported by
    EdgeHaul carry the last step inside the graph: they take ``uint8`` and ``nhwc``.

    Attributes:
        width: Width of the canvas in pixels.
        height: Height of the canvas in pixels.
        resize: ``letterbox`` keeps the aspect and pads, ``stretch`` does not keep it,
            ``crop`` keeps it and cuts the longer side's ends off.
        anchor: Where a letterboxed picture lies on the canvas.
        pad_value: Grey value of the padding, 0..255.
        color: Order of the colour channels.
        layout: Order of the tensor's axes.
        dtype: Element type of the tensor.
        scale: Factor applied to the values 0..255.
        mean: Subtracted after scaling, one value for each channel, or none.
        std: Divided by after that, one value for each channel, or none.
        name: Name of the model's input tensor; empty means its first one.
    """

    width: int
    height: int
    resize: Resize = "letterbox"
    anchor: Anchor = "center"
    pad_value: int = 114
    color: Color = "rgb"
    layout: Layout = "nhwc"
    dtype: TensorType = "uint8"
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse values that no model could mean."""
        if not (0 < self.width <= MAX_SIDE_PX and 0 < self.height <= MAX_SIDE_PX):
            raise ValueError(f"width and height must be in 1..{MAX_SIDE_PX}")
        if not 0 <= self.pad_value <= 255:  # noqa: PLR2004 - a byte
            raise ValueError("pad_value must be in 0..255")
        if any(len(v) not in {0, self.channels} for v in (self.mean, self.std)):
            raise ValueError(f"mean and std need {self.channels} values each, or none")
        if any(v <= 0 for v in self.std):
            raise ValueError("std must be positive")
        if self.dtype == "uint8" and (self.mean or self.std or self.scale != 1.0):
            raise ValueError("a uint8 input takes no scale, mean or std: they are in the graph")

    @property
    def channels(self) -> int:
        """Number of colour channels."""
        return 1 if self.color == "gray" else 3

    @property
    def tensor_shape(self) -> tuple[int, int, int, int]:
        """Shape of the tensor for one picture."""
        if self.layout == "nhwc":
            return (1, self.height, self.width, self.channels)
        return (1, self.channels, self.height, self.width)


class SequenceInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="sequence"):
    """How a trace becomes the model's input tensor of shape (1, window, features), float32.

    Attributes:
        features: Names of the features (see ``edgehaul.motion.features``), in order.
        window: Number of time steps in one input.
        interval_s: Time between two steps; traces are resampled to it.
        mean: Subtracted, one value for each feature.
        std: Divided by, one value for each feature.
        hop: Number of steps between the starts of two windows.
        name: Name of the model's input tensor; empty means its first one.
        filter: What passes over the cleaned fixes before their features are computed;
            ``kalman`` is causal (see ``edgehaul.motion.kalman``).
    """

    features: tuple[str, ...]
    window: int
    interval_s: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    hop: int = 1
    name: str = ""
    filter: FixFilter = "none"

    def __post_init__(self) -> None:
        """Refuse values that no model could mean."""
        if not self.features or self.window < 1 or self.hop < 1 or self.interval_s <= 0:
            raise ValueError("features, window, hop and interval_s must not be empty or zero")
        if len(self.mean) != len(self.features) or len(self.std) != len(self.features):
            raise ValueError("mean and std need one value for each feature")
        if any(v <= 0 for v in self.std):
            raise ValueError("std must be positive")

    @property
    def tensor_shape(self) -> tuple[int, int, int]:
        """Shape of the tensor for one window."""
        return (1, self.window, len(self.features))


class OutputSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a model's output tensors become detections, classes or scores.

    Attributes:
        head: Form of the outputs; ``edgehaul.vision.heads`` and ``.selected`` say what each one
            holds.
        labels: Names of the classes, by index.
        score_threshold: Detections below it are dropped; for ``autoencoder``, ``anomaly`` and
            ``sequence`` the score from which an anomaly is reported.
        iou_threshold: Overlap above which the lower-scoring of two boxes is dropped; nothing is
            dropped of models that choose their boxes themselves.
        max_detections: Most detections kept for one picture.
        class_agnostic: Whether boxes of different classes suppress each other.
        strides: Pixels of input for each cell of a grid head, fine to coarse; empty means
            the head's own default.
        tensors: For ``ssd_tf`` and ``torchvision``: what each output holds, in the model's order;
            empty means boxes, classes, scores and, where there is one, their count.
        first_class: For the same: the number of the first label; 0 where no class stands for the
            background.
        normal_label: For ``sequence``: the label that is no anomaly.
        horizon_s: For ``regress``: how far ahead the answer lies; ``labels`` name its values.
    """

    head: Head
    labels: tuple[str, ...] = ()
    score_threshold: float = 0.25
    iou_threshold: float = 0.5
    max_detections: int = 100
    class_agnostic: bool = False
    strides: tuple[int, ...] = ()
    tensors: tuple[OutputTensor, ...] = ()
    first_class: int = 1
    normal_label: str = ""
    horizon_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values that no model could mean."""
        if not (self.score_threshold >= 0 and 0 <= self.iou_threshold <= 1):
            raise ValueError("score_threshold must be >= 0 and iou_threshold in 0..1")
        if self.max_detections < 1:
            raise ValueError("max_detections must be at least 1")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must differ from each other")
        named = [name for name in self.tensors if name != "other"]
        is_whole = {"boxes", "classes", "scores"} <= {*named} and len({*named}) == len(named)
        if self.tensors and not is_whole:
            raise ValueError("tensors must name boxes, classes and scores, each once")
        if self.first_class < 0:
            raise ValueError("first_class must not be negative")


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a runtime must know about a model, beside its weights."""

    task: Task
    input: ImageInput | SequenceInput
    output: OutputSpec

    def __post_init__(self) -> None:
        """Refuse a task whose input is of the wrong kind."""
        if (self.task == "sequence") != isinstance(self.input, SequenceInput):
            raise ValueError(f"task {self.task!r} does not take an input of this kind")
