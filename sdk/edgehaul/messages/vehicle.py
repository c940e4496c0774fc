"""What happens to a vehicle as its GPS tells it: trips, borders, routes, manoeuvres."""

from __future__ import annotations

from typing import Literal

import msgspec


class TripEvent(msgspec.Struct, frozen=True, kw_only=True, tag="trip"):
    """A trip began or ended; the message's position is where.

    No two starts follow each other without an end, also where the agent is killed; then a start may
    be missing, and an end may come twice, with the same ``started_at``: the later one counts.

    Attributes:
        phase: ``start`` or ``end``; both are told when they are sure, with the time that they
            happened.
        started_at: Start of the trip, RFC 3339 in UTC; both messages of a trip have the same.
        ended_at: End of it, RFC 3339 in UTC; empty at the start.
        distance_m: Way driven, without gaps.
        duration_s: Time from start to end.
        moving_s: Of this, the time in motion.
        idle_s: Of this, the time standing between motion.
        gap_s: Of this, the time without a signal.
        gap_m: Straight distances across the gaps, in no other figure.
        gaps: Number of gaps.
        max_speed_mps: Largest speed.
        mean_speed_mps: Distance by time in motion.
        unseen_m: Straight distance from where the vehicle was last seen to where the trip
            starts; more than noise where it was moved without a signal.
        odometer_m: Way driven in all trips, this one included; it outlives the agent's restarts,
            but for recordings.
        ended_by: Why it ended: the vehicle ``stop`` ped, a ``gap`` in the signal, a jump of the
            ``clock``, or the ``close`` of the data.
    """

    phase: Literal["start", "end"]
    started_at: str
    ended_at: str = ""
    distance_m: float = 0.0
    duration_s: float = 0.0
    moving_s: float = 0.0
    idle_s: float = 0.0
    gap_s: float = 0.0
    gap_m: float = 0.0
    gaps: int = 0
    max_speed_mps: float = 0.0
    mean_speed_mps: float = 0.0
    unseen_m: float = 0.0
    odometer_m: float = 0.0
    ended_by: Literal["", "stop", "gap", "clock", "close"] = ""


class GeofenceEvent(msgspec.Struct, frozen=True, kw_only=True, tag="geofence"):
    """A vehicle and the border of an area.

    Attributes:
        fence: Name of the area.
        phase: ``inside`` (it was there when the agent started), ``enter``, ``dwell`` (it has
            been inside for as long as is configured) or ``exit``.
        not_before: Last time at which it was surely on the other side, RFC 3339 in UTC; the
            border was crossed between this and the message's time. Empty where unknown.
        inside_s: Time inside, for ``dwell`` and ``exit``.
    """

    fence: str
    phase: Literal["inside", "enter", "dwell", "exit"]
    not_before: str = ""
    inside_s: float = 0.0


class RouteEvent(msgspec.Struct, frozen=True, kw_only=True, tag="route"):
    """A vehicle and the way that it should keep to.

    Attributes:
        route: Name of the way.
        phase: ``deviated`` (it is off the way for as long as is configured) or ``returned``.
        started_at: When it left the way, RFC 3339 in UTC; both messages have the same.
        distance_m: Largest distance from the way so far.
    """

    route: str
    phase: Literal["deviated", "returned"]
    started_at: str
    distance_m: float


Manoeuvre = Literal["speeding", "idling", "harsh_braking", "harsh_acceleration", "harsh_cornering"]


class DrivingEvent(msgspec.Struct, frozen=True, kw_only=True, tag="driving"):
    """How a vehicle was driven: one manoeuvre.

    Harsh manoeuvres are told once, at their ``end``. Speeding and idling are told when they are
    sure (``start``) and again at their ``end``, under the same ``started_at``.

    Attributes:
        manoeuvre: What.
        phase: ``start`` or ``end``.
        started_at: Start, RFC 3339 in UTC.
        peak_at: When it was worst so far, RFC 3339 in UTC.
        ended_at: End, RFC 3339 in UTC; empty at the start.
        duration_s: Time since the start.
        speed_mps: Largest speed so far.
        limit_mps: The limit, of speeding.
        fence: The area whose limit that is; empty for the general one.
        acceleration_mps2: Of harsh manoeuvres the largest, as a mean over about 1 s: below 0
            for braking, and for cornering to the left.
    """

    manoeuvre: Manoeuvre
    phase: Literal["start", "end"]
    started_at: str
    peak_at: str
    ended_at: str = ""
    duration_s: float = 0.0
    speed_mps: float = 0.0
    limit_mps: float | None = None
    fence: str = ""
    acceleration_mps2: float | None = None
