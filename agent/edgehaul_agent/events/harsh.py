"""Harsh braking, acceleration and cornering from speeds and headings about 1 s apart."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from edgehaul.clock import format_utc
from edgehaul.messages.payloads import EventData
from edgehaul.messages.vehicle import DrivingEvent, Manoeuvre
from edgehaul.motion.ellipsoid import wrapped_deg
from edgehaul.values import Fix

LONGEST_S = 2.5
"""Over more time a mean says nothing of a peak: slower receivers tell no harsh manoeuvres."""
_BASE_S = 0.8
_GOES_ON_SHARE = 0.5
_JOIN_S = 2.0
_UNDOES_SHARE = 0.6
_LASTS_S = 1.5
_GLITCH_MPS = 1.0
_GLITCH_DEG = 30.0
_CORNERS_FROM_MPS = 4.0


@dataclass(frozen=True, slots=True)
class Change:
    """What changed between two fixes about 1 s apart.

    Attributes:
        before: The first fix.
        after: The second.
        along_mps2: Acceleration along the way; below 0 for braking.
        across_mps2: Acceleration across it; below 0 to the left.
    """

    before: Fix
    after: Fix
    along_mps2: float
    across_mps2: float


class Differences:
    """Makes changes of fixes, over about 1 s however fast they come, one fix late.

    Fixes without a speed, such as those whose speed a cleaner refused, are passed over. A speed
    or heading beyond both of its neighbours is a glitch: what is between them stands in for it.
    """

    def __init__(self) -> None:
        self._fixes: deque[Fix] = deque()
        self._neighbours: deque[Fix] = deque(maxlen=3)

    def push(self, fix: Fix) -> Change | None:
        """Return the change up to the fix before this one; None where there is none."""
        if fix.speed_mps is None:
            return None
        self._neighbours.append(fix)
        if len(self._neighbours) < 3:  # noqa: PLR2004 - one on either side
            return None
        return self._changed(_mended(*self._neighbours))

    def close(self) -> Change | None:
        """Return the change up to the last fix."""
        return self._changed(self._neighbours[-1]) if len(self._neighbours) > 1 else None

    def _changed(self, fix: Fix) -> Change | None:
        while self._fixes and not 0 < fix.captured_at_s - self._fixes[0].captured_at_s <= LONGEST_S:
            self._fixes.popleft()
        before = next(
            (f for f in reversed(self._fixes) if fix.captured_at_s - f.captured_at_s >= _BASE_S),
            None,
        )
        self._fixes.append(fix)
        return None if before is None else _change(before, fix)


def _mended(before: Fix, fix: Fix, after: Fix) -> Fix:
    """Return a fix without a speed or a heading that both neighbours contradict."""
    if not 0 < after.captured_at_s - before.captured_at_s <= 2 * LONGEST_S:
        return fix
    part = (fix.captured_at_s - before.captured_at_s) / (after.captured_at_s - before.captured_at_s)
    first_mps, last_mps = before.speed_mps or 0.0, after.speed_mps or 0.0
    if _is_beyond(fix.speed_mps or 0.0, first_mps, last_mps, _GLITCH_MPS):
        speed_mps = first_mps + part * (last_mps - first_mps)
        fix = msgspec.structs.replace(fix, speed_mps=speed_mps)
    if before.heading_deg is None or fix.heading_deg is None or after.heading_deg is None:
        return fix
    whole_deg = wrapped_deg(after.heading_deg - before.heading_deg)
    if _is_beyond(wrapped_deg(fix.heading_deg - before.heading_deg), 0.0, whole_deg, _GLITCH_DEG):
        heading_deg = (before.heading_deg + part * whole_deg) % 360
        fix = msgspec.structs.replace(fix, heading_deg=heading_deg)
    return fix


def _is_beyond(value: float, first: float, last: float, by: float) -> bool:
    return not min(first, last) - by <= value <= max(first, last) + by


def _change(before: Fix, after: Fix) -> Change:
    elapsed_s = after.captured_at_s - before.captured_at_s
    first_mps, last_mps = before.speed_mps or 0.0, after.speed_mps or 0.0
    across_mps2 = 0.0
    known = before.heading_deg is not None and after.heading_deg is not None
    if known and min(first_mps, last_mps) >= _CORNERS_FROM_MPS:
        turn_deg = wrapped_deg((after.heading_deg or 0.0) - (before.heading_deg or 0.0))
        across_mps2 = math.radians(turn_deg) / elapsed_s * (first_mps + last_mps) / 2
    return Change(before, after, (last_mps - first_mps) / elapsed_s, across_mps2)


@dataclass(slots=True)
class _Spell:
    """Changes in a row that are at least half as strong as is harsh."""

    name: Manoeuvre
    first: Fix
    last: Fix
    peak: Fix
    peak_mps2: float
    speed_mps: float
    is_harsh: bool
    streak_sign: float
    streak_from: Fix
    streak_changes: int = 1
    lasts: bool = False

    @property
    def gained_mps(self) -> float:
        """Change of the speed from its start to its end."""
        return (self.last.speed_mps or 0.0) - (self.first.speed_mps or 0.0)

    def go_on(self, change: Change, value_mps2: float, *, is_harsh: bool) -> None:
        """Take in one more change."""
        self.last = change.after
        self.is_harsh |= is_harsh
        self.speed_mps = max(self.speed_mps, change.after.speed_mps or 0.0)
        if abs(value_mps2) > abs(self.peak_mps2):
            self.peak, self.peak_mps2 = change.after, value_mps2
        if math.copysign(1.0, value_mps2) != self.streak_sign:
            self.streak_sign = math.copysign(1.0, value_mps2)
            self.streak_from, self.streak_changes = change.before, 1
            return
        self.streak_changes += 1
        streak_s = change.after.captured_at_s - self.streak_from.captured_at_s
        self.lasts |= self.streak_changes > 1 and streak_s >= _LASTS_S


class HarshPedals:
    """Tells harsh braking and acceleration, once each, when they are over.

    A wrong speed is a change and, within 2 s, its opposite. No truck takes back most of a harsh
    change so soon, so both are dropped.

    Args:
        braking_mps2: From where on braking is harsh.
        acceleration_mps2: From where on speeding up is.
    """

    def __init__(self, braking_mps2: float, acceleration_mps2: float) -> None:
        self._thresholds: dict[Manoeuvre, float] = {
            "harsh_braking": braking_mps2,
            "harsh_acceleration": acceleration_mps2,
        }
        self._spell: _Spell | None = None
        self._waiting: _Spell | None = None

    def update(self, change: Change) -> Iterator[EventData]:
        """Take the next change."""
        value_mps2 = change.along_mps2
        name: Manoeuvre = "harsh_braking" if value_mps2 < 0 else "harsh_acceleration"
        threshold_mps2 = self._thresholds[name]
        is_on = abs(value_mps2) >= _GOES_ON_SHARE * threshold_mps2
        is_harsh = abs(value_mps2) >= threshold_mps2
        spell = self._spell
        if spell is not None:
            if is_on and spell.name == name and _follows(spell, change, 0.0):
                spell.go_on(change, value_mps2, is_harsh=is_harsh)
                return
            yield from self._finish(spell)
        if self._waiting is not None and not _follows(self._waiting, change, _JOIN_S):
            yield from self._tell()
        self._spell = _begun(name, change, value_mps2, is_harsh=is_harsh) if is_on else None

    def close(self) -> Iterator[EventData]:
        """End what is under way."""
        if self._spell is not None:
            yield from self._finish(self._spell)
        yield from self._tell()

    def _finish(self, spell: _Spell) -> Iterator[EventData]:
        """Let a spell wait for what may undo it, unless it undoes the one that waits."""
        self._spell = None
        waiting = self._waiting
        if waiting is not None and waiting.name != spell.name:
            undoes = abs(spell.gained_mps) >= _UNDOES_SHARE * abs(waiting.gained_mps)
            if undoes and (spell.is_harsh or waiting.is_harsh):
                self._waiting = None
                return
        if spell.is_harsh:
            yield from self._tell()
            self._waiting = spell

    def _tell(self) -> Iterator[EventData]:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            yield _told(waiting)


class HarshSteering:
    """Tells harsh cornering, once for each bend, when it is over.

    Spells at most 2 s apart are one, such as both halves of an S-bend. One of them must last for
    two changes to the same side: a wrong heading is a change and then its opposite.

    Args:
        cornering_mps2: From where on cornering is harsh.
    """

    def __init__(self, cornering_mps2: float) -> None:
        self._threshold_mps2 = cornering_mps2
        self._spell: _Spell | None = None

    def update(self, change: Change) -> Iterator[EventData]:
        """Take the next change."""
        value_mps2 = change.across_mps2
        is_harsh = abs(value_mps2) >= self._threshold_mps2
        spell = self._spell
        if spell is not None and not _follows(spell, change, _JOIN_S):
            yield from self.close()
            spell = None
        if abs(value_mps2) < _GOES_ON_SHARE * self._threshold_mps2:
            return
        if spell is None:
            self._spell = _begun("harsh_cornering", change, value_mps2, is_harsh=is_harsh)
        else:
            spell.go_on(change, value_mps2, is_harsh=is_harsh)

    def close(self) -> Iterator[EventData]:
        """End what is under way."""
        spell, self._spell = self._spell, None
        if spell is not None and spell.is_harsh and spell.lasts:
            yield _told(spell)


def _begun(name: Manoeuvre, change: Change, value_mps2: float, *, is_harsh: bool) -> _Spell:
    speed_mps = max(change.before.speed_mps or 0.0, change.after.speed_mps or 0.0)
    return _Spell(
        name,
        first=change.before,
        last=change.after,
        peak=change.after,
        peak_mps2=value_mps2,
        speed_mps=speed_mps,
        is_harsh=is_harsh,
        streak_sign=math.copysign(1.0, value_mps2),
        streak_from=change.before,
    )


def _follows(spell: _Spell, change: Change, within_s: float) -> bool:
    pause_s = change.before.captured_at_s - spell.last.captured_at_s
    return pause_s <= within_s and change.after.captured_at_s > spell.last.captured_at_s


def _told(spell: _Spell) -> EventData:
    event = DrivingEvent(
        manoeuvre=spell.name,
        phase="end",
        started_at=format_utc(spell.first.captured_at_s),
        peak_at=format_utc(spell.peak.captured_at_s),
        ended_at=format_utc(spell.last.captured_at_s),
        duration_s=round(spell.last.captured_at_s - spell.first.captured_at_s, 3),
        speed_mps=round(spell.speed_mps, 2),
        acceleration_mps2=round(spell.peak_mps2, 2),
    )
    return EventData(event=event, position=spell.peak)
