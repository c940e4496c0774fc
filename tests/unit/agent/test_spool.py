"""The spool: numbering, grouping, quotas, and what happens when its file or disk fails."""

import contextlib
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgehaul.config.device import SpoolSection
from edgehaul.errors import SpoolError
from edgehaul.messages.codec import decode
from edgehaul.messages.payloads import DetectionsData, GapData, Lane
from edgehaul_agent.delivery.spool import Spool
from tests.fakes.delivery import TOPICS, HandClock, detections, fill, put, small_spool
from tests.fakes.running import wait_until

EVERYTHING = 10**9


def test_numbers_run_on_without_holes_over_restarts(tmp_path: Path) -> None:
    with small_spool(tmp_path, clock=HandClock()) as spool:
        fill(spool, 120)
        epoch = spool.epoch
    with small_spool(tmp_path, clock=HandClock()) as spool:
        fill(spool, 3)
        messages = [decode(row.content) for row in spool.oldest(EVERYTHING)]
        assert spool.epoch == epoch
        assert spool.health().produced == 123
    assert [message.sequence for message in messages] == list(range(1, 124))
    assert {message.epoch for message in messages} == {epoch}
    assert messages[0].id == f"{epoch}-1"
    assert messages[119].data == detections(119)
    assert messages[0].recordedtime == "2027-01-15T08:00:00.000Z"


@pytest.mark.parametrize("lane", ["alarm", "event"])
def test_what_is_urgent_does_not_wait_for_its_group(tmp_path: Path, lane: Lane) -> None:
    with Spool(tmp_path, SpoolSection(group_ms=60_000), TOPICS) as spool:
        put(spool, 0)  # after a pause: at once
        wait_until(lambda: spool.last_sequence == 1)
        put(spool, 1)
        time.sleep(0.05)
        assert spool.last_sequence == 1
        put(spool, 2, lane=lane)
        wait_until(lambda: spool.last_sequence == 3)


def test_many_threads_may_put(tmp_path: Path) -> None:
    with small_spool(tmp_path, clock=HandClock()) as spool:
        threads = [
            threading.Thread(target=lambda: [put(spool, frame) for frame in range(400)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        spool.flush()
        assert [row.sequence for row in spool.oldest(EVERYTHING)] == list(range(1, 1601))


def test_what_is_acknowledged_goes(tmp_path: Path) -> None:
    with small_spool(tmp_path, clock=HandClock()) as spool:
        fill(spool, 10)
        spool.acknowledge_up_to("another epoch", 9)
        spool.acknowledge_up_to(spool.epoch, 11)
        spool.acknowledge(spool.epoch, [7])
        spool.acknowledge_up_to(spool.epoch, 4)
        assert not spool.wait_empty(0.3)
        assert [row.sequence for row in spool.oldest(20)] == [5, 6, 8, 9, 10]
        spool.acknowledge_up_to(spool.epoch, 10)
        assert spool.wait_empty(5)
        assert spool.health().pending_bytes == 0
        assert spool.first_sequence() == 11


def test_a_full_lane_loses_its_oldest_and_declares_each_of_them(tmp_path: Path) -> None:
    with small_spool(tmp_path, telemetry_mb=0.02, clock=HandClock()) as spool:
        for frame in range(300):
            put(spool, frame, lane="event" if frame % 10 == 0 else "telemetry")
        spool.flush()
        health = spool.health()
        rows = [decode(row.content) for row in spool.oldest(EVERYTHING)]
    gaps = [row.data for row in rows if isinstance(row.data, GapData)]
    lost = {number for gap in gaps for number in range(gap.first_sequence, gap.last_sequence + 1)}
    kept = {row.sequence for row in rows}
    assert gaps
    assert {(gap.lane, gap.reason) for gap in gaps} == {("telemetry", "quota")}
    assert not lost & kept
    assert lost | kept == set(range(1, health.produced + 1))
    assert health.declared_lost == len(lost) == sum(gap.count for gap in gaps)
    assert (
        sum(isinstance(row.data, DetectionsData) and row.data.frame % 10 == 0 for row in rows) == 30
    )


@pytest.mark.parametrize("damage", ["header", "middle", "nonsense"])
def test_a_damaged_file_is_set_aside_and_a_new_epoch_starts(tmp_path: Path, damage: str) -> None:
    with small_spool(tmp_path, clock=HandClock()) as spool:
        fill(spool, 500)
        spool.note("collector", "depot-server")
        epoch = spool.epoch
    path = tmp_path / "spool.db"
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[:100] = bytes(100)
    elif damage == "middle":
        for page in range(4096, len(content), 4096):
            content[page : page + 64] = b"\xff" * 64
    else:
        content = bytearray(b"no database at all" * 500)
    path.write_bytes(content)
    with small_spool(tmp_path, clock=HandClock()) as spool:
        fill(spool, 2)
        assert spool.epoch != epoch
        assert spool.set_aside == tmp_path / "spool.damaged-1.db"
        assert spool.set_aside.exists()
        assert [row.sequence for row in spool.oldest(5)] == [1, 2]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param("UPDATE meta SET value = 'x' WHERE key = 'last_sequence'", id="counter"),
        pytest.param("UPDATE meta SET value = '-4' WHERE key = 'declared_lost'", id="negative"),
        pytest.param("UPDATE meta SET value = '3' WHERE key = 'last_sequence'", id="behind"),
        pytest.param("UPDATE meta SET value = x'ff' WHERE key = 'epoch'", id="bytes"),
        pytest.param("UPDATE meta SET value = '' WHERE key = 'epoch'", id="epoch"),
        pytest.param("DELETE FROM meta WHERE key = 'last_sequence'", id="no-counter"),
        pytest.param("DELETE FROM meta WHERE key = 'epoch'", id="no-epoch"),
        pytest.param("UPDATE meta SET value = CAST(x'ff' AS TEXT)", id="no-utf8"),
        pytest.param("UPDATE message SET lane = 'fast'", id="lane"),
        pytest.param("UPDATE message SET size = 'big'", id="size"),
        pytest.param("UPDATE message SET content = 'text'", id="content"),
        pytest.param("DROP TABLE message; CREATE TABLE message (a)", id="other-table"),
        pytest.param("DROP TABLE message; CREATE VIEW message AS SELECT 1", id="view"),
        pytest.param("ALTER TABLE message ADD COLUMN more TEXT", id="another-column"),
        pytest.param("DROP TABLE meta; CREATE TABLE meta (key, value)", id="no-key"),
    ],
)
def test_a_file_that_is_sound_but_not_ours_is_set_aside(tmp_path: Path, damage: str) -> None:
    with small_spool(tmp_path, clock=HandClock()) as spool:
        fill(spool, 20)
        epoch = spool.epoch
    with contextlib.closing(sqlite3.connect(tmp_path / "spool.db")) as database:
        database.executescript(damage)
    with small_spool(tmp_path, clock=HandClock()) as spool:
        fill(spool, 2)
        assert spool.epoch != epoch
        assert spool.set_aside == tmp_path / "spool.damaged-1.db"
        assert [row.sequence for row in spool.oldest(5)] == [1, 2]


def test_a_table_lost_while_in_use_starts_a_new_epoch(tmp_path: Path) -> None:
    with small_spool(tmp_path, clock=HandClock()) as spool:
        fill(spool, 20)
        epoch = spool.epoch
        with contextlib.closing(sqlite3.connect(tmp_path / "spool.db")) as database:
            database.execute("DROP TABLE message")
        fill(spool, 2)
        assert spool.epoch != epoch
        assert [row.sequence for row in spool.oldest(5)] == [1, 2]
        assert spool.set_aside is not None


@pytest.mark.parametrize("found_by", ["reader", "writer"])
def test_a_file_damaged_while_in_use_is_set_aside_too(tmp_path: Path, found_by: str) -> None:
    with small_spool(tmp_path, clock=HandClock()) as spool:
        # More than SQLite keeps in memory, so that it has to read the file again.
        for frame in range(8000):
            put(spool, frame, padding=600)
        spool.flush()
        epoch = spool.epoch
        spool.note("collector", "depot-server")
        for name, header in (("spool.db", 4096), ("spool.db-wal", 0)):
            with (tmp_path / name).open("r+b") as file:
                for page in range(header, (tmp_path / name).stat().st_size, 4096):
                    file.seek(page)
                    file.write(b"\xff" * 512)
        if found_by == "reader":
            assert spool.lane("telemetry", after=0, up_to=EVERYTHING, limit=8000) == []
        else:
            spool.acknowledge_up_to(epoch, 7000)
        wait_until(lambda: spool.epoch != epoch)
        fill(spool, 3)
        assert [row.sequence for row in spool.oldest(5)] == [1, 2, 3]
        assert spool.set_aside is not None
        assert spool.health().write_errors >= 1
        epoch = spool.epoch
    with small_spool(tmp_path, clock=HandClock()) as spool:
        assert spool.epoch == epoch
        assert spool.recall("collector") == "depot-server"


def test_two_agents_cannot_share_a_spool(tmp_path: Path) -> None:
    with (
        small_spool(tmp_path, clock=HandClock()),
        pytest.raises(SpoolError, match="another agent uses this spool"),
        small_spool(tmp_path, clock=HandClock()),
    ):
        pass


def test_an_unusable_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SpoolError, match=r"cannot be opened.*; check the folder"),
        small_spool(tmp_path / "file", clock=HandClock()),
    ):
        pass


def test_a_payload_that_json_cannot_hold_is_the_callers_error(tmp_path: Path) -> None:
    with small_spool(tmp_path, clock=HandClock()) as spool:
        with pytest.raises(TypeError):
            spool.put(
                DetectionsData(frame=np.int64(1), width=1, height=1, objects=()),  # type: ignore[arg-type]  # the fault under test
                topic="t",
                lane="event",
                captured_at_s=0.0,
            )
        fill(spool, 1)
        assert spool.last_sequence == 1


def test_a_closed_spool_takes_nothing(tmp_path: Path) -> None:
    with small_spool(tmp_path, clock=HandClock()) as spool:
        pass
    with pytest.raises(SpoolError, match="closed"):
        put(spool, 1)


FULL_DISK = """
import resource, signal, sys, time
from pathlib import Path
from tests.fakes.delivery import HandClock, put, small_spool
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with small_spool(Path(sys.argv[1]), clock=HandClock()) as spool:
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    began = time.monotonic()
    for frame in range(6000):
        put(spool, frame, padding=300)
    waited = time.monotonic() - began
    health = spool.health()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    spool.flush()
    put(spool, 6000)
    spool.flush()
    rows = spool.oldest(10**9)
    after = spool.health()
    assert health.write_errors > 0, health
    assert waited < 20, waited
    assert after.declared_lost > 0, after
    assert len(rows) + after.declared_lost == after.produced, after
    gaps = sum(row.topic.endswith("/gap") for row in rows)
    assert after.produced == 6001 + gaps, after
"""


def test_a_full_disk_never_blocks_for_ever_and_every_loss_is_declared(
    tmp_path: Path, repository: Path
) -> None:
    # In a process of its own: the limit on file sizes that stands for a full disk is
    # the whole process's.
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be written" in done.stderr


def test_a_time_that_cannot_be_written_is_the_callers_fault_alone(tmp_path: Path) -> None:
    with small_spool(tmp_path, clock=HandClock()) as spool:
        with pytest.raises(ValueError, match="year"):
            spool.put(
                detections(0), topic=TOPICS.detections("a"), lane="telemetry", captured_at_s=1e14
            )
        fill(spool, 3)
        assert spool.health().produced == 3


def test_a_commit_that_takes_long_can_be_seen(tmp_path: Path) -> None:
    with small_spool(tmp_path, clock=HandClock()) as spool:
        fill(spool, 1)
        assert spool.progress.stuck_s() == 0
        with contextlib.closing(sqlite3.connect(tmp_path / "spool.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            put(spool, 1)
            spool._clock.time_s = 7.0
            wait_until(lambda: spool.progress._since_s is not None)
            spool._clock.time_s += 100
            assert spool.progress.stuck_s() >= 100
            other.execute("ROLLBACK")
        spool.flush()
        wait_until(lambda: spool.progress.stuck_s() == 0)
