"""What a reader is given of kinds that are newer than itself.

A subscriber in a lorry park may be years older than the devices that it listens to. What they say
in a contract of the same major version is delivered to it all the same: the kind as text, and all
fields as they came. Nothing of this is ever written: a sender knows its kinds.
"""

from __future__ import annotations

from typing import Any

import msgspec


class UnknownEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened, of a kind that this version does not know.

    Attributes:
        kind: The event's ``type``.
        fields: Everything else that was said of it, as JSON gives it.
    """

    kind: str
    fields: dict[str, Any]


class UnknownData(msgspec.Struct, frozen=True, kw_only=True):
    """A payload of a kind that this version does not know.

    Attributes:
        kind: The payload's ``kind``.
        fields: Everything else that it holds, as JSON gives it.
    """

    kind: str
    fields: dict[str, Any]
