import itertools
from collections import Counter

import numpy as np
import pytest

from edgehaul.errors import UsageError
from edgehaul.geometry import haversine_m
from edgehaul.virtual.truck import ANOMALY_LABELS, TruckTrip, TrueAnomaly


@pytest.fixture(scope="module", params=[0, 1, 17])
def trip(request: pytest.FixtureRequest) -> TruckTrip:
    return TruckTrip(seed=request.param)


def rates(trip: TruckTrip, spans: list[tuple[float, float]], *, within: bool) -> tuple:
    """Accelerations, turns and speeds between fixes that are one second apart."""
    rows = []
    for a, b in itertools.pairwise(trip.fixes):
        inside = any(start <= b.captured_at_s and a.captured_at_s <= end for start, end in spans)
        if inside == within and b.captured_at_s - a.captured_at_s < 1.5:
            turn = (b.heading_deg - a.heading_deg + 180) % 360 - 180
            rows.append((b.speed_mps - a.speed_mps, abs(turn), b.speed_mps))
    return tuple(np.array(rows).T)


def spans(anomalies: tuple[TrueAnomaly, ...], slack_s: float = 0) -> list[tuple[float, float]]:
    return [(a.started_at_s - slack_s, a.ended_at_s + slack_s) for a in anomalies]


def test_a_trip_depends_on_its_seed_alone() -> None:
    again = TruckTrip(seed=7)
    assert TruckTrip(seed=7).fixes == again.fixes
    assert TruckTrip(seed=7).anomalies == again.anomalies
    assert TruckTrip(seed=8).fixes != again.fixes


def test_every_fault_happens_and_lasts_several_seconds(trip: TruckTrip) -> None:
    counts = Counter(anomaly.label for anomaly in trip.anomalies)

    assert set(counts) == set(ANOMALY_LABELS)
    assert all(2.5 < a.ended_at_s - a.started_at_s < 60 for a in trip.anomalies)
    assert all(a.ended_at_s < b.started_at_s for a, b in itertools.pairwise(trip.anomalies))


def test_faults_can_be_seen_in_the_fixes(trip: TruckTrip) -> None:
    for anomaly in trip.anomalies:
        gains, turns, speeds = rates(trip, spans((anomaly,)), within=True)
        seen = {
            "harsh_braking": gains.min() < -3.4,
            "harsh_cornering": turns.max() > 19 and speeds.max() > 10,
            "speeding": speeds.max() > 28,
        }
        assert seen[anomaly.label], anomaly


def test_normal_driving_stays_away_from_the_faults(trip: TruckTrip) -> None:
    gains, turns, speeds = rates(trip, spans(trip.anomalies, 2), within=False)

    assert gains.min() > -3.2
    assert np.radians(turns * speeds).max() < 3.0
    assert speeds.max() < 27.8
    assert (speeds == 0).sum() > 60


def test_the_receiver_is_noisy_and_sometimes_silent(trip: TruckTrip) -> None:
    truth = {fix.captured_at_s: fix for fix in trip.true_fixes}
    errors_m = [
        haversine_m(
            fix.latitude_deg,
            fix.longitude_deg,
            truth[fix.captured_at_s].latitude_deg,
            truth[fix.captured_at_s].longitude_deg,
        )
        for fix in trip.fixes
    ]
    times = [fix.captured_at_s for fix in trip.fixes]
    gaps = [b - a for a, b in itertools.pairwise(times) if b - a > 1.5]

    assert len(trip.true_fixes) == 1801
    assert 1 < np.median(errors_m) < 12
    assert max(errors_m) < 60
    assert gaps
    # Two outages may touch each other.
    assert all(10 <= gap <= 82 for gap in gaps)
    silent = set(truth) - set(times)
    assert not any(a - 10 < t < b + 10 for t in silent for a, b in spans(trip.anomalies))


def test_a_short_trip_at_5_hz() -> None:
    trip = TruckTrip(seed=3, duration_s=120, interval_s=0.2)

    assert len(trip.true_fixes) == 601
    assert trip.true_fixes[1].captured_at_s - trip.true_fixes[0].captured_at_s == pytest.approx(0.2)


@pytest.mark.parametrize(
    "given", [{"duration_s": 10.0}, {"interval_s": 0.01}, {"interval_s": 60.0}, {"seed": -1}]
)
def test_impossible_trips_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="no trip of"):
        TruckTrip(**{"seed": 0, **given})
