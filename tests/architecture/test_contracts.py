"""The import contracts hold, and planted violations of each rule are caught."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

PLANTED_IMPORTS = {
    "agent and tools meet only in the sdk": (
        "sdk/edgehaul/clock.py",
        "import edgehaul_tools.cli",
    ),
    "the device never imports the training stack": (
        "agent/edgehaul_agent/update/slots.py",
        "import torch",
    ),
    "the sdk runs no models": (
        "sdk/edgehaul/geometry.py",
        "import onnxruntime",
    ),
    "in the sdk, pictures are the matter of vision and virtual alone": (
        "sdk/edgehaul/values.py",
        "import cv2",
    ),
    "the stages of the agent meet only in app, pipeline and supervisor": (
        "agent/edgehaul_agent/tracking/tracker.py",
        "import edgehaul_agent.events.lines",
    ),
    "the tools are layered in the order of the flow": (
        "tools/edgehaul_tools/commands.py",
        "import edgehaul_tools.cli",
    ),
}
"""For each contract, a file and an import that breaks it."""


@pytest.fixture
def tree(tmp_path: Path, repository: Path) -> Path:
    """A copy of the sources that a test may spoil."""
    for root in ("sdk", "agent", "tools"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(repository / root, tmp_path / root, ignore=ignored)
    shutil.copy(repository / "pyproject.toml", tmp_path)
    return tmp_path


def run(tree: Path, tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a development tool of this environment on the tree, not on the installed checkout."""
    sources = os.pathsep.join(str(tree / root) for root in ("sdk", "agent", "tools"))
    program = Path(sysconfig.get_path("scripts")) / tool
    return subprocess.run(
        [sys.executable, str(program), *arguments],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": sources, "NO_COLOR": "1", "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def plant(tree: Path, file: str, line: str) -> None:
    """Add a line to the end of a source file."""
    path = tree / file
    path.write_text(path.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")


def broken(output: str) -> set[str]:
    """The contracts that lint-imports names as broken."""
    return {line.partition(" BROKEN")[0] for line in output.splitlines() if " BROKEN" in line}


def test_every_import_contract_holds(tree: Path) -> None:
    result = run(tree, "lint-imports", "--no-cache")
    assert result.returncode == 0, result.stdout
    assert f"Contracts: {len(PLANTED_IMPORTS)} kept, 0 broken" in result.stdout


def test_every_import_contract_catches_a_planted_violation(tree: Path) -> None:
    for file, line in PLANTED_IMPORTS.values():
        plant(tree, file, line)
    result = run(tree, "lint-imports", "--no-cache")
    assert result.returncode == 1
    assert broken(result.stdout) == set(PLANTED_IMPORTS)


@pytest.mark.parametrize(
    ("contract", "file", "line"),
    [
        ("agent and tools meet only in the sdk", "tools/edgehaul_tools/cli.py", "edgehaul_agent"),
        ("agent and tools meet only in the sdk", "agent/edgehaul_agent/proof.py", "edgehaul_tools"),
    ],
)
def test_agent_and_tools_may_not_import_each_other(
    tree: Path, contract: str, file: str, line: str
) -> None:
    plant(tree, file, f"import {line}")
    result = run(tree, "lint-imports", "--no-cache")
    assert result.returncode == 1
    assert contract in broken(result.stdout)


def test_ruff_catches_a_planted_violation(tree: Path) -> None:
    plant(tree, "sdk/edgehaul/clock.py", "def broad() -> None:\n    try:\n        broad()")
    plant(tree, "sdk/edgehaul/clock.py", "    except Exception:\n        return")
    result = subprocess.run(
        [Path(sysconfig.get_path("scripts")) / "ruff", "check", "--no-cache", "."],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "BLE001" in result.stdout


def test_mypy_catches_a_planted_violation(tree: Path) -> None:
    plant(tree, "sdk/edgehaul/clock.py", "PORT: int = 'https'")
    result = run(tree, "mypy", "--cache-dir", str(tree / "cache"), "-m", "edgehaul.clock")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Incompatible types in assignment" in result.stdout
