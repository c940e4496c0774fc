"""Topic names: ``edgehaul/v1/{site}/{device}/...``."""

from __future__ import annotations

import re

import msgspec

from edgehaul.errors import MessageError

ROOT = "edgehaul/v1"
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_NAME = re.compile(NAME_PATTERN)


def is_topic_name(text: str) -> bool:
    """Return whether ``text`` can stand as one level of a topic (no '/', '+', '#' or blank)."""
    return _NAME.fullmatch(text) is not None


class DeviceTopics(msgspec.Struct, frozen=True):
    """The topics of one device.

    Attributes:
        site: Name of the site.
        device: Identity of the device within its site.
    """

    site: str
    device: str

    def __post_init__(self) -> None:
        """Refuse names that would break the topic tree."""
        for name in (self.site, self.device):
            if not is_topic_name(name):
                raise ValueError(f"{name!r} cannot be part of a topic; use letters, digits, . _ -")

    @property
    def prefix(self) -> str:
        """All topics of the device start with this."""
        return f"{ROOT}/{self.site}/{self.device}"

    @property
    def source(self) -> str:
        """The ``source`` attribute of the device's messages."""
        return f"edgehaul/{self.site}/{self.device}"

    @property
    def state(self) -> str:
        """Retained state and last will."""
        return f"{self.prefix}/state"

    @property
    def health(self) -> str:
        """Health messages."""
        return f"{self.prefix}/health"

    @property
    def update(self) -> str:
        """Progress of model updates."""
        return f"{self.prefix}/update"

    @property
    def gap(self) -> str:
        """Declared losses."""
        return f"{self.prefix}/gap"

    @property
    def ack(self) -> str:
        """A collector's receipts, from the collector to the device."""
        return f"{self.prefix}/ack"

    @property
    def commands(self) -> str:
        """Filter for the commands sent to the device."""
        return f"{self.prefix}/command/#"

    def detections(self, stream: str) -> str:
        """Detections of one camera stream."""
        return f"{self.prefix}/detections/{stream}"

    def events(self, stream: str) -> str:
        """Events of one stream."""
        return f"{self.prefix}/events/{stream}"

    def positions(self, stream: str) -> str:
        """Positions of one GPS stream."""
        return f"{self.prefix}/positions/{stream}"


class ParsedTopic(msgspec.Struct, frozen=True):
    """A topic taken apart.

    Attributes:
        topics: The device it belongs to.
        channel: ``state``, ``detections``, ``events`` and so on.
        rest: What follows the channel, such as the stream; may be empty.
    """

    topics: DeviceTopics
    channel: str
    rest: str


def parse_topic(topic: str) -> ParsedTopic:
    """Take a topic apart.

    Raises:
        MessageError: It is no EdgeHaul topic.
    """
    match = re.fullmatch(
        rf"{re.escape(ROOT)}/({NAME_PATTERN})/({NAME_PATTERN})/([a-z]+)(?:/(.+))?", topic
    )
    if match is None:
        raise MessageError(
            "this is no EdgeHaul topic",
            where=topic,
            remedy=f"expected {ROOT}/SITE/DEVICE/CHANNEL",
        )
    site, device, channel, rest = match.groups()
    return ParsedTopic(DeviceTopics(site, device), channel, rest or "")


def topic_filter(site: str = "+", device: str = "+", channel: str = "#") -> str:
    """Return a subscription filter; the defaults take everything of every device."""
    return f"{ROOT}/{site}/{device}/{channel}"
