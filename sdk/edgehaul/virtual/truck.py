"""A truck with a GPS receiver: a trip with known faults of its driver, from a seed alone."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgehaul.errors import UsageError
from edgehaul.geometry import EARTH_RADIUS_M
from edgehaul.values import Fix
from edgehaul.virtual.route import ANOMALY_LABELS, AnomalyLabel, Area, Manoeuvre, plan_route

__all__ = ["ANOMALY_LABELS", "MODE_LABELS", "TruckTrip", "TrueAnomaly", "TrueMode"]

ModeLabel = Literal["stopped", "depot", "city", "highway"]
MODE_LABELS: tuple[ModeLabel, ...] = ("stopped", "depot", "city", "highway")
"""What a truck can be doing: standing anywhere, or driving in one of the areas."""

STARTED_AT_S = 1_767_596_400.0
"""When every trip starts: 2026-01-05 07:00 UTC, so that a trip depends on its seed alone."""

SPEEDING_MPS = 27.0
"""From this speed on (97 km/h; trucks may go 80 to 90) the truth says ``speeding``."""

_ORIGIN_LATITUDE_DEG, _ORIGIN_LONGITUDE_DEG = 51.92, 4.48
_STEPS_PER_S = 10
_SPEEDING_UP_MPS2 = 1.0
_STEERING_LAG_S = 0.4
_MIN_TRIP_S = 60.0
_MAX_TRIP_S = 7 * 86_400.0
_MAX_INTERVAL_S = 10.0
_CLEAR_OF_ANOMALY_S = 15.0


@dataclass(frozen=True)
class TrueAnomaly:
    """A fault of the driver.

    Attributes:
        label: Its kind.
        started_at_s: UTC seconds of its first moment.
        ended_at_s: UTC seconds of its last moment.
    """

    label: AnomalyLabel
    started_at_s: float
    ended_at_s: float


@dataclass(frozen=True)
class TrueMode:
    """A span in which a truck does one thing.

    Attributes:
        label: What.
        started_at_s: UTC seconds of its first moment.
        ended_at_s: UTC seconds of the first moment of what comes next, or of the trip's last.
    """

    label: ModeLabel
    started_at_s: float
    ended_at_s: float


@dataclass(frozen=True, slots=True)
class _Moment:
    """The truck's true state; east and north in metres from the origin."""

    time_s: float
    east_m: float
    north_m: float
    speed_mps: float
    heading_deg: float
    area: Area


class TruckTrip:
    """A trip through city and highway with stops at depots.

    The receiver gives position, speed and heading with noise. Its position wanders, more so
    between high buildings, and now and then it is silent for 10 to 40 s; never within 15 s
    of an anomaly.

    Args:
        seed: Chooses the route, the faults and the noise.
        duration_s: Length of the trip.
        interval_s: Time between two fixes.

    Raises:
        UsageError: The trip is not in 60 s..7 days or the interval is not in 0.1..10 s.
    """

    def __init__(self, *, seed: int, duration_s: float = 1800.0, interval_s: float = 1.0) -> None:
        in_range = 1 / _STEPS_PER_S <= interval_s <= _MAX_INTERVAL_S
        if not (_MIN_TRIP_S <= duration_s <= _MAX_TRIP_S and in_range and seed >= 0):
            raise UsageError(
                f"no trip of {duration_s} s with a fix each {interval_s} s and seed {seed}",
                remedy="60 s to 7 days, 0.1 to 10 s between fixes and a seed >= 0 are needed",
            )
        self.seed = seed
        self.duration_s = duration_s
        self.interval_s = interval_s
        plan = plan_route(np.random.default_rng((seed, 0)), duration_s)
        every = round(interval_s * _STEPS_PER_S)
        self._moments, self._spans = _drive(plan, duration_s, every)

    @property
    def anomalies(self) -> tuple[TrueAnomaly, ...]:
        """The driver's faults, in order of time."""
        return self._spans

    @cached_property
    def modes(self) -> tuple[TrueMode, ...]:
        """What the truck did, one span after the other without a gap."""
        spans: list[TrueMode] = []
        first = 0
        for label, group in itertools.groupby(self._moments, _mode):
            after = first + len(list(group))
            last = min(after, len(self._moments) - 1)
            times_s = (self._moments[index].time_s for index in (first, last))
            spans.append(TrueMode(label, *(STARTED_AT_S + time_s for time_s in times_s)))
            first = after
        return tuple(spans)

    @cached_property
    def true_fixes(self) -> tuple[Fix, ...]:
        """Where the truck truly was at the time of each fix, outages included."""
        return tuple(_fix(m, m.east_m, m.north_m) for m in self._moments)

    @cached_property
    def fixes(self) -> tuple[Fix, ...]:
        """What the receiver says."""
        rng = np.random.default_rng((self.seed, 1))
        moments = self._moments
        sigma_m = _accuracy_m(moments, rng)
        wander_m = _wander(len(moments), self.interval_s, rng) * sigma_m[:, None]
        noise = rng.standard_normal((len(moments), 2))
        received = []
        heading_deg = moments[0].heading_deg
        for index, moment in enumerate(moments):
            rough = 1.0 + sigma_m[index] / 8.0
            speed_mps = max(0.0, moment.speed_mps + 0.1 * rough * noise[index, 0])
            # A receiver at rest cannot tell its course and holds the last one.
            if moment.speed_mps > 0.5:  # noqa: PLR2004 - m/s
                error_deg = 0.5 * rough * (1 + 4.0 / moment.speed_mps) * noise[index, 1]
                heading_deg = (moment.heading_deg + error_deg) % 360.0
            received.append(
                _fix(
                    moment,
                    moment.east_m + wander_m[index, 0],
                    moment.north_m + wander_m[index, 1],
                    speed_mps=0.0 if moment.speed_mps == 0 else speed_mps,
                    heading_deg=heading_deg,
                    accuracy_m=float(sigma_m[index]),
                )
            )
        silent = self._outages(rng)
        return tuple(f for f in received if not any(a <= f.captured_at_s < b for a, b in silent))

    def _outages(self, rng: np.random.Generator) -> list[tuple[float, float]]:
        """Return the spans in which the receiver is silent: about one in ten minutes."""
        spans = []
        for _ in range(max(1, round(self.duration_s / 600.0))):
            length_s = float(rng.uniform(10, 40))
            start_s = STARTED_AT_S + float(rng.uniform(10, self.duration_s - length_s))
            near = any(
                a.started_at_s - _CLEAR_OF_ANOMALY_S < start_s + length_s
                and start_s < a.ended_at_s + _CLEAR_OF_ANOMALY_S
                for a in self.anomalies
            )
            if not near:
                spans.append((start_s, start_s + length_s))
        return spans


def _mode(moment: _Moment) -> ModeLabel:
    return "stopped" if moment.speed_mps == 0 else moment.area


def _drive(
    plan: list[Manoeuvre], duration_s: float, every: int
) -> tuple[list[_Moment], tuple[TrueAnomaly, ...]]:
    """Follow the plan in steps of 0.1 s with bounded acceleration and lagging steering.

    Args:
        plan: What the driver does.
        duration_s: When the trip ends.
        every: Steps between the moments to return.

    Returns:
        The moments, and the driver's faults.
    """
    step_s = 1.0 / _STEPS_PER_S
    moments: list[_Moment] = []
    faults: list[AnomalyLabel | None] = []
    east = north = speed = heading = rate = 0.0
    count = math.floor(duration_s * _STEPS_PER_S) + 1
    for manoeuvre in plan:
        done_s = 0.0
        while len(faults) < count and _goes_on(manoeuvre, done_s, speed):
            if len(faults) % every == 0:
                time_s = len(faults) / _STEPS_PER_S
                place = (east, north, speed, heading % 360.0)
                moments.append(_Moment(time_s, *place, manoeuvre.area))
            faults.append(_fault_now(manoeuvre, speed))
            gain = manoeuvre.speed_mps - speed
            speed += min(max(gain, -manoeuvre.braking_mps2 * step_s), _SPEEDING_UP_MPS2 * step_s)
            rate += (manoeuvre.heading_rate_dps - rate) * step_s / _STEERING_LAG_S
            heading += rate * step_s if speed > 0 else 0.0
            east += speed * step_s * math.sin(math.radians(heading))
            north += speed * step_s * math.cos(math.radians(heading))
            done_s += step_s
    return moments, _spans(faults)


def _spans(faults: list[AnomalyLabel | None]) -> tuple[TrueAnomaly, ...]:
    """Join the faults of successive steps to spans of time."""
    spans: list[TrueAnomaly] = []
    step = 0
    for label, group in itertools.groupby(faults):
        first, step = step, step + len(list(group))
        if label is not None:
            start_s, end_s = first / _STEPS_PER_S, (step - 1) / _STEPS_PER_S
            spans.append(TrueAnomaly(label, STARTED_AT_S + start_s, STARTED_AT_S + end_s))
    return tuple(spans)


def _goes_on(manoeuvre: Manoeuvre, done_s: float, speed_mps: float) -> bool:
    if manoeuvre.anomaly == "harsh_braking":
        return speed_mps > manoeuvre.speed_mps
    return done_s < manoeuvre.duration_s


def _fault_now(manoeuvre: Manoeuvre, speed_mps: float) -> AnomalyLabel | None:
    """Return the fault as it can be seen: nobody is speeding before the speed is there."""
    if manoeuvre.anomaly in {None, "speeding"}:
        return "speeding" if speed_mps > SPEEDING_MPS else None
    return manoeuvre.anomaly


def _fix(
    moment: _Moment,
    east_m: float,
    north_m: float,
    *,
    speed_mps: float | None = None,
    heading_deg: float | None = None,
    accuracy_m: float = 0.0,
) -> Fix:
    """Return the fix of a place in metres; speed and heading are the true ones unless given."""
    per_radian = EARTH_RADIUS_M * math.cos(math.radians(_ORIGIN_LATITUDE_DEG))
    return Fix(
        captured_at_s=STARTED_AT_S + moment.time_s,
        latitude_deg=_ORIGIN_LATITUDE_DEG + math.degrees(north_m / EARTH_RADIUS_M),
        longitude_deg=_ORIGIN_LONGITUDE_DEG + math.degrees(east_m / per_radian),
        # Plain floats: NumPy's own cannot be written as JSON.
        speed_mps=float(moment.speed_mps if speed_mps is None else speed_mps),
        heading_deg=float(moment.heading_deg if heading_deg is None else heading_deg),
        accuracy_m=accuracy_m,
    )


def _accuracy_m(moments: list[_Moment], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the receiver's error (1 sigma): small in the open, large between buildings."""
    canyon = float(rng.uniform(6, 10))
    raw = np.array([canyon if m.area == "city" else 1.5 for m in moments])
    width = min(15, len(raw))
    padded = np.pad(raw, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def _wander(count: int, interval_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return errors of unit variance that forget themselves over 20 s, (count, 2)."""
    keep = math.exp(-interval_s / 20.0)
    fresh = math.sqrt(1 - keep**2) * rng.standard_normal((count, 2))
    errors = np.empty((count, 2))
    errors[0] = rng.standard_normal(2)
    for index in range(1, count):
        errors[index] = keep * errors[index - 1] + fresh[index]
    return errors
