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
from tests.fakes.models import SIDE_PX, write_tiny_detector

SPEC = ModelSpec(
    task="detect",
    input=ImageInput(width=SIDE_PX, height=SIDE_PX),
    output=OutputSpec(head="edgehaul", labels=("parcel",), score_threshold=0.05),
)


def write_model_bundle(folder: Path, *, spec: ModelSpec = SPEC) -> Path:
    """Write ``parcels-1.0.0.edgehaul`` with a model that finds one box in every picture."""
    folder.mkdir(parents=True, exist_ok=True)
    model = write_tiny_detector(folder / "model.onnx")
    picture = np.full((24, 48, 3), 100, np.uint8)
    run = open_engine(model).run
    golden, files = record_golden([picture], tensor_maker(spec), {"fp32": ("fp32", run)})
    content = {"fp32.onnx": model.read_bytes(), **files}
    manifest = Manifest(
        name="parcels",
        version="1.0.0",
        spec=spec,
        variants=(Variant(name="fp32", path="fp32.onnx", precision="fp32"),),
        files=file_entries(content),
        golden=golden,
    )
    bundle = folder / "parcels-1.0.0.edgehaul"
    write_bundle(bundle, manifest, content)
    return bundle


def make_device(folder: Path, *, port: int, source: dict[str, object], **sections: object) -> Path:
    """Install the small model below ``folder/device`` and return the configuration's path.

    Args:
        folder: An empty folder.
        port: Port of the broker.
        source: Source of the one camera stream, ``dock``.
        sections: More sections of the configuration.
    """
    root = folder / "device"
    root.mkdir(parents=True)
    install_bundle(write_model_bundle(folder / "bundle"), root, prove=prove)
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
