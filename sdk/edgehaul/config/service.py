"""How the agent keeps itself running and lets itself be looked at, in ``device.yaml``."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from msgspec import Meta

from edgehaul.config.section import Section

_DAY_S = 86_400.0
Patience = Annotated[float, Meta(ge=1, le=3600)]
Port = Annotated[int, Meta(ge=0, le=65535)]


class SupervisionSection(Section, frozen=True):
    """What happens to a stream that fails or hangs.

    Attributes:
        stall_timeout_s: A live stream that has not moved on for so long hangs, and is started
            again; opening its source and its model may take four times as long.
        retry_s: Longest pause before a stream that failed is started again; the first is 1 s, and
            each is twice the one before.
        slow_retry_s: Pause before a stream is tried again that only somebody can mend: a model
            that is not installed, a source that this machine cannot read.
    """

    stall_timeout_s: Patience = 30.0
    retry_s: Patience = 60.0
    slow_retry_s: Annotated[float, Meta(ge=1, le=_DAY_S)] = 300.0


class MetricsSection(Section, frozen=True):
    """Counters for Prometheus at ``http://host:port/metrics``.

    Attributes:
        host: Address to listen at. They are open to whoever can reach it.
        port: Port to listen at; 0 switches them off.
    """

    host: str = "127.0.0.1"
    port: Port = 0

    def __post_init__(self) -> None:
        """Refuse what is no address."""
        _require_address(self.host)


class PreviewSection(Section, frozen=True):
    """Annotated pictures of the camera streams at ``http://host:port/``, as MJPEG.

    Attributes:
        host: Address to listen at. The pictures are open to whoever can reach it.
        port: Port to listen at; 0 switches them off.
        fps: Most pictures a second of each stream.
        width: Longest side of a picture in pixels; larger ones are made smaller.
    """

    host: str = "127.0.0.1"
    port: Port = 0
    fps: Annotated[float, Meta(ge=0.1, le=60)] = 5.0
    width: Annotated[int, Meta(ge=96, le=8192)] = 960

    def __post_init__(self) -> None:
        """Refuse what is no address."""
        _require_address(self.host)


def _require_address(host: str) -> None:
    """Refuse names: what a name leads to may change, and with it who can look.

    Raises:
        ValueError: It is no address.
    """
    if host == "localhost":
        return
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"host {host!r}: write an address, such as 127.0.0.1") from None
