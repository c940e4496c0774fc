"""Errors as the command lines print them."""

import errno
import json

import pytest

from edgehaul.errors import BrokerError, ConfigError
from edgehaul.reporting import remedy_for_writing, report_error, system_error


def test_an_error_is_one_line_with_its_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    error = BrokerError("cannot be reached", where="b:1883", remedy="start it")
    assert report_error(error, program="p", as_json=False) == 1
    assert capsys.readouterr() == ("", "p: error: b:1883: cannot be reached; start it\n")


def test_as_json_every_fault_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    error = ConfigError(["f:1:1: a", "f:2:1: b"], where="f")
    assert report_error(error, program="p", as_json=True) == 2
    told = json.loads(capsys.readouterr().err)["error"]
    assert (told["type"], told["faults"]) == ("ConfigError", error.faults)


def test_what_the_system_refuses_names_the_file() -> None:
    error = system_error(PermissionError(13, "Permission denied", "/x"))
    assert str(error).startswith("/x: permission denied; check")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free space"),
        (errno.EDQUOT, "free space"),
        (errno.EACCES, "correct the path or its permissions"),
        (errno.EROFS, "correct the path or its permissions"),
    ],
)
def test_the_remedy_is_that_of_the_cause(number: int, remedy: str) -> None:
    assert remedy_for_writing(OSError(number, "refused", "/x")).startswith(remedy)
