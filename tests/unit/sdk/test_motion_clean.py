"""The gate drops what cannot be, and recovers when it trusted the wrong fix."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgehaul.motion.clean import FixCleaner, FixGate, clean
from edgehaul.motion.hampel import CausalHampel, hampel
from edgehaul.values import Fix
from tests.fakes.streams import FakeClock


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
        fix(1e12, 190),
        Fix(captured_at_s=9.5, latitude_deg=0, longitude_deg=0),
        Fix(captured_at_s=9.5, latitude_deg=95, longitude_deg=0),
    ],
)
def test_one_bad_fix_is_dropped_and_the_drive_goes_on(bad: Fix) -> None:
    fixes = drive(0, 20)
    assert clean([*fixes[:10], bad, *fixes[10:]]) == (tuple(fixes), 1)


def test_late_fixes_stay_out_as_long_as_they_may_have_been_held_up() -> None:
    fixes = drive(0, 60)
    held_up = [*fixes[:10], *fixes[40:], *fixes[11:40]]
    assert clean(held_up)[1] == 29
    assert clean([*held_up, *drive(60, 5, 1200.0)])[1] == 29


def test_late_fixes_that_come_between_others_never_agree() -> None:
    fixes = drive(0, 200)
    mixed = [f for pair in zip(fixes[100:], fixes[:100], strict=True) for f in pair]
    assert clean(mixed) == (tuple(fixes[100:]), 100)


@pytest.mark.parametrize("ahead_s", [61, 600, 1800, 3599])
def test_one_fix_from_the_future_costs_half_a_minute(ahead_s: float) -> None:
    fixes = drive(0, 1500)
    wrong = fix(5.0 + ahead_s, 100.0)
    kept, rejected = clean([*fixes[:5], wrong, *fixes[6:]])
    assert kept == (*fixes[:5], wrong, *fixes[35:])
    assert rejected == 29


def test_late_fixes_agree_though_each_is_said_twice() -> None:
    fixes = [fix(1805.0, 0.0), *(f for f in drive(0, 100) for _ in range(2))]
    kept, _ = clean(fixes)
    assert kept[1:] == tuple(drive(0, 100)[29:])


def test_a_clock_that_stands_still_never_outweighs_what_was_trusted() -> None:
    kept, _ = clean([fix(100, 0), *(fix(50, 1.0 * i) for i in range(200))])
    assert kept == (fix(100, 0),)


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


def test_fixes_from_the_future_are_dropped_where_the_time_is_known() -> None:
    clock = FakeClock()
    gate = FixGate(clock=clock)
    assert not gate.accept(fix(clock.now_s() + 1000, 0))
    assert gate.accept(fix(clock.now_s() + 30, 0)), "clocks may differ by a little"
    assert FixGate().accept(fix(clock.now_s() + 1000, 0)), "a recording has its own time"


def test_a_machine_whose_clock_is_wrong_believes_its_receiver_in_the_end() -> None:
    clock = FakeClock()
    drive_s = clock.now_s() + 1e6
    gate = FixGate(clock=clock)
    believed = []
    for late in drive(drive_s, 60):
        believed.append(gate.accept(late))
        clock.sleep(1.0)
    assert believed == [False] * 29 + [True] * 31
    # Then the machine is told the time.
    clock.sleep(1e6)
    assert gate.accept(fix(drive_s + 60, 1200))


def test_an_impossible_speed_at_a_good_place_is_taken_as_missing() -> None:
    cleaner = FixCleaner()
    fixes = [fix(i, 20.0 * i, speed_mps=60.0 if i == 10 else 20.0) for i in range(20)]
    got = [cleaner.push(f) for f in fixes]
    assert [f.speed_mps for f in got if f][9:12] == [20.0, None, 20.0]
    assert (cleaner.rejected, cleaner.speeds_dropped) == (0, 1)


def test_a_speed_that_no_truck_reaches_is_missing_from_the_first_fix_on() -> None:
    cleaner = FixCleaner()
    got = [cleaner.push(fix(i, 20.0 * i, speed_mps=500.0)) for i in range(10)]
    assert all(f is not None and f.speed_mps is None for f in got)
    assert (cleaner.rejected, cleaner.speeds_dropped) == (0, 10)


def test_harsh_braking_is_no_fault_of_the_receiver() -> None:
    speeds = [20.0] * 10 + [12.0, 4.0, 0.0] + [0.0] * 5
    cleaner = FixCleaner()
    for i, speed_mps in enumerate(speeds):
        cleaner.push(fix(i, 1.0 * i, speed_mps=speed_mps))
    assert cleaner.speeds_dropped == 0


def test_a_lasting_change_of_speed_is_believed_in_the_end() -> None:
    cleaner = FixCleaner()
    got = [cleaner.push(fix(i, 1.0 * i, speed_mps=5.0 if i < 10 else 40.0)) for i in range(20)]
    assert [f.speed_mps for f in got if f][-1] == 40.0
    assert 1 <= cleaner.speeds_dropped <= 3


def test_values_that_are_no_numbers_are_missing() -> None:
    cleaner = FixCleaner()
    got = cleaner.push(fix(0, 0, speed_mps=math.nan, heading_deg=math.inf))
    assert got is not None
    assert (got.speed_mps, got.heading_deg) == (None, None)
    negative = cleaner.push(fix(1, 0, speed_mps=-3.0))
    assert negative is not None
    assert negative.speed_mps is None


def test_hampel_on_both_sides_mends_outliers_and_gaps_alone() -> None:
    truth = np.sin(np.arange(100) / 10)
    values = truth + 0.001 * np.cos(np.arange(100) * 7.0)
    values[[20, 50]], values[70] = 9.0, np.nan
    mended, replaced = hampel(values)
    assert replaced.nonzero()[0].tolist() == [20, 50, 70]
    np.testing.assert_allclose(mended, truth, atol=0.11)
    assert hampel(np.array([]))[0].shape == (0,)
    assert np.isnan(hampel(np.full(3, np.nan))[0]).all()


def test_causal_hampel_sees_an_outlier_at_once() -> None:
    judge = CausalHampel()
    values = [1.0, 1.1, 0.9, 1.0, 9.0, 1.1, 1.0]
    assert [judge.is_outlier(v) for v in values].index(True) == 4
