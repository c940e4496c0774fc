"""The conveyor without its parcels: floor, rails, belt or rollers, lamps and camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

_BELT_BGR = ((52.0, 50.0, 48.0), (62.0, 72.0, 52.0), (84.0, 66.0, 48.0), (40.0, 42.0, 46.0))
_FLOOR_BGR = ((128.0, 134.0, 138.0), (112.0, 122.0, 118.0), (142.0, 138.0, 128.0))
_BELT_SHARE = 0.76
_SHUTTER_S = (0.004, 0.04)
_NOISE_ZERO = 64
_NOISE_BANK = 2
_NOISE_MARGIN = 64


@dataclass(frozen=True)
class Scene:
    """What stays the same over all frames of one conveyor.

    Attributes:
        still: Floor, rails and, for a roller bed, the rollers; (height, width, 3) uint8 BGR.
        belt: The moving belt, periodic in x, one picture wider than its period; empty
            (0 rows) for a roller bed.
        period_px: Period of ``belt``.
        belt_top: First row of the belt.
        belt_bottom: Row after the last one of the belt.
        light: Brightness of each pixel under the lamps, 0..255; (height, width, 3).
        noise: Sensor noise around 64, a little larger than the picture; (n, ..., ..., 3).
        exposure: Gain of the camera.
        blur_px: Sigma of the lens blur.
        shutter_s: Time of exposure, during which the belt moves.
    """

    still: Picture
    belt: Picture
    period_px: int
    belt_top: int
    belt_bottom: int
    light: Picture
    noise: Picture
    exposure: float
    blur_px: float
    shutter_s: float

    def background(self, travel_px: int) -> Picture:
        """Return a new picture of the empty conveyor after ``travel_px`` of belt travel."""
        picture = self.still.copy()
        if self.belt.size:
            start = -travel_px % self.period_px
            width = picture.shape[1]
            picture[self.belt_top : self.belt_bottom] = self.belt[:, start : start + width]
        return picture

    def expose(self, picture: Picture, gain: float, rng: np.random.Generator) -> Picture:
        """Return the picture as the camera gives it: lamps, gain and fresh noise."""
        lit = cv2.multiply(picture, self.light, scale=1 / 255)
        bank, y, x = (int(v) for v in rng.integers((_NOISE_BANK, _NOISE_MARGIN, _NOISE_MARGIN)))
        height, width = picture.shape[:2]
        grain = self.noise[bank, y : y + height, x : x + width]
        noisy = cv2.addWeighted(lit, self.exposure * gain, grain, 1.0, -_NOISE_ZERO)
        return np.asarray(noisy, np.uint8)


def build_scene(rng: np.random.Generator, width: int, height: int) -> Scene:
    """Draw one conveyor: its materials, lamps and camera are chosen by ``rng``."""
    belt_top = round(height * (1 - _BELT_SHARE) / 2)
    belt_bottom = height - belt_top
    blur_px = float(rng.uniform(0.45, 0.95)) * height / 480
    shutter_s = float(rng.uniform(*_SHUTTER_S))
    still = _floor(rng, width, height)
    _rails(still, rng, belt_top, belt_bottom)
    belt, period = np.zeros((0, 0, 3), np.float32), 0
    if rng.random() < 0.35:  # noqa: PLR2004 - share of the conveyors with a roller bed
        _rollers(still, rng, belt_top, belt_bottom)
    else:
        period = 2 * width
        belt = _rubber(rng, period, belt_bottom - belt_top)
        belt = np.asarray(
            cv2.blur(belt, (max(1, round(120 * shutter_s * height / 480)), 1)), np.float32
        )
        belt = np.concatenate([belt, belt[:, :width]], axis=1)
    still = np.asarray(cv2.GaussianBlur(still, (0, 0), blur_px), np.float32)
    return Scene(
        still=_bytes(still),
        belt=_bytes(belt),
        period_px=period,
        belt_top=belt_top,
        belt_bottom=belt_bottom,
        light=_lamps(rng, width, height),
        noise=_sensor_noise(rng, width, height),
        exposure=float(rng.uniform(0.95, 1.25)),
        blur_px=blur_px,
        shutter_s=shutter_s,
    )


def _bytes(picture: NDArray[np.float32]) -> Picture:
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def _cloud(rng: np.random.Generator, width: int, height: int, cell_px: int) -> NDArray[np.float32]:
    """Return smooth noise of unit variance at its grid points, (height, width)."""
    grid = (height // cell_px + 2, width // cell_px + 2)
    coarse = rng.normal(0, 1, grid).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def _floor(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    base = np.array(_FLOOR_BGR[int(rng.integers(len(_FLOOR_BGR)))], np.float32)
    tone = 1 + 0.05 * _cloud(rng, width, height, 60) + 0.03 * _cloud(rng, width, height, 6)
    tone += rng.normal(0, 0.02, (height, width)).astype(np.float32)
    return np.asarray(base * tone[..., None], np.float32)


def _rails(picture: NDArray[np.float32], rng: np.random.Generator, top: int, bottom: int) -> None:
    """Draw a bright steel profile with bolts on both sides, and its shadow on the floor."""
    height, width = picture.shape[:2]
    rail = max(6, round(0.065 * height))
    painted = rng.random() < 0.4  # noqa: PLR2004 - share of the conveyors painted yellow
    colour = np.array((60, 178, 222) if painted else (176, 172, 168), np.float32)
    profile = 0.72 + 0.34 * np.sin(np.linspace(0.2, np.pi - 0.35, rail, dtype=np.float32))
    brushed = 1 + 0.03 * rng.normal(0, 1, (rail, width)).astype(np.float32)
    steel = colour * (profile[:, None] * cv2.blur(brushed, (15, 1)))[..., None]
    pitch, radius = max(24, round(0.19 * height)), max(2, rail // 7)
    for x in range(pitch // 2, width, pitch):
        cv2.circle(steel, (x + 1, rail // 2 + 1), radius, (60.0, 60.0, 60.0), -1, cv2.LINE_AA)
        cv2.circle(steel, (x, rail // 2), radius, (205.0, 205.0, 205.0), -1, cv2.LINE_AA)
    soft = max(3, rail // 3)
    picture[max(0, top - rail - soft) : top] *= 0.7
    picture[bottom : min(height, bottom + rail + soft)] *= 0.6
    picture[top - rail : top] = steel
    picture[bottom : bottom + rail] = steel


def _rollers(picture: NDArray[np.float32], rng: np.random.Generator, top: int, bottom: int) -> None:
    """Draw a bed of steel rollers lying across the way, with dark gaps between them."""
    height, width = picture.shape[:2]
    pitch = max(8, round(height * rng.uniform(0.085, 0.12)))
    phase = (np.arange(width) + int(rng.integers(pitch))) % pitch / pitch
    across = np.clip(np.sin(np.pi * np.clip((phase - 0.12) / 0.76, 0, 1)), 0, 1) ** 0.8
    shine = np.exp(-(((phase - 0.38) / 0.07) ** 2))
    tone = 26 + rng.uniform(88, 112) * across + 46 * shine
    wear = (
        1 + 0.03 * _cloud(rng, width, bottom - top, 30) + 0.02 * _cloud(rng, width, bottom - top, 4)
    )
    picture[top:bottom] = (tone * wear)[..., None] * np.array((1.02, 1.0, 0.97))
    _rail_shadow(picture[top:bottom])


def _rubber(rng: np.random.Generator, period: int, height: int) -> NDArray[np.float32]:
    """Draw one period of a rubber belt with weave, scuffs, dust and one seam."""
    base = np.array(_BELT_BGR[int(rng.integers(len(_BELT_BGR)))], np.float32)
    tone = 1 + 0.05 * _cloud(rng, period, height, 40) + 0.04 * _cloud(rng, period, height, 5)
    weave = np.add.outer(np.arange(height), np.arange(period)) % 6 < 3  # noqa: PLR2004 - threads
    tone += np.where(weave, 0.035, -0.035).astype(np.float32)
    tone += rng.normal(0, 0.04, (height, period)).astype(np.float32)
    fade = np.linspace(0, 1, 40, dtype=np.float32)
    tone[:, -40:] = tone[:, -40:] * (1 - fade) + tone[:, :1] * fade
    belt = np.asarray(base * tone[..., None], np.float32)
    for _ in range(int(rng.integers(10, 22))):
        x, y = int(rng.integers(8, period - 80)), int(rng.integers(4, height - 4))
        end = (x + int(rng.integers(8, 70)), y + int(rng.integers(-5, 6)))
        shade = tuple(float(v) for v in base * rng.uniform(1.15, 1.5))
        cv2.line(belt, (x, y), end, shade, int(rng.integers(1, 3)), cv2.LINE_AA)
    seam = period // 3
    cv2.line(belt, (seam, 0), (seam + height // 6, height), (24.0, 24.0, 24.0), 3, cv2.LINE_AA)
    cv2.line(
        belt, (seam + 4, 0), (seam + 4 + height // 6, height), (96.0, 96.0, 92.0), 1, cv2.LINE_AA
    )
    _rail_shadow(belt)
    return belt


def _rail_shadow(belt: NDArray[np.float32]) -> None:
    """Darken the edges of the belt, where the rails stand over it, in place."""
    depth = max(3, belt.shape[0] // 14)
    ramp = np.linspace(0.45, 1.0, depth, dtype=np.float32)[:, None, None]
    belt[:depth] *= ramp
    belt[-depth // 2 :] *= ramp[::-1][-(depth // 2 + depth % 2) :]


def _lamps(rng: np.random.Generator, width: int, height: int) -> Picture:
    """Return how the lamps light each pixel: one soft spot and a fall-off to the corners."""
    x = np.linspace(0, 1, width, dtype=np.float32) - np.float32(rng.uniform(0.25, 0.75))
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None] - np.float32(rng.uniform(0.3, 0.7))
    fall_off = np.exp(-(x**2 / 0.9 + y**2 / 0.8))
    depth = rng.uniform(0.25, 0.5)
    light = (1 - depth + depth * fall_off)[..., None]
    tint = np.array([rng.uniform(0.9, 1.0), 0.98, rng.uniform(0.93, 1.0)])
    return _bytes((255 * light * tint).astype(np.float32))


def _sensor_noise(rng: np.random.Generator, width: int, height: int) -> Picture:
    sigma = rng.uniform(3.0, 6.5)
    shape = (_NOISE_BANK, height + _NOISE_MARGIN, width + _NOISE_MARGIN, 3)
    grain = rng.standard_normal(shape, dtype=np.float32) * np.float32(sigma)
    return _bytes(grain + _NOISE_ZERO)
