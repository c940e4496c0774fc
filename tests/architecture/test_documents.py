"""Documents and examples say what the code does."""

import re
from pathlib import Path

import pytest

from edgehaul.config.device import DeviceConfig
from edgehaul.config.loader import load

REPOSITORY = Path(__file__).resolve().parents[2]
DEVICE_CONFIGS = sorted((REPOSITORY / "configs" / "device").glob("*.yaml"))
FENCED = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def commands(document: str) -> list[str]:
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    lines = [line for block in FENCED.findall(text) for line in block.splitlines()]
    return [line.partition("  #")[0].rstrip() for line in lines]


def test_both_readmes_give_the_same_commands() -> None:
    assert commands("README.md")
    assert commands("README.md") == commands("README.zh-CN.md")


@pytest.mark.parametrize(
    "document", [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")], ids=lambda p: p.name
)
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    targets = LINK.findall(document.read_text(encoding="utf-8"))
    assert not [t for t in targets if not (document.parent / t).exists()]


def test_there_are_device_configurations() -> None:
    assert DEVICE_CONFIGS


@pytest.mark.parametrize("file", DEVICE_CONFIGS, ids=lambda p: p.name)
def test_every_device_configuration_loads(file: Path) -> None:
    config = load(file, DeviceConfig)
    assert config.streams or config.gps
