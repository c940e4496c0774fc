"""What is shipped: the device's wheel holds nothing of the workstation's."""

import subprocess
import sys
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

FORBIDDEN = ("torch", "onnx>", "onnxscript", "onnxslim", "click", "rich", "matplotlib", "amqtt")


def build(project: Path, out: Path) -> Path:
    """Build a project's wheel with what is installed here, so that no network is needed."""
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(project)),
        ],
        check=True,
    )
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def device_wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(repository / "agent", tmp_path_factory.mktemp("device"))


def contents(wheel: Path) -> tuple[set[str], list[str]]:
    """The top folders of a wheel and what it requires."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        headers = HeaderParser().parsestr(archive.read(metadata).decode())
    folders = {name.partition("/")[0] for name in names}
    return folders, headers.get_all("Requires-Dist") or []


def test_the_device_wheel_holds_the_sdk_and_the_agent_alone(device_wheel: Path) -> None:
    folders, _ = contents(device_wheel)
    assert {f for f in folders if not f.endswith(".dist-info")} == {"edgehaul", "edgehaul_agent"}


def test_the_device_wheel_requires_nothing_of_the_workstation(device_wheel: Path) -> None:
    _, requires = contents(device_wheel)
    assert any(r.startswith("onnxruntime") for r in requires)
    assert any(r.startswith("opencv-python-headless") for r in requires)
    assert not [r for r in requires if r.startswith(FORBIDDEN) or "edgehaul" in r]


def test_the_workstation_wheel_holds_all_three(repository: Path, tmp_path: Path) -> None:
    folders, requires = contents(build(repository, tmp_path))
    assert {"edgehaul", "edgehaul_agent", "edgehaul_tools"} <= folders
    assert not [r for r in requires if r.startswith("torch") and "extra ==" not in r]


@pytest.mark.slow
def test_the_device_wheel_runs_in_a_clean_environment(device_wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "box", with_pip=True)
    python = tmp_path / "box" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", device_wheel], check=True)
    agent = tmp_path / "box" / "bin" / "edgehaul-agent"
    subprocess.run([agent, "--help"], check=True, stdout=subprocess.DEVNULL)
    program = (
        "from importlib.util import find_spec as f;"
        "print([m for m in ('torch', 'onnx', 'edgehaul_tools') if f(m)])"
    )
    result = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
