"""The likeliest way of a vehicle, seen from its end: for maps, never for a model's input."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from edgehaul.motion.clean import clean
from edgehaul.motion.hampel import hampel
from edgehaul.motion.kalman import smoothed
from edgehaul.values import Fix

MOST_FIXES = 5_000
"""More take longer than a drawing is worth: then every second, third ... fix is smoothed."""


def smooth_track(fixes: Sequence[Fix], most: int = MOST_FIXES) -> tuple[Fix, ...]:
    """Return where the vehicle most likely was at the times of its believed fixes.

    Positions and speeds that stand out of those before and after them are mended first: the
    smoother would trust a wrong first position, or a wrong speed at a good place.

    Args:
        fixes: What the receiver said, by time.
        most: So many fixes of the track at most.
    """
    believed, _ = clean(fixes)
    if not believed:
        return ()
    return smoothed(_mended(believed)[:: -(-len(believed) // most)])


def _mended(fixes: Sequence[Fix]) -> list[Fix]:
    """Return the fixes without outliers; what the receiver did not say stays unsaid."""
    latitudes_deg, _ = hampel(np.array([fix.latitude_deg for fix in fixes]))
    # Beyond 180 degrees the longitude goes on, so that the date line is no jump.
    unwrapped_deg = np.unwrap([fix.longitude_deg for fix in fixes], period=360.0)
    longitudes_deg = (hampel(unwrapped_deg)[0] + 180.0) % 360.0 - 180.0
    said = [np.nan if fix.speed_mps is None else fix.speed_mps for fix in fixes]
    speeds_mps, _ = hampel(np.array(said, dtype=np.float64))
    return [
        msgspec.structs.replace(
            fix,
            latitude_deg=float(latitude_deg),
            longitude_deg=float(longitude_deg),
            speed_mps=None if fix.speed_mps is None else float(speed_mps),
        )
        for fix, latitude_deg, longitude_deg, speed_mps in zip(
            fixes, latitudes_deg, longitudes_deg, speeds_mps, strict=True
        )
    ]
