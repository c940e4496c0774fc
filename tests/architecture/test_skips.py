"""A run without the real data says at its end how much it has not proved."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

CASES = """
import pytest

@pytest.mark.shared_data
@pytest.mark.parametrize("n", range(3))
def test_marked(n):
    pass

def test_by_fixture(shared_data):
    pass

def test_skipped_for_another_reason():
    pytest.skip("another reason")

def test_that_runs():
    pass
"""


def run(folder: Path) -> str:
    environment = {**os.environ, "CI": "true", "NO_COLOR": "1"}
    options = ("-q", "-p", "no:cacheprovider", "-W", "ignore", "--rootdir", str(folder))
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(folder / "tests")],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env=environment,
    ).stdout


def test_skips_for_want_of_the_real_data_are_counted(repository: Path, tmp_path: Path) -> None:
    (tests := tmp_path / "checkout" / "tests").mkdir(parents=True)
    shutil.copy(repository / "tests" / "conftest.py", tests)
    (tests / "test_cases.py").write_text(CASES)
    data = tmp_path / "shared" / "data"
    told = run(tests.parent)
    assert f"4 tests were skipped: the real data is not there: {data}" in told
    data.mkdir(parents=True)
    assert "tests were skipped" not in run(tests.parent)
