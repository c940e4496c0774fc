"""The moments that a receiver's sentences tell of, and which day they are of."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from edgehaul.motion.sentences import Place
from edgehaul.motion.table import METRES_PER_HDOP
from edgehaul.values import Fix

DAY_S = 86_400.0
_PENDING = 3600
"""So many fixes wait for the first sentence with a date."""
_REMEMBERED = 16
"""A moment among so many last ones has been told already, be its sentences mixed with others'."""
_SAME_S = 1e-4
"""Times closer than this are one moment: receivers write hundredths or thousandths."""
_LATEST_S = 3600.0
"""A time of day is that of the day it seems to be, up to this long after the last one."""
_BACK_S = 60.0
"""As far may it go back: sentences of one moment may come after those of the next."""


@dataclass
class Epoch:
    """What the sentences of one moment have said so far."""

    time_of_day_s: float
    at_s: float | None = None
    kinds: set[str] = field(default_factory=set)
    valid: bool = True
    told: bool = False
    places: list[Place] = field(default_factory=list)
    speed_mps: float | None = None
    heading_deg: float | None = None
    altitude_m: float | None = None
    measured_m: float | None = None
    hdop: float | None = None

    def is_at(self, time_of_day_s: float) -> bool:
        """Return whether a time of day is this moment's."""
        return abs(self.time_of_day_s - time_of_day_s) <= _SAME_S

    def put_place(self, place: Place) -> None:
        """Take a place unless there is one that is written more finely."""
        finest = self.places[-1].decimals if self.places else 0
        if place.decimals > finest:
            self.places.clear()
        if place.decimals >= finest:
            self.places.append(place)

    def leave_to_next(self, place: Place) -> None:
        """Give up the places that GLL repeats with the next moment's time; the first is kept.

        Some devices count the seconds amid their sentences: GGA has the place of the next second
        and the time of this one, and only GLL after it has the right one.
        """
        while len(self.places) > 1 and self.places[-1].is_near(place):
            self.places.pop()

    def take_errors(self, early: dict[str, tuple[float, float]]) -> None:
        """Take from ``early``, by kind of sentence, the error (1 sigma) that is of this moment."""
        for kind, (time_s, measured_m) in early.items():
            if self.is_at(time_s):
                self.kinds.add(kind)
                self.measured_m = measured_m

    @property
    def is_fix(self) -> bool:
        """Whether the receiver knew where it was."""
        return self.valid and bool(self.places)

    def fix(self, at_s: float) -> Fix:
        """Return the fix of this moment; it must be one.

        Args:
            at_s: The moment with its date, UTC seconds since 1970.
        """
        hdop_m = None if self.hdop is None else self.hdop * METRES_PER_HDOP
        return Fix(
            captured_at_s=at_s,
            latitude_deg=self.places[-1].latitude_deg,
            longitude_deg=self.places[-1].longitude_deg,
            speed_mps=self.speed_mps,
            heading_deg=self.heading_deg,
            altitude_m=self.altitude_m,
            accuracy_m=hdop_m if self.measured_m is None else self.measured_m,
        )


class EpochDater:
    """Makes fixes of moments, each with the date that is known for it and none that is not.

    A moment without a date of its own has the day that makes it follow the one before by an hour
    at most. After a longer gap, or a step back of more than a minute that is no midnight, nobody
    knows the day, and fixes wait for the next date, as they do for the first. They get it by the
    same rule backwards; those beyond such a gap are given up.

    Attributes:
        given_up: Fixes that waited for a date and cannot be given one any more.
    """

    def __init__(self) -> None:
        self.given_up = 0
        self._anchor_s: float | None = None
        self._told_s: deque[float] = deque(maxlen=_REMEMBERED)
        self._heard_at_s: float | None = None
        self._waiting: deque[Epoch] = deque(maxlen=_PENDING)
        self._ready: list[Fix] = []

    @property
    def waiting(self) -> int:
        """Number of fixes that wait for a date."""
        return len(self._waiting)

    @property
    def knows_date(self) -> bool:
        """Whether the last moment had a date."""
        return self._anchor_s is not None

    def taken(self) -> list[Fix]:
        """Return the fixes that became ready, once."""
        fixes, self._ready = self._ready, []
        return fixes

    def set_date(self, at_s: float) -> None:
        """Take a moment with its date, UTC seconds since 1970."""
        self._anchor_s = at_s

    def is_after_pause(self, now_s: float | None) -> bool:
        """Note that a time of day has come, and return whether days may have passed before it.

        Args:
            now_s: When, on a clock that never goes back; None where nobody measures.
        """
        before_s, self._heard_at_s = self._heard_at_s, now_s
        return before_s is not None and now_s is not None and now_s - before_s > _LATEST_S

    def forget(self) -> None:
        """Forget the date, and give up what waits for one."""
        self._anchor_s = None
        self._give_up()

    def tell(self, epoch: Epoch) -> None:
        """Make ready the fix of a moment, and those that waited for its date; once."""
        if epoch.told:
            return
        epoch.told = True
        at_s = epoch.at_s if epoch.valid else None
        if at_s is None and self._anchor_s is not None:
            at_s = _moment_s(epoch.time_of_day_s, self._anchor_s, back_s=_BACK_S, on_s=_LATEST_S)
        self._anchor_s = at_s
        if not epoch.is_fix:
            return
        if at_s is None:
            self.given_up += len(self._waiting) == _PENDING
            self._waiting.append(epoch)
            return
        self._tell_waiting(at_s)
        self._tell_at(epoch, at_s)

    def _tell_waiting(self, after_s: float) -> None:
        """Make ready the fixes from before a date, counting midnights backwards."""
        dated = []
        while self._waiting:
            epoch = self._waiting[-1]
            at_s = _moment_s(epoch.time_of_day_s, after_s, back_s=_LATEST_S, on_s=_BACK_S)
            if at_s is None:
                break
            after_s = at_s
            dated.append((self._waiting.pop(), at_s))
        self._give_up()
        for epoch, at_s in reversed(dated):
            self._tell_at(epoch, at_s)

    def _tell_at(self, epoch: Epoch, at_s: float) -> None:
        if any(abs(at_s - told_s) <= _SAME_S for told_s in self._told_s):
            return
        self._told_s.append(at_s)
        self._ready.append(epoch.fix(at_s))

    def _give_up(self) -> None:
        self.given_up += len(self._waiting)
        self._waiting.clear()


def _moment_s(time_of_day_s: float, near_s: float, *, back_s: float, on_s: float) -> float | None:
    """Return the moment with a time of day within ``near_s - back_s .. near_s + on_s``."""
    midnight_s = near_s - near_s % DAY_S
    for day in (-1, 0, 1):
        at_s = midnight_s + day * DAY_S + time_of_day_s
        if -back_s <= at_s - near_s <= on_s:
            return at_s
    return None
