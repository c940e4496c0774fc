"""What the agent and the process that decodes for it say to each other.

Each message is one packet of a socket pair; pictures do not travel in it but lie in memory that
both have mapped (:mod:`~edgehaul_agent.sources.shared_memory`).
"""

from __future__ import annotations

import msgspec

SLOTS = 3
"""Two pictures in use and one that is being made."""
MOST_PICTURE_BYTES = 8192 * 8192 * 3
MOST_PACKET_BYTES = 65_536


class Open(msgspec.Struct, frozen=True, tag="open"):
    """Open a video.

    Attributes:
        target: Address or path.
        backend: One of ``cv2.CAP_...``.
        options: Properties, each followed by its value.
    """

    target: str
    backend: int
    options: list[int]


class Grab(msgspec.Struct, frozen=True, tag="grab"):
    """Take the next frame."""


class Retrieve(msgspec.Struct, frozen=True, tag="retrieve"):
    """Make the frame taken last a picture.

    Attributes:
        slot: Where to put it.
    """

    slot: int


class Decode(msgspec.Struct, frozen=True, tag="decode"):
    """Make the file in the input memory a picture.

    Attributes:
        length: Its length in bytes.
        slot: Where to put the picture.
    """

    length: int
    slot: int


class Place(msgspec.Struct, frozen=True, tag="place"):
    """Put the last picture, which was larger than a slot, into new ones.

    The descriptor of the new memory comes with the packet.

    Attributes:
        size: Bytes of each slot.
        slot: Where to put it.
    """

    size: int
    slot: int


class TakeInput(msgspec.Struct, frozen=True, tag="input"):
    """Map new input memory; its descriptor comes with the packet.

    Attributes:
        size: Its bytes.
    """

    size: int


Request = Open | Grab | Retrieve | Decode | Place | TakeInput


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a request.

    Attributes:
        ok: Whether it could be done.
        height: Of the picture.
        width: Of the picture.
        is_placed: Whether the picture is in its slot; else it needs larger ones.
        properties: Properties of the video by their number.
    """

    ok: bool
    height: int = 0
    width: int = 0
    is_placed: bool = False
    properties: dict[int, float] = {}
