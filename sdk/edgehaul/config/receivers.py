"""Live GPS receivers in ``device.yaml``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from edgehaul.config.section import Section

Host = Annotated[str, Meta(min_length=1, max_length=253)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Baud = Literal[4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600]
# A receiver speaks each second; less than two of silence are no sign of a dead one.
Silence = Annotated[float, Meta(ge=2, le=3600)]
Pause = Annotated[float, Meta(ge=1, le=3600)]


class _Receiver(Section, frozen=True, kw_only=True, tag_field="type"):
    """What is asked of every live receiver."""

    silence_s: Silence = 15.0
    retry_s: Pause = 30.0


class NmeaSerialSource(_Receiver, frozen=True, kw_only=True, tag="nmea_serial"):
    """A receiver of NMEA 0183 at a serial port, 8 bits without parity.

    Attributes:
        path: The port, such as ``/dev/ttyUSB0``; a name below ``/dev/serial/by-id`` stays the
            same when it is plugged in again.
        baud: Bits a second, as the receiver sends them.
        require_checksum: Whether sentences without a checksum are refused.
        silence_s: Seconds without a byte after which the port is opened anew.
        retry_s: Longest pause between two attempts to open it.
    """

    path: Annotated[str, Meta(min_length=1)]
    baud: Baud = 9600
    require_checksum: bool = True


class NmeaTcpSource(_Receiver, frozen=True, kw_only=True, tag="nmea_tcp"):
    """A server of NMEA 0183, such as a router with a receiver.

    Attributes:
        host: Its name or address.
        port: Its port.
        require_checksum: Whether sentences without a checksum are refused.
        silence_s: Seconds without a byte after which the connection counts as lost.
        retry_s: Longest pause between two attempts to connect.
    """

    host: Host
    port: Port = 10110
    require_checksum: bool = True


class NmeaUdpSource(_Receiver, frozen=True, kw_only=True, tag="nmea_udp"):
    """Datagrams with NMEA 0183, from one sender at a time.

    Attributes:
        port: The port to listen at.
        bind: The address to listen at. With one that others can reach, whoever can send there
            can tell the device where it is.
        require_checksum: Whether sentences without a checksum are refused.
        silence_s: Seconds without a datagram after which another sender is listened to.
        retry_s: Longest pause between two attempts to listen.
    """

    port: Port = 10110
    bind: Host = "127.0.0.1"
    require_checksum: bool = True


class GpsdSource(_Receiver, frozen=True, kw_only=True, tag="gpsd"):
    """A gpsd, which speaks with receivers of many kinds.

    Attributes:
        host: Its name or address.
        port: Its port.
        device: Which of its receivers, such as ``/dev/ttyUSB0``; empty takes the one that has a
            fix, and another after ``silence_s`` seconds without one.
        silence_s: Seconds without an answer after which the connection counts as lost.
        retry_s: Longest pause between two attempts to connect.
    """

    host: Host = "127.0.0.1"
    port: Port = 2947
    device: str = ""


LiveReceiver = NmeaSerialSource | NmeaTcpSource | NmeaUdpSource | GpsdSource
