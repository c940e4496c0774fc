"""Whether a model's outputs are what its spec says: as declared, and as they really come.

A model may leave the shapes of its outputs open, and one that selects boxes itself answers
with another number of them for each picture: only the answers tell whether they fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from os import PathLike
from typing import TYPE_CHECKING, NoReturn

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputTensor
from edgehaul.errors import SpecMismatchError
from edgehaul.vision.heads import (
    BOX_VALUES,
    DEFAULT_STRIDES,
    NANODET_SIDES,
    YUNET_OUTPUTS,
    YUNET_POINTS,
    grid,
    yolov8_is_channels_first,
)
from edgehaul.vision.selected import END2END_VALUES, tensor_places

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

Dimension = int | str | None
Shape = tuple[Dimension, ...]

_DETECTOR_AXES = 3
_PARTS: tuple[OutputTensor, ...] = ("boxes", "classes", "scores")
_NUMBER_KINDS = "biuf"


def check_outputs(
    spec: ModelSpec, shapes: Sequence[tuple[Dimension, ...]], *, where: str = ""
) -> None:
    """Refuse a model whose outputs cannot be those of the spec's head and labels.

    Args:
        spec: What the model is said to do.
        shapes: The declared shape of each output in the model's order; a dimension that is
            a name, ``None`` or below 1 is free and fits anything.
        where: The model file, for the message.

    Raises:
        SpecMismatchError: Names what was expected, what is there and what to correct.
    """
    known = [tuple(n if isinstance(n, int) and n > 0 else None for n in shape) for shape in shapes]
    _CHECKS[spec.output.head](_Outputs(spec, known, where))


def check_answer(
    spec: ModelSpec, outputs: Sequence[NDArray[Any]], *, where: str | PathLike[str] = ""
) -> None:
    """Refuse what a model has answered for one input, where it is not that of the spec.

    Args:
        spec: What the model is said to do.
        outputs: Its outputs in its own order.
        where: The model file, for the message.

    Raises:
        SpecMismatchError: Names what was expected, what is there and what to correct.
    """
    real = _Outputs(spec, [output.shape for output in outputs], str(where), real=True)
    if any(output.dtype.kind not in _NUMBER_KINDS for output in outputs):
        real.refuse("outputs of numbers")
    _CHECKS[spec.output.head](real)


class AnswerCheck:
    """Checks a model's answers, again only when their shapes are not those of the last one.

    Args:
        spec: What the model is said to do.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._passed: list[tuple[int, ...]] = []

    def __call__(self, outputs: Sequence[NDArray[Any]]) -> None:
        """Refuse outputs that are not those of the spec.

        Raises:
            SpecMismatchError: Names what was expected, what is there and what to correct.
        """
        shapes = [output.shape for output in outputs]
        if shapes != self._passed:
            check_answer(self._spec, outputs)
            self._passed = shapes


class _Outputs:
    """The shapes under test, and the words to refuse them with.

    Args:
        spec: What the model is said to do.
        shapes: The shape of each output; a free dimension is None.
        where: The model file.
        real: Whether they are those of an answer, not only declared.
    """

    def __init__(
        self,
        spec: ModelSpec,
        shapes: Sequence[tuple[int | None, ...]],
        where: str,
        *,
        real: bool = False,
    ) -> None:
        self.spec = spec
        self.shapes = shapes
        self.real = real
        self.classes = len(spec.output.labels)
        self._where = where

    def need(self, count: int, *, axes: int, holding: str) -> None:
        """Refuse fewer than ``count`` outputs, or one of those without ``axes`` axes."""
        if len(self.shapes) < count:
            self.refuse(f"{count} outputs ({holding})")
        for shape in self.shapes[:count]:
            if len(shape) != axes:
                self.refuse(f"outputs of {axes} axes ({holding})")
            if self.real and shape[0] != 1:
                self.refuse(f"one answer for one input ({holding})")

    def need_equal(self, actual: int | None, expected: int, what: str) -> None:
        """Refuse a known dimension that is not the expected one."""
        if actual is not None and actual != expected:
            self.refuse(f"{expected} {what}, not {actual}")

    def need_classes(
        self, actual: int | None, *, beside: int = 0, background: bool = False
    ) -> None:
        """Refuse a known number of columns that does not fit the labels."""
        if actual is None:
            return
        found = actual - beside
        if found < 1:
            self.refuse("a score for at least one class")
        if not self.classes:
            return
        if found != self.classes and not (background and found == self.classes + 1):
            raise SpecMismatchError(
                f"the model answers for {found} classes, but the spec has {self.classes} labels "
                f"(outputs: {self._shown()}, head {self.spec.output.head!r})",
                where=self._where,
                remedy=f"give {found} labels in the model's order, or choose another head",
            )

    def need_grid(self, actual: int | None) -> None:
        """Refuse a known number of places that is not the grid of the canvas."""
        canvas = self.spec.input
        if isinstance(canvas, ImageInput):
            strides = self.spec.output.strides or DEFAULT_STRIDES
            corners, _ = grid(canvas.width, canvas.height, strides)
            what = f"places (canvas {canvas.width}x{canvas.height}, strides {list(strides)})"
            self.need_equal(actual, len(corners), what)

    def refuse(self, expected: str) -> NoReturn:
        """Raise the error that names both sides."""
        raise SpecMismatchError(
            f"head {self.spec.output.head!r} needs {expected}; the outputs are {self._shown()}",
            where=self._where,
            remedy="choose the head that fits, or export the model again",
        )

    def _shown(self) -> str:
        shapes = ["x".join("?" if n is None else str(n) for n in s) for s in self.shapes]
        return ", ".join(shapes) or "none"


def _check_values(outputs: _Outputs) -> None:
    """Check one vector of class scores: ``classify`` and ``sequence``."""
    if not outputs.shapes:
        outputs.refuse("1 output (class scores)")
    first = outputs.shapes[0]
    values = first if outputs.real else first[1:]
    if outputs.real or (values and None not in values):
        outputs.need_classes(prod(n for n in values if n is not None))


def _check_anomaly(outputs: _Outputs) -> None:
    outputs.need(1, axes=2, holding="score 1x1")
    outputs.need_equal(outputs.shapes[0][1], 1, "score for each input")


def _check_regress(outputs: _Outputs) -> None:
    if not outputs.classes:
        outputs.refuse("labels that name its values")
    outputs.need(1, axes=2, holding="values 1xK")
    outputs.need_classes(outputs.shapes[0][1])


def _check_autoencoder(outputs: _Outputs) -> None:
    expected = outputs.spec.input.tensor_shape
    if not outputs.shapes:
        outputs.refuse("1 output (the input, rebuilt)")
    shape = outputs.shapes[0]
    begin = 0 if outputs.real else 1
    same = len(shape) == len(expected) and all(
        actual is None or actual == wanted
        for actual, wanted in zip(shape[begin:], expected[begin:], strict=True)
    )
    if not same:
        outputs.refuse(f"an output shaped like its input, {'x'.join(map(str, expected))}")


def _check_edgehaul(outputs: _Outputs) -> None:
    outputs.need(2, axes=_DETECTOR_AXES, holding="boxes 1xNx4, scores 1xNxC")
    (_, places, values), (_, scored, classes) = outputs.shapes[:2]
    outputs.need_equal(values, BOX_VALUES, "values for each box")
    if places is not None:
        outputs.need_equal(scored, places, "rows of scores")
    outputs.need_classes(classes)


def _check_ssd(outputs: _Outputs) -> None:
    outputs.need(2, axes=_DETECTOR_AXES, holding="boxes 1xNx4 and scores 1xNxC, in either order")
    boxes, scores = outputs.shapes[:2]
    if boxes[2] not in {BOX_VALUES, None}:
        boxes, scores = scores, boxes
    outputs.need_equal(boxes[2], BOX_VALUES, "values for each box")
    if boxes[1] is not None:
        outputs.need_equal(scores[1], boxes[1], "rows of scores")
    outputs.need_classes(scores[2], background=True)


def _check_yolov5(outputs: _Outputs) -> None:
    outputs.need(1, axes=_DETECTOR_AXES, holding="1xNx(5+C)")
    outputs.need_classes(outputs.shapes[0][2], beside=BOX_VALUES + 1)


def _check_yolox(outputs: _Outputs) -> None:
    outputs.need(1, axes=_DETECTOR_AXES, holding="1xNx(5+C)")
    outputs.need_grid(outputs.shapes[0][1])
    outputs.need_classes(outputs.shapes[0][2], beside=BOX_VALUES + 1)


def _check_yolov8(outputs: _Outputs) -> None:
    outputs.need(1, axes=_DETECTOR_AXES, holding="1x(4+C)xN or 1xNx(4+C)")
    _, rows, columns = outputs.shapes[0]
    if rows is None or columns is None:
        return
    first = yolov8_is_channels_first((rows, columns), outputs.classes)
    outputs.need_classes(rows if first else columns, beside=BOX_VALUES)


def _check_nanodet(outputs: _Outputs) -> None:
    if len(outputs.shapes) == 1:
        outputs.need(1, axes=_DETECTOR_AXES, holding="1xNx(C+32)")
        outputs.need_grid(outputs.shapes[0][1])
        outputs.need_classes(outputs.shapes[0][2], beside=NANODET_SIDES)
        return
    strides = outputs.spec.output.strides or DEFAULT_STRIDES
    holding = "class scores 1xnxC and sides 1xnx32 for each stride"
    outputs.need(2 * len(strides), axes=_DETECTOR_AXES, holding=holding)
    outputs.need_equal(len(outputs.shapes), 2 * len(strides), f"outputs ({holding})")
    rows = [shape[1] for shape in outputs.shapes]
    columns = [shape[2] for shape in outputs.shapes]
    if columns.count(NANODET_SIDES) + columns.count(None) < len(strides):
        outputs.refuse(holding)
    for column in columns:
        if column != NANODET_SIDES:
            outputs.need_classes(column)
    if outputs.real:
        _check_nanodet_pairs(outputs, holding)
    # Scores and sides have a row for each place: every place is counted twice.
    outputs.need_grid(None if None in rows else sum(n for n in rows if n) // 2)


def _check_nanodet_pairs(outputs: _Outputs, holding: str) -> None:
    """Check that scores and sides of each stride have as many rows, and classes one number."""
    by_rows = sorted((shape[1] or 0, shape[2] or 0) for shape in outputs.shapes)
    pairs = list(zip(by_rows[::2], by_rows[1::2], strict=True))
    fits = all(
        rows == other_rows and NANODET_SIDES in {columns, other_columns}
        for (rows, columns), (other_rows, other_columns) in pairs
    )
    classes = {columns + other - NANODET_SIDES for (_, columns), (_, other) in pairs}
    if not fits or len(classes) != 1:
        outputs.refuse(holding)


def _check_yunet(outputs: _Outputs) -> None:
    strides = outputs.spec.output.strides or DEFAULT_STRIDES
    holding = "scores 1xnx1, objectness 1xnx1, boxes 1xnx4 and landmarks 1xnx10 for each stride"
    outputs.need(YUNET_OUTPUTS * len(strides), axes=_DETECTOR_AXES, holding=holding)
    outputs.need_equal(len(outputs.shapes), YUNET_OUTPUTS * len(strides), f"outputs ({holding})")
    columns = sorted(shape[2] or 0 for shape in outputs.shapes)
    expected = sorted((1, 1, BOX_VALUES, YUNET_POINTS) * len(strides))
    if 0 not in columns and columns != expected:
        outputs.refuse(holding)
    outputs.need_classes(1)
    rows = [shape[1] for shape in outputs.shapes]
    outputs.need_grid(None if None in rows else sum(n for n in rows if n) // YUNET_OUTPUTS)


def _check_end2end(outputs: _Outputs) -> None:
    outputs.need(1, axes=_DETECTOR_AXES, holding="1xNx6: box, score, class")
    outputs.need_equal(outputs.shapes[0][2], END2END_VALUES, "values for each box")


def _check_ssd_tf(outputs: _Outputs) -> None:
    _check_parts(outputs, (1,), "boxes 1xNx4, classes 1xN and scores 1xN")


def _check_torchvision(outputs: _Outputs) -> None:
    _check_parts(outputs, (), "boxes Nx4, classes N and scores N")


def _check_parts(outputs: _Outputs, begin: tuple[int, ...], holding: str) -> None:
    """Check boxes, classes and scores that are outputs of their own."""
    places = tensor_places(outputs.spec.output)
    wanted = [places[name] for name in _PARTS]
    if max(wanted) >= len(outputs.shapes):
        outputs.refuse(f"{max(wanted) + 1} outputs ({holding})")
    boxes, *rest = (outputs.shapes[place] for place in wanted)
    axes = len(begin) + 1
    if len(boxes) != axes + 1 or any(len(shape) != axes for shape in rest):
        outputs.refuse(holding)
    if begin and outputs.real and any(shape[0] != 1 for shape in (boxes, *rest)):
        outputs.refuse(f"one answer for one input ({holding})")
    outputs.need_equal(boxes[-1], BOX_VALUES, "values for each box")
    rows = boxes[axes - 1]
    for shape in rest if rows is not None else ():
        outputs.need_equal(shape[-1], rows or 0, "rows of classes and scores")


_CHECKS: dict[str, Callable[[_Outputs], None]] = {
    "anomaly": _check_anomaly,
    "autoencoder": _check_autoencoder,
    "classify": _check_values,
    "edgehaul": _check_edgehaul,
    "end2end": _check_end2end,
    "nanodet": _check_nanodet,
    "regress": _check_regress,
    "sequence": _check_values,
    "ssd": _check_ssd,
    "ssd_tf": _check_ssd_tf,
    "torchvision": _check_torchvision,
    "yolov5": _check_yolov5,
    "yolov8": _check_yolov8,
    "yolox": _check_yolox,
    "yunet": _check_yunet,
}
