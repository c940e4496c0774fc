"""Trying a model once, the way a stream will use it, before any stream depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.vision.decode import classify, decoder_for
from edgehaul.vision.heads import HEADS
from edgehaul.vision.outputs import check_answer
from edgehaul.vision.placement import Placement
from edgehaul.vision.verdicts import ANOMALY_HEADS, anomaly_score, named_values
from edgehaul_agent.inference.engine import Array, Engine
from edgehaul_agent.inference.pictures import PictureModel, open_picture_model
from edgehaul_agent.inference.traces import TraceModel, open_trace_model


def open_model(
    engine: Engine, spec: ModelSpec, *, where: str | PathLike[str]
) -> PictureModel | TraceModel:
    """Return the model for the kind of stream that its input is made for.

    Raises:
        SpecMismatchError: Spec and model contradict each other, or no stream can use it.
    """
    if isinstance(spec.input, ImageInput):
        return open_picture_model(engine, spec, where=where)
    return open_trace_model(engine, spec, where=where)


def decode_once(
    spec: ModelSpec, tensor: Array, outputs: Sequence[Array], *, where: str | PathLike[str]
) -> None:
    """Decode what a model has answered, only to know that it can be decoded.

    Args:
        spec: What the bundle says of the model.
        tensor: What went in.
        outputs: What came out.
        where: The model file, for errors.

    Raises:
        SpecMismatchError: The outputs are not those of the spec.
    """
    check_answer(spec, outputs, where=where)
    if isinstance(spec.input, ImageInput) and spec.output.head in HEADS:
        width, height = spec.input.width, spec.input.height
        decoder_for(spec)(outputs, Placement(1.0, 1.0, 0.0, 0.0, width, height))
    elif spec.output.head in ANOMALY_HEADS:
        anomaly_score(outputs, tensor, spec)
    elif spec.output.head == "regress":
        named_values(outputs, spec)
    else:
        classify(outputs, spec)
