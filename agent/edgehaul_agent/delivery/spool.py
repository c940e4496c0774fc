"""The durable spool: results are on disk before anything is sent.

``put`` only queues; one thread numbers and commits what was queued in groups. The queue is
bounded: while the disk works a full queue makes ``put`` wait, and while it does not (full,
or broken) what does not fit is refused and counted, and declared as a gap as soon as the
disk takes writes again.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from edgehaul.clock import Clock, SystemClock
from edgehaul.config.device import SpoolSection
from edgehaul.errors import SpoolError
from edgehaul.messages.envelope import Payload
from edgehaul.messages.health import SpoolHealth
from edgehaul.messages.payloads import Lane
from edgehaul.messages.topics import DeviceTopics
from edgehaul_agent.delivery.draft_queue import DraftQueue
from edgehaul_agent.delivery.pace import CommitPace
from edgehaul_agent.delivery.reader import SpooledMessage, SpoolReader
from edgehaul_agent.delivery.spool_files import set_aside, take_lock
from edgehaul_agent.delivery.store import Draft, Receipts, SpoolStore, is_damage
from edgehaul_agent.progress import Progress

_LOG = logging.getLogger(__name__)
_QUEUE_GROUPS = 20
_RETRY_S = (0.2, 5.0)
"""First and longest pause between two attempts to write to a disk that refuses."""
_FLUSH_TIMEOUT_S = 30.0


class Spool:
    """The durable queue between the pipeline and the broker; use it in ``with``.

    Args:
        folder: Where the file lies; made where it is missing.
        config: Quotas and grouping.
        topics: The device's topics.
        clock: Gives the time of recording.

    Raises:
        SpoolError: On entry, when the folder cannot be used or another agent uses it.
    """

    def __init__(
        self,
        folder: Path,
        config: SpoolSection,
        topics: DeviceTopics,
        clock: Clock | None = None,
    ) -> None:
        self._folder = folder
        self._path = folder / "spool.db"
        self._config = config
        self._topics = topics
        self._clock = clock or SystemClock()
        self._changed = threading.Condition()
        self._damage: sqlite3.DatabaseError | None = None
        self._queue = DraftQueue(_QUEUE_GROUPS * config.group_rows)
        self._pace = CommitPace(config.group_ms, self._clock)
        self._in_hand = 0
        self._hurry = self._stopping = self._running = self._failing = False
        self._write_errors = 0
        self._refused: Counter[Lane] = Counter()
        self._acknowledged_up_to = 0
        self._acknowledged: set[int] = set()
        self._notes: dict[str, str] = {}
        self._remembered: dict[str, str] = {}
        self._listeners: list[Callable[[], None]] = []
        self.set_aside: Path | None = None
        """Where a damaged spool was moved to in this run; none where it was sound."""
        self.progress = Progress(self._clock)
        """Of the thread that writes; each try is a step, also where the disk is full."""

    def __enter__(self) -> Self:
        """Open the file and start the thread that writes."""
        try:
            self._lock = take_lock(self._folder)
            self._store = self._open_store()
            self._remembered = self._store.notes()
            self._reader = SpoolReader(self._path, self._report_damage)
        except (OSError, sqlite3.Error) as error:
            raise SpoolError(
                f"the spool cannot be opened: {error}",
                where=self._path,
                remedy="check the folder's permissions and the free space on its disk",
            ) from error
        self._running = True
        self._thread = threading.Thread(target=self._write, name="spool", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Commit what is queued and close the file."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()
        self._reader.close()
        self._store.close()
        self._lock.close()
        lost = len(self._queue) + self._in_hand + self._refused.total()
        if lost:
            _LOG.error("%s: %d messages could not be written and are lost", self._path, lost)

    def _open_store(self) -> SpoolStore:
        try:
            return self._new_store()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise  # the disk, the permissions: moving the file away would not help
            self._set_aside(error)
            return self._new_store()

    def _new_store(self) -> SpoolStore:
        return SpoolStore(self._path, self._topics, self._config.quota_mb, clock=self._clock)

    def _set_aside(self, error: sqlite3.Error) -> None:
        self.set_aside = set_aside(self._path)
        _LOG.error(
            "%s: the spool is damaged (%s); moved to %s, a new epoch starts",
            self._path,
            error,
            self.set_aside.name,
        )

    # ---- for the pipeline -------------------------------------------------------------

    def put(
        self,
        payload: Payload,
        *,
        topic: str,
        lane: Lane,
        captured_at_s: float,
        subject: str = "",
    ) -> None:
        """Queue a message for the disk; alarms and events hardly wait for their group.

        Waits while the queue is full. While the disk refuses writes it does not wait: the
        message is counted and declared lost later. Thread-safe.

        Args:
            payload: What to tell.
            topic: Where to publish it.
            lane: How urgent it is, and whose quota it counts against.
            captured_at_s: Capture time of what it tells of, UTC seconds.
            subject: Stream or model it is about.

        Raises:
            SpoolError: The spool is closed.
            TypeError: The payload holds a value that JSON cannot.
            ValueError: The time of capture is in no year from 1 to 9999.
        """
        draft = Draft.of(
            payload, topic=topic, lane=lane, captured_at_s=captured_at_s, subject=subject
        )
        with self._changed:
            self._changed.wait_for(
                lambda: self._queue.has_room or self._failing or not self._running
            )
            if not self._running:
                raise SpoolError(
                    "the spool is closed", where=self._path, remedy="see the log before this"
                )
            if not self._queue.has_room:
                self._refused[lane] += 1
                return
            self._queue.put(draft)
            if self._pace.take_in(lane) or self._group_is_due() or len(self._queue) == 1:
                self._changed.notify_all()

    def flush(self, timeout_s: float = _FLUSH_TIMEOUT_S) -> None:
        """Wait until everything put so far is on the disk.

        Raises:
            SpoolError: It is not after ``timeout_s`` seconds.
        """
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            if not self._changed.wait_for(
                lambda: (not self._queue and not self._in_hand) or not self._running, timeout_s
            ) or (self._queue or self._in_hand):
                raise SpoolError(
                    f"{len(self._queue) + self._in_hand} messages are not on the disk yet",
                    where=self._path,
                    remedy="check the free space on this disk",
                )

    def health(self) -> SpoolHealth:
        """Return the totals of the present epoch."""
        totals = self._store.totals
        return SpoolHealth(
            pending=totals.pending,
            pending_bytes=totals.pending_bytes,
            produced=totals.last_sequence,
            declared_lost=totals.declared_lost,
            write_errors=self._write_errors,
        )

    # ---- for the forwarder ------------------------------------------------------------

    @property
    def epoch(self) -> str:
        """Identity of the file; a new one starts at sequence 1."""
        return self._store.epoch

    @property
    def last_sequence(self) -> int:
        """Highest number committed in this epoch."""
        return self._store.totals.last_sequence

    def listen(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` (which must only wake someone up) after each commit."""
        self._listeners.append(listener)

    def lane(self, lane: Lane, *, after: int, up_to: int, limit: int) -> list[SpooledMessage]:
        """Return the next committed messages of a lane above ``after``, at most ``up_to``."""
        return self._reader.lane(lane, after=after, up_to=up_to, limit=limit)

    def oldest(self, limit: int, *, after: int = 0) -> list[SpooledMessage]:
        """Return the committed messages with the lowest sequences above ``after``."""
        return self._reader.oldest(limit, after=after)

    def first_sequence(self) -> int:
        """Return the lowest sequence still held, or the next one to come."""
        return self._reader.first_sequence() or self.last_sequence + 1

    def last_before(self, recorded_at_s: float) -> int:
        """Return the highest sequence recorded before that time; 0 for none."""
        return self._reader.last_before(recorded_at_s)

    def acknowledge_up_to(self, epoch: str, sequence: int) -> None:
        """Let go of all up to ``sequence``: a collector has stored them."""
        with self._changed:
            if epoch == self.epoch and sequence <= self.last_sequence:
                self._acknowledged_up_to = max(self._acknowledged_up_to, sequence)
                self._changed.notify_all()

    def acknowledge(self, epoch: str, sequences: Iterable[int]) -> None:
        """Let go of single messages: the broker has taken them."""
        with self._changed:
            if epoch == self.epoch:
                self._acknowledged.update(sequences)
                self._changed.notify_all()

    def note(self, key: str, value: str) -> None:
        """Remember something beyond a restart, with the next commit."""
        with self._changed:
            self._notes[key] = self._remembered[key] = value
            self._changed.notify_all()

    def recall(self, key: str) -> str:
        """Return what was noted in this or an earlier run; empty for nothing."""
        with self._changed:
            return self._remembered.get(key, "")

    def wait_empty(self, timeout_s: float) -> bool:
        """Wait until nothing is queued or pending; return whether that came about."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            return self._changed.wait_for(
                lambda: not (self._queue or self._in_hand or self._store.totals.pending), timeout_s
            )

    # ---- the writing thread -----------------------------------------------------------

    def _group_is_due(self) -> bool:
        return self._hurry or self._stopping or len(self._queue) >= self._config.group_rows

    def _has_work(self) -> bool:
        return bool(
            self._queue
            or self._in_hand
            or self._acknowledged
            or self._acknowledged_up_to
            or self._refused
            or self._notes
            or self._damage
        )

    def _write(self) -> None:
        try:
            while self._write_group():
                pass
        except SpoolError as error:
            _LOG.critical("%s; no result is stored any more", error)
        finally:
            with self._changed:
                self._running = False
                self._changed.notify_all()

    def _write_group(self) -> bool:
        """Commit one group; return whether to go on."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_work() or self._stopping)
            if self._stopping and not self._has_work():
                return False
            while not self._group_is_due() and (left_s := self._pace.left_s()) > 0:
                if not self._changed.wait(left_s):
                    break
            group = self._queue.take(self._config.group_rows)
            self._in_hand = len(group)
            self._pace.begin(takes_all=not self._queue)
            self._hurry = self._hurry and bool(self._queue)
        pause_s, longest_pause_s = _RETRY_S
        self.progress.working()
        while not self._try_commit(group):
            with self._changed:
                if self._stopping and pause_s > _RETRY_S[0]:
                    return False
                self._changed.wait(pause_s)
            pause_s = min(2 * pause_s, longest_pause_s)
            self.progress.working()
        self.progress.resting()
        for listener in self._listeners:
            listener()
        return True

    def _try_commit(self, group: list[Draft]) -> bool:
        with self._changed:
            receipts = Receipts(self._acknowledged_up_to, tuple(sorted(self._acknowledged)))
            refused, notes = Counter(self._refused), dict(self._notes)
            damage = self._damage
        try:
            if damage is not None:
                raise damage
            self._store.commit(group, receipts=receipts, refused=refused, notes=notes)
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                self._start_over(error)
            else:
                self._report_failure(error)
            return False
        with self._changed:
            if self._failing:
                _LOG.warning("%s: the spool takes writes again", self._path)
            self._failing = False
            self._in_hand = 0
            self._refused -= refused
            self._acknowledged.difference_update(receipts.sequences)
            if self._acknowledged_up_to == receipts.up_to:
                self._acknowledged_up_to = 0
            for key, value in notes.items():
                if self._notes.get(key) == value:
                    del self._notes[key]
            self._changed.notify_all()
        return True

    def _report_failure(self, error: sqlite3.Error) -> None:
        with self._changed:
            self._write_errors += 1
            if not self._failing:
                _LOG.error("%s: the spool cannot be written: %s", self._path, error)
            self._failing = True
            self._changed.notify_all()

    def _report_damage(self, error: sqlite3.DatabaseError, generation: int) -> None:
        """Let the writing thread put the file aside that its reader found damaged."""
        with self._changed:
            if generation == self._reader.generation:
                self._damage = error
                self._changed.notify_all()

    def _start_over(self, error: sqlite3.DatabaseError) -> None:
        """Put a file that became damaged while in use aside, and go on in a new epoch."""
        try:
            with self._changed:
                self._write_errors += 1
                self._reader.close()
                self._store.close()
                self._set_aside(error)
                self._acknowledged.clear()
                self._acknowledged_up_to = 0
                self._notes.update(self._remembered)
                self._store = self._new_store()
                self._reader.reopen()
                self._damage = None
        except (OSError, sqlite3.Error) as failure:
            raise SpoolError(
                f"the spool is damaged and no new one can be made: {failure}",
                where=self._path,
                remedy="check the disk",
            ) from failure
