"""Whether a model's outputs can be what its spec says, before the first picture is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NoReturn

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.errors import SpecMismatchError
from edgehaul.vision.heads import (
    BOX_VALUES,
    DEFAULT_STRIDES,
    NANODET_SIDES,
    grid,
    yolov8_is_channels_first,
)

Dimension = int | str | None
Shape = tuple[Dimension, ...]

_DETECTOR_AXES = 3


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


class _Outputs:
    """The shapes under test, and the words to refuse them with."""

    def __init__(self, spec: ModelSpec, shapes: list[tuple[int | None, ...]], where: str) -> None:
        self.spec = spec
        self.shapes = shapes
        self.classes = len(spec.output.labels)
        self._where = where

    def need(self, count: int, *, axes: int, holding: str) -> None:
        """Refuse fewer than ``count`` outputs, or one of those without ``axes`` axes."""
        if len(self.shapes) < count:
            self.refuse(f"{count} outputs ({holding})")
        for shape in self.shapes[:count]:
            if len(shape) != axes:
                self.refuse(f"outputs of {axes} axes ({holding})")

    def need_equal(self, actual: int | None, expected: int, what: str) -> None:
        """Refuse a known dimension that is not the expected one."""
        if actual is not None and actual != expected:
            self.refuse(f"{expected} {what}, not {actual}")

    def need_classes(
        self, actual: int | None, *, beside: int = 0, background: bool = False
    ) -> None:
        """Refuse a known number of columns that does not fit the labels."""
        if actual is None or not self.classes:
            return
        found = actual - beside
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
    values = outputs.shapes[0][1:]
    if values and None not in values:
        outputs.need_classes(prod(n for n in values if n))


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
    same = len(shape) == len(expected) and all(
        actual is None or actual == wanted
        for actual, wanted in zip(shape[1:], expected[1:], strict=True)
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
    # Scores and sides have a row for each place: every place is counted twice.
    outputs.need_grid(None if None in rows else sum(n for n in rows if n) // 2)


_CHECKS: dict[str, Callable[[_Outputs], None]] = {
    "anomaly": _check_anomaly,
    "autoencoder": _check_autoencoder,
    "classify": _check_values,
    "edgehaul": _check_edgehaul,
    "nanodet": _check_nanodet,
    "regress": _check_regress,
    "sequence": _check_values,
    "ssd": _check_ssd,
    "yolov5": _check_yolov5,
    "yolov8": _check_yolov8,
    "yolox": _check_yolox,
}
