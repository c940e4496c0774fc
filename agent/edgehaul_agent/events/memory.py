"""What has to be known of a vehicle for a trip to go on after the agent was started anew."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from edgehaul_agent.events.driving import Speeding
from edgehaul_agent.events.moments import Moment
from edgehaul_agent.events.trips import Trip


class VehicleMemory(msgspec.Struct, frozen=True, kw_only=True):
    """A vehicle's odometer, and the trip under way.

    Attributes:
        version: Of this form; a file of another one is not understood.
        odometer_m: Way of all trips that have ended.
        trip: The trip under way; of a parked vehicle nothing else is kept.
        last: The last fix that counts in it.
        is_moving: Whether the vehicle moved then.
        speeding: Time above a limit that was not over.
        is_idling: Whether it has been told that the vehicle idles.
    """

    version: Literal[1] = 1
    odometer_m: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    trip: Trip | None = None
    last: Moment | None = None
    is_moving: bool = False
    speeding: Speeding | None = None
    is_idling: bool = False

    def __post_init__(self) -> None:
        """Refuse a trip of which it is not known how far it has come."""
        if self.trip is not None and self.last is None:
            raise ValueError("a trip under way has a last fix")
