"""Models that judge the motion of a receiver."""

from __future__ import annotations

from os import PathLike

import msgspec

from edgehaul.bundle.spec import ModelSpec, SequenceInput
from edgehaul.errors import SpecMismatchError
from edgehaul.motion.windows import Windower
from edgehaul.values import Fix
from edgehaul.vision.decode import classify
from edgehaul.vision.outputs import check_outputs
from edgehaul_agent.inference.engine import Engine, check_input


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


class TraceModel:
    """Judges every window of a trace as its fixes come. One thread at a time.

    Args:
        engine: Runs the model.
        spec: What goes in and comes out.
    """

    def __init__(self, engine: Engine, spec: ModelSpec) -> None:
        assert isinstance(spec.input, SequenceInput)  # noqa: S101 - see open_trace_model
        self.normal_label = spec.output.normal_label
        self.least_score = spec.output.score_threshold
        self._engine = engine
        self._spec = spec
        self._hop_s = spec.input.hop * spec.input.interval_s
        self._windower = Windower(spec.input)

    def judge(self, fix: Fix) -> list[Verdict]:
        """Take in the next fix and judge the windows that it completes.

        Raises:
            ModelError: The model failed.
        """
        verdicts = []
        for window in self._windower.push(fix):
            label, score = classify(self._engine.run(window.tensor), self._spec)[0]
            started_at_s = window.ended_at_s - self._hop_s
            verdicts.append(Verdict(label, score, started_at_s, window.ended_at_s, window.fix))
        return verdicts


def open_trace_model(engine: Engine, spec: ModelSpec, *, where: str | PathLike[str]) -> TraceModel:
    """Return the model for a GPS stream, once its inputs and outputs are those of the spec.

    Args:
        engine: The model, loaded.
        spec: What the bundle says of it.
        where: The model file, for errors.

    Raises:
        SpecMismatchError: Spec and model contradict each other, or it is no model for traces.
    """
    if not isinstance(spec.input, SequenceInput) or spec.output.head != "sequence":
        raise SpecMismatchError(
            f"a model for the task {spec.task!r} with head {spec.output.head!r} "
            "cannot run on a GPS stream",
            where=where,
            remedy="name a model with head 'sequence' as the stream's model",
        )
    check_input(engine, spec.input, where=where)
    check_outputs(spec, [info.shape for info in engine.outputs], where=str(where))
    return TraceModel(engine, spec)
