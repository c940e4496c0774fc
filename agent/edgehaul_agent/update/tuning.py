"""What is remembered of a model's proof on this box: timings, and the graph optimised for it."""

from __future__ import annotations

import msgspec


class VariantTiming(msgspec.Struct, frozen=True, kw_only=True):
    """How one variant did on this box.

    Attributes:
        variant: Its name.
        shared_ms: Time of a frame at full load: elapsed time by frames, in ms, while all workers
            run one session with one thread each. The choice goes by it.
        single_ms: Median time of a run alone, in ms, by number of threads within the run.
        fault: Why it cannot be used here; empty for no reason.
    """

    variant: str
    shared_ms: float = 0.0
    single_ms: dict[int, float] = {}
    fault: str = ""

    @property
    def best_threads(self) -> int:
        """The number of threads with which one stream alone is served fastest."""
        return min(self.single_ms, key=self.single_ms.__getitem__, default=1)


class OptimisedModel(msgspec.Struct, frozen=True, kw_only=True):
    """The graph that ONNX Runtime made of a variant for this machine.

    Attributes:
        variant: The variant.
        path: Its file below the slot.
        sha256: Its digest.
    """

    variant: str
    path: str
    sha256: str


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """Timings, and what they hold for.

    Attributes:
        cpu: The processor with its instructions.
        runtime: Name and version of what ran the models.
        providers: The execution providers, in order.
        workers: Threads that ran one session.
        variants: One for each variant of the bundle, in its order.
        optimised: The optimised graph of the variant chosen; none where there is none.
    """

    cpu: str
    runtime: str
    providers: tuple[str, ...]
    workers: int
    variants: tuple[VariantTiming, ...] = ()
    optimised: OptimisedModel | None = None

    def fits(self, *, cpu: str, runtime: str, providers: tuple[str, ...]) -> bool:
        """Return whether it was made on such a machine."""
        return (self.cpu, self.runtime, self.providers) == (cpu, runtime, providers)

    def timing(self, variant: str) -> VariantTiming | None:
        """Return how a variant did; none where that is not known."""
        return next((timing for timing in self.variants if timing.variant == variant), None)


class Proof(msgspec.Struct, frozen=True):
    """What came of proving a bundle on this box.

    Attributes:
        variant: The variant to use.
        tuning: Why, and what goes with it; none where nothing was timed.
    """

    variant: str
    tuning: Tuning | None = None
