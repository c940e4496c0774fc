"""What tests of the delivery share: a clock set by hand, a recording link, small messages."""

from pathlib import Path

from edgehaul.config.device import LaneQuotas, SpoolSection
from edgehaul.messages.codec import decode, encode, uncounted
from edgehaul.messages.envelope import Envelope
from edgehaul.messages.payloads import AckData, DetectionsData, Lane
from edgehaul.messages.topics import DeviceTopics
from edgehaul.mqtt import Published, Received
from edgehaul.subscriber.client import ReceivedMessage
from edgehaul_agent.delivery.spool import Spool

TOPICS = DeviceTopics("depot", "box-1")
STARTED_AT_S = 1_800_000_000.0


class HandClock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def now_s(self) -> float:
        return STARTED_AT_S + self.time_s

    def monotonic_s(self) -> float:
        return self.time_s

    def sleep(self, duration_s: float) -> None:
        self.time_s += duration_s


class RecordingLink:
    """Takes what is published as a broker would, as long as it is up."""

    def __init__(self) -> None:
        self.is_up = True
        self.sent: list[Envelope] = []
        self._confirmed = 0

    def publish(self, topic: str, content: bytes) -> int:
        if not self.is_up:
            return -1
        self.sent.append(decode(content, where=topic))
        return len(self.sent)

    def take(self) -> list[int]:
        """Return the sequences published since the last call."""
        taken = [envelope.sequence for envelope in self.sent[self._confirmed :]]
        self._confirmed = len(self.sent)
        return taken

    def confirmations(self) -> list[Published]:
        """Return the PUBACKs of everything published so far."""
        return [Published(mid, accepted=True) for mid in range(1, len(self.sent) + 1)]


def detections(frame: int, *, padding: int = 0) -> DetectionsData:
    """Return a small message; ``padding`` makes it as many bytes larger."""
    return DetectionsData(frame=frame, width=640, height=480, objects=(), model="m" * padding)


def put(spool: Spool, frame: int, *, lane: Lane = "telemetry", padding: int = 0) -> None:
    """Put a small message into a spool."""
    spool.put(
        detections(frame, padding=padding),
        topic=TOPICS.detections("cam"),
        lane=lane,
        captured_at_s=STARTED_AT_S + frame,
        subject="cam",
    )


def fill(spool: Spool, count: int, *, lane: Lane = "telemetry") -> None:
    """Put some messages into a spool and wait until they are on the disk."""
    for frame in range(count):
        put(spool, frame, lane=lane)
    spool.flush()


def small_spool(folder: Path, *, telemetry_mb: float = 256.0, clock: HandClock) -> Spool:
    """Return a closed spool."""
    config = SpoolSection(quota_mb=LaneQuotas(telemetry=telemetry_mb), group_ms=20)
    return Spool(folder, config, TOPICS, clock)


def receipt(epoch: str, sequence: int, *, retained: bool = False) -> Received:
    """Return a collector's receipt as it comes in."""
    data = AckData(epoch=epoch, sequence=sequence, collector="test")
    content = encode(uncounted(data, topics=TOPICS, captured_at_s=STARTED_AT_S))
    return Received(TOPICS.ack, content, retained)


def stored_message(sequence: int, *, epoch: str = "e1", frame: int = 0) -> ReceivedMessage:
    """Return a message as a subscriber hands it to a sink."""
    envelope = Envelope(
        id=f"{epoch}-{sequence}",
        source=TOPICS.source,
        type="edgehaul.detections.v1",
        time="2027-01-15T08:00:00.000Z",
        subject="cam",
        data=detections(frame),
        sequence=sequence,
        epoch=epoch,
    )
    return ReceivedMessage(TOPICS.detections("cam"), envelope, encode(envelope), retained=False)
