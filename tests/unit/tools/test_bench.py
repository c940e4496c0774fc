from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgehaul.config.recipe import DetectorRecipe
from edgehaul.errors import GateError, UsageError
from edgehaul_tools.bench.models import machine
from edgehaul_tools.bench.training import measure_training
from edgehaul_tools.commands import edgehaul


def run(*arguments: str) -> str:
    result = CliRunner().invoke(edgehaul, ["bench", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_networks_are_measured_in_fp32_and_int8(tmp_path: Path) -> None:
    table = tmp_path / "models.md"
    costs = json.loads(run("models", "lstm", "tcn", "--rounds=1", f"--markdown={table}", "--json"))
    assert [cost["name"] for cost in costs] == ["lstm", "tcn"]
    for cost in costs:
        assert cost["fp32_ms"] > 0
        assert cost["int8_ms"] > 0
        assert 0 < cost["int8_bytes"] < cost["fp32_bytes"]
    # One layer of 64 states on 4 features, and 4 classes: weights counted by hand.
    assert costs[0]["parameters"] == 4 * 64 * (4 + 64 + 2) + 64 * 4 + 4
    page = table.read_text(encoding="utf-8")
    assert "| `tcn` | sequence | 16x4 |" in page
    assert machine() in page


def test_a_page_that_cannot_be_written_is_told_of_before_anything_is_measured(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(
        edgehaul, ["bench", "models", "generator", f"--markdown={tmp_path / 'file' / 'page.md'}"]
    )
    assert isinstance(result.exception, OSError)
    assert "M" not in result.stdout.partition("ratio")[2], "no line of a network"


def test_what_no_box_runs_has_no_time() -> None:
    (cost,) = json.loads(run("models", "generator", "--json"))
    assert cost["fp32_ms"] is None
    assert cost["parameters"] > 0


def test_unknown_networks_are_refused() -> None:
    with pytest.raises(UsageError, match="no network 'alexnett'"):
        run("models", "alexnett")


def test_the_training_is_compared_with_a_bare_loop_and_gated() -> None:
    speed = measure_training(DetectorRecipe(width=64, height=64, threads=1), 16, 2)
    assert len(speed.ratios) == 2
    assert min(speed.bare_per_s, speed.trained_per_s) > 0
    assert min(speed.ratios) <= speed.ratio <= max(speed.ratios)
    with pytest.raises(GateError, match="of a bare loop"):
        run("training", "--pictures=16", "--rounds=1", "--least=1000")
