"""Ultralytics' ``track`` on the clip, run as its documentation does, in its own environment.

It is AGPL: the benchmark runs it as a program of its own, and nothing of it is part of EdgeHaul.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import onnxruntime  # type: ignore[import-untyped]  # no stubs
import plain_loop  # type: ignore[import-not-found]  # a script beside this one

PACKAGES = ("ultralytics", "torch", "onnxruntime", "supervision", "paho-mqtt")
opened = plain_loop.opened
"""It runs the ONNX file in ONNX Runtime, too."""


def whole(job: dict[str, Any], seen: Callable[[], None]) -> dict[str, Any]:
    """Track what is in the clip, count it and publish it."""
    note = _with_nms()
    if job["threads"]:
        _limit_threads(job["threads"])
    import supervision  # type: ignore[import-not-found]  # noqa: PLC0415 - once threads are set
    from ultralytics import YOLO  # type: ignore[import-not-found]  # noqa: PLC0415 - as above

    model = YOLO(job["model"], task="detect")
    counter = plain_loop.Counter(job["line"])
    publisher = plain_loop.Publisher(job["port"])
    frames = 0
    results = model.track(
        job["clip"],
        stream=True,
        tracker="bytetrack.yaml",
        imgsz=job["side"],
        conf=job["score"],
        iou=job["iou"],
        agnostic_nms=True,
        device="cpu",
        verbose=False,
    )
    for result in results:
        detections = supervision.Detections.from_ultralytics(result)
        if detections.tracker_id is not None:
            counter.update(detections)
        publisher.publish(detections, frames)
        seen()
        frames += 1
    publisher.close()
    return {"frames": frames, "note": note, **counter.counts()}


def _with_nms() -> str:
    """Let it take its own NMS where torchvision does not load, and say so.

    PyPI's torchvision is built for a torch with CUDA, and does not load beside one for processors.
    """
    try:
        import torchvision  # type: ignore[import-not-found]  # noqa: F401, PLC0415 - a trial
    except (ImportError, RuntimeError, OSError):
        from ultralytics.utils.nms import (  # type: ignore[import-not-found]  # noqa: PLC0415
            TorchNMS,
        )

        for name in [one for one in sys.modules if one.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        substitute: Any = types.ModuleType("torchvision")
        substitute.ops = types.SimpleNamespace(nms=TorchNMS.nms)
        sys.modules["torchvision"] = substitute
        return "with its own NMS: torchvision does not load beside torch for processors"
    return ""


def _limit_threads(threads: int) -> None:
    """Let torch, OpenCV and every session of ONNX Runtime use so many threads."""
    import cv2  # noqa: PLC0415 - only where it is wanted
    import torch  # noqa: PLC0415 - as above

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    plain = onnxruntime.InferenceSession

    def session(model: Any, sess_options: Any = None, *more: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever is asked for
        options = sess_options or onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        return plain(model, options, *more, **named)

    onnxruntime.InferenceSession = session
