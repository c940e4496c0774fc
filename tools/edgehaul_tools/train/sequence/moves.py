"""Where a vehicle goes after each window of its trace: what ``next_position`` learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehaul.config.recipe import SequenceRecipe
from edgehaul.errors import DatasetError
from edgehaul.geometry import EARTH_RADIUS_M
from edgehaul.motion.clean import JITTER_M, MAX_SPEED_MPS
from edgehaul.motion.resample import OUTAGE_INTERVALS, resample
from edgehaul.motion.windows import seen_fixes
from edgehaul.values import Fix
from edgehaul_tools.dataset.series import Series
from edgehaul_tools.train.sequence.windows import Recording, cut_windows, unscaled_input

MOVE_LABELS = ("forward_m", "left_m")
"""Names of what ``next_position`` answers, in the vehicle's own frame at the window's end."""
_TIME_TOLERANCE_S = 1e-6
"""Rounding of sums of times in float64."""


@dataclass(frozen=True)
class MoveSet:
    """Windows and what follows them.

    Attributes:
        features: (n, window, F) float32, in the features' own units.
        moves_m: (n, 2) float32, forward and left: where the vehicle is ``horizon_s`` later.
        constant_velocity_m: (n, 2) float32, the same if it held its speed and heading.
    """

    features: NDArray[np.float32]
    moves_m: NDArray[np.float32]
    constant_velocity_m: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.features)


def load_moves(recordings: Sequence[Recording], recipe: SequenceRecipe) -> MoveSet:
    """Return all windows after which the vehicle's position is known.

    Raises:
        DatasetError: These are series, which have no positions.
    """
    sets = [_moves_of(recording, recipe) for recording in recordings]
    return MoveSet(
        *(
            np.concatenate([np.empty(shape, dtype=np.float32), *(one[part] for one in sets)])
            for part, shape in enumerate(
                ((0, recipe.window, len(recipe.features)), (0, len(MOVE_LABELS)), (0, 2))
            )
        )
    )


def _moves_of(
    recording: Recording, recipe: SequenceRecipe
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    if isinstance(recording, Series):
        raise DatasetError(
            "a series has no positions to foretell",
            where=recording.name,
            remedy="train goal 'next_position' on trips",
        )
    spec = unscaled_input(recipe)
    cut = cut_windows(recording, spec)
    fixes = seen_fixes(recording.fixes, spec)
    at_s, later_s = cut.ended_at_s, cut.ended_at_s + recipe.horizon_s
    place, known = _places(fixes, at_s, recipe.interval_s)
    later, later_known = _places(fixes, later_s, recipe.interval_s)
    speed_mps, heading_deg = _courses(fixes, at_s, recipe.interval_s)
    moves_m = _in_vehicle_frame(place, later, heading_deg)
    straight_m = np.stack([speed_mps * recipe.horizon_s, np.zeros_like(speed_mps)], axis=1)
    # Where a receiver was wrong about the place, nobody drove from one to the other.
    reach_m = JITTER_M + MAX_SPEED_MPS * recipe.horizon_s
    kept = known & later_known & (np.hypot(*moves_m.T) <= reach_m)
    parts = (cut.features, moves_m.astype(np.float32), straight_m.astype(np.float32))
    features, moves, straight = (part[kept] for part in parts)
    return features, moves, straight


def _places(
    fixes: Sequence[Fix], time_s: NDArray[np.float64], interval_s: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return latitudes and longitudes (n, 2) between fixes, and whether no outage is there."""
    if len(fixes) < 2:  # noqa: PLR2004 - nothing lies between fewer
        return np.zeros((len(time_s), 2)), np.zeros(len(time_s), dtype=bool)
    fixed_at_s = np.array([fix.captured_at_s for fix in fixes])
    degrees = np.array([(fix.latitude_deg, fix.longitude_deg) for fix in fixes])
    # Beyond 180 degrees the longitude goes on, so that the date line is no jump.
    degrees[:, 1] = np.unwrap(degrees[:, 1], period=360.0)
    place = np.stack([np.interp(time_s, fixed_at_s, column) for column in degrees.T], axis=1)
    after = np.searchsorted(fixed_at_s, time_s - _TIME_TOLERANCE_S)
    inside = (after < len(fixes)) & (time_s >= fixed_at_s[0])
    after = np.clip(after, 1, len(fixes) - 1)
    gap_s = fixed_at_s[after] - fixed_at_s[after - 1]
    return place, inside & (gap_s <= OUTAGE_INTERVALS * interval_s + _TIME_TOLERANCE_S)


def _courses(
    fixes: Sequence[Fix], time_s: NDArray[np.float64], interval_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return speed and heading (n,) at steps of the trace, as the windows saw them."""
    parts = resample(fixes, interval_s)
    if not parts or not len(time_s):
        return np.zeros_like(time_s), np.zeros_like(time_s)
    step_s, speed_mps, heading_deg = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("time_s", "speed_mps", "heading_deg")
    )
    index = np.searchsorted(step_s, time_s - _TIME_TOLERANCE_S)
    return speed_mps[index], heading_deg[index]


def _in_vehicle_frame(
    place_deg: NDArray[np.float64], later_deg: NDArray[np.float64], heading_deg: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how far forward and left (n, 2) the later places lie, on the tangent plane."""
    moved = np.radians(later_deg - place_deg)
    north_m = moved[:, 0] * EARTH_RADIUS_M
    east_m = moved[:, 1] * EARTH_RADIUS_M * np.cos(np.radians(place_deg[:, 0]))
    heading = np.radians(heading_deg)
    forward_m = north_m * np.cos(heading) + east_m * np.sin(heading)
    left_m = north_m * np.sin(heading) - east_m * np.cos(heading)
    return np.stack([forward_m, left_m], axis=1)


def move_metrics(answers_m: NDArray[np.float32], moves: MoveSet) -> dict[str, float]:
    """Return the distance between the foretold and the true places, beside the naive one.

    Args:
        answers_m: (n, 2) forward and left.
        moves: The truth.

    Returns:
        ``mae_m`` (mean distance) and ``rmse_m`` (root of its mean square), and the same of
        driving on straight at the same speed, ``constant_velocity_mae_m`` and ``..._rmse_m``.
    """
    metrics = {}
    for prefix, answers in (("", answers_m), ("constant_velocity_", moves.constant_velocity_m)):
        error_m = np.linalg.norm(answers.astype(np.float64) - moves.moves_m, axis=1)
        metrics[f"{prefix}mae_m"] = float(error_m.mean())
        metrics[f"{prefix}rmse_m"] = float(np.sqrt((error_m**2).mean()))
    return metrics
