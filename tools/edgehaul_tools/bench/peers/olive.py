"""Olive's static quantization pass at its defaults."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from olive.data.config import (  # type: ignore[import-not-found]  # only in its environment
    DataComponentConfig,
    DataConfig,
)
from olive.data.registry import Registry  # type: ignore[import-not-found]  # as above
from olive.model import ONNXModelHandler  # type: ignore[import-not-found]  # as above
from olive.passes.olive_pass import (  # type: ignore[import-not-found]  # as above
    create_pass_from_dict,
)
from olive.passes.onnx.quantization import (  # type: ignore[import-not-found]  # as above
    OnnxStaticQuantization,
)

PACKAGES = ("olive-ai", "onnxruntime")
_DATASET = "calibration_inputs"


class _Inputs(torch.utils.data.Dataset[Any]):
    """Inputs by the name of the model's tensor, with a label that nobody reads."""

    def __init__(self, name: str, calibration: NDArray[np.float32]) -> None:
        self._name, self._calibration = name, calibration

    def __len__(self) -> int:
        return len(self._calibration)

    def __getitem__(self, index: int) -> tuple[dict[str, NDArray[np.float32]], int]:
        return {self._name: self._calibration[index]}, 0


def _quantized(fp32: Path, calibration: NDArray[np.float32], out: Path) -> None:
    name = onnx.load(str(fp32), load_external_data=False).graph.input[0].name
    Registry.register_dataset(_DATASET)(lambda **_options: _Inputs(name, calibration))
    data = DataConfig(
        name=_DATASET,
        load_dataset_config=DataComponentConfig(type=_DATASET),
    )
    step = create_pass_from_dict(OnnxStaticQuantization, {"data_config": data}, disable_search=True)
    folder = out.with_suffix("")
    done = step.run(ONNXModelHandler(str(fp32)), str(folder))
    shutil.copyfile(done.model_path, out)


FORMS: dict[str, Callable[[Path, NDArray[np.float32], Path], None]] = {
    "Olive static (defaults)": _quantized
}
