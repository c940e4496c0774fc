"""What our rules on a vehicle's motion get wrong, beside a rule on the speed alone.

The other rule is that of Traccar's documentation ("Trips and stops", the classic logic with its
defaults): moving is a speed above 0.01 knots; a trip begins after 300 s or 500 m of unbroken
motion and ends after 300 s of unbroken rest; its length is that between all positions. Run::

    python tests/bench/vehicle_rules.py --runs 4
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from edgehaul.config.vehicle import DrivingSection, TripsSection, VehicleConfig
from edgehaul.messages.vehicle import TripEvent
from edgehaul.motion.clean import FixCleaner
from edgehaul.values import Fix
from edgehaul.virtual.truck import TruckTrip
from edgehaul_agent.events.moments import distance_between_m
from edgehaul_agent.events.vehicle import VehicleRules
from tests.fakes.parking import parked, shunted

KNOT_MPS = 0.514444
MOVING_MPS = 0.01 * KNOT_MPS
TRIP_S, TRIP_M, REST_S = 300.0, 500.0, 300.0


@dataclass
class Found:
    """Trips of one trace and the way in them, declared gaps included."""

    trips: int = 0
    way_m: float = 0.0


def ours(fixes: Sequence[Fix]) -> Found:
    """Judge by our rules."""
    rules = VehicleRules(VehicleConfig(trips=TripsSection(), driving=DrivingSection()))
    told = [data.event for fix in fixes for data in rules.update(fix)]
    told += [data.event for data in rules.close()]
    ends = [e for e in told if isinstance(e, TripEvent) and e.phase == "end"]
    return Found(len(ends), sum(trip.distance_m + trip.gap_m for trip in ends))


def by_speed(fixes: Sequence[Fix]) -> Found:
    """Judge by the speed alone."""
    found = Found()
    on_trip = False
    began_s, spell_m, was_moving = fixes[0].captured_at_s, 0.0, False
    for before, fix in itertools.pairwise(fixes):
        step_m = distance_between_m(before, fix)
        moves = (fix.speed_mps or 0.0) > MOVING_MPS
        if moves != was_moving:
            began_s, spell_m, was_moving = before.captured_at_s, 0.0, moves
        spell_m += step_m
        lasted_s = fix.captured_at_s - began_s
        if on_trip:
            found.way_m += step_m
            on_trip = moves or lasted_s < REST_S
        elif moves and (lasted_s > TRIP_S or spell_m > TRIP_M):
            on_trip = True
            found.trips += 1
            found.way_m += spell_m
    return found


def traces(runs: int) -> Iterator[tuple[str, list[Sequence[Fix]], float, str]]:
    """Yield kinds of traces, the true way in each, and what is true of it."""
    yield "parked 8 h, jitter", [parked(seed) for seed in range(runs)], 0.0, "no trip"
    worst = [parked(seed, speeds="wandering", headings="held") for seed in range(runs)]
    yield "parked 8 h, lasting jitter", worst, 0.0, "no trip"
    yield "shunting 60 m at 1.5 m/s", [shunted(seed) for seed in range(runs)], 60.0, "one trip"
    trucks = [TruckTrip(seed=seed, duration_s=3600) for seed in range(runs)]
    way_m = float(np.mean([sum(f.speed_mps or 0 for f in t.true_fixes) for t in trucks]))
    yield "an hour in traffic", [t.fixes for t in trucks], way_m, "one trip"


def main() -> int:
    """Print a table of trips and ways."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=4, help="traces of each kind")
    runs = parser.parse_args().runs
    rules: dict[str, Callable[[Sequence[Fix]], Found]] = {"ours": ours, "speed alone": by_speed}
    for name, kind, way_m, truth in traces(runs):
        sys.stdout.write(f"{name} (true: {truth}, {way_m:.0f} m)\n")
        for rule, judge in rules.items():
            started_s = time.process_time()
            found, count = [], 0
            for fixes in kind:
                cleaner = FixCleaner()
                cleaned = [good for fix in fixes if (good := cleaner.push(fix)) is not None]
                count += len(cleaned)
                found.append(judge(cleaned))
            cost_us = (time.process_time() - started_s) / count * 1e6
            trips = np.mean([one.trips for one in found])
            ways = [one.way_m for one in found]
            sys.stdout.write(
                f"  {rule:12} {trips:5.2f} trips, {np.mean(ways):9.0f} m "
                f"(worst {max(ways, key=lambda m: abs(m - way_m)):.0f} m), {cost_us:.0f} us a fix\n"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
