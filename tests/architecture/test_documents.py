"""Documents and examples say what the code does."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from edgehaul.config.device import DeviceConfig
from edgehaul.config.loader import load
from edgehaul.config.recipe import Recipe

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = {"device": DeviceConfig, "recipe": Recipe}
"""The folders of `configs`, and what is in them."""
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


def test_every_configuration_is_in_a_known_folder() -> None:
    folders = {file.parent.name for file in (REPOSITORY / "configs").rglob("*.yaml")}
    assert folders == set(CONFIGS)


@pytest.mark.parametrize(
    "file", sorted((REPOSITORY / "configs").rglob("*.yaml")), ids=lambda p: p.name
)
def test_every_configuration_loads(file: Path) -> None:
    assert load(file, CONFIGS[file.parent.name])


@pytest.mark.parametrize(
    "file", sorted((REPOSITORY / "configs").rglob("*.yaml")), ids=lambda p: p.name
)
def test_every_configuration_fits_its_schema(file: Path) -> None:
    schema = REPOSITORY / "docs/contract/schemas" / f"{file.parent.name}.json"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    jsonschema.validate(content, json.loads(schema.read_text(encoding="utf-8")))
