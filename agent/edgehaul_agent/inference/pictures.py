"""Models that look at pictures: detectors, classifiers and anomaly models behind one call."""

from __future__ import annotations

import threading
from os import PathLike
from typing import Protocol

import msgspec

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.errors import SpecMismatchError
from edgehaul.geometry import Box
from edgehaul.values import Detection, Image
from edgehaul.vision.decode import classify, decoder_for
from edgehaul.vision.outputs import check_outputs
from edgehaul.vision.placement import Placement
from edgehaul.vision.preprocess import Canvas, TensorBuffer
from edgehaul.vision.verdicts import (
    ANOMALY_LABEL,
    CERTAIN_CONFIDENCE,
    anomaly_confidence,
    anomaly_score,
)
from edgehaul_agent.inference.engine import Array, Engine, check_input

UNCERTAIN_PART = 0.4
"""Detections down to this part of the threshold are given too: they keep tracks alive."""


class PictureModel(Protocol):
    """A model ready to look at pictures. One thread at a time, canvases apart."""

    @property
    def certain_score(self) -> float:
        """Score from which a detection counts; those below it only help the tracker."""
        ...

    @property
    def gives_objects(self) -> bool:
        """Whether it finds objects that can be followed; a classifier judges the whole."""
        ...

    def canvas(self) -> Canvas:
        """Return a canvas for one picture in flight; any thread may fill it."""
        ...

    def judge(self, canvas: Canvas, placement: Placement) -> tuple[Detection, ...]:
        """Return what is in a picture that lies on a canvas, best first.

        Args:
            canvas: One of this model's, with the picture.
            placement: Where it lies.

        Raises:
            ModelError: The model failed.
        """
        ...

    def look(self, image: Image) -> tuple[Detection, ...]:
        """Return what is in the picture, best first.

        Raises:
            DataError: The picture cannot be used.
            ModelError: The model failed.
        """
        ...


class _Tensors(threading.local):
    """A buffer for each kind of input, of each thread its own.

    A tensor is wanted only while a model runs, so that all streams and models of a worker share
    it: it takes four times the memory of the canvas, and was written by the very processor that
    reads it next.
    """

    def __init__(self) -> None:
        self._buffers: dict[ImageInput, TensorBuffer] = {}

    def of(self, spec: ImageInput) -> TensorBuffer:
        """Return this thread's buffer."""
        if spec not in self._buffers:
            self._buffers[spec] = TensorBuffer(spec)
        return self._buffers[spec]


_TENSORS = _Tensors()


class _OnCanvas:
    """What all models of pictures share: the way of a picture onto a canvas.

    Args:
        canvas: What the model takes.
    """

    def __init__(self, canvas: ImageInput) -> None:
        self._input = canvas
        self._own = Canvas(canvas)

    def canvas(self) -> Canvas:
        """Return a canvas for one picture in flight."""
        return Canvas(self._input)

    def look(self, image: Image) -> tuple[Detection, ...]:
        """Return what is in a picture, best first."""
        return self.judge(self._own, self._own.place(image))

    def judge(self, canvas: Canvas, placement: Placement) -> tuple[Detection, ...]:
        """Return what is in a picture on a canvas, best first."""
        raise NotImplementedError

    def _tensor(self, canvas: Canvas) -> Array:
        """Return the picture as the model takes it, until this thread asks for the next one."""
        return canvas.into(_TENSORS.of(self._input))


class Detector(_OnCanvas):
    """Finds objects.

    Args:
        engine: Runs the model.
        spec: What goes in and comes out.
        score_threshold: Overrides the one of the spec.
    """

    gives_objects = True

    def __init__(
        self, engine: Engine, spec: ModelSpec, *, score_threshold: float | None = None
    ) -> None:
        assert isinstance(spec.input, ImageInput)  # noqa: S101 - see open_picture_model
        super().__init__(spec.input)
        threshold = spec.output.score_threshold if score_threshold is None else score_threshold
        output = msgspec.structs.replace(spec.output, score_threshold=threshold * UNCERTAIN_PART)
        self.certain_score = threshold
        self._engine = engine
        self._labels = spec.output.labels
        self._decode = decoder_for(msgspec.structs.replace(spec, output=output))

    def judge(self, canvas: Canvas, placement: Placement) -> tuple[Detection, ...]:
        """Return the objects in the picture, uncertain ones among them, best first."""
        outputs = self._engine.run(self._tensor(canvas))
        return self._decode(outputs, placement).to_values(self._labels)


class Classifier(_OnCanvas):
    """Judges pictures as a whole: at most one detection, which covers the picture.

    Args:
        engine: Runs the model.
        spec: What goes in and comes out.
        score_threshold: Overrides the one of the spec.
    """

    gives_objects = False

    def __init__(
        self, engine: Engine, spec: ModelSpec, *, score_threshold: float | None = None
    ) -> None:
        assert isinstance(spec.input, ImageInput)  # noqa: S101 - see open_picture_model
        super().__init__(spec.input)
        self.certain_score = (
            spec.output.score_threshold if score_threshold is None else score_threshold
        )
        self._engine = engine
        self._spec = spec

    def judge(self, canvas: Canvas, placement: Placement) -> tuple[Detection, ...]:
        """Return the likeliest class, where it reaches the threshold."""
        label, score = classify(self._engine.run(self._tensor(canvas)), self._spec)[0]
        if score < self.certain_score:
            return ()
        labels = self._spec.output.labels
        class_id = labels.index(label) if label in labels else int(label)
        return (Detection(_whole(placement), class_id, label, score),)


class AnomalyModel(_OnCanvas):
    """Says whether a picture is unusual: at most one detection, which covers the picture.

    Args:
        engine: Runs the model.
        spec: What goes in and comes out.
        score_threshold: Least confidence, in place of that of the spec's own threshold, 0.5.
    """

    gives_objects = False

    def __init__(
        self, engine: Engine, spec: ModelSpec, *, score_threshold: float | None = None
    ) -> None:
        assert isinstance(spec.input, ImageInput)  # noqa: S101 - see open_picture_model
        super().__init__(spec.input)
        self.certain_score = CERTAIN_CONFIDENCE if score_threshold is None else score_threshold
        self._engine = engine
        self._spec = spec

    def judge(self, canvas: Canvas, placement: Placement) -> tuple[Detection, ...]:
        """Return the anomaly, where the model is certain enough of one."""
        tensor = self._tensor(canvas)
        score = anomaly_score(self._engine.run(tensor), tensor, self._spec)
        confidence = anomaly_confidence(score, self._spec.output.score_threshold)
        if confidence < self.certain_score:
            return ()
        return (Detection(_whole(placement), 0, ANOMALY_LABEL, confidence),)


def _whole(placement: Placement) -> Box:
    return Box(0.0, 0.0, float(placement.width), float(placement.height))


_KINDS: dict[str, type[Detector | Classifier | AnomalyModel]] = {
    "detect": Detector,
    "classify": Classifier,
    "anomaly": AnomalyModel,
}


def open_picture_model(
    engine: Engine,
    spec: ModelSpec,
    *,
    where: str | PathLike[str],
    score_threshold: float | None = None,
) -> PictureModel:
    """Return the model for a camera stream, once its inputs and outputs are those of the spec.

    Args:
        engine: The model, loaded.
        spec: What the bundle says of it.
        where: The model file, for errors.
        score_threshold: Overrides the one of the spec.

    Raises:
        SpecMismatchError: Spec and model contradict each other, or it is no model for pictures.
    """
    if not isinstance(spec.input, ImageInput) or spec.task not in _KINDS:
        raise SpecMismatchError(
            f"a model for the task {spec.task!r} cannot run on a camera stream",
            where=where,
            remedy="name a model for pictures as the stream's model",
        )
    check_input(engine, spec.input, where=where)
    check_outputs(spec, [info.shape for info in engine.outputs], where=str(where))
    return _KINDS[spec.task](engine, spec, score_threshold=score_threshold)
