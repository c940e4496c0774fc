"""Which failures of a stream are mended by starting it again, and when that is tried."""

from __future__ import annotations

import random
from typing import Literal

from edgehaul.config.device import GpsConfig, StreamConfig
from edgehaul.config.recordings import (
    FileSource,
    ImagesSource,
    TraceSource,
    VirtualConveyorSource,
    VirtualTruckSource,
)
from edgehaul.config.service import SupervisionSection
from edgehaul.errors import (
    AuthError,
    BundleError,
    DeviceError,
    SpecMismatchError,
    UsageError,
)

Stream = StreamConfig | GpsConfig
Outlook = Literal["soon", "slow"]

_SOMEBODY_MUST_MEND = (AuthError, BundleError, DeviceError, SpecMismatchError, UsageError)
_FIRST_PAUSE_S = 1.0
_FRAMES = 4


class StallError(DeviceError):
    """A stream does not move on, although it could."""


class CrashError(DeviceError):
    """A part of a stream failed in a way that nobody foresaw."""


def is_live(stream: Stream) -> bool:
    """Return whether a stream has no end, so that it goes on where it is when it starts again.

    Recordings would begin at their beginning: what they show would be told twice.
    """
    source = stream.source
    if isinstance(source, VirtualConveyorSource):
        return source.frames == 0
    return not isinstance(source, FileSource | ImagesSource | TraceSource | VirtualTruckSource)


def has_end(stream: Stream) -> bool:
    """Return whether a stream ends by itself: a recording that is played once."""
    source = stream.source
    return not is_live(stream) and not (isinstance(source, FileSource) and source.loop)


def stall_timeout_s(stream: Stream, section: SupervisionSection) -> float:
    """Return after how long without a sign of life a stream's source hangs."""
    source = stream.source
    if isinstance(source, VirtualConveyorSource):
        return max(section.stall_timeout_s, _FRAMES / source.fps)
    return section.stall_timeout_s


def outlook(error: Exception) -> Outlook:
    """Return whether a restart may help by itself, or only after somebody has mended something."""
    if isinstance(error, StallError | CrashError):
        return "soon"
    return "slow" if isinstance(error, _SOMEBODY_MUST_MEND) else "soon"


def pause_s(
    kind: Outlook, failures: int, section: SupervisionSection, chance: random.Random
) -> float:
    """Return how long to wait before the next try.

    Args:
        kind: The outlook.
        failures: How often it failed in a row before this time.
        section: The longest pauses.
        chance: Up to a half is taken off at random: what many streams or boxes share, a camera or
            a disk, is not asked by all of them in one moment.
    """
    most_s = section.slow_retry_s
    if kind == "soon":
        most_s = min(section.retry_s, _FIRST_PAUSE_S * 2.0 ** min(failures, 16))
    return most_s * chance.uniform(0.5, 1.0)
