"""From fixes to a sequence model's input windows, the same on the host and on the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgehaul.bundle.spec import SequenceInput
from edgehaul.clock import Clock
from edgehaul.motion.clean import FixCleaner
from edgehaul.motion.features import check_features, context_steps, features_of
from edgehaul.motion.kalman import KalmanTracker
from edgehaul.motion.resample import Motion, Resampler, Step
from edgehaul.values import Fix

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """One input of a sequence model.

    Attributes:
        started_at_s: Time of the first step, UTC seconds.
        ended_at_s: Time of the last step, UTC seconds.
        features: (window, F) float32, in the features' own units.
        tensor: (1, window, F) float32, normalised: what the model takes.
        fix: The fix that completed the window, at or just after ``ended_at_s``, as received.
    """

    started_at_s: float
    ended_at_s: float
    features: NDArray[np.float32]
    tensor: NDArray[np.float32]
    fix: Fix


class FixIntake:
    """Cleans fixes as they come, and filters them where the model asks for it.

    Args:
        spec: What the model's input is.
        clock: Of a live receiver's machine, as for :class:`edgehaul.motion.clean.FixGate`.
    """

    def __init__(self, spec: SequenceInput, *, clock: Clock | None = None) -> None:
        self._cleaner = FixCleaner(clock=clock)
        self._tracker = KalmanTracker() if spec.filter == "kalman" else None

    @property
    def rejected(self) -> int:
        """Number of fixes that were not believed."""
        return self._cleaner.rejected

    def push(self, fix: Fix) -> Fix | None:
        """Return the fix as the features see it; None where it is not to be believed."""
        cleaned = self._cleaner.push(fix)
        return self._tracker.push(cleaned) if cleaned and self._tracker else cleaned


class Windower:
    """Cleans and resamples fixes as they come and cuts windows out of them.

    A pause longer than five intervals starts a new window: nothing is made up across it.

    Args:
        spec: What the model's input is.
        clock: Of a live receiver's machine, as for :class:`edgehaul.motion.clean.FixGate`.

    Raises:
        SpecMismatchError: The spec names an unknown feature.
    """

    def __init__(self, spec: SequenceInput, *, clock: Clock | None = None) -> None:
        check_features(spec.features)
        self.spec = spec
        self._intake = FixIntake(spec, clock=clock)
        self._resampler = Resampler(spec.interval_s)
        self._steps: deque[Step] = deque(
            maxlen=spec.window + context_steps(spec.features, spec.interval_s)
        )
        self._steps_seen = 0

    @property
    def rejected(self) -> int:
        """Number of fixes that were not believed."""
        return self._intake.rejected

    def push(self, fix: Fix) -> list[Window]:
        """Take the next fix and return the windows that it completes."""
        seen = self._intake.push(fix)
        if seen is None:
            return []
        steps, is_new = self._resampler.push(seen)
        if is_new:
            self._steps.clear()
            self._steps_seen = 0
        windows = []
        for step in steps:
            self._steps.append(step)
            self._steps_seen += 1
            beyond = self._steps_seen - self.spec.window
            if beyond >= 0 and beyond % self.spec.hop == 0:
                windows.append(self._window(fix))
        return windows

    def _window(self, fix: Fix) -> Window:
        spec = self.spec
        motion = Motion.from_steps(self._steps, spec.interval_s)
        features = features_of(motion, spec.features)[-spec.window :]
        return Window(
            started_at_s=float(motion.time_s[-spec.window]),
            ended_at_s=float(motion.time_s[-1]),
            features=features,
            tensor=to_tensor(features, spec),
            fix=fix,
        )


def windows_of(fixes: Iterable[Fix], spec: SequenceInput) -> list[Window]:
    """Return every window of a whole trace, as :class:`Windower` cuts them on the device.

    Raises:
        SpecMismatchError: The spec names an unknown feature.
    """
    windower = Windower(spec)
    return [window for fix in fixes for window in windower.push(fix)]


def seen_fixes(fixes: Iterable[Fix], spec: SequenceInput) -> tuple[Fix, ...]:
    """Return the believed fixes of a whole trace, as the windows' features see them."""
    intake = FixIntake(spec)
    return tuple(seen for fix in fixes if (seen := intake.push(fix)) is not None)


def to_tensor(features: NDArray[np.float32], spec: SequenceInput) -> NDArray[np.float32]:
    """Return the model's input (1, window, F) for features (window, F) in their own units."""
    mean = np.array(spec.mean, dtype=np.float32)
    std = np.array(spec.std, dtype=np.float32)
    tensor: NDArray[np.float32] = ((features - mean) / std)[None]
    return tensor
