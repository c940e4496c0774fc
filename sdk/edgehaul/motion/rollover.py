"""Dates of receivers that have counted their weeks wrong.

GPS numbers its weeks modulo 1024: a receiver that is older than the present span of 19.6 years
gives a date that many weeks too early, and one that guesses the span wrongly one too late.
"""

from __future__ import annotations

from edgehaul.clock import parse_utc

ROLL_OVER_S = 1024 * 7 * 86_400.0
EARLIEST_S = parse_utc("2026-01-01T00:00:00Z")
"""No live fix is from before this: these sources were written after it."""
_AGREEMENT_S = 86_400.0


def believable_s(time_s: float, now_s: float) -> float | None:
    """Return the time of a live fix, moved by 1024 weeks where two witnesses agree.

    A time that differs from the machine's clock by a multiple of 1024 weeks, but for less than a
    day, is moved by that: the receiver's own date modulo 1024 weeks and the machine's clock say the
    same. Where they do not, a time from before :data:`EARLIEST_S` cannot be true and nobody
    knows the right one. Any other is left as it is: it may be the machine's clock that is wrong.

    Args:
        time_s: UTC seconds since 1970 as the receiver gives them.
        now_s: The same of the machine's clock.

    Returns:
        The time; None where no date can be told without inventing it.
    """
    moved_s = time_s + round((now_s - time_s) / ROLL_OVER_S) * ROLL_OVER_S
    if moved_s >= EARLIEST_S and abs(moved_s - now_s) <= _AGREEMENT_S:
        return moved_s
    return time_s if time_s >= EARLIEST_S else None
