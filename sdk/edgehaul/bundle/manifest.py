"""The manifest: the first file of a bundle, naming and hashing all others."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from edgehaul.bundle.spec import ModelSpec
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import BundleError

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 1

MAX_NAME_CHARS = 64
_NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{MAX_NAME_CHARS - 1}}}")
_NUMBER = r"(?:0|[1-9][0-9]*)"
_IDENTIFIER = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(rf"{_NUMBER}(?:\.{_NUMBER}){{2}}(?:-{_IDENTIFIER}(?:\.{_IDENTIFIER})*)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*){0,3}")
MAX_PATH_CHARS = 99
"""What the name field of a ustar header holds."""
MAX_VERSION_CHARS = 64

VersionKey = tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]

Precision = Literal["fp32", "fp16", "int8", "mixed"]


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the bundle, beside the manifest itself."""

    path: str
    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        """Refuse paths that could leave the bundle's folder."""
        if not _PATH.fullmatch(self.path) or len(self.path) > MAX_PATH_CHARS:
            raise ValueError(f"{self.path!r} is no plain relative path")
        if self.path == MANIFEST_NAME:
            raise ValueError("the manifest cannot list itself")
        if not _SHA256.fullmatch(self.sha256) or self.size_bytes < 0:
            raise ValueError(f"{self.path}: sha256 or size_bytes is malformed")


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One form of the model; the device keeps the fastest that passes its golden vectors.

    Attributes:
        name: Unique within the bundle, such as ``fp32`` or ``int8-u8s8``.
        path: The model file.
        precision: What its weights and activations are.
        metrics: Quality measured on the test split, such as ``map50``.
    """

    name: str
    path: str
    precision: Precision
    metrics: dict[str, float] = {}


class GoldenCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One proved input, and what each variant answered where the bundle was packed.

    Attributes:
        input: ``.npy`` file with the raw input (a BGR picture, or a window of features).
        tensor: ``.npy`` file with the model's input tensor made of it.
        outputs: For each variant, the ``.npy`` files of its outputs in the model's order.
    """

    input: str
    tensor: str
    outputs: dict[str, tuple[str, ...]]


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parity certificate: proved cases, and how far an answer may move.

    Attributes:
        cases: The proved inputs with their answers.
        tensor_tolerance: Largest mean absolute difference of the input tensor, in units
            of the tensor's own full range.
        output_tolerance: For each variant, the largest difference of an output, as a part
            of that output's range over the case. Integer kernels differ between
            processors, hence more for int8 than for fp32.
    """

    cases: tuple[GoldenCase, ...]
    tensor_tolerance: float = 0.01
    output_tolerance: dict[str, float] = {}


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a model comes from, for those who must answer for it."""

    tool: str = ""
    source_model_sha256: str = ""
    dataset: str = ""
    model_licence: str = ""
    data_licence: str = ""
    notes: dict[str, str] = {}


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a bundle holds, for whom it is, and what was measured.

    Attributes:
        schema: Version of this form.
        name: Name of the model; a device holds one version of each name.
        version: Semantic version (semver.org) of the model.
        device_types: Device types it is for; empty means any.
        minimum_agent: Oldest agent version that can run it.
        spec: Input and output of the model.
        variants: Forms of the model, preferred first.
        files: Every other file of the bundle, sorted by path.
        golden: The parity certificate.
        metrics: What was measured when it was proved.
        provenance: Origin and licences.
    """

    schema: int = SCHEMA_VERSION
    name: str
    version: str
    device_types: tuple[str, ...] = ()
    minimum_agent: str = "0.1.0"
    spec: ModelSpec
    variants: tuple[Variant, ...]
    files: tuple[FileEntry, ...]
    golden: Golden | None = None
    metrics: dict[str, float] = {}
    provenance: Provenance = Provenance()

    def __post_init__(self) -> None:
        """Refuse a manifest that contradicts itself."""
        if self.schema != SCHEMA_VERSION:
            raise ValueError(
                f"schema {self.schema} is unknown; this version reads {SCHEMA_VERSION}"
            )
        require_name(self.name)
        _require_version("version", self.version)
        _require_version("minimum_agent", self.minimum_agent)
        paths = [f.path for f in self.files]
        if paths != sorted(set(paths)):
            raise ValueError("files must be sorted by path and differ from each other")
        names = [v.name for v in self.variants]
        if not names or len(set(names)) != len(names):
            raise ValueError("there must be variants, and their names must differ")
        missing = self.referenced_paths() - set(paths)
        if missing:
            raise ValueError(f"{min(missing)!r} is used but not listed under files")

    def referenced_paths(self) -> set[str]:
        """Return every path that variants and golden cases use."""
        used = {v.path for v in self.variants}
        for case in self.golden.cases if self.golden else ():
            used |= {case.input, case.tensor}
            used |= {path for paths in case.outputs.values() for path in paths}
        return used

    def variant(self, name: str) -> Variant:
        """Return the variant called ``name``.

        Raises:
            BundleError: There is none.
        """
        for candidate in self.variants:
            if candidate.name == name:
                return candidate
        have = ", ".join(v.name for v in self.variants)
        raise BundleError(f"bundle {self.name} has no variant {name!r}", remedy=f"it has: {have}")


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the manifest as JSON, the same bytes for equal manifests."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=2) + b"\n"


def decode_manifest(content: bytes, *, where: str) -> Manifest:
    """Read a manifest.

    Raises:
        BundleError: The content is no manifest of a known form.
    """
    try:
        return msgspec.json.decode(content, type=Manifest)
    except UNREADABLE_JSON as error:
        raise BundleError(
            f"unreadable manifest: {error}", where=where, remedy="pack the bundle again"
        ) from error


def require_name(name: str) -> None:
    """Refuse what no model can be called: names are parts of file names, topics and addresses.

    Raises:
        ValueError: It is no such name.
    """
    if not _NAME.fullmatch(name):
        shown = name[:MAX_NAME_CHARS]
        raise ValueError(
            f"name {shown!r}: use lower-case letters, digits, '.', '_' or '-', at most "
            f"{MAX_NAME_CHARS}, and begin with a letter or digit"
        )


def version_key(version: str) -> VersionKey:
    """Return a key that sorts semantic versions by their precedence (semver.org, 11).

    A pre-release sorts before its release; of its parts numbers are compared as numbers and
    sort before words, and the version with more parts is the newer one.
    """
    core, _, pre = version.partition("-")
    major, minor, patch = (int(part) for part in core.split("."))
    parts = tuple(
        (False, int(part), "") if part.isdecimal() else (True, 0, part)
        for part in (pre.split(".") if pre else ())
    )
    return (major, minor, patch, not pre, parts)


def _require_version(field: str, value: str) -> None:
    if len(value) > MAX_VERSION_CHARS or not _VERSION.fullmatch(value):
        shown = value[:MAX_VERSION_CHARS]
        raise ValueError(f"{field} {shown!r} is no semantic version such as 1.4.0")
