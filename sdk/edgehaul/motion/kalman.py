"""Where the vehicle truly was: a Kalman filter with constant velocity in a local plane.

State: position, velocity and the receiver's slowly wandering error, each east and north. A
receiver's errors are not white: reflections stay for tens of seconds, and a filter that took
them for white noise would follow them with full trust. So part of ``accuracy_m`` is modelled
as a first-order Gauss-Markov process (Brown and Hwang, "Introduction to Random Signals and
Applied Kalman Filtering", chapters 5 and 9). Velocities come from the receiver's speed and
heading, which are measured by Doppler and far better than differences of positions.

:class:`KalmanTracker` and :func:`filtered` look at the past alone: the windows of models with
``filter: kalman`` are made of it, on host and device alike. :func:`smoothed` also looks ahead
(Rauch, Tung and Striebel, 1965): for labels, tracks and maps on the host, never for a model's
input.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edgehaul.geometry import EARTH_RADIUS_M
from edgehaul.motion.clean import can_follow
from edgehaul.values import Fix

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHI_SQUARE_GATE = 13.82
"""99.9 % point of the chi-square distribution with 2 degrees of freedom."""
DEFAULT_ACCURACY_M = 5.0
"""Of a receiver that does not say how accurate it is."""
OUTAGE_S = 60.0
"""After a pause this long the filter starts anew."""
_ANCHOR_REACH_M = 20_000.0
"""So far from its anchor a plane is bent by less than 0.3 % up to 60 degrees latitude."""
_LEAST_ACCURACY_M = 0.5
_REJECTED_AT_MOST = 5
"""So many gated positions in a row mean that the filter is wrong, not the receiver."""
_SETTLED_AFTER = 5
"""Before so many fixes one that is gated is as good as those that the filter began with."""
_HEADING_FROM_MPS = 1.5


@dataclass(frozen=True)
class KalmanOptions:
    """How vehicle and receiver behave.

    Attributes:
        acceleration_mps2: Usual change of the velocity in a second (1 sigma).
        manoeuvre_mps2: The same of a manoeuvre, such as harsh braking. What only this explains
            is no outlier: without it a filter drives on where a vehicle has stopped.
        correlation_s: Time in which the receiver's wandering error forgets itself.
        white_share: Share of ``accuracy_m`` that is new with each fix.
        speed_error_mps: Error of the receiver's speed (1 sigma).
        heading_error_deg: Error of its heading (1 sigma) at speed.
        gate: Squared Mahalanobis distance from which a measurement is an outlier.
    """

    acceleration_mps2: float = 1.0
    manoeuvre_mps2: float = 5.0
    correlation_s: float = 20.0
    white_share: float = 0.3
    speed_error_mps: float = 0.3
    heading_error_deg: float = 2.0
    gate: float = CHI_SQUARE_GATE


@dataclass(frozen=True, eq=False)
class _Moment:
    """The filter at one fix, for the smoother; plane coordinates around ``anchor``."""

    fix: Fix
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    predicted_mean: NDArray[np.float64]
    predicted_covariance: NDArray[np.float64]
    transition: NDArray[np.float64]
    anchor: tuple[float, float]
    is_first: bool


class KalmanTracker:
    """Filters fixes as they come. Give it those that a ``FixCleaner`` has passed.

    Args:
        options: How vehicle and receiver behave.

    Attributes:
        outliers: Positions that were not believed; the prediction stands in for them.
    """

    def __init__(self, options: KalmanOptions | None = None) -> None:
        self.outliers = 0
        self._options = options or KalmanOptions()
        self._last: _Moment | None = None
        self._gated = 0
        self._taken = 0

    def push(self, fix: Fix) -> Fix:
        """Take the next fix and return the best estimate of the same moment.

        Returns:
            The fix with estimated position, speed and heading; ``accuracy_m`` is the
            estimate's own (1 sigma on an axis).
        """
        return _estimate(self.step(fix))

    def step(self, fix: Fix) -> _Moment:
        """Take the next fix and return the filter's whole state."""
        last = self._last
        if last is None or not _goes_on(last.fix, fix):
            self._last = self._started(fix)
            return self._last
        anchor, mean = last.anchor, last.mean
        transition, noise = _dynamics(fix.captured_at_s - last.fix.captured_at_s, self._options)
        # Errors depend on where the receiver is now: between buildings they grow.
        noise[4, 4] = noise[5, 5] = self._wander_variance(fix, transition[4, 4])
        predicted = transition @ mean
        kept = transition @ last.covariance @ transition.T
        covariance = kept + noise
        if self._surprises(fix, anchor, predicted, covariance):
            # A first guess at a manoeuvre (Bar-Shalom, "Estimation", section 11.2).
            noise[:4, :4] *= (self._options.manoeuvre_mps2 / self._options.acceleration_mps2) ** 2
            covariance = kept + noise
        updated, updated_covariance, believed = self._updated(fix, anchor, predicted, covariance)
        self._gated = 0 if believed else self._gated + 1
        self.outliers += not believed
        self._taken += 1
        allowed = _REJECTED_AT_MOST if self._taken >= _SETTLED_AFTER else 0
        if self._gated > allowed or math.hypot(*updated[:2]) > _ANCHOR_REACH_M:
            self._last = self._started(fix)
        else:
            self._last = _Moment(
                fix,
                updated,
                updated_covariance,
                predicted,
                covariance,
                transition,
                anchor,
                False,  # noqa: FBT003 - fields in order
            )
        return self._last

    def _surprises(
        self,
        fix: Fix,
        anchor: tuple[float, float],
        mean: NDArray[np.float64],
        covariance: NDArray[np.float64],
    ) -> bool:
        """Return whether the usual motion does not lead to this velocity, or this position."""
        velocity = _velocity(fix)
        if velocity is None:
            innovation = _to_plane(fix, anchor) - _POSITION @ mean
            spread = _POSITION @ covariance @ _POSITION.T + self._white_noise(fix)
        else:
            # Whoever says that it goes on as before and is elsewhere has a wrong position.
            innovation = velocity - _VELOCITY @ mean
            spread = _VELOCITY @ covariance @ _VELOCITY.T + _velocity_noise(fix, self._options)
        return _distance(innovation, spread) > self._options.gate

    def _white_noise(self, fix: Fix) -> NDArray[np.float64]:
        variance: NDArray[np.float64] = (
            self._options.white_share * _accuracy_m(fix)
        ) ** 2 * np.eye(2)
        return variance

    def _wander_variance(self, fix: Fix, kept: float) -> float:
        share = 1 - self._options.white_share**2
        return float(share * _accuracy_m(fix) ** 2 * (1 - kept**2))

    def _started(self, fix: Fix) -> _Moment:
        self._gated = self._taken = 0
        accuracy_m = _accuracy_m(fix)
        mean, covariance = np.zeros(6), np.zeros((6, 6))
        velocity = _velocity(fix)
        if velocity is not None:
            mean[2:4] = velocity
        speed_sigma = self._options.speed_error_mps if velocity is not None else 30.0
        wander = (1 - self._options.white_share**2) * accuracy_m**2
        white = (self._options.white_share * accuracy_m) ** 2
        # The first position is the truth plus the errors: they are known to be opposed.
        covariance[[0, 1], [0, 1]] = wander + white
        covariance[[2, 3], [2, 3]] = speed_sigma**2
        covariance[[4, 5], [4, 5]] = wander
        covariance[[0, 4, 1, 5], [4, 0, 5, 1]] = -wander
        anchor = (fix.latitude_deg, fix.longitude_deg)
        return _Moment(fix, mean, covariance, mean, covariance, np.eye(6), anchor, True)  # noqa: FBT003 - fields in order

    def _updated(
        self,
        fix: Fix,
        anchor: tuple[float, float],
        mean: NDArray[np.float64],
        covariance: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
        """Return mean and covariance after this fix, and whether its position was believed."""
        measured, noise = _to_plane(fix, anchor), self._white_noise(fix)
        mean, covariance, believed = self._corrected(
            mean, covariance, measured, _POSITION, noise, gate=self._options.gate
        )
        velocity = _velocity(fix)
        if velocity is not None:
            noise = _velocity_noise(fix, self._options)
            # No gate: whoever brakes hard is no outlier, and impossible speeds are gone by now.
            mean, covariance, _ = self._corrected(
                mean, covariance, velocity, _VELOCITY, noise, gate=math.inf
            )
        return mean, covariance, believed

    @staticmethod
    def _corrected(
        mean: NDArray[np.float64],
        covariance: NDArray[np.float64],
        measured: NDArray[np.float64],
        observed: NDArray[np.float64],
        noise: NDArray[np.float64],
        *,
        gate: float,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
        """Take in one measurement of two values, unless it is an outlier."""
        innovation = measured - observed @ mean
        spread = observed @ covariance @ observed.T + noise
        if _distance(innovation, spread) > gate:
            return mean, covariance, False
        gain = covariance @ observed.T @ np.linalg.inv(spread)
        left = np.eye(6) - gain @ observed
        # Joseph's form stays symmetric and positive whatever is rounded.
        corrected = left @ covariance @ left.T + gain @ noise @ gain.T
        return mean + gain @ innovation, corrected, True


_POSITION = np.hstack([np.eye(2), np.zeros((2, 2)), np.eye(2)])
"""What is measured is the true position plus the wandering error."""
_VELOCITY = np.hstack([np.zeros((2, 2)), np.eye(2), np.zeros((2, 2))])


def _distance(innovation: NDArray[np.float64], spread: NDArray[np.float64]) -> float:
    """Return the squared Mahalanobis distance."""
    return float(innovation @ np.linalg.solve(spread, innovation))


def filtered(fixes: Iterable[Fix], options: KalmanOptions | None = None) -> tuple[Fix, ...]:
    """Return the causal estimate at each fix; see :class:`KalmanTracker`."""
    tracker = KalmanTracker(options)
    return tuple(tracker.push(fix) for fix in fixes)


def smoothed(fixes: Iterable[Fix], options: KalmanOptions | None = None) -> tuple[Fix, ...]:
    """Return the best estimate at each fix from all of them, before and after.

    For labels, tracks and maps: a device cannot look ahead, so no model may learn from it.
    """
    tracker = KalmanTracker(options)
    moments = [tracker.step(fix) for fix in fixes]
    results: list[Fix] = []
    later: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    for index in range(len(moments) - 1, -1, -1):
        moment = moments[index]
        mean, covariance = moment.mean, moment.covariance
        if later is not None:
            after = moments[index + 1]
            inverse = np.linalg.pinv(after.predicted_covariance, hermitian=True)
            gain = covariance @ after.transition.T @ inverse
            mean = mean + gain @ (later[0] - after.predicted_mean)
            covariance = covariance + gain @ (later[1] - after.predicted_covariance) @ gain.T
        results.append(_estimate(moment, mean, covariance))
        later = None if moment.is_first else (mean, covariance)
    return tuple(reversed(results))


def _goes_on(before: Fix, after: Fix) -> bool:
    """Return whether what was before says anything of what follows."""
    return after.captured_at_s - before.captured_at_s <= OUTAGE_S and can_follow(before, after)


def _dynamics(
    elapsed_s: float, options: KalmanOptions
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the transition over ``elapsed_s`` and the noise of the motion in it."""
    transition = np.eye(6)
    transition[[0, 1], [2, 3]] = elapsed_s
    transition[[4, 5], [4, 5]] = math.exp(-elapsed_s / options.correlation_s)
    # White acceleration over the time between: Bar-Shalom, "Estimation", section 6.2.2.
    density = options.acceleration_mps2**2
    noise = np.zeros((6, 6))
    noise[[0, 1], [0, 1]] = density * elapsed_s**3 / 3
    noise[[0, 1, 2, 3], [2, 3, 0, 1]] = density * elapsed_s**2 / 2
    noise[[2, 3], [2, 3]] = density * elapsed_s
    return transition, noise


def _velocity(fix: Fix) -> NDArray[np.float64] | None:
    """Return the measured velocity, east and north; None where it is not known."""
    if fix.speed_mps is None:
        return None
    if fix.speed_mps < _HEADING_FROM_MPS:
        # The heading is noise, but then it does not matter.
        return np.zeros(2) if fix.heading_deg is None else _vector(fix.speed_mps, fix.heading_deg)
    return None if fix.heading_deg is None else _vector(fix.speed_mps, fix.heading_deg)


def _vector(speed_mps: float, heading_deg: float) -> NDArray[np.float64]:
    heading = math.radians(heading_deg)
    return speed_mps * np.array([math.sin(heading), math.cos(heading)])


def _velocity_noise(fix: Fix, options: KalmanOptions) -> NDArray[np.float64]:
    """Return the covariance of the measured velocity, east and north."""
    speed_mps = fix.speed_mps or 0.0
    along = options.speed_error_mps
    if speed_mps < _HEADING_FROM_MPS or fix.heading_deg is None:
        return (along + speed_mps) ** 2 * np.eye(2)
    across = max(along, speed_mps * math.radians(options.heading_error_deg))
    heading = math.radians(fix.heading_deg)
    turn = np.array(
        [[math.sin(heading), math.cos(heading)], [math.cos(heading), -math.sin(heading)]]
    )
    noise: NDArray[np.float64] = turn @ np.diag([along**2, across**2]) @ turn.T
    return noise


def _accuracy_m(fix: Fix) -> float:
    accuracy_m = fix.accuracy_m
    if accuracy_m is None or not math.isfinite(accuracy_m) or accuracy_m <= 0:
        return DEFAULT_ACCURACY_M
    return max(accuracy_m, _LEAST_ACCURACY_M)


def _to_plane(fix: Fix, anchor: tuple[float, float]) -> NDArray[np.float64]:
    """Return metres east and north of the anchor (equirectangular projection)."""
    # The shorter way round, across 180 degrees too.
    east_deg = (fix.longitude_deg - anchor[1] + 180.0) % 360.0 - 180.0
    east_m = math.radians(east_deg) * EARTH_RADIUS_M * math.cos(math.radians(anchor[0]))
    return np.array([east_m, math.radians(fix.latitude_deg - anchor[0]) * EARTH_RADIUS_M])


def _estimate(
    moment: _Moment,
    mean: NDArray[np.float64] | None = None,
    covariance: NDArray[np.float64] | None = None,
) -> Fix:
    """Return the fix of a state, with the estimate's own accuracy."""
    mean = moment.mean if mean is None else mean
    covariance = moment.covariance if covariance is None else covariance
    latitude_deg, longitude_deg = moment.anchor
    per_radian_m = EARTH_RADIUS_M * max(math.cos(math.radians(latitude_deg)), 1e-6)
    east_m, north_m, east_mps, north_mps = (float(value) for value in mean[:4])
    longitude_deg += math.degrees(east_m / per_radian_m)
    return msgspec.structs.replace(
        moment.fix,
        latitude_deg=latitude_deg + math.degrees(north_m / EARTH_RADIUS_M),
        longitude_deg=(longitude_deg + 180.0) % 360.0 - 180.0,
        speed_mps=math.hypot(east_mps, north_mps),
        heading_deg=math.degrees(math.atan2(east_mps, north_mps)) % 360.0,
        accuracy_m=math.sqrt(max(float(covariance[0, 0] + covariance[1, 1]) / 2, 0.0)),
    )
