"""Flashing through the device's own installer, run as a program."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgehaul.errors import BundleError, DeviceError
from edgehaul_tools.commands import edgehaul
from edgehaul_tools.flash.flash import FlashOptions, flash_bundle
from edgehaul_tools.flash.target import FolderTarget
from tests.fakes.bundles import write_runnable_bundle


def test_a_good_bundle_is_proved_and_installed(tmp_path: Path) -> None:
    bundle = write_runnable_bundle(tmp_path)
    result = CliRunner().invoke(
        edgehaul, ["flash", str(bundle), "--root", str(tmp_path / "device"), "--json"]
    )
    assert result.exit_code == 0, result.output
    flashed = json.loads(result.output)
    assert (flashed["name"], flashed["version"], flashed["variant"]) == ("parcels", "1.0.0", "fp32")
    assert (Path(flashed["folder"]) / "fp32.onnx").is_file()


def test_a_device_that_finds_swapped_colours_says_so(tmp_path: Path) -> None:
    bundle = write_runnable_bundle(tmp_path, swapped_colors=True)
    target = FolderTarget(tmp_path / "device")
    with pytest.raises(DeviceError, match="colour channels are swapped") as caught:
        flash_bundle(bundle, target, FlashOptions())
    assert "correct the spec" in str(caught.value)
    assert caught.value.exit_code == 5


def test_an_altered_bundle_is_not_even_sent(tmp_path: Path) -> None:
    bundle = write_runnable_bundle(tmp_path)
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    bundle.write_bytes(content)
    with pytest.raises(BundleError):
        flash_bundle(bundle, FolderTarget(tmp_path / "device"), FlashOptions())
    assert not (tmp_path / "device").exists()


def test_an_older_version_is_refused_in_the_devices_words(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "device")
    flash_bundle(write_runnable_bundle(tmp_path, "1.1.0"), target, FlashOptions())
    old = write_runnable_bundle(tmp_path, "1.0.0")
    with pytest.raises(
        DeviceError, match=r"older than the installed 1\.1\.0; add --allow-downgrade"
    ):
        flash_bundle(old, target, FlashOptions())
    back = flash_bundle(old, target, FlashOptions(allow_downgrade=True))
    assert back.version == "1.0.0"


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    bundle = write_runnable_bundle(tmp_path)
    result = CliRunner().invoke(
        edgehaul, ["flash", str(bundle), "--root", str(tmp_path / "device"), "--dry-run"]
    )
    assert result.exit_code == 0
    assert not (tmp_path / "device").exists()
    command = ["flash", str(bundle), "--root", str(tmp_path / "device"), "--dry-run", "--json"]
    assert json.loads(CliRunner().invoke(edgehaul, command).output) == {
        "name": "parcels",
        "version": "1.0.0",
        "installed": False,
    }


def test_a_missing_agent_names_what_to_install(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "device", agent=(str(tmp_path / "no-agent"),))
    with pytest.raises(DeviceError, match="pip install"):
        flash_bundle(write_runnable_bundle(tmp_path), target, FlashOptions())
