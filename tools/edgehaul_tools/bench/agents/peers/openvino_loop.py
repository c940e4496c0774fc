"""OpenVINO in the plain loop, in float32."""

from __future__ import annotations

from typing import Any

import openvino  # type: ignore[import-not-found]  # only in its environment
from plain_loop import Infer  # type: ignore[import-not-found]  # a script beside this one

PACKAGES = ("openvino", "opencv-python-headless", "supervision", "paho-mqtt")


def opened(job: dict[str, Any]) -> Infer:
    """Return the detector in OpenVINO."""
    # Its default precision is bf16 where the processor has it: that is another model.
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if job["threads"]:
        options |= {"INFERENCE_NUM_THREADS": job["threads"], "NUM_STREAMS": 1}
    core = openvino.Core()
    model = core.read_model(job["model"])
    request = core.compile_model(model, "CPU", options).create_infer_request()

    def infer(tensor: Any) -> Any:  # noqa: ANN401 - an array of openvino's making
        request.infer([tensor], share_inputs=True)
        return request.get_output_tensor(0).data

    return infer
