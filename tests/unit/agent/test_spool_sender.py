"""What is sent when, and whose receipt lets a message go; with a clock set by hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgehaul.config.device import MqttSection
from edgehaul_agent.delivery.sender import GRACE_S, RESEND_S, Sender
from edgehaul_agent.delivery.spool import Spool
from tests.fakes.delivery import (
    TOPICS,
    HandClock,
    RecordingLink,
    fill,
    put,
    receipt,
    small_spool,
)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def spool(tmp_path: Path, clock: HandClock) -> Iterator[Spool]:
    with small_spool(tmp_path, clock=clock) as opened:
        yield opened


def sender(
    spool: Spool, link: RecordingLink, clock: HandClock, config: MqttSection | None = None
) -> Sender:
    return Sender(spool, link, config or MqttSection(), TOPICS, clock)


def confirm_all(sender: Sender, link: RecordingLink) -> None:
    for event in link.confirmations():
        sender.published(event)


def test_without_a_collector_the_brokers_receipt_counts_after_a_grace(
    spool: Spool, clock: HandClock
) -> None:
    link = RecordingLink()
    fill(spool, 5)
    under_test = sender(spool, link, clock)
    under_test.pump()
    assert link.take() == [1, 2, 3, 4, 5]
    confirm_all(under_test, link)
    under_test.pump()
    assert not spool.wait_empty(0.2)
    clock.time_s = GRACE_S
    under_test.pump()
    assert under_test.mode == "puback"
    assert spool.wait_empty(5)


def test_a_collectors_receipt_takes_over_and_is_remembered(spool: Spool, clock: HandClock) -> None:
    link = RecordingLink()
    fill(spool, 5)
    under_test = sender(spool, link, clock)
    under_test.pump()
    confirm_all(under_test, link)
    under_test.received(receipt(spool.epoch, 3))
    clock.time_s = 10 * GRACE_S
    under_test.pump()
    assert under_test.mode == "collector"
    assert not spool.wait_empty(0.2)
    assert spool.first_sequence() == 4
    assert sender(spool, RecordingLink(), clock).mode == "collector"


def test_the_configuration_can_insist_on_pubacks(spool: Spool, clock: HandClock) -> None:
    link = RecordingLink()
    fill(spool, 2)
    under_test = sender(spool, link, clock, MqttSection(acknowledge="puback"))
    under_test.received(receipt(spool.epoch, 0))
    under_test.pump()
    confirm_all(under_test, link)
    under_test.pump()
    assert under_test.mode == "puback"
    assert spool.wait_empty(5)


def test_never_more_under_way_than_the_window(spool: Spool, clock: HandClock) -> None:
    link = RecordingLink()
    fill(spool, 100)
    under_test = sender(spool, link, clock, MqttSection(window=20))
    under_test.pump()
    under_test.pump()
    assert link.take() == list(range(1, 21))
    confirm_all(under_test, link)
    under_test.pump()
    assert link.take() == list(range(21, 41))


def test_live_goes_first_by_lane_and_the_backlog_follows_at_its_rate(
    spool: Spool, clock: HandClock
) -> None:
    fill(spool, 40)
    clock.time_s = 60.0
    link = RecordingLink()
    config = MqttSection(acknowledge="puback", backlog_per_s=20.0)
    under_test = sender(spool, link, clock, config)
    put(spool, 0)
    put(spool, 1, lane="event")
    put(spool, 2, lane="alarm")
    spool.flush()
    clock.time_s = 60.1
    under_test.pump()
    assert link.take() == [43, 42, 41, 1, 2]
    assert [message.historical for message in link.sent] == [False] * 3 + [True] * 2
    for tick in range(1, 10):
        clock.time_s = 60.1 + tick / 10
        under_test.pump()
    rest = link.take()
    assert rest == list(range(3, 3 + len(rest)))
    assert len(rest) in (17, 18)


def test_the_backlog_sends_alarms_before_the_rest(spool: Spool, clock: HandClock) -> None:
    fill(spool, 3)
    fill(spool, 2, lane="alarm")
    clock.time_s = 60.0
    link = RecordingLink()
    under_test = sender(spool, link, clock)
    clock.time_s = 61.0
    under_test.pump()
    assert link.take() == [4, 5, 1, 2, 3]


def test_what_a_collector_did_not_get_is_sent_again(spool: Spool, clock: HandClock) -> None:
    link = RecordingLink()
    fill(spool, 6)
    under_test = sender(spool, link, clock)
    under_test.received(receipt(spool.epoch, 0))
    under_test.pump()
    link.take()
    confirm_all(under_test, link)
    # The broker lost message 3: the collector is there but cannot get beyond 2.
    clock.time_s = 1.0
    under_test.received(receipt(spool.epoch, 2))
    assert not spool.wait_empty(0.1)
    clock.time_s = 1.0 + RESEND_S[0] + 0.1
    under_test.pump()
    assert link.take() == [3, 4, 5, 6]
    under_test.received(receipt(spool.epoch, 6))
    under_test.pump()
    assert spool.wait_empty(5)


def test_a_collector_that_is_away_is_asked_for_with_few_messages_at_growing_intervals(
    spool: Spool, clock: HandClock
) -> None:
    spool.note("collector", "depot-server")
    fill(spool, 500)
    clock.time_s = 1000.0
    link = RecordingLink()
    under_test = sender(spool, link, clock, MqttSection(window=10))
    asked_at_s = []
    for tick in range(600):
        clock.time_s = 1000.0 + tick
        under_test.pump()
        confirm_all(under_test, link)
        if taken := link.take():
            assert taken == list(range(1, 11))
            asked_at_s.append(tick)
    assert asked_at_s[:5] == [0, 3, 9, 21, 45]
    assert len(asked_at_s) < 16
    # It is back: everything follows.
    for tick in range(60):
        clock.time_s = 2000.0 + tick / 10
        under_test.received(receipt(spool.epoch, 10))
        under_test.pump()
        confirm_all(under_test, link)
    assert link.take() == list(range(11, 501))


def test_a_receipt_kept_by_the_broker_tells_how_far_but_not_that_someone_is_there(
    spool: Spool, clock: HandClock
) -> None:
    fill(spool, 100)
    clock.time_s = 1000.0
    link = RecordingLink()
    under_test = sender(spool, link, clock, MqttSection(window=10))
    under_test.received(receipt(spool.epoch, 40, retained=True))
    under_test.pump()
    assert under_test.mode == "collector"
    assert not spool.wait_empty(0.3)
    assert spool.first_sequence() == 41
    assert len(link.take()) <= 10


def test_nonsense_on_the_receipts_topic_is_ignored(spool: Spool, clock: HandClock) -> None:
    under_test = sender(spool, RecordingLink(), clock)
    good = receipt(spool.epoch, 0)
    under_test.received(type(good)(good.topic, b"\xff{", retained=False))
    assert under_test.mode == "puback"


def test_a_broken_link_loses_nothing(spool: Spool, clock: HandClock) -> None:
    link = RecordingLink()
    fill(spool, 5)
    under_test = sender(spool, link, clock)
    link.is_up = False
    under_test.pump()
    link.is_up = True
    under_test.pump()
    assert link.take() == [1, 2, 3, 4, 5]
