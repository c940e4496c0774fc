"""Agreement with fp32 input by input, so that it can be resampled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehaul_tools.quantize.answers import Agreement, Answers, agreement_of_counts

METRIC = "agreement"


@dataclass(frozen=True, eq=False)
class AgreementScores:
    """How far a variant's answers agree with those of fp32, for each input.

    Attributes:
        counts: (n, 3) detections (or inputs) that agree, of fp32 alone, of the variant alone.
    """

    counts: NDArray[np.int64]

    @property
    def units(self) -> NDArray[np.int64]:
        """(n,) each input is a unit of its own."""
        return np.arange(len(self.counts), dtype=np.int64)

    def figures(self, weights: NDArray[np.float64]) -> dict[str, float]:
        """Return the agreement, 1 where nothing was found at all; see ``Scores``."""
        matched, only_fp32, only_variant = weights @ self.counts
        total = 2 * matched + only_fp32 + only_variant
        return {METRIC: float(2 * matched / total) if total else 1.0}

    @property
    def agreement(self) -> Agreement:
        """The agreement on all inputs."""
        return agreement_of_counts(self.counts)


def agreement_scores(expected: Answers, got: Answers) -> AgreementScores:
    """Compare a variant's answers with those of fp32 on the same inputs, one by one."""
    return AgreementScores(expected.counts_with(got))
