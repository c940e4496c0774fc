"""The device's configuration, ``device.yaml``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from edgehaul.config.cameras import GstreamerSource, MjpegSource, RtspSource, UsbSource
from edgehaul.config.clips import ClipSection
from edgehaul.config.engine import EngineSection
from edgehaul.config.gating import ActiveHours, MotionSection, Region, require_timezone
from edgehaul.config.receivers import (
    GpsdSource,
    NmeaSerialSource,
    NmeaTcpSource,
    NmeaUdpSource,
)
from edgehaul.config.recordings import (
    FileSource,
    ImagesSource,
    TraceSource,
    VirtualConveyorSource,
    VirtualTruckSource,
)
from edgehaul.config.second import SecondStage
from edgehaul.config.section import Section
from edgehaul.config.service import MetricsSection, PreviewSection, SupervisionSection
from edgehaul.config.snapshots import SnapshotSection
from edgehaul.config.vehicle import (
    DrivingSection,
    GeofencesSection,
    Route,
    TripsSection,
    VehicleConfig,
    check_names,
)
from edgehaul.config.zones import ZoneConfig
from edgehaul.geometry import Line
from edgehaul.messages.topics import is_topic_name

_DAY_S = 86_400.0
# Bounds keep out what could only be a slip, and what would make a loop spin or a queue never move.
Period = Annotated[float, Meta(ge=0.1, le=_DAY_S)]
QuotaMb = Annotated[float, Meta(gt=0, le=1e6)]
Policy = Literal["every", "latest", "adaptive", "drop_oldest"]
MOST_ZONES = 32


def _require_name(name: str) -> None:
    if not is_topic_name(name):
        raise ValueError(f"name {name!r}: use letters, digits, '.', '_' or '-', at most 64")


class DeviceSection(Section, frozen=True):
    """Who this device is.

    Attributes:
        id: Identity within the site; becomes part of every topic.
        site: Name of the site.
        type: Device type, such as ``x86-64``: models packed for other types only are refused;
            empty takes any.
    """

    id: str
    site: str
    type: str = ""

    def __post_init__(self) -> None:
        """Refuse names that cannot be in a topic."""
        _require_name(self.id)
        _require_name(self.site)


class MqttSection(Section, frozen=True):
    """Where results go.

    Attributes:
        host: Broker's name or address.
        port: Broker's port.
        username: User name; empty for none.
        password_file: File whose first line is the password, relative to the configuration
            file; empty for none.
        ca_file: Certificates to trust, relative to the configuration file; naming one
            switches TLS on.
        keepalive_s: Seconds between pings.
        protocol: ``auto`` tries MQTT 5 and falls back to 3.1.1.
        window: Most messages under way at once.
        acknowledge: ``auto`` waits for a collector's receipt where one is present, and
            takes the broker's otherwise; ``collector`` and ``puback`` insist.
        backlog_per_s: Most messages of the backlog sent in one second.
    """

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 1883
    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    keepalive_s: Annotated[int, Meta(ge=1, le=65535)] = 30
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    # Brokers drop messages above a hundred at once.
    window: Annotated[int, Meta(ge=1, le=100)] = 50
    acknowledge: Literal["auto", "collector", "puback"] = "auto"
    backlog_per_s: Annotated[float, Meta(ge=0.1, le=1e5)] = 500.0


class LaneQuotas(Section, frozen=True):
    """Most MiB kept on disk for each lane."""

    alarm: QuotaMb = 64.0
    event: QuotaMb = 256.0
    telemetry: QuotaMb = 256.0
    media: QuotaMb = 512.0


class SpoolSection(Section, frozen=True):
    """The durable spool.

    Attributes:
        quota_mb: Most MiB kept on disk for each lane; the oldest go first, declared as gaps.
        group_rows: Rows committed together at most.
        group_ms: Least time in ms between two commits of telemetry; alarms wait for none, events
            for 50 ms at most. With less detections come sooner, and a flash disk wears faster.
    """

    quota_mb: LaneQuotas = LaneQuotas()
    group_rows: Annotated[int, Meta(ge=1, le=10_000)] = 50
    group_ms: Annotated[int, Meta(ge=0, le=10_000)] = 200


class CountingLine(Section, frozen=True):
    """A line whose crossings are counted.

    Attributes:
        name: Name in the events.
        points: ``[[x, y], [x, y]]`` in pixels of the original frame; forward is to the
            right of the direction from the first point to the second, as seen on screen.
    """

    name: str
    points: Line

    def __post_init__(self) -> None:
        """Refuse a line without length: nothing could cross it."""
        if self.points.start == self.points.end:
            raise ValueError("points must differ from each other")


FrameSourceConfig = (
    FileSource
    | ImagesSource
    | VirtualConveyorSource
    | RtspSource
    | MjpegSource
    | UsbSource
    | GstreamerSource
)


class StreamConfig(Section, frozen=True):
    """One camera stream.

    Attributes:
        name: Name in topics.
        source: Where frames come from.
        model: Name of an installed bundle.
        variant: Variant to run; empty means the one chosen at installation.
        policy: ``every`` frame; or, where models are slower than cameras, the ``latest``, those at
            even intervals (``adaptive``), or all but the oldest that wait (``drop_oldest``).
        waiting: Most frames that wait for the model.
        stride: Look at every n-th frame.
        region: Look at this part of the picture alone; results stay in pixels of the whole.
        motion: Look only while something moves; none looks at every frame.
        hours: Look only in these spans of the day; none at all is always.
        timezone: Whose wall clock ``hours`` mean, such as ``Europe/Rotterdam``.
        score_threshold: Overrides the bundle's; none keeps it.
        lines: Lines to count at.
        zones: Parts of the picture in which objects are watched.
        second: Classifiers that look at single objects which ``model`` has found.
        snapshots: Pictures of what happened, kept on the box; ``{}`` takes the defaults, none
            keeps none.
        clips: Short films of what happened, kept on the box; ``{}`` takes the defaults, none
            keeps none.
        gps: Name of the GPS stream that says where the camera was when something happened; empty
            takes the only one there is, if there is just one.
        publish: Which channels are published.
    """

    name: str
    source: FrameSourceConfig
    model: str
    variant: str = ""
    policy: Policy = "every"
    waiting: Annotated[int, Meta(ge=1, le=64)] = 1
    stride: Annotated[int, Meta(ge=1)] = 1
    region: Region | None = None
    motion: MotionSection | None = None
    hours: tuple[ActiveHours, ...] = ()
    timezone: str = "UTC"
    score_threshold: Annotated[float, Meta(ge=0, le=1)] | None = None
    lines: tuple[CountingLine, ...] = ()
    zones: tuple[ZoneConfig, ...] = ()
    second: tuple[SecondStage, ...] = ()
    snapshots: SnapshotSection | None = None
    clips: ClipSection | None = None
    gps: str = ""
    publish: tuple[Literal["detections", "tracks", "counts", "zones"], ...] = (
        "detections",
        "tracks",
        "counts",
        "zones",
    )

    def __post_init__(self) -> None:
        """Refuse names that cannot be in a topic, and lines, zones or answers that share one."""
        _require_name(self.name)
        if self.hours:
            require_timezone(self.timezone)
        for key, named in (
            ("lines", self.lines),
            ("zones", self.zones),
            ("second", self.second),
        ):
            names = [one.name for one in named]
            if len(set(names)) != len(names):
                raise ValueError(f"{key} need names that differ from each other")
        if len(self.zones) > MOST_ZONES:
            raise ValueError(
                f"zones may be {MOST_ZONES} in one stream at most, not {len(self.zones)}"
            )


class GpsConfig(Section, frozen=True):
    """One GPS stream.

    Attributes:
        name: Name in topics.
        source: Where fixes come from.
        model: Name of an installed bundle that judges the trace; empty for none.
        variant: Variant to run; empty means the one chosen at installation.
        publish_every_s: Least time between two published positions; 0 publishes all.
        trips: Tells trips; ``{}`` takes the defaults, none switches it off.
        geofences: Tells areas entered and left; none switches it off.
        routes: Ways to keep to; leaving one is told.
        driving: Tells speeding, idling and harsh manoeuvres; ``{}`` takes the defaults, none
            switches it off.
    """

    name: str
    source: (
        TraceSource
        | VirtualTruckSource
        | NmeaSerialSource
        | NmeaTcpSource
        | NmeaUdpSource
        | GpsdSource
    )
    model: str = ""
    variant: str = ""
    publish_every_s: Annotated[float, Meta(ge=0, le=_DAY_S)] = 0.0
    trips: TripsSection | None = None
    geofences: GeofencesSection | None = None
    routes: tuple[Route, ...] = ()
    driving: DrivingSection | None = None

    def __post_init__(self) -> None:
        """Refuse names that cannot be in a topic, and routes that share one."""
        _require_name(self.name)
        check_names([route.name for route in self.routes], "routes")

    @property
    def vehicle(self) -> VehicleConfig:
        """What is to be told of the vehicle's motion."""
        return VehicleConfig(
            trips=self.trips, geofences=self.geofences, routes=self.routes, driving=self.driving
        )


class HealthSection(Section, frozen=True):
    """Health messages.

    Attributes:
        interval_s: Seconds between two of them.
    """

    interval_s: Period = 30.0


class DeviceConfig(Section, frozen=True):
    """Everything the agent is told.

    Attributes:
        root: Folder with the device's models and spool, relative to this file.
        device: Who this device is.
        mqtt: Where results go.
        spool: The durable spool.
        health: Health messages.
        supervision: What happens to streams that fail or hang.
        metrics: Counters for Prometheus.
        preview: Annotated pictures for people.
        workers: Threads that run the models of all camera streams; 0 takes one for each processor.
        engine: What runs the models.
        streams: Camera streams.
        gps: GPS streams.
    """

    root: str
    device: DeviceSection
    mqtt: MqttSection = MqttSection()
    spool: SpoolSection = SpoolSection()
    health: HealthSection = HealthSection()
    supervision: SupervisionSection = SupervisionSection()
    metrics: MetricsSection = MetricsSection()
    preview: PreviewSection = PreviewSection()
    workers: Annotated[int, Meta(ge=0, le=256)] = 0
    engine: EngineSection = EngineSection()
    streams: tuple[StreamConfig, ...] = ()
    gps: tuple[GpsConfig, ...] = ()

    def __post_init__(self) -> None:
        """Refuse streams that share a name, and cameras whose GPS stream is not there."""
        names = [s.name for s in self.streams] + [g.name for g in self.gps]
        if len(set(names)) != len(names):
            raise ValueError("streams and gps need names that differ from each other")
        known = [g.name for g in self.gps]
        for stream in self.streams:
            if stream.gps and stream.gps not in known:
                raise ValueError(
                    f"stream {stream.name!r}: gps {stream.gps!r} is none of the GPS streams "
                    f"({', '.join(known) or 'there are none'})"
                )
