"""Who takes part, and in which environment."""

from __future__ import annotations

from dataclasses import dataclass

from edgehaul_tools.bench.peers.table import Peer

OURS = ("EdgeHaul, fp32", "EdgeHaul, int8")
"""Our rows, by the form of the model."""
_TORCH = ("torch==2.13.0", "torchvision==0.28.0")
"""Named exactly and first: else a peer pulls gigabytes for graphics processors."""
# From 0.28 on supervision has no tracker of its own any more.
_COUNTING = ("supervision<0.28", "paho-mqtt")
_VIDEO = Peer("video", "", "", ("opencv-python-headless", "onnxruntime", "openvino", *_COUNTING))
_ULTRALYTICS = Peer(
    "ultralytics", "", "", (*_TORCH, "ultralytics", "lap", "onnxruntime", *_COUNTING)
)


@dataclass(frozen=True)
class Contender:
    """Another way to run a detector on a clip.

    Attributes:
        name: On the command line.
        title: In the table.
        script: Module of what it does, in ``peers``.
        home: Its environment.
        threads: Of its engine; 0 leaves them as shipped.
        left_out: Why it does not take part; empty where it does.
    """

    name: str
    title: str
    script: str = ""
    home: Peer = _VIDEO
    threads: int = 1
    left_out: str = ""


CONTENDERS: dict[str, Contender] = {
    one.name: one
    for one in (
        Contender("loop", "plain loop, ONNX Runtime", "plain_loop"),
        Contender("opencv", "plain loop, OpenCV DNN", "opencv_dnn"),
        Contender("openvino", "plain loop, OpenVINO", "openvino_loop"),
        Contender(
            "ultralytics", "Ultralytics, as shipped", "ultralytics_track", _ULTRALYTICS, threads=0
        ),
        Contender("ultralytics-1", "Ultralytics, 1 thread", "ultralytics_track", _ULTRALYTICS),
        Contender(
            "roboflow",
            "Roboflow inference",
            left_out="not measured: 1.8 installs 7 GB (a torch with CUDA), does not load with the "
            "torch for processors, and takes models by the key of an account",
        ),
    )
}
"""All by name, in the table's order."""
