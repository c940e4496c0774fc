"""Neither command leaves traces of its use on the machine, or tries to report it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SWITCH = "ORT_DISABLE_TELEMETRY"


def run(module: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in {SWITCH, "XDG_CACHE_HOME"}}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**environment, "HOME": str(home)},
    )


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("edgehaul_tools", ("verify", "no-such-directory")),
        ("edgehaul_agent", ("check", "--config", "no-such-file.yaml")),
    ],
    ids=["host", "box"],
)
def test_no_telemetry_is_kept_or_missed(
    module: str, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    (home := tmp_path / "home").mkdir()
    told = run(module, *arguments, home=home).stderr
    assert list(home.rglob("*")) == []
    assert "onnxruntime" not in told
    (line,) = told.splitlines()
    assert "error: " in line
    (no_home := tmp_path / "file").touch()  # not even root can write below it
    assert run(module, *arguments, home=no_home).stderr.splitlines() == [line]


@pytest.mark.parametrize("package", ["edgehaul_tools", "edgehaul_agent"])
def test_the_operator_decides(package: str) -> None:
    program = f"import os, {package}; print(os.environ['{SWITCH}'])"
    answers = [
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={**{k: v for k, v in os.environ.items() if k != SWITCH}, **chosen},
        ).stdout.strip()
        for chosen in ({}, {SWITCH: "0"})
    ]
    assert answers == ["1", "0"]
