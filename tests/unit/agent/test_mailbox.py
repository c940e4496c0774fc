from __future__ import annotations

import threading

from edgehaul_agent.sources.mailbox import Mailbox


def test_every_hands_over_all_in_order() -> None:
    mailbox: Mailbox[int] = Mailbox("every")

    def produce() -> None:
        for number in range(200):
            assert mailbox.wait_for_room()
            mailbox.put(number)
        mailbox.close()

    producer = threading.Thread(target=produce)
    producer.start()
    assert list(mailbox) == list(range(200))
    producer.join()
    assert mailbox.dropped == 0


def test_latest_keeps_the_newest_and_counts_the_rest() -> None:
    mailbox: Mailbox[int] = Mailbox("latest")
    for number in range(10):
        assert mailbox.wait_for_room()
        mailbox.put(number)
    mailbox.close()
    assert list(mailbox) == [9]
    assert mailbox.dropped == 9


def test_a_producer_does_not_wait_for_a_consumer_that_is_gone() -> None:
    mailbox: Mailbox[int] = Mailbox("every")
    mailbox.put(1)
    answers: list[bool] = []
    producer = threading.Thread(target=lambda: answers.append(mailbox.wait_for_room()))
    producer.start()
    mailbox.abandon()
    producer.join()
    assert answers == [False]
