"""The unit file: systemd knows every word of it, and it starts the agent that we build."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from edgehaul_agent.cli import _parser

UNIT = Path(__file__).resolve().parents[2] / "configs/systemd/edgehaul-agent.service"
PROGRAM = "/opt/edgehaul/bin/edgehaul-agent"


def service() -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(UNIT)
    return dict(parser["Service"])


def test_it_is_watched_restarted_and_fenced_in() -> None:
    keys = service()
    assert keys["Type"] == "notify"
    assert keys["Restart"] == "always"
    assert int(keys["WatchdogSec"]) >= 30
    assert keys["NoNewPrivileges"] == "yes"
    assert keys["ProtectSystem"] == "strict"
    assert keys["ReadWritePaths"] == "/var/lib/edgehaul"
    assert keys["User"] != "root"


def test_it_starts_a_command_line_that_there_is() -> None:
    program, *words = service()["ExecStart"].split()
    assert program == PROGRAM
    options = _parser().parse_args(words)
    assert options.config == "/etc/edgehaul/device.yaml"


def verify(folder: Path, text: str) -> str:
    program = folder / "edgehaul-agent"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = folder / "edgehaul-agent.service"
    unit.write_text(text.replace(PROGRAM, str(program)))
    words = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_has_nothing_to_say_about_it(tmp_path: Path) -> None:
    # It exits with 0 for a key that it does not know: what it says is what counts.
    text = UNIT.read_text()
    told = [line for line in verify(tmp_path, text).splitlines() if UNIT.name in line]
    assert told == []
    wrong = text.replace("NoNewPrivileges=yes", "NoNewPrivilege=yes")
    assert "NoNewPrivilege" in verify(tmp_path, wrong)
