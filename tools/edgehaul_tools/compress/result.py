"""What a search found, as ``compress.json`` keeps it."""

from __future__ import annotations

import msgspec

from edgehaul_tools.compress.candidate import Candidate, Wanted
from edgehaul_tools.quantize.family import Family

RESULT_NAME = "compress.json"
PAGE_NAME = "compress.html"


class Judged(msgspec.Struct, frozen=True):
    """A candidate and what became of it.

    Attributes:
        candidate: What was measured.
        targets: Kinds of processors that it became the variant for; none where it did not.
        on_frontier: Whether nothing else that was tried is better in all respects.
        why: Why it was chosen, kept out or dropped.
    """

    candidate: Candidate
    targets: tuple[str, ...]
    on_frontier: bool
    why: str

    @property
    def is_chosen(self) -> bool:
        """Whether it is one of the variants."""
        return bool(self.targets)


class Sensitivity(msgspec.Struct, frozen=True):
    """How much one layer suffers by int8.

    Attributes:
        layer: Its name.
        noise: How far the answers move when it alone is int8.
        sqnr_db: Signal to quantization noise of its output, all layers being int8; none where
            it was not measured.
    """

    layer: str
    noise: float | None
    sqnr_db: float | None = None


class Compression(msgspec.Struct, frozen=True, kw_only=True):
    """What a search found.

    Attributes:
        model: Name of the model.
        family: What kind of network it is.
        targets: The processors that it was made for.
        here: The target that this machine is.
        machine: The processor that times were measured on.
        runtime: Version of ONNX Runtime.
        wanted: What had to be reached.
        metric: Name of the figure that models are judged by.
        fp32_value: That figure with fp32.
        fp32_bytes: Size of the fp32 model.
        judged: Every candidate, in the order in which they were tried.
        sensitivity: Of each layer, the worst first; empty where it was not needed.
        verdict: What the user should do, in one sentence.
        finished: Whether the time was enough for all that there was to try.
        elapsed_s: Time it took.
        warnings: What else the user should know.
    """

    model: str
    family: Family
    targets: tuple[str, ...]
    here: str
    machine: str
    runtime: str
    wanted: Wanted
    metric: str
    fp32_value: float | None
    fp32_bytes: int
    judged: tuple[Judged, ...]
    sensitivity: tuple[Sensitivity, ...] = ()
    verdict: str
    finished: bool
    elapsed_s: float
    warnings: tuple[str, ...] = ()

    @property
    def best_here(self) -> Candidate | None:
        """What was chosen for this machine's kind of processor, if that was asked for."""
        return next((one.candidate for one in self.judged if self.here in one.targets), None)

    @property
    def chosen(self) -> tuple[Candidate, ...]:
        """The candidates that became variants, the preferred one first."""
        return tuple(one.candidate for one in self.judged if one.is_chosen)
