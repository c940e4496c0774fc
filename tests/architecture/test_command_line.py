"""The host command answers at once, and every error is one line with its exit code."""

import json
import re
import resource
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import click
import pytest

from edgehaul_tools import cli
from edgehaul_tools.commands import COMMANDS, DATA_COMMANDS, edgehaul

HEAVY = ("torch", "onnx", "onnxruntime", "cv2", "numpy", "rich", "matplotlib", "msgspec", "yaml")
MAX_HELP_CPU_S = 0.150
EDGEHAUL = Path(sysconfig.get_path("scripts")) / "edgehaul"


def cpu_s_of_help() -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([EDGEHAUL, "--help"], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_takes_less_than_150_ms_of_cpu() -> None:
    # The least of a few runs: other processes on the machine only ever add to it.
    assert min(cpu_s_of_help() for _ in range(5)) < MAX_HELP_CPU_S


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from edgehaul_tools.cli import main; code = main(['--help']);"
        f"print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stderr.strip() == "[]"
    for name, entry in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(entry.summary)}$", result.stdout, re.MULTILINE)


NAMES = [*COMMANDS, *(f"data {name}" for name in DATA_COMMANDS)]


def command_named(name: str) -> click.Command:
    command: click.Command | None = edgehaul
    for word in name.split():
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    assert command is not None
    return command


@pytest.mark.parametrize("name", NAMES)
def test_every_command_of_the_table_has_help(name: str) -> None:
    command = command_named(name)
    assert command.get_help(click.Context(command, info_name=name))


def numbers_of(command: click.Command) -> list[click.Parameter]:
    """Return what takes a number that need not be whole, of a group's commands too."""
    found = [o for o in command.params if isinstance(o.type, click.types.FloatParamType)]
    if isinstance(command, click.Group):
        context = click.Context(command)
        inner = [command.get_command(context, name) for name in command.list_commands(context)]
        found += [option for one in inner if one is not None for option in numbers_of(one)]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_no_number_of_any_command_may_be_nan_or_infinite(name: str) -> None:
    for option in numbers_of(command_named(name)):
        for value in ("nan", "inf", "-inf", "1e999"):
            with pytest.raises(click.BadParameter):
                option.type.convert(value, option, None)


def test_numbers_of_commands_are_found() -> None:
    names = {option.name for option in numbers_of(command_named("verify"))}
    assert names == {"max_drop", "min_agreement"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dem"], "there is no command 'dem'; did you mean 'demo'?"),
        (["--nope"], "o such option"),
        (["flash"], "see `edgehaul flash --help`"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("edgehaul: error: ")
    assert error.count("\n") == 1


def test_errors_are_json_where_json_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["nope", "--json"]) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["type"] == "UsageError"
    assert error["exit_code"] == 2
    assert "nope" in error["message"]


def test_no_arguments_show_the_help_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert re.fullmatch(r"edgehaul, version \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_module_and_script_are_the_same_command() -> None:
    script = subprocess.run([EDGEHAUL, "--help"], capture_output=True, text=True, check=True)
    module = subprocess.run(
        [sys.executable, "-m", "edgehaul_tools", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert script.stdout == module.stdout


def test_a_file_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    occupied = tmp_path / "file"
    occupied.touch()
    assert cli.main(["data", "virtual", "conveyor", "--images", "1", "--out", f"{occupied}/x"]) == 1
    error = capsys.readouterr().err
    assert re.fullmatch(r"edgehaul: error: .*/file.*\n", error)


def test_nobody_is_told_when_the_reader_has_gone() -> None:
    result = subprocess.run(
        ["bash", "-c", '"$0" --help | true', EDGEHAUL], capture_output=True, text=True, check=True
    )
    assert result.stderr == ""


def test_an_interrupt_is_one_line_and_code_130(tmp_path: Path) -> None:
    out = tmp_path / "data"
    process = subprocess.Popen(
        [EDGEHAUL, "data", "virtual", "conveyor", "--images", "100000", "--out", out],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline_s = time.monotonic() + 60
    while not out.with_name("data.partial").exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert error.splitlines()[-1] == "edgehaul: interrupted"
    assert "Traceback" not in error
