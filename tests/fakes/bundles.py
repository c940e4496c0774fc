"""Small bundles for tests: real archives, around content that is no model or a tiny one."""

from pathlib import Path

import numpy as np

from edgehaul.bundle.archive import file_entries, write_bundle
from edgehaul.bundle.golden import record_golden
from edgehaul.bundle.manifest import Manifest, Variant
from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.bundle.tensors import tensor_maker
from edgehaul_agent.inference.onnxruntime import open_engine
from tests.fakes.models import SIDE_PX, write_tiny_detector

SPEC = ModelSpec(
    task="detect",
    input=ImageInput(width=SIDE_PX, height=SIDE_PX),
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


def write_runnable_bundle(
    folder: Path, version: str = "1.0.0", *, swapped_colors: bool = False
) -> Path:
    """Write a bundle with a tiny model that runs.

    Args:
        folder: Where ``parcels-{version}.edgehaul`` is written.
        version: Its version.
        swapped_colors: Whether the spec tells the wrong order of colours.
    """
    model = write_tiny_detector(folder / "tiny.onnx")
    picture = np.random.default_rng(0).integers(0, 200, (48, 64, 3), dtype=np.uint8)
    picture[..., 0] //= 3
    engine = open_engine(model)
    golden, files = record_golden([picture], tensor_maker(SPEC), {"fp32": ("fp32", engine.run)})
    content: dict[str, bytes | Path] = {**files, "fp32.onnx": model}
    wrong = ModelSpec(
        task="detect",
        input=ImageInput(width=SIDE_PX, height=SIDE_PX, color="bgr"),
        output=SPEC.output,
    )
    manifest = Manifest(
        name="parcels",
        version=version,
        spec=wrong if swapped_colors else SPEC,
        variants=(Variant(name="fp32", path="fp32.onnx", precision="fp32"),),
        files=file_entries(content),
        golden=golden,
    )
    path = folder / f"parcels-{version}.edgehaul"
    write_bundle(path, manifest, content)
    return path
