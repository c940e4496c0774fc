"""Versions in manifests: only semantic ones, in the order of their precedence."""

import random

import msgspec
import pytest

from edgehaul.bundle.archive import file_entries
from edgehaul.bundle.manifest import (
    Manifest,
    Variant,
    decode_manifest,
    encode_manifest,
    require_name,
    version_key,
)
from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.errors import BundleError

# The example of semver.org, 11.4, and neighbours.
IN_ORDER = [
    "0.9.10",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0-rc.9",
    "1.0.0-rc.10",
    "1.0.0-rc.10.1",
    "1.0.0-rc10",
    "1.0.0-rc9",
    "1.0.0",
    "1.0.1-0",
    "1.2.0",
    "1.10.0",
]


def manifest(version: str = "1.0.0", minimum_agent: str = "0.1.0") -> Manifest:
    return Manifest(
        name="parcels",
        version=version,
        minimum_agent=minimum_agent,
        spec=ModelSpec("detect", ImageInput(32, 32), OutputSpec("edgehaul", ("parcel",))),
        variants=(Variant("fp32", "fp32.onnx", "fp32"),),
        files=file_entries({"fp32.onnx": b"model"}),
    )


def test_versions_sort_by_precedence() -> None:
    shuffled = random.Random(1).sample(IN_ORDER, len(IN_ORDER))
    assert sorted(shuffled, key=version_key) == IN_ORDER
    assert [manifest(version).version for version in IN_ORDER] == IN_ORDER


@pytest.mark.parametrize(
    "version",
    ["", "abc", "1", "1.0", "01.0.0", "1.0.0-", "1.0.0-rc..1", "1.0.0-01", "1.0.٣", "9" * 99],
)
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(ValueError, match=r"^version .* is no semantic version"):
        manifest(version)
    with pytest.raises(ValueError, match=r"^minimum_agent .* is no semantic version"):
        manifest(minimum_agent=version)
    content = encode_manifest(manifest()).replace(b'"0.1.0"', f'"{version}"'.encode())
    with pytest.raises(BundleError, match="minimum_agent"):
        decode_manifest(content, where="bundle")


@pytest.mark.parametrize("name", ["", "Parcels", "-a", "a/b", "a b", "\u00e9tiquette", "a" * 65])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^name .* use lower-case letters"):
        require_name(name)
    with pytest.raises(ValueError, match=r"^name .* use lower-case letters"):
        msgspec.structs.replace(manifest(), name=name)


def test_names_of_all_that_is_allowed() -> None:
    for name in ("a", "0", "parcels-2.1_b", "a" * 64):
        require_name(name)
