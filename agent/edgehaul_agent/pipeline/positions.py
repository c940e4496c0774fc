"""Where the device was when a camera took a picture: from GPS streams to cameras.

Times can be compared only within one clock:

==========  ==============================================  ===================================
clock       streams                                         their capture times
==========  ==============================================  ===================================
``now``     live cameras and receivers                      UTC, when it happened
``replay``  recordings and virtual devices, ``realtime``    as if they began when the run does
none        recordings that are read as fast as they can    nobody can compare them
==========  ==============================================  ===================================

A camera gets positions of a GPS stream with the same clock. A recorded film with a live receiver,
or a live camera with a recorded trace, would be told to be where it never was.
"""

from __future__ import annotations

import logging
from typing import Literal

import msgspec

from edgehaul.config.cameras import LiveCamera
from edgehaul.config.device import DeviceConfig, GpsConfig, StreamConfig
from edgehaul.config.receivers import GpsdSource, NmeaSerialSource, NmeaTcpSource, NmeaUdpSource
from edgehaul.motion.whereabouts import Locator, Whereabouts

_log = logging.getLogger(__name__)

ClockName = Literal["now", "replay"]
_LIVE = LiveCamera | NmeaSerialSource | NmeaTcpSource | NmeaUdpSource | GpsdSource


def clock_of(stream: StreamConfig | GpsConfig) -> ClockName | None:
    """Return the clock of a stream's capture times; none where they are nobody else's."""
    if isinstance(stream.source, _LIVE):
        return "now"
    return "replay" if getattr(stream.source, "realtime", False) else None


class Replayed:
    """Answers for a recording as if it happened now.

    Args:
        locator: Answers by the recording's own times.
    """

    def __init__(self, locator: Locator) -> None:
        self._locator = locator
        self._later_s: float | None = None

    def begin(self, later_s: float) -> None:
        """Take note of how much later than it was taken the first fix is played."""
        if self._later_s is None:
            self._later_s = later_s

    def at(self, captured_at_s: float) -> Whereabouts | None:
        """Return where the device was at a time (UTC seconds) of the replay."""
        later_s = self._later_s
        found = None if later_s is None else self._locator.at(captured_at_s - later_s)
        if found is None:
            return None
        fix = msgspec.structs.replace(found.fix, captured_at_s=captured_at_s)
        return Whereabouts(fix, found.placement)


class Positions:
    """Leads each camera to the newest run of its GPS stream, whatever was started again.

    Args:
        config: The device's streams.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self._locators: dict[str, Locator] = {}
        self._partners = _partners(config)

    def adopt(self, config: DeviceConfig) -> None:
        """Go on with other streams: cameras that run already are led anew."""
        self._partners = _partners(config)

    def follow(self, gps: str, locator: Locator) -> None:
        """Ask this run of a GPS stream from now on, and none before it."""
        self._locators[gps] = locator

    def of(self, camera: StreamConfig) -> Locator:
        """Return what answers a camera, whether its GPS stream runs yet, or runs anew."""
        if camera.gps and camera.name not in self._partners:
            _log.warning(
                "stream %s: its events carry no position: its times and those of %s cannot be "
                "compared; give both of them live sources, or realtime: true",
                camera.name,
                camera.gps,
            )
        return _Guided(self, camera.name)

    def at(self, camera: str, captured_at_s: float) -> Whereabouts | None:
        """Return where a camera was at a time (UTC seconds); None where that is not known."""
        locator = self._locators.get(self._partners.get(camera, ""))
        return None if locator is None else locator.at(captured_at_s)


class _Guided(msgspec.Struct, frozen=True):
    """What one camera asks."""

    positions: Positions
    camera: str

    def at(self, captured_at_s: float) -> Whereabouts | None:
        """Return where the device was at a time (UTC seconds); None where that is not known."""
        return self.positions.at(self.camera, captured_at_s)


def _partners(config: DeviceConfig) -> dict[str, str]:
    """Return the GPS stream of each camera that has one with the same clock."""
    partners = {}
    for camera in config.streams:
        named = [g for g in config.gps if g.name == camera.gps or not camera.gps]
        clock = clock_of(camera)
        if len(named) == 1 and clock is not None and clock == clock_of(named[0]):
            partners[camera.name] = named[0].name
    return partners
