"""OpenCV's own engine in the plain loop."""

from __future__ import annotations

from typing import Any

import cv2
from plain_loop import Infer  # type: ignore[import-not-found]  # a script beside this one

PACKAGES = ("opencv-python-headless", "supervision", "paho-mqtt")


def opened(job: dict[str, Any]) -> Infer:
    """Return the detector in OpenCV."""
    network = cv2.dnn.readNetFromONNX(job["model"])

    def infer(tensor: Any) -> Any:  # noqa: ANN401 - arrays of OpenCV's making
        network.setInput(tensor)
        return network.forward()

    return infer
