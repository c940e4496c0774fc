"""Models that judge the motion of a receiver."""

from __future__ import annotations

from os import PathLike

import msgspec

from edgehaul.bundle.spec import ModelSpec, SequenceInput
from edgehaul.clock import Clock
from edgehaul.errors import SpecMismatchError
from edgehaul.motion.windows import Window, Windower
from edgehaul.values import Fix
from edgehaul.vision.decode import classify
from edgehaul.vision.outputs import check_outputs
from edgehaul.vision.verdicts import (
    ANOMALY_HEADS,
    ANOMALY_LABEL,
    CERTAIN_CONFIDENCE,
    NORMAL_LABEL,
    anomaly_confidence,
    anomaly_score,
    named_values,
)
from edgehaul_agent.inference.engine import Array, Engine, check_input

_HEADS = ("sequence", "regress", *ANOMALY_HEADS)


class Verdict(msgspec.Struct, frozen=True):
    """What a model says of the newest stretch of a trace.

    A window is judged by its end: it is about the time since the window before.

    Attributes:
        label: The likeliest label.
        score: Its probability.
        started_at_s: End of the window before, UTC seconds.
        ended_at_s: End of the window, UTC seconds.
        fix: The fix that completed the window.
    """

    label: str
    score: float
    started_at_s: float
    ended_at_s: float
    fix: Fix


class Forecast(msgspec.Struct, frozen=True):
    """What a model expects after the newest stretch of a trace.

    Attributes:
        values: Its answers by name.
        horizon_s: How far ahead they lie.
        ended_at_s: End of the window that they follow from, UTC seconds.
    """

    values: dict[str, float]
    horizon_s: float
    ended_at_s: float


class TraceModel:
    """Judges every window of a trace as its fixes come. One thread at a time.

    Args:
        engine: Runs the model.
        spec: What goes in and comes out.
        clock: Tells fixes from the future; none where a recording is replayed.
    """

    def __init__(self, engine: Engine, spec: ModelSpec, *, clock: Clock | None = None) -> None:
        assert isinstance(spec.input, SequenceInput)  # noqa: S101 - see open_trace_model
        finds_anomalies = spec.output.head in ANOMALY_HEADS
        self.normal_label = NORMAL_LABEL if finds_anomalies else spec.output.normal_label
        self.least_score = CERTAIN_CONFIDENCE if finds_anomalies else spec.output.score_threshold
        self._judge_window = self._score if finds_anomalies else self._name
        self._engine = engine
        self._spec = spec
        self._hop_s = spec.input.hop * spec.input.interval_s
        self._windower = Windower(spec.input, clock=clock)

    def judge(self, fix: Fix) -> list[Verdict | Forecast]:
        """Take in the next fix and judge the windows that it completes.

        Raises:
            ModelError: The model failed.
        """
        answers: list[Verdict | Forecast] = []
        for window in self._windower.push(fix):
            outputs = self._engine.run(window.tensor)
            if self._spec.output.head == "regress":
                values, horizon_s = named_values(outputs, self._spec), self._spec.output.horizon_s
                answers.append(Forecast(values, horizon_s, window.ended_at_s))
                continue
            label, score = self._judge_window(outputs, window)
            started_at_s = window.ended_at_s - self._hop_s
            answers.append(Verdict(label, score, started_at_s, window.ended_at_s, window.fix))
        return answers

    def _name(self, outputs: list[Array], window: Window) -> tuple[str, float]:
        del window
        return classify(outputs, self._spec)[0]

    def _score(self, outputs: list[Array], window: Window) -> tuple[str, float]:
        score = anomaly_score(outputs, window.tensor, self._spec)
        confidence = anomaly_confidence(score, self._spec.output.score_threshold)
        if confidence >= CERTAIN_CONFIDENCE:
            return ANOMALY_LABEL, confidence
        return NORMAL_LABEL, 1 - confidence


def open_trace_model(
    engine: Engine, spec: ModelSpec, *, where: str | PathLike[str], clock: Clock | None = None
) -> TraceModel:
    """Return the model for a GPS stream, once its inputs and outputs are those of the spec.

    Args:
        engine: The model, loaded.
        spec: What the bundle says of it.
        where: The model file, for errors.
        clock: As for :class:`TraceModel`.

    Raises:
        SpecMismatchError: Spec and model contradict each other, or it is no model for traces.
    """
    if not isinstance(spec.input, SequenceInput) or spec.output.head not in _HEADS:
        raise SpecMismatchError(
            f"a model for the task {spec.task!r} with head {spec.output.head!r} "
            "cannot run on a GPS stream",
            where=where,
            remedy=f"name a model with one of the heads {', '.join(_HEADS)} as the stream's model",
        )
    check_input(engine, spec.input, where=where)
    check_outputs(spec, [info.shape for info in engine.outputs], where=str(where))
    return TraceModel(engine, spec, clock=clock)
