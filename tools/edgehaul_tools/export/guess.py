"""Guess the spec of a well-known model from its metadata and shapes; a guess is always printed."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx

from edgehaul.bundle.spec import Head, ImageInput, ModelSpec, OutputSpec, OutputTensor
from edgehaul.errors import SpecMismatchError

Shape = tuple[int | None, ...]

_STRIDES = (8, 16, 32)
_NANODET_SIDES = 32
_YUNET_POINTS, _YUNET_SIDE_PX = 10, 320
_BOX_VALUES = 4
_IMAGE_AXES = 4
_TABLE_AXES = 3
_END2END_VALUES = 6
_MOST_CHOSEN = 1000
_PARTS: tuple[tuple[Head, dict[str, OutputTensor], dict[str, object]], ...] = (
    (
        "ssd_tf",
        {
            "detection_boxes": "boxes",
            "detection_classes": "classes",
            "detection_scores": "scores",
            "num_detections": "count",
        },
        {"resize": "stretch", "scale": 1 / 127.5, "mean": (1.0, 1.0, 1.0)},
    ),
    (
        "torchvision",
        {"boxes": "boxes", "labels": "classes", "scores": "scores"},
        {"scale": 1 / 255},
    ),
)
"""Heads by the names of their outputs, with what they take as input where that is no byte."""
_COLORS = 3
_REMEDY = "describe its input and output in a YAML file and give it with --spec"


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model says about itself.

    Attributes:
        input_shape: Of its first input; ``None`` is a free dimension.
        output_shapes: Of its outputs, in order.
        output_names: Their names.
        metadata: Key to value.
        labels: Given by the user, or empty.
        is_uint8: Whether the input takes bytes.
    """

    input_shape: Shape
    output_shapes: tuple[Shape, ...]
    output_names: tuple[str, ...]
    metadata: dict[str, str]
    labels: tuple[str, ...]
    is_uint8: bool


@dataclass(frozen=True, slots=True)
class Guess:
    """A guessed spec, and what it was recognised by."""

    spec: ModelSpec
    reason: str


def signature_of(model: onnx.ModelProto, labels: Sequence[str] = ()) -> Signature:
    """Return what a model says about itself."""
    weights = {tensor.name for tensor in model.graph.initializer}
    first = next((v for v in model.graph.input if v.name not in weights), None)
    return Signature(
        input_shape=_shape(first) if first is not None else (),
        output_shapes=tuple(_shape(value) for value in model.graph.output),
        output_names=tuple(value.name for value in model.graph.output),
        metadata={entry.key: entry.value for entry in model.metadata_props},
        labels=tuple(labels),
        is_uint8=first is not None and first.type.tensor_type.elem_type == onnx.TensorProto.UINT8,
    )


def guess_spec(signature: Signature, *, where: str) -> Guess:
    """Return the spec of a well-known model.

    Args:
        signature: What the model says about itself.
        where: The model file, for the error.

    Raises:
        SpecMismatchError: It is none of the known ones, or says of itself what cannot be.
    """
    shape = signature.input_shape
    if len(shape) != _IMAGE_AXES:
        raise SpecMismatchError(
            f"cannot guess what the model is: its input {_text(shape)} is no picture",
            where=where,
            remedy=_REMEDY,
        )
    yunet = _yunet(signature)
    if yunet is not None:
        return yunet
    if None in shape[1:]:
        raise SpecMismatchError(
            f"cannot guess the size of the pictures: the input {_text(shape)} leaves it open",
            where=where,
            remedy=_REMEDY,
        )
    if () in signature.output_shapes:
        raise SpecMismatchError(
            "cannot guess what the outputs hold: the model does not say their shape",
            where=where,
            remedy=_REMEDY,
        )
    try:
        guess = next(filter(None, (rule(signature) for rule in _RULES)), None)
    except ValueError as error:
        # Such as two classes of one name, or a picture of a size that nobody could mean.
        raise SpecMismatchError(
            f"cannot take the model at its word: {error}", where=where, remedy=_REMEDY
        ) from error
    if guess is not None:
        return guess
    outputs = ", ".join(_text(s) for s in signature.output_shapes)
    raise SpecMismatchError(
        f"cannot guess what the outputs {outputs} hold: no known head has them",
        where=where,
        remedy=_REMEDY,
    )


def _ultralytics(signature: Signature) -> Guess | None:
    metadata = signature.metadata
    if "names" not in metadata or "stride" not in metadata:
        return None
    labels = signature.labels or _names(metadata["names"])
    task = metadata.get("task", "detect")
    if task == "classify":
        canvas = _canvas(signature, resize="crop", color="rgb", scale=1 / 255)
        return Guess(
            ModelSpec("classify", canvas, OutputSpec("classify", labels)), "Ultralytics metadata"
        )
    if task != "detect" or len(signature.output_shapes) != 1:
        return None
    columns = signature.output_shapes[0][-1]
    canvas = _canvas(signature, color="rgb", scale=1 / 255)
    if columns == _END2END_VALUES and (_chooses_itself(metadata) or _is_chosen(signature)):
        output = OutputSpec("end2end", labels)
        return Guess(ModelSpec("detect", canvas, output), "Ultralytics metadata, chosen boxes")
    head = "yolov5" if columns == len(labels) + _BOX_VALUES + 1 else "yolov8"
    output = OutputSpec(head, labels)  # type: ignore[arg-type]  # one of the two literals above
    return Guess(ModelSpec("detect", canvas, output), f"Ultralytics metadata, {head} output")


def _chooses_itself(metadata: dict[str, str]) -> bool:
    """Return whether an export says that it needs no suppression."""
    try:
        arguments = ast.literal_eval(metadata.get("args", "{}"))
    except (ValueError, SyntaxError):
        arguments = {}
    has_nms = isinstance(arguments, dict) and bool(arguments.get("nms"))
    return has_nms or metadata.get("end2end", "").lower() == "true"


def _is_chosen(signature: Signature) -> bool:
    """Return whether the output is a table of chosen boxes, by its shape: no grid has its rows."""
    _, rows, columns = signature.output_shapes[0]
    cells = _cells(signature)
    is_short = rows is not None and rows <= _MOST_CHOSEN and rows not in {cells, 3 * cells}
    return columns == _END2END_VALUES and is_short


def _end2end(signature: Signature) -> Guess | None:
    """Recognise a table of chosen boxes; a grid has more rows."""
    if len(signature.output_shapes) != 1 or len(signature.output_shapes[0]) != _TABLE_AXES:
        return None
    rows = signature.output_shapes[0][1]
    if not _is_chosen(signature):
        return None
    canvas = _canvas(signature, color="rgb", scale=1 / 255)
    reason = f"{rows} rows of box, score and class: a YOLO that chooses its boxes itself"
    output = OutputSpec("end2end", signature.labels)
    return Guess(ModelSpec("detect", canvas, output), reason)


def _named_parts(signature: Signature) -> Guess | None:
    """Recognise TensorFlow's and torchvision's detectors by the names of their outputs."""
    names = [name.partition(":")[0] for name in signature.output_names]
    for head, known, options in _PARTS:
        tensors = tuple(known.get(name, "other") for name in names)
        if {"boxes", "classes", "scores"} <= {*tensors}:
            canvas = _canvas(signature, color="rgb", **options)
            output = OutputSpec(head, signature.labels, tensors=tensors)
            reason = f"outputs {', '.join(names)}: {head}, classes from 1"
            return Guess(ModelSpec("detect", canvas, output), reason)
    return None


def _edgehaul(signature: Signature) -> Guess | None:
    if signature.output_names != ("boxes", "scores") or not signature.is_uint8:
        return None
    _, height, width, _ = signature.input_shape
    labels = _labels(signature, signature.output_shapes[1][-1])
    canvas = ImageInput(width or 0, height or 0)
    return Guess(
        ModelSpec("detect", canvas, OutputSpec("edgehaul", labels)),
        "outputs 'boxes' and 'scores' of a uint8 picture",
    )


def _grid_head(signature: Signature) -> Guess | None:
    """Recognise YOLOX (one box a cell) and YOLOv5 (three boxes a cell)."""
    if len(signature.output_shapes) != 1 or len(signature.output_shapes[0]) != _COLORS:
        return None
    _, rows, columns = signature.output_shapes[0]
    cells = _cells(signature)
    if rows not in {cells, 3 * cells} or columns is None or columns <= _BOX_VALUES + 1:
        return None
    labels = _labels(signature, columns - _BOX_VALUES - 1)
    if rows == cells:
        canvas = _canvas(signature, anchor="top-left", color="bgr")
        output = OutputSpec("yolox", labels, score_threshold=0.5)
        reason = f"{rows} places of strides 8, 16, 32 with {columns} values: YOLOX"
    else:
        canvas = _canvas(signature, color="rgb", scale=1 / 255)
        output = OutputSpec("yolov5", labels)
        reason = f"3 boxes in each of {cells} places with {columns} values: YOLOv5"
    return Guess(ModelSpec("detect", canvas, output), reason)


def _nanodet(signature: Signature) -> Guess | None:
    shapes = signature.output_shapes
    sides = [s for s in shapes if s[-1] == _NANODET_SIDES]
    if len(shapes) != 2 * len(_STRIDES) or len(sides) < len(_STRIDES):
        return None
    others = [s[-1] for s in shapes if s[-1] != _NANODET_SIDES]
    labels = _labels(signature, others[0] if others else _NANODET_SIDES)
    canvas = _canvas(
        signature,
        color="bgr",
        mean=(103.53, 116.28, 123.675),
        std=(57.375, 57.12, 58.395),
    )
    return Guess(
        ModelSpec("detect", canvas, OutputSpec("nanodet", labels, score_threshold=0.35)),
        "class scores and side distributions of 32 values at three strides: NanoDet",
    )


def _ultraface(signature: Signature) -> Guess | None:
    shapes = signature.output_shapes
    if [s[-1] for s in shapes] != [2, _BOX_VALUES]:
        return None
    canvas = _canvas(
        signature,
        resize="stretch",
        color="rgb",
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
    )
    output = OutputSpec("ssd", signature.labels or ("face",), score_threshold=0.7)
    return Guess(
        ModelSpec("detect", canvas, output), "background/face scores and boxes in 0..1: UltraFace"
    )


def _yunet(signature: Signature) -> Guess | None:
    """Recognise YuNet, whose exports leave the size of the picture open."""
    columns = sorted(s[-1] or 0 for s in signature.output_shapes if len(s) == len(_STRIDES))
    if columns != sorted((1, 1, _BOX_VALUES, _YUNET_POINTS) * len(_STRIDES)):
        return None
    sized = None not in signature.input_shape[1:]
    size = {} if sized else {"width": _YUNET_SIDE_PX, "height": _YUNET_SIDE_PX}
    canvas = _canvas(signature, color="bgr", pad_value=0, **size)
    output = OutputSpec("yunet", signature.labels or ("face",), score_threshold=0.6)
    chosen = "" if sized else f"; the size {_YUNET_SIDE_PX}x{_YUNET_SIDE_PX} is chosen, --spec asks"
    reason = f"scores, boxes and landmarks of faces at three strides: YuNet{chosen}"
    return Guess(ModelSpec("detect", canvas, output), reason)


def _classifier(signature: Signature) -> Guess | None:
    shapes = signature.output_shapes
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] is None:  # noqa: PLR2004 - (N, C)
        return None
    listed = tuple(signature.metadata.get("character", "").split())
    labels = signature.labels or listed or _labels(signature, shapes[0][1])
    canvas = _canvas(
        signature,
        resize="stretch",
        color="rgb",
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    return Guess(
        ModelSpec("classify", canvas, OutputSpec("classify", labels)),
        "one row of values for each picture: a classifier with ImageNet's normalisation",
    )


_RULES: tuple[Callable[[Signature], Guess | None], ...] = (
    _ultralytics,
    _edgehaul,
    _named_parts,
    _grid_head,
    _end2end,
    _nanodet,
    _ultraface,
    _classifier,
)


def _canvas(signature: Signature, **options: object) -> ImageInput:
    """Return the input of a picture whose layout the shape tells."""
    shape = signature.input_shape
    is_nhwc = shape[-1] == _COLORS and shape[1] != _COLORS
    height, width = (shape[1], shape[2]) if is_nhwc else (shape[2], shape[3])
    fields: dict[str, object] = {
        "width": width,
        "height": height,
        "layout": "nhwc" if is_nhwc else "nchw",
        "dtype": "float32",
        **options,
    }
    if signature.is_uint8:
        fields = {k: v for k, v in fields.items() if k not in {"scale", "mean", "std"}}
        fields["dtype"] = "uint8"
    return ImageInput(**fields)  # type: ignore[arg-type]  # the fields are those of ImageInput


def _cells(signature: Signature) -> int:
    shape = signature.input_shape
    height, width = (shape[2], shape[3]) if shape[1] == _COLORS else (shape[1], shape[2])
    return sum(-(-(height or 0) // s) * -(-(width or 0) // s) for s in _STRIDES)


def _labels(signature: Signature, classes: int | None) -> tuple[str, ...]:
    return signature.labels or tuple(f"class_{index}" for index in range(classes or 0))


def _names(text: str) -> tuple[str, ...]:
    """Read Ultralytics' ``{0: 'person', ...}`` or a list of names."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return ()
    if isinstance(value, dict):
        numbers = [key for key in value if isinstance(key, int)]
        return tuple(str(value[key]) for key in sorted(numbers))
    return tuple(str(name) for name in value) if isinstance(value, (list, tuple)) else ()


def _shape(value: onnx.ValueInfoProto) -> Shape:
    return tuple(d.dim_value or None for d in value.type.tensor_type.shape.dim)


def _text(shape: Shape) -> str:
    return "x".join("?" if n is None else str(n) for n in shape) or "scalar"
