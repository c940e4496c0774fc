"""What a model may be told about motion: one function for each feature.

Every feature is causal: its value at a step depends on that step and on at most
:data:`CONTEXT_STEPS` before it, so that a device that sees one step at a time computes the
same as the host that has the whole trip. The first steps after an outage have no past:
their differences are 0.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgehaul.errors import SpecMismatchError
from edgehaul.motion.resample import Motion

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONTEXT_STEPS = 2
"""Steps before a window that its features look back at (jerk is a second difference)."""
STOP_BELOW_MPS = 0.5


def speed_mps(motion: Motion) -> NDArray[np.float64]:
    """Return the speed over ground."""
    return motion.speed_mps


def acceleration_mps2(motion: Motion) -> NDArray[np.float64]:
    """Return the change of speed since the step before; braking is negative."""
    return _rate(motion.speed_mps, motion.interval_s, undefined_steps=1)


def jerk_mps3(motion: Motion) -> NDArray[np.float64]:
    """Return the change of acceleration since the step before."""
    return _rate(acceleration_mps2(motion), motion.interval_s, undefined_steps=2)


def heading_rate_dps(motion: Motion) -> NDArray[np.float64]:
    """Return the turn since the step before in degrees per second; right is positive."""
    return _rate(motion.heading_deg, motion.interval_s, undefined_steps=1)


def lateral_acceleration_mps2(motion: Motion) -> NDArray[np.float64]:
    """Return speed times turn rate, what the load feels in a bend; right is positive."""
    return motion.speed_mps * np.radians(heading_rate_dps(motion))


def stop(motion: Motion) -> NDArray[np.float64]:
    """Return 1 while standing, else 0."""
    return (motion.speed_mps < STOP_BELOW_MPS).astype(np.float64)


def step_m(motion: Motion) -> NDArray[np.float64]:
    """Return the distance between the positions of this step and the one before."""
    return _rate(motion.travelled_m, 1.0, undefined_steps=1)


FEATURES: dict[str, Callable[[Motion], NDArray[np.float64]]] = {
    "speed_mps": speed_mps,
    "acceleration_mps2": acceleration_mps2,
    "jerk_mps3": jerk_mps3,
    "heading_rate_dps": heading_rate_dps,
    "lateral_acceleration_mps2": lateral_acceleration_mps2,
    "stop": stop,
    "step_m": step_m,
}


def check_features(names: Sequence[str], *, where: str = "") -> None:
    """Refuse names that are no features.

    Raises:
        SpecMismatchError: Names the first unknown one and what it may have meant.
    """
    for name in names:
        if name not in FEATURES:
            nearest = difflib.get_close_matches(name, FEATURES, n=1)
            meant = f"did you mean {nearest[0]!r}? " if nearest else ""
            raise SpecMismatchError(
                f"there is no feature {name!r}",
                where=where,
                remedy=f"{meant}Known are: {', '.join(FEATURES)}",
            )


def features_of(motion: Motion, names: Sequence[str]) -> NDArray[np.float32]:
    """Return the named features (T, F) of T steps."""
    columns = [FEATURES[name](motion) for name in names]
    return np.stack(columns, axis=1).astype(np.float32)


def _rate(
    values: NDArray[np.float64], interval_s: float, *, undefined_steps: int
) -> NDArray[np.float64]:
    """Return the backward difference over time, 0 where there is no past to compare with."""
    rate = np.zeros_like(values)
    rate[1:] = np.diff(values) / interval_s
    rate[:undefined_steps] = 0.0
    return rate
