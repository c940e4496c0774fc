"""What all tests share: the real data beside the checkout, and what a machine must have."""

import os
import shutil
import signal
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
NO_DATA = f"the real data is not there: {SHARED_DATA}"
MUST_HAVE = os.environ.get("CI") == "true"
"""On CI a missing broker is a failure: a skipped test proves nothing."""


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs under test.

    What a shell starts in the background ignores it, and so would all that it starts.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real videos, images, models and traces; the test is skipped where they are absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(NO_DATA)
    return SHARED_DATA


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run and say why; on CI a missing broker fails."""
    if item.get_closest_marker("shared_data") and not SHARED_DATA.is_dir():
        pytest.skip(NO_DATA)
    if item.get_closest_marker("broker") and not _has_mosquitto():
        reason = "mosquitto is not installed; run: apt-get install mosquitto"
        if MUST_HAVE:
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests did not run for want of the real data: green proves so much less."""
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum(NO_DATA in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(f"{count} tests were skipped: {NO_DATA}", yellow=True)


def _has_mosquitto() -> bool:
    # Debian installs daemons into sbin, which is not on everybody's path.
    return bool(shutil.which("mosquitto")) or Path("/usr/sbin/mosquitto").is_file()
