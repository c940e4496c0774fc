"""What a model may be told about motion: one function for each feature.

Every feature is causal: its value at a step depends on that step and on a bounded number of
steps before it, its context, so that a device that sees one step at a time computes the same
as the host that has the whole trip. The first steps after an outage have no past: their
differences are 0, and what looks back over some seconds looks at the steps that there are.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgehaul.errors import SpecMismatchError
from edgehaul.motion.resample import HEADING_FROM_MPS, Motion

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOOK_BACK_S = 10.0
"""How far the statistics look back; at least two steps."""
STOP_BELOW_MPS = 0.5
_DAY_S = 86_400.0
_THURSDAY = 3
"""1 January 1970 was one; Monday is 0."""
_LEAST_PATH_M = 5.0
"""A shorter path has no shape: it is noise of a standing receiver."""


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


def yaw_acceleration_dps2(motion: Motion) -> NDArray[np.float64]:
    """Return the change of the heading rate since the step before."""
    return _rate(heading_rate_dps(motion), motion.interval_s, undefined_steps=2)


def lateral_acceleration_mps2(motion: Motion) -> NDArray[np.float64]:
    """Return speed times turn rate, what the load feels in a bend; right is positive."""
    return motion.speed_mps * np.radians(heading_rate_dps(motion))


def acceleration_magnitude_mps2(motion: Motion) -> NDArray[np.float64]:
    """Return how hard the load is pushed in the plane, in any direction."""
    return np.hypot(acceleration_mps2(motion), lateral_acceleration_mps2(motion))


def curvature_1pm(motion: Motion) -> NDArray[np.float64]:
    """Return the turn per metre, 1 / radius; right is positive, 0 below walking speed."""
    moving = motion.speed_mps >= HEADING_FROM_MPS
    turn = np.radians(heading_rate_dps(motion))
    return np.where(moving, turn / np.maximum(motion.speed_mps, HEADING_FROM_MPS), 0.0)


def stop(motion: Motion) -> NDArray[np.float64]:
    """Return 1 while standing, else 0."""
    return (motion.speed_mps < STOP_BELOW_MPS).astype(np.float64)


def step_m(motion: Motion) -> NDArray[np.float64]:
    """Return the distance between the positions of this step and the one before."""
    return _rate(motion.travelled_m, 1.0, undefined_steps=1)


def heading_change_deg(motion: Motion) -> NDArray[np.float64]:
    """Return the turn over the look-back; right is positive."""
    return motion.heading_deg - _before(motion.heading_deg, _look_back(motion.interval_s))


def distance_m(motion: Motion) -> NDArray[np.float64]:
    """Return the distance covered in the look-back."""
    return motion.travelled_m - _before(motion.travelled_m, _look_back(motion.interval_s))


def speed_mean_mps(motion: Motion) -> NDArray[np.float64]:
    """Return the mean speed over the look-back."""
    return _mean(motion.speed_mps, motion.interval_s)


def speed_std_mps(motion: Motion) -> NDArray[np.float64]:
    """Return the standard deviation of the speed over the look-back."""
    return _std(motion.speed_mps, motion.interval_s)


def speed_max_mps(motion: Motion) -> NDArray[np.float64]:
    """Return the highest speed over the look-back."""
    highest = motion.speed_mps.copy()
    for steps in range(1, _look_back(motion.interval_s) + 1):
        np.maximum(highest[steps:], motion.speed_mps[:-steps], out=highest[steps:])
    return highest


def heading_rate_std_dps(motion: Motion) -> NDArray[np.float64]:
    """Return how unsteadily the vehicle is steered over the look-back."""
    return _std(heading_rate_dps(motion), motion.interval_s)


def stop_ratio(motion: Motion) -> NDArray[np.float64]:
    """Return the share of the look-back spent standing, 0..1."""
    return _mean(stop(motion), motion.interval_s)


def straightness(motion: Motion) -> NDArray[np.float64]:
    """Return distance as the crow flies over distance covered in the look-back, 0..1.

    From the steps' lengths and headings; 1 where the vehicle hardly moved.
    """
    step = np.maximum(step_m(motion), 0.0)
    heading = np.radians(motion.heading_deg)
    path_m = _sum(step, motion.interval_s)
    north_m = _sum(step * np.cos(heading), motion.interval_s)
    east_m = _sum(step * np.sin(heading), motion.interval_s)
    direct_m = np.minimum(np.hypot(north_m, east_m), path_m)
    return np.where(path_m >= _LEAST_PATH_M, direct_m / np.maximum(path_m, _LEAST_PATH_M), 1.0)


def time_of_day_sin(motion: Motion) -> NDArray[np.float64]:
    """Return the sine of the UTC time of day, 1 at six."""
    return np.sin(_turn(motion.time_s, _DAY_S))


def time_of_day_cos(motion: Motion) -> NDArray[np.float64]:
    """Return the cosine of the UTC time of day, 1 at midnight."""
    return np.cos(_turn(motion.time_s, _DAY_S))


def day_of_week_sin(motion: Motion) -> NDArray[np.float64]:
    """Return the sine of the UTC day of the week, 0 on Monday."""
    return np.sin(_turn(_day_of_week(motion.time_s), 7.0))


def day_of_week_cos(motion: Motion) -> NDArray[np.float64]:
    """Return the cosine of the UTC day of the week, 1 on Monday."""
    return np.cos(_turn(_day_of_week(motion.time_s), 7.0))


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of motion.

    Attributes:
        compute: Its values (T,) float64 for T steps.
        steps: Steps before a step that its value depends on, differences of it counted.
        looks_back: Whether it also looks back over :data:`LOOK_BACK_S`.
    """

    compute: Callable[[Motion], NDArray[np.float64]]
    steps: int = 0
    looks_back: bool = False

    def __call__(self, motion: Motion) -> NDArray[np.float64]:
        """Return its values (T,) float64 for T steps."""
        return self.compute(motion)

    def context_steps(self, interval_s: float) -> int:
        """Return on how many steps before it a value depends, for steps of ``interval_s``."""
        return self.steps + (_look_back(interval_s) if self.looks_back else 0)

    @property
    def summary(self) -> str:
        """What it is, in one line."""
        text = (self.compute.__doc__ or "").partition("\n")[0]
        return text.removeprefix("Return ").rstrip(".")


FEATURES: dict[str, Feature] = {
    "speed_mps": Feature(speed_mps),
    "acceleration_mps2": Feature(acceleration_mps2, steps=1),
    "jerk_mps3": Feature(jerk_mps3, steps=2),
    "heading_rate_dps": Feature(heading_rate_dps, steps=1),
    "yaw_acceleration_dps2": Feature(yaw_acceleration_dps2, steps=2),
    "lateral_acceleration_mps2": Feature(lateral_acceleration_mps2, steps=1),
    "acceleration_magnitude_mps2": Feature(acceleration_magnitude_mps2, steps=1),
    "curvature_1pm": Feature(curvature_1pm, steps=1),
    "stop": Feature(stop),
    "step_m": Feature(step_m, steps=1),
    "heading_change_deg": Feature(heading_change_deg, looks_back=True),
    "distance_m": Feature(distance_m, looks_back=True),
    "speed_mean_mps": Feature(speed_mean_mps, looks_back=True),
    "speed_std_mps": Feature(speed_std_mps, looks_back=True),
    "speed_max_mps": Feature(speed_max_mps, looks_back=True),
    "heading_rate_std_dps": Feature(heading_rate_std_dps, steps=1, looks_back=True),
    "stop_ratio": Feature(stop_ratio, looks_back=True),
    "straightness": Feature(straightness, steps=1, looks_back=True),
    "time_of_day_sin": Feature(time_of_day_sin),
    "time_of_day_cos": Feature(time_of_day_cos),
    "day_of_week_sin": Feature(day_of_week_sin),
    "day_of_week_cos": Feature(day_of_week_cos),
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


def context_steps(names: Sequence[str], interval_s: float) -> int:
    """Return how many steps before a window its features look back at."""
    return max((FEATURES[name].context_steps(interval_s) for name in names), default=0)


def features_of(motion: Motion, names: Sequence[str]) -> NDArray[np.float32]:
    """Return the named features (T, F) of T steps."""
    columns = [FEATURES[name](motion) for name in names]
    return np.stack(columns, axis=1).astype(np.float32)


def _look_back(interval_s: float) -> int:
    return max(2, math.ceil(LOOK_BACK_S / interval_s - 1e-9))


def _rate(
    values: NDArray[np.float64], interval_s: float, *, undefined_steps: int
) -> NDArray[np.float64]:
    """Return the backward difference over time, 0 where there is no past to compare with."""
    rate = np.zeros_like(values)
    rate[1:] = np.diff(values) / interval_s
    rate[:undefined_steps] = 0.0
    return rate


def _before(values: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Return the values so many steps before, or the first where there are not so many."""
    before = np.full_like(values, values[0])
    before[steps:] = values[:-steps]
    return before


def _sum(values: NDArray[np.float64], interval_s: float) -> NDArray[np.float64]:
    """Return the sum over the look-back, this step included.

    Step by step in one order, not as a difference of running sums: rounding must not depend
    on where a trip began, or device and host would differ.
    """
    total = values.copy()
    for steps in range(1, _look_back(interval_s) + 1):
        total[steps:] += values[:-steps]
    return total


def _count(length: int, interval_s: float) -> NDArray[np.float64]:
    return np.minimum(np.arange(1, length + 1), _look_back(interval_s) + 1).astype(np.float64)


def _mean(values: NDArray[np.float64], interval_s: float) -> NDArray[np.float64]:
    return _sum(values, interval_s) / _count(len(values), interval_s)


def _std(values: NDArray[np.float64], interval_s: float) -> NDArray[np.float64]:
    count = _count(len(values), interval_s)
    mean = _sum(values, interval_s) / count
    variance = _sum(values * values, interval_s) / count - mean * mean
    return np.sqrt(np.maximum(variance, 0.0))


def _turn(values: NDArray[np.float64], period: float) -> NDArray[np.float64]:
    return (values % period) * (2 * math.pi / period)


def _day_of_week(time_s: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.floor(time_s / _DAY_S) + _THURSDAY
