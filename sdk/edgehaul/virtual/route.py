"""The plan of a truck's trip: depot stops, city blocks, highway, and the driver's faults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

AnomalyLabel = Literal["harsh_braking", "harsh_cornering", "speeding"]
ANOMALY_LABELS: tuple[AnomalyLabel, ...] = ("harsh_braking", "harsh_cornering", "speeding")
"""What a driver can do wrong on a virtual trip."""

Area = Literal["depot", "city", "highway"]

_PER_KIND_EACH_S = 900.0
_LEAD_IN_S = 90.0
_DEPOT_EVERY_S = 700.0


@dataclass(frozen=True)
class Manoeuvre:
    """One thing the driver does.

    Attributes:
        area: Where.
        duration_s: How long; a harsh braking also lasts until the speed is reached.
        speed_mps: Speed that is aimed at.
        heading_rate_dps: Turn, clockwise positive, in degrees per second.
        braking_mps2: How hard the brakes are used where the truck is too fast.
        anomaly: The fault, where it is one.
    """

    area: Area
    duration_s: float
    speed_mps: float
    heading_rate_dps: float = 0.0
    braking_mps2: float = 1.5
    anomaly: AnomalyLabel | None = None


def plan_route(rng: np.random.Generator, duration_s: float) -> list[Manoeuvre]:
    """Plan a trip of at least ``duration_s`` that begins with a stop at a depot.

    Every kind of fault is due once in each 900 s (at least once in a trip), at a random
    time, and done on the next road that allows it.
    """
    plan = [Manoeuvre("depot", float(rng.uniform(40, 80)), 0.0)]
    due = _faults_due(rng, duration_s)
    time_s, last_depot_s, in_city = plan[0].duration_s, 0.0, True
    while time_s < duration_s:
        if time_s - last_depot_s > _DEPOT_EVERY_S:
            part = _depot(rng)
            last_depot_s = time_s
        else:
            part = _stretch(rng, "city" if in_city else "highway")
            in_city = not in_city
        while due and due[0][0] <= time_s:
            part += _fault(rng, due.pop(0)[1])
        plan += part
        time_s += sum(m.duration_s for m in part)
    return plan


def _faults_due(rng: np.random.Generator, duration_s: float) -> list[tuple[float, AnomalyLabel]]:
    """Return when each fault is due, spread evenly over the trip, in random order."""
    rounds = max(1, round(duration_s / _PER_KIND_EACH_S))
    labels = [label for _ in range(rounds) for label in ANOMALY_LABELS]
    rng.shuffle(labels)
    last_s = max(_LEAD_IN_S, duration_s - 330.0)
    times = np.linspace(_LEAD_IN_S, last_s, len(labels)) + rng.uniform(-20, 20, len(labels))
    return [(float(t), label) for t, label in zip(times, labels, strict=True)]


def _depot(rng: np.random.Generator) -> list[Manoeuvre]:
    """Drive into a yard, turn slowly and tightly, stand, and leave again."""
    side = float(rng.choice((-1.0, 1.0)))
    return [
        Manoeuvre("city", 10.0, 6.0),
        Manoeuvre("depot", 9.0, 3.0, side * 11.0),
        Manoeuvre("depot", 8.0, 2.0, -side * 6.0),
        Manoeuvre("depot", float(rng.uniform(60, 130)), 0.0),
        Manoeuvre("depot", 10.0, 3.0, side * 9.0),
    ]


def _stretch(rng: np.random.Generator, area: Area) -> list[Manoeuvre]:
    """Drive one to two minutes of normal city or highway traffic."""
    plan: list[Manoeuvre] = []
    left_s = float(rng.uniform(60, 110))
    while left_s > 0:
        block = _city_block(rng) if area == "city" else _highway_bend(rng)
        plan += block
        left_s -= sum(m.duration_s for m in block)
    return plan


def _city_block(rng: np.random.Generator) -> list[Manoeuvre]:
    """Drive to the next crossing; go straight on, turn, or wait at the lights."""
    cruise = Manoeuvre(
        "city", float(rng.uniform(10, 26)), float(rng.uniform(8, 13.5)), float(rng.normal(0, 0.6))
    )
    choice = rng.random()
    if choice < 0.4:  # noqa: PLR2004 - share of the crossings where the truck turns
        rate = float(rng.choice((-1.0, 1.0)) * rng.uniform(11, 15))
        slow = Manoeuvre("city", 5.0, 5.0, braking_mps2=1.8)
        return [cruise, slow, Manoeuvre("city", 90 / abs(rate), 5.0, rate)]
    if choice < 0.75:  # noqa: PLR2004 - share of the crossings with a turn or red lights
        brakes = float(rng.uniform(1.2, 2.2))
        return [cruise, Manoeuvre("city", float(rng.uniform(14, 34)), 0.0, braking_mps2=brakes)]
    return [cruise]


def _highway_bend(rng: np.random.Generator) -> list[Manoeuvre]:
    """Drive one bend of a highway, at the speed a truck may go."""
    return [
        Manoeuvre(
            "highway",
            float(rng.uniform(15, 35)),
            float(rng.uniform(20, 24)),
            float(rng.uniform(-1.5, 1.5)),
        )
    ]


def _fault(rng: np.random.Generator, label: AnomalyLabel) -> list[Manoeuvre]:
    """Return a fault with the driving that leads to it and comes after it."""
    if label == "harsh_braking":
        return [
            Manoeuvre("highway", 24.0, float(rng.uniform(19, 22))),
            Manoeuvre("city", 2.0, 1.5, braking_mps2=float(rng.uniform(4.2, 5.6)), anomaly=label),
            Manoeuvre("city", 4.0, 1.5),
        ]
    if label == "harsh_cornering":
        rate = float(rng.choice((-1.0, 1.0)) * rng.uniform(22, 29))
        speed = float(rng.uniform(11.5, 14))
        return [
            Manoeuvre("city", 14.0, speed),
            Manoeuvre("city", float(rng.uniform(3.0, 4.2)), speed, rate, anomaly=label),
            Manoeuvre("city", float(rng.uniform(2.0, 3.0)), speed, -rate, anomaly=label),
            Manoeuvre("city", 8.0, speed),
        ]
    return [
        Manoeuvre("highway", 25.0, 24.0),
        Manoeuvre(
            "highway",
            float(rng.uniform(22, 36)),
            float(rng.uniform(30, 33)),
            float(rng.uniform(-0.5, 0.5)),
            anomaly=label,
        ),
        Manoeuvre("highway", 15.0, 23.0),
    ]
