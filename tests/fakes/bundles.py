"""Small bundles for tests: real archives around content that is no model."""

from pathlib import Path

from edgehaul.bundle.archive import file_entries, write_bundle
from edgehaul.bundle.manifest import Manifest, Variant
from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec

SPEC = ModelSpec(
    task="detect",
    input=ImageInput(width=32, height=32),
    output=OutputSpec(head="edgehaul", labels=("parcel",)),
)


def write_small_bundle(
    folder: Path,
    version: str = "1.0.0",
    *,
    device_types: tuple[str, ...] = (),
    minimum_agent: str = "0.1.0",
) -> Path:
    """Write ``parcels-{version}.edgehaul`` with content that depends on the version."""
    files = {"int8.onnx": version.encode() * 1000, "golden/000.input.npy": b"golden" * 50}
    manifest = Manifest(
        name="parcels",
        version=version,
        spec=SPEC,
        device_types=device_types,
        minimum_agent=minimum_agent,
        variants=(Variant(name="int8", path="int8.onnx", precision="int8"),),
        files=file_entries(files),
    )
    path = folder / f"parcels-{version}.edgehaul"
    write_bundle(path, manifest, files)
    return path
