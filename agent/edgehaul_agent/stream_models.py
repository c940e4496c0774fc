"""What a loaded model is to a stream: one of the right kind, or a clear word."""

from __future__ import annotations

from edgehaul.clock import Clock
from edgehaul.config.device import GpsConfig, StreamConfig
from edgehaul.config.second import SecondStage
from edgehaul.errors import SpecMismatchError
from edgehaul_agent.inference.pictures import PictureModel, open_picture_model
from edgehaul_agent.inference.traces import TraceModel, open_trace_model
from edgehaul_agent.loading import LoadedModel


def model_names(stream: StreamConfig | GpsConfig) -> set[str]:
    """Return the names of all models that a stream runs."""
    second = stream.second if isinstance(stream, StreamConfig) else ()
    return {stream.model, *(stage.model for stage in second)}


def check_second(stage: SecondStage, loaded: LoadedModel, finder: LoadedModel) -> None:
    """Refuse a second look that could never answer.

    Raises:
        SpecMismatchError: It is no classifier, or the stream's model finds no such objects.
    """
    spec, found = loaded.installed.manifest.spec, finder.installed.manifest.spec
    if spec.task != "classify":
        raise SpecMismatchError(
            f"a model for the task {spec.task!r} cannot take a second look at objects",
            where=loaded.path,
            remedy="name a classifier under second",
        )
    unknown = [label for label in stage.labels if label not in found.output.labels]
    if found.task != "detect" or unknown:
        what = f"finds no {unknown[0]!r}" if unknown else "finds no objects"
        raise SpecMismatchError(
            f"the stream's model {what}, so that {stage.model!r} has nothing to look at",
            where=finder.path,
            remedy="name labels of the stream's model, a detector, under second",
        )


def picture_model(loaded: LoadedModel, stream: StreamConfig | SecondStage) -> PictureModel:
    """Return a model that looks at pictures as a stream, or a second look, is configured.

    Raises:
        SpecMismatchError: It is no model for pictures.
    """
    spec, threshold = loaded.installed.manifest.spec, stream.score_threshold
    return open_picture_model(loaded.engine, spec, where=loaded.path, score_threshold=threshold)


def trace_model(loaded: LoadedModel, clock: Clock | None = None) -> TraceModel:
    """Return a model that looks at fixes.

    Args:
        loaded: The model.
        clock: Tells fixes from the future; none where a recording is replayed.

    Raises:
        SpecMismatchError: It is no model for traces.
    """
    spec = loaded.installed.manifest.spec
    return open_trace_model(loaded.engine, spec, where=loaded.path, clock=clock)
