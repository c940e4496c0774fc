"""Options that take a number take neither NaN nor infinity."""

import click
import pytest

from edgehaul_tools.cli import main
from edgehaul_tools.finite import FiniteRange


@pytest.mark.parametrize("value", ["nan", "-NaN", "inf", "Infinity", "1e999"])
def test_what_is_no_finite_number_is_said(value: str) -> None:
    with pytest.raises(click.BadParameter, match="no finite number"):
        FiniteRange(0).convert(value.removeprefix("-"), None, None)


def test_a_range_is_kept() -> None:
    kind = FiniteRange(0, 1, min_open=True)
    assert kind.convert("1", None, None) == 1.0
    with pytest.raises(click.BadParameter, match="0<x<=1"):
        kind.convert("0", None, None)


def test_a_gate_of_nan_is_one_line_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "directory", "--max-drop", "nan"]) == 2
    error = capsys.readouterr().err
    assert "'--max-drop': 'nan' is no finite number; see `edgehaul verify --help`" in error
    assert error.count("\n") == 1
