"""The README's commands are real: their options exist, and all of them run in order."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from edgehaul_tools.commands import edgehaul

REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = ("sdk", "agent", "tools", "configs", "docs", "pyproject.toml", "README.md", "LICENSE")
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
DEFAULT_PORT = "1883"
TIMEOUT_S = 1500


def blocks(language: str) -> list[str]:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    return [content for found, content in BLOCK.findall(text) if found == language]


def command_lines() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


def edgehaul_lines() -> list[str]:
    return [line for line in command_lines() if line.startswith("edgehaul ")]


def test_the_readme_shows_every_stage() -> None:
    shown = {shlex.split(line)[1] for line in edgehaul_lines()}
    assert {"data", "train", "export", "compress", "pack"} <= shown
    assert {"quantize", "verify", "prune", "qat"} <= shown
    assert {"collect", "subscribe"} <= shown


@pytest.mark.parametrize("line", edgehaul_lines())
def test_every_option_in_the_readme_exists(line: str) -> None:
    words = [word for word in shlex.split(line, comments=True) if word != "&"][1:]
    command: click.Command = edgehaul
    context = click.Context(edgehaul)
    while isinstance(command, click.Group):
        context = click.Context(command, parent=context)
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command = found
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
    arguments = [p for p in command.params if isinstance(p, click.Argument) and p.required]
    assert not arguments or not words[0].startswith("--"), line


@pytest.mark.parametrize("line", [line for line in command_lines() if line.startswith("make ")])
def test_every_make_target_in_the_readme_exists(line: str) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{line.split()[1]}:", makefile, re.MULTILINE)


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the checkout, with this environment as its `.venv`."""
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(source, tmp_path / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def script(checkout: Path, port: str) -> str:
    """All commands in order, but `make`, which installs this environment and runs these tests.

    The broker's port may be taken on this machine: a free one stands in for it. The Python
    example runs once the device has left its retained state at the broker.
    """
    for config in (checkout / "configs" / "device").glob("*.yaml"):
        content = config.read_text(encoding="utf-8")
        config.write_text(content.replace(DEFAULT_PORT, port), encoding="utf-8")
    (example,) = blocks("python")
    (checkout / "example.py").write_text(example.replace(DEFAULT_PORT, port), encoding="utf-8")
    lines = ["set -euxo pipefail"]
    for line in command_lines():
        if line.startswith("edgehaul subscribe "):
            lines.append("(set +o pipefail; timeout 60 python -u example.py | grep -m1 StateData)")
        if not line.startswith("make "):
            lines.append(line.replace(DEFAULT_PORT, port))
    return "\n".join([*lines, ""])


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.timeout(TIMEOUT_S + 30)
def test_the_commands_run_in_order(checkout: Path) -> None:
    port = free_port()
    with (checkout / "output.txt").open("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            ["bash", "-c", script(checkout, port)],
            cwd=checkout,
            env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(TIMEOUT_S)
        finally:
            # The broker was started in the background, in the session of this script alone.
            with contextlib.suppress(ProcessLookupError):  # a script that failed early left none
                os.killpg(process.pid, signal.SIGTERM)
        output.seek(0)
        said = output.read()
    assert code == 0, said[-4000:]
    assert (checkout / "runs" / "results.db").stat().st_size > 0
