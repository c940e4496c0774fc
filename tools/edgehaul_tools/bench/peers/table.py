"""The peers by name: what each needs, and which script runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CHILD = Path(__file__).with_name("child.py")
_RUNTIME = ("onnx", "onnxruntime")
_TORCH = ("torch==2.13.0",)
"""Named exactly and first: else a peer pulls gigabytes for graphics processors."""


@dataclass(frozen=True)
class Peer:
    """Another tool.

    Attributes:
        name: On the command line.
        title: In the table, where it does not run at all.
        script: File of what it does, beside this one.
        packages: What pip installs, one after the other; empty runs in our own environment.
        has_engine: Whether it brings an engine that runs models itself.
    """

    name: str
    title: str
    script: str
    packages: tuple[str, ...] = ()
    has_engine: bool = False

    @property
    def path(self) -> Path:
        """The script."""
        return CHILD.with_name(self.script)


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("ort", "onnxruntime.quantization", "ort_defaults.py"),
        Peer("nncf", "NNCF", "nncf.py", (*_TORCH, "nncf", *_RUNTIME)),
        Peer(
            "openvino", "OpenVINO", "openvino.py", ("openvino", "nncf", *_RUNTIME), has_engine=True
        ),
        Peer("olive", "Olive", "olive.py", (*_TORCH, "olive-ai", "requests", *_RUNTIME)),
        Peer(
            "inc",
            "Intel Neural Compressor",
            "neural_compressor.py",
            ("onnx-neural-compressor", "prettytable", "psutil", "scipy", *_RUNTIME),
        ),
    )
}
"""All peers by name, in the table's order."""
