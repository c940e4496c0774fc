"""A device's folder with a small real model installed, and its configuration."""

from pathlib import Path

import msgspec
import numpy as np
import yaml

from edgehaul.bundle.archive import file_entries, write_bundle
from edgehaul.bundle.golden import record_golden
from edgehaul.bundle.manifest import Manifest, Variant
from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.bundle.tensors import tensor_maker
from edgehaul_agent.inference.onnxruntime import open_engine
from edgehaul_agent.proof import prove
from edgehaul_agent.update.install import install_bundle
from tests.fakes.models import SIDE_PX, write_constant_detector, write_tiny_detector

SPEC = ModelSpec(
    task="detect",
    input=ImageInput(width=SIDE_PX, height=SIDE_PX),
    output=OutputSpec(head="edgehaul", labels=("parcel",), score_threshold=0.05),
)


def write_model_bundle(
    folder: Path,
    *,
    spec: ModelSpec = SPEC,
    name: str = "parcels",
    version: str = "1.0.0",
    device_types: tuple[str, ...] = (),
    model: Path | None = None,
) -> Path:
    """Write ``{name}-{version}.edgehaul``.

    Args:
        folder: Where it is written.
        spec: What the bundle says of the model.
        name: Name of the model.
        version: Its version.
        device_types: For which devices it is.
        model: The ONNX file; by default one that finds one box in every picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = model or write_tiny_detector(folder / "model.onnx")
    picture = np.full((24, 48, 3), 100, np.uint8)
    run = open_engine(model).run
    golden, files = record_golden([picture], tensor_maker(spec), {"fp32": ("fp32", run)})
    content = {"fp32.onnx": model.read_bytes(), **files}
    manifest = Manifest(
        name=name,
        version=version,
        device_types=device_types,
        spec=spec,
        variants=(Variant(name="fp32", path="fp32.onnx", precision="fp32"),),
        files=file_entries(content),
        golden=golden,
    )
    bundle = folder / f"{name}-{version}.edgehaul"
    write_bundle(bundle, manifest, content)
    return bundle


def write_misfit_bundle(folder: Path, **label: str) -> Path:
    """Write a bundle whose model answers for three classes, one of them named, open in shape."""
    folder.mkdir(parents=True, exist_ok=True)
    scores = np.array([[[0.1, 0.2, 0.9]]])
    model = write_constant_detector(
        folder / "misfit.onnx", boxes=np.array([[[2, 2, 20, 20]]]), scores=scores
    )
    return write_model_bundle(folder, model=model, **label)


def make_device(
    folder: Path,
    *,
    port: int,
    source: dict[str, object],
    model: Path | None = None,
    **sections: object,
) -> Path:
    """Install the small model below ``folder/device`` and return the configuration's path.

    Args:
        folder: An empty folder.
        port: Port of the broker.
        source: Source of the one camera stream, ``dock``.
        model: The ONNX file; by default one that finds one box in every picture.
        sections: More sections of the configuration.
    """
    root = folder / "device"
    root.mkdir(parents=True)
    install_bundle(write_model_bundle(folder / "bundle", model=model), root, prove=prove)
    return write_config(folder, port=port, source=source, **sections)


def write_config(folder: Path, *, port: int, source: dict[str, object], **sections: object) -> Path:
    """Write ``device.yaml`` alone."""
    config = {
        "root": "device",
        "device": {"id": "box-1", "site": "depot", "type": "x86-64"},
        "mqtt": {"port": port},
        "streams": [{"name": "dock", "model": "parcels", "source": source}],
        **sections,
    }
    path = folder / "device.yaml"
    path.write_text(yaml.safe_dump(msgspec.to_builtins(config)))
    return path
