"""Receivers in difficult places: parked between buildings, or shunting in a yard."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from edgehaul.motion.ellipsoid import moved
from edgehaul.values import Fix

HOME = (52.37, 4.89)
SpeedNoise = Literal["uniform", "wandering", "gaussian", "none"]
HeadingNoise = Literal["random", "held", "wandering", "none"]


def parked(  # noqa: PLR0913 - each is one way in which a receiver errs
    seed: int,
    *,
    hours: float = 8.0,
    interval_s: float = 1.0,
    drift_m: float = 20.0,
    drift_s: float = 60.0,
    jumps_per_h: float = 6.0,
    speeds: SpeedNoise = "uniform",
    headings: HeadingNoise = "random",
    accuracy_m: float | None = 8.0,
) -> list[Fix]:
    """Return what a receiver says that does not move.

    Its position wanders with ``drift_m`` (1 sigma on each axis, forgotten over ``drift_s``) and
    now and then is 100 m elsewhere for 5 to 60 s; its speed is noise of 0 to 2 m/s.
    """
    rng = np.random.default_rng(seed)
    count = round(hours * 3600 / interval_s)
    east_m, north_m = drift_m * wander(rng, count, interval_s / drift_s)
    for _ in range(rng.poisson(jumps_per_h * hours)):
        first = int(rng.integers(count))
        last = first + max(1, round(float(rng.uniform(5, 60)) / interval_s))
        angle = rng.uniform(0, 2 * np.pi)
        east_m[first:last] += 100 * np.sin(angle)
        north_m[first:last] += 100 * np.cos(angle)
    speed_mps = speed_noise(rng, count, interval_s, speeds)
    heading_deg = heading_noise(rng, count, interval_s, headings)
    return [
        made(
            index * interval_s,
            float(east_m[index]),
            float(north_m[index]),
            None if speeds == "none" else float(speed_mps[index]),
            None if headings == "none" else float(heading_deg[index]),
            accuracy_m,
        )
        for index in range(count)
    ]


def shunted(
    seed: int,
    *,
    speed_mps: float = 1.5,
    way_m: float = 60.0,
    still_s: float = 300.0,
    drift_m: float = 2.0,
    drift_s: float = 60.0,
) -> list[Fix]:
    """Return a slow move over ``way_m`` with a rest of ``still_s`` before and after it."""
    rng = np.random.default_rng(seed)
    moving_s = round(way_m / speed_mps)
    speeds = np.r_[np.zeros(round(still_s)), np.full(moving_s, speed_mps), np.zeros(round(still_s))]
    count = len(speeds)
    east_m, north_m = drift_m * wander(rng, count, 1 / drift_s)
    heading_deg = float(rng.uniform(0, 360))
    way = np.cumsum(speeds)
    said = np.abs(speeds + rng.normal(0, 0.15, count))
    headings = heading_deg + np.where(speeds > 0, rng.normal(0, 8, count), 0)
    return [
        made(
            float(index),
            float(east_m[index] + way[index] * np.sin(np.radians(heading_deg))),
            float(north_m[index] + way[index] * np.cos(np.radians(heading_deg))),
            float(said[index]),
            float(headings[index] % 360),
            max(drift_m, 2.0),
        )
        for index in range(count)
    ]


def driven(
    speeds_mps: Sequence[float], *, start_s: float = 0.0, heading_deg: float = 0.0
) -> list[Fix]:
    """Return a straight drive without noise, a fix each second."""
    way = np.r_[0.0, np.cumsum((np.asarray(speeds_mps)[1:] + np.asarray(speeds_mps)[:-1]) / 2)]
    east, north = np.sin(np.radians(heading_deg)), np.cos(np.radians(heading_deg))
    return [
        made(start_s + second, float(m * east), float(m * north), float(speed), heading_deg, 3.0)
        for second, (m, speed) in enumerate(zip(way, speeds_mps, strict=True))
    ]


def made(
    time_s: float,
    east_m: float,
    north_m: float,
    speed_mps: float | None = None,
    heading_deg: float | None = None,
    accuracy_m: float | None = None,
) -> Fix:
    """Return a fix so far from home."""
    latitude_deg, longitude_deg = moved(*HOME, east_m, north_m)
    return Fix(
        captured_at_s=time_s,
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        speed_mps=speed_mps,
        heading_deg=heading_deg,
        accuracy_m=accuracy_m,
    )


def wander(rng: np.random.Generator, count: int, step: float) -> np.ndarray:
    """Return two wandering errors of unit variance that are forgotten in 1 / ``step`` values."""
    keep = np.exp(-step)
    fresh = np.sqrt(1 - keep**2) * rng.standard_normal((2, count))
    errors = np.empty((2, count))
    errors[:, 0] = rng.standard_normal(2)
    for index in range(1, count):
        errors[:, index] = keep * errors[:, index - 1] + fresh[:, index]
    return errors


def speed_noise(
    rng: np.random.Generator, count: int, interval_s: float, kind: SpeedNoise
) -> np.ndarray:
    """Return speeds of 0 to 2 m/s that mean nothing."""
    if kind == "wandering":
        return np.clip(1 + wander(rng, count, interval_s / 30.0)[0] / 1.5, 0, 2)
    if kind == "gaussian":
        return np.clip(np.abs(rng.normal(0, 0.8, count)), 0, 2)
    return rng.uniform(0, 2, count)


def heading_noise(
    rng: np.random.Generator, count: int, interval_s: float, kind: HeadingNoise
) -> np.ndarray:
    """Return headings that mean nothing."""
    if kind == "held":
        return np.full(count, rng.uniform(0, 360))
    if kind == "wandering":
        return (200 * wander(rng, count, interval_s / 60.0)[0]) % 360
    return rng.uniform(0, 360, count)
