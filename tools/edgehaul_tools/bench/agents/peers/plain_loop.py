"""The loop that everybody writes: OpenCV, ONNX Runtime, supervision's ByteTrack, paho."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

PACKAGES = ("onnxruntime", "opencv-python-headless", "supervision", "paho-mqtt")
Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
_GREY = 114
_TOPIC = "bench/detections"
_TIMEOUT_S = 10.0


def opened(job: dict[str, Any]) -> Infer:
    """Return the detector in ONNX Runtime."""
    import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415 - not all peers have it

    options = onnxruntime.SessionOptions()
    if job["threads"]:
        options.intra_op_num_threads = options.inter_op_num_threads = job["threads"]
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        job["model"], options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda tensor: session.run(None, {name: tensor})[0]


def bare(job: dict[str, Any], infer: Infer) -> dict[str, Any]:
    """Decode each frame and run the model on it, and nothing else."""
    if job["threads"]:
        cv2.setNumThreads(job["threads"])
    side = job["side"]
    tensor = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    capture = cv2.VideoCapture(job["clip"])
    frames = 0
    while capture.read()[0]:
        infer(tensor)
        frames += 1
    return {"frames": frames}


def whole(job: dict[str, Any], seen: Callable[[], None], infer: Infer) -> dict[str, Any]:
    """Find, follow and count what is in a clip, and publish each frame's detections."""
    import supervision  # type: ignore[import-not-found]  # noqa: PLC0415 - not for the bare part

    if job["threads"]:
        cv2.setNumThreads(job["threads"])
    capture = cv2.VideoCapture(job["clip"])
    rate = capture.get(cv2.CAP_PROP_FPS)
    tracker = supervision.ByteTrack(track_activation_threshold=job["score"], frame_rate=round(rate))
    counter, publisher = Counter(job["line"]), Publisher(job["port"])
    frames = 0
    while True:
        read, frame = capture.read()
        if not read:
            break
        tensor, scale, corner = on_canvas(frame, job["side"])
        found = objects(infer(tensor)[0], job["score"], job["iou"], scale, corner)
        detections = tracker.update_with_detections(supervision.Detections(*found))
        counter.update(detections)
        publisher.publish(detections, frames)
        seen()
        frames += 1
    publisher.close()
    return {"frames": frames, **counter.counts()}


def on_canvas(frame: NDArray[Any], side: int) -> tuple[NDArray[np.float32], float, tuple[int, int]]:
    """Return the tensor (1, 3, side, side) of a frame, its scale and where its corner lies."""
    height, width = frame.shape[:2]
    scale = min(side / width, side / height)
    fitted = (round(width * scale), round(height * scale))
    x, y = (side - fitted[0]) // 2, (side - fitted[1]) // 2
    canvas = np.full((side, side, 3), _GREY, np.uint8)
    canvas[y : y + fitted[1], x : x + fitted[0]] = cv2.resize(frame, fitted)
    tensor = cv2.dnn.blobFromImage(canvas, 1 / 255, swapRB=True)
    return tensor.astype(np.float32, copy=False), scale, (x, y)


def objects(
    answer: NDArray[np.float32], score: float, iou: float, scale: float, corner: tuple[int, int]
) -> tuple[NDArray[Any], None, NDArray[Any], NDArray[Any]]:
    """Return boxes, no masks, scores and classes of a YOLOv8 head's answer (4 + classes, N)."""
    scores = answer[4:].max(axis=0)
    kept = scores > score
    rows, scores = answer[:, kept].T, scores[kept]
    classes = rows[:, 4:].argmax(axis=1) if len(rows) else np.zeros(0, np.int64)
    half = rows[:, 2:4] / 2
    boxes = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=1)
    boxes = (boxes - np.array([*corner, *corner], np.float32)) / np.float32(scale)
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    chosen = np.asarray(
        cv2.dnn.NMSBoxes(sides.tolist(), scores.tolist(), score, iou),
        np.int64,
    ).reshape(-1)
    return boxes[chosen], None, scores[chosen], classes[chosen]


class Counter:
    """Counts what crosses a line with its middle."""

    def __init__(self, line: list[list[float]]) -> None:
        import supervision  # noqa: PLC0415 - as above

        start, end = (supervision.Point(*point) for point in line)
        self._zone = supervision.LineZone(
            start, end, triggering_anchors=[supervision.Position.CENTER]
        )

    def update(self, detections: Any) -> None:  # noqa: ANN401 - supervision has no types here
        """Take in a frame's tracked detections."""
        self._zone.trigger(detections)

    def counts(self) -> dict[str, int]:
        """Return how many crossed, in the direction of most, and against it."""
        both = sorted((self._zone.in_count, self._zone.out_count))
        return {"forward": both[1], "backward": both[0]}


class Publisher:
    """Publishes detections with QoS 1; none where there is no broker."""

    def __init__(self, port: int) -> None:
        self._client: Any = None
        if port:
            from paho.mqtt import client as paho  # noqa: PLC0415 - only where it is wanted
            from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415 - as above

            self._client = paho.Client(CallbackAPIVersion.VERSION2)
            self._client.connect("127.0.0.1", port)
            self._client.loop_start()
        self._last: Any = None

    def publish(self, detections: Any, frame: int) -> None:  # noqa: ANN401 - as above
        """Publish what one frame shows."""
        if self._client is None:
            return
        rows = zip(
            detections.xyxy.tolist(),
            detections.confidence.tolist(),
            detections.class_id.tolist(),
            [] if detections.tracker_id is None else detections.tracker_id.tolist(),
            strict=False,
        )
        text = json.dumps({"frame": frame, "objects": list(rows)})
        self._last = self._client.publish(_TOPIC, text, qos=1)

    def close(self) -> None:
        """Wait for the last receipt, and leave."""
        if self._client is not None:
            if self._last is not None:
                self._last.wait_for_publish(_TIMEOUT_S)
            self._client.disconnect()
            self._client.loop_stop()
