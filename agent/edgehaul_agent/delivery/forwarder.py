"""Keeps the device connected and its spool flowing; never loses, only waits."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import Self

import msgspec

from edgehaul.clock import Clock, SystemClock
from edgehaul.config.device import MqttSection
from edgehaul.errors import EdgeHaulError
from edgehaul.messages.payloads import StateData
from edgehaul.messages.topics import DeviceTopics
from edgehaul.mqtt import Connector, LinkEvent, Lost, MqttLink, Published, Received, Subscribed
from edgehaul_agent.delivery.mqtt import broker_address, device_session, state_message
from edgehaul_agent.delivery.sender import Sender
from edgehaul_agent.delivery.spool import Spool
from edgehaul_agent.progress import Progress

_LOG = logging.getLogger(__name__)
_BACKOFF_S = (0.5, 30.0)
"""First and longest pause between two attempts to connect."""
_FAREWELL_S = 2.0
"""How long the broker may take to confirm the last state."""


class Forwarder:
    """Sends what is in the spool to the broker, on a thread of its own.

    Args:
        spool: An open spool.
        config: The broker and how to send.
        topics: The device's topics.
        state: Gives the device's present state; status, epoch, mode of acknowledgement
            and first pending message are filled in here.
        clock: Measures the waiting times.

    Attributes:
        progress: Of its thread.
    """

    def __init__(
        self,
        spool: Spool,
        config: MqttSection,
        topics: DeviceTopics,
        *,
        state: Callable[[], StateData],
        clock: Clock | None = None,
    ) -> None:
        self._spool = spool
        self._config = config
        self._topics = topics
        self._state = state
        self._clock = clock or SystemClock()
        self.progress = Progress(self._clock)
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._connected = threading.Event()
        self._connector: Connector | None = None
        self._obstacle = ""
        self._thread = threading.Thread(target=self._run, name="forwarder", daemon=True)

    @property
    def connected(self) -> bool:
        """Whether the broker is there at this moment."""
        return self._connected.is_set()

    @property
    def is_alive(self) -> bool:
        """Whether its thread is there, or has not been started or was stopped."""
        return self._thread.ident is None or self._stop.is_set() or self._thread.is_alive()

    @property
    def obstacle(self) -> str:
        """Why the broker cannot be reached; empty where it can, or was not tried yet."""
        return self._obstacle

    def check_files(self) -> None:
        """Read what the broker asks for.

        Raises:
            AuthError: The password file or the certificates cannot be read.
        """
        self._connector = Connector(broker_address(self._config), wake=self._wake)
        self._connector.check_files()

    def start(self) -> None:
        """Start to connect and send; a missing broker is waited for.

        Raises:
            AuthError: The password file or the certificates cannot be read.
        """
        self.check_files()
        self._spool.listen(self._wake.set)
        self._thread.start()

    def stop(self, drain_timeout_s: float = 0.0) -> bool:
        """Say ``stopped`` and disconnect.

        Args:
            drain_timeout_s: How long to wait first until everything is delivered.

        Returns:
            Whether everything was; what was not stays in the spool.
        """
        delivered = self.wait_delivered(drain_timeout_s)
        self._stop.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()
        return delivered

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait for the broker; return whether it is there."""
        return self._connected.wait(timeout_s)

    def wait_delivered(self, timeout_s: float) -> bool:
        """Wait until the spool is empty; return whether it is."""
        return self._spool.wait_empty(timeout_s)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop without waiting for the delivery."""
        self.stop()

    # ---- the thread -------------------------------------------------------------------

    def _run(self) -> None:
        pause_s, longest_pause_s = _BACKOFF_S
        while not self._stop.is_set():
            self.progress.working()
            link = self._try_connect()
            if link is not None:
                pause_s = _BACKOFF_S[0]
                self._serve(link)
            self.progress.resting()
            if not self._stop.is_set():
                # Many devices lose the same broker at once and must not return at once.
                self._stop.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                pause_s = min(2 * pause_s, longest_pause_s)

    def _try_connect(self) -> MqttLink | None:
        assert self._connector is not None  # noqa: S101 - set by start(), which runs this thread
        session = device_session(self._topics, self._full_state(None), now_s=self._clock.now_s())
        try:
            return self._connector.open(session)
        except EdgeHaulError as error:
            # Once for each reason: a device may be out of reach for days.
            level = logging.DEBUG if str(error) == self._obstacle else logging.WARNING
            self._obstacle = str(error)
            _LOG.log(level, "not delivering yet: %s", error)
            return None

    def _serve(self, link: MqttLink) -> None:
        self._obstacle = ""
        _LOG.info("connected to %s:%d", self._config.host, self._config.port)
        link.subscribe([self._topics.ack])
        self._connected.set()
        try:
            self._exchange(link)
        finally:
            self._connected.clear()
            link.close()

    def _exchange(self, link: MqttLink) -> None:
        sender = self._new_sender(link)
        told = (sender.mode, sender.stalls, self._state())
        while not self._stop.is_set():
            self.progress.working()
            for event in link.events():
                if isinstance(event, Lost):
                    _LOG.warning("connection lost (%s); results are kept", event.reason)
                    return
                _dispatch(event, sender)
            if sender.epoch != self._spool.epoch:
                sender = self._new_sender(link)
            wait_s = sender.pump()
            # A collector may wait for what PUBACKs let go of before it came: tell it again
            # from where on messages are held. Streams and models come and go, too.
            if (now := (sender.mode, sender.stalls, self._state())) != told:
                told = now
                self._tell(link, self._full_state(sender))
            link.wait(wait_s)
        self._say_goodbye(link, sender)

    def _new_sender(self, link: MqttLink) -> Sender:
        sender = Sender(self._spool, link, self._config, self._topics, self._clock)
        self._tell(link, self._full_state(sender))
        return sender

    def _full_state(self, sender: Sender | None) -> StateData:
        return msgspec.structs.replace(
            self._state(),
            status="online",
            epoch=self._spool.epoch,
            acknowledge="puback" if sender is None else sender.mode,
            first_pending=self._spool.first_sequence(),
        )

    def _tell(self, link: MqttLink, state: StateData) -> int:
        content = state_message(self._topics, state, now_s=self._clock.now_s())
        return link.publish(self._topics.state, content, retain=True)

    def _say_goodbye(self, link: MqttLink, sender: Sender) -> None:
        state = msgspec.structs.replace(self._full_state(sender), status="stopped")
        farewell = self._tell(link, state)
        deadline_s = self._clock.monotonic_s() + _FAREWELL_S
        while self._clock.monotonic_s() < deadline_s:
            for event in link.events():
                if isinstance(event, Lost):
                    return
                if isinstance(event, Published) and event.mid == farewell:
                    return
            link.wait(0.1)


def _dispatch(event: LinkEvent, sender: Sender) -> None:
    if isinstance(event, Published):
        sender.published(event)
    elif isinstance(event, Received):
        sender.received(event)
    elif isinstance(event, Subscribed) and not event.accepted:
        _LOG.error("the broker lets us read no receipts; allow this device its topic 'ack'")
