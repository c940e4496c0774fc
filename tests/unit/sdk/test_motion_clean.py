"""The gate drops what cannot be, and recovers when it trusted the wrong fix."""

from __future__ import annotations

import math

import pytest

from edgehaul.motion.clean import FixGate, clean
from edgehaul.values import Fix


def fix(time_s: float, north_m: float, **changes: float) -> Fix:
    return Fix(
        captured_at_s=time_s, latitude_deg=50 + north_m / 111_195, longitude_deg=7, **changes
    )


def drive(start_s: float, count: int, north_m: float = 0.0) -> list[Fix]:
    return [fix(start_s + i, north_m + 20.0 * i) for i in range(count)]


def test_a_plain_drive_is_kept_whole() -> None:
    assert clean(drive(0, 50)) == (tuple(drive(0, 50)), 0)


@pytest.mark.parametrize(
    "bad",
    [
        fix(9, 180),
        fix(8.5, 175),
        fix(9.5, 5000),
        fix(9.5, 190, accuracy_m=500.0),
        fix(9.5, math.nan),
        fix(math.inf, 190),
        Fix(captured_at_s=9.5, latitude_deg=0, longitude_deg=0),
        Fix(captured_at_s=9.5, latitude_deg=95, longitude_deg=0),
    ],
)
def test_one_bad_fix_is_dropped_and_the_drive_goes_on(bad: Fix) -> None:
    fixes = drive(0, 20)
    assert clean([*fixes[:10], bad, *fixes[10:]]) == (tuple(fixes), 1)


def test_late_fixes_stay_out_however_many_they_are() -> None:
    fixes = drive(0, 60)
    assert clean([*fixes[:10], *fixes[40:], *fixes[10:40]])[1] == 30


def test_a_wrong_first_place_is_given_up_after_three_that_agree() -> None:
    kept, rejected = clean([fix(0, 900_000), *drive(1, 10)])
    assert rejected == 2
    assert kept[1:] == tuple(drive(1, 10)[2:])


def test_a_clock_that_was_in_the_future_is_given_up_too() -> None:
    kept, rejected = clean([fix(1e6, 0), *drive(1, 10)])
    assert rejected == 2
    assert kept[-1] == drive(1, 10)[-1]


def test_wild_jumps_never_agree() -> None:
    gate = FixGate()
    assert gate.accept(fix(0, 0))
    assert not any(gate.accept(fix(i, 100_000.0 * i)) for i in range(1, 20))
    assert gate.rejected == 19


def test_after_a_tunnel_the_vehicle_may_be_far_away() -> None:
    assert clean([fix(0, 0), fix(120, 4000)])[1] == 0
