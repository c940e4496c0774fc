"""Sources that are not live: files, and virtual devices, which are drawn as if they were."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from edgehaul.config.section import Section

_DAY_S = 86_400.0
# Bounds keep out what could only be a slip.
Seed = Annotated[int, Meta(ge=0, le=2**31 - 1)]
DecodeThreads = Annotated[int, Meta(ge=1, le=16)]
SidePx = Annotated[int, Meta(ge=96, le=8192)]


class FileSource(Section, frozen=True, tag="file", tag_field="type"):
    """A video file, read once.

    Attributes:
        path: The file, relative to the configuration file.
        realtime: Whether to keep to the clip's own pace.
        loop: Whether to start again at the end.
        isolate: Whether to decode in a process of its own, so that a file which crashes the
            decoder does not end the agent.
        threads: Threads that decode the file; each further one holds some more frames in memory.
    """

    path: str
    realtime: bool = False
    loop: bool = False
    isolate: bool = False
    threads: DecodeThreads = 1


class ImagesSource(Section, frozen=True, tag="images", tag_field="type"):
    """A folder of images, in the order of their names.

    Attributes:
        path: The folder, relative to the configuration file.
        interval_s: Time between two images in their capture times.
    """

    path: str
    interval_s: Annotated[float, Meta(gt=0, le=_DAY_S)] = 1.0


class VirtualConveyorSource(Section, frozen=True, tag="virtual_conveyor", tag_field="type"):
    """A rendered conveyor with parcels (see ``edgehaul.virtual.conveyor``).

    Attributes:
        seed: The same seed gives the same pictures.
        frames: Number of frames; 0 means without end.
        fps: Frames per second of the scene.
        width: Width in pixels.
        height: Height in pixels.
        realtime: Whether to keep to ``fps`` by the clock.
    """

    seed: Seed = 0
    frames: Annotated[int, Meta(ge=0)] = 0
    fps: Annotated[float, Meta(gt=0, le=1000)] = 25.0
    width: SidePx = 640
    height: SidePx = 480
    realtime: bool = False


class TraceSource(Section, frozen=True, tag="trace", tag_field="type"):
    """A recorded trace, CSV or GPX.

    Attributes:
        path: The file, relative to the configuration file.
        realtime: Whether to keep to the trace's own pace.
    """

    path: str
    realtime: bool = False


class VirtualTruckSource(Section, frozen=True, tag="virtual_truck", tag_field="type"):
    """A simulated truck (see ``edgehaul.virtual.truck``).

    Attributes:
        seed: The same seed gives the same trip.
        duration_s: Length of the trip.
        realtime: Whether to keep to the trip's own pace.
    """

    seed: Seed = 0
    duration_s: Annotated[float, Meta(ge=60, le=7 * _DAY_S)] = 1800.0
    realtime: bool = False
