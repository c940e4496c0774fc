"""Signals stop the agent in good order, however many come and wherever they interrupt it."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from edgehaul_agent.signals import StopSignals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_burst_of_signals_is_one_wish_to_stop(number: signal.Signals) -> None:
    stop = threading.Event()
    before = signal.getsignal(number)
    with StopSignals(stop):
        for _ in range(50):
            os.kill(os.getpid(), number)
        assert stop.wait(5)
    assert signal.getsignal(number) is before


def test_a_signal_while_the_event_is_in_use_blocks_nothing() -> None:
    stop = threading.Event()
    with StopSignals(stop):
        # What the main thread may be doing when the signal comes: it holds the event's lock.
        with stop._cond:
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):
                pass
        assert stop.wait(5)


def test_no_signal_leaves_the_event_alone() -> None:
    stop = threading.Event()
    with StopSignals(stop):
        pass
    assert not stop.is_set()


IMPATIENT = """
import os, signal, threading, time
from edgehaul_agent.signals import StopSignals
with StopSignals(threading.Event()):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(1.1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)
"""


def test_a_later_signal_ends_the_process_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", IMPATIENT], timeout=20, check=False)
    assert done.returncode == -signal.SIGTERM


def test_sighup_asks_for_the_configuration_as_often_as_it_comes() -> None:
    stop, reload = threading.Event(), threading.Event()
    before = signal.getsignal(signal.SIGHUP)
    with StopSignals(stop, reload):
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
            assert reload.wait(5)
            reload.clear()
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)
    assert signal.getsignal(signal.SIGHUP) is before
