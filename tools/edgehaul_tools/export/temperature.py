"""The temperature of a classifier: what its logits are divided by, so that it is rightly sure.

C. Guo et al., "On Calibration of Modern Neural Networks" (2017). ``edgehaul evaluate
--calibrate`` finds it; the export writes it into the graph.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
from torch import Tensor, nn

from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import UsageError
from edgehaul_tools.export.metadata import read_metadata
from edgehaul_tools.train.classifier.deployed import DeployedClassifier
from edgehaul_tools.train.sequence.deployed import DeployedSequence

TEMPERATURE_KEY = "edgehaul.temperature"
"""Of the metadata of an ONNX file whose logits are divided."""


class _Tempered(nn.Module):
    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.network = network
        self._temperature = temperature

    def forward(self, given: Tensor) -> Tensor:
        logits: Tensor = self.network(given)
        return logits / self._temperature


class _Temperature(msgspec.Struct, frozen=True):
    value: float


class _Calibration(msgspec.Struct, frozen=True):
    temperature: _Temperature | None = None


class _Model(msgspec.Struct, frozen=True):
    calibration: _Calibration | None = None


class _Report(msgspec.Struct, frozen=True):
    """Of the report of an evaluation what matters here."""

    models: tuple[_Model, ...]


def parse_temperature(text: str) -> float:
    """Return the temperature that a number says, or the ``report.json`` of an evaluation.

    Raises:
        UsageError: It is neither, or the report tells of no temperature or of several.
    """
    try:
        value = float(text)
    except ValueError:
        value = _reported(Path(text))
    if not (math.isfinite(value) and value > 0):
        raise UsageError(
            f"a temperature of {value:g} is impossible", remedy="give a number above 0, such as 1.5"
        )
    return value


def _reported(path: Path) -> float:
    try:
        report = msgspec.json.decode(path.read_bytes(), type=_Report)
    except (OSError, *UNREADABLE_JSON) as error:
        raise UsageError(
            f"this is neither a number nor the report of an evaluation: {error}",
            where=path,
            remedy="give a number, or the report.json that `edgehaul evaluate` wrote",
        ) from error
    found = [model.calibration.temperature for model in report.models if model.calibration]
    values = [temperature.value for temperature in found if temperature is not None]
    if len(values) != 1:
        raise UsageError(
            f"this report tells of {len(values)} temperatures",
            where=path,
            remedy="run `edgehaul evaluate RUN --calibrate` on this run alone",
        )
    return values[0]


def set_temperature(module: nn.Module, temperature: float, where: Path) -> None:
    """Let a classifier divide its logits by ``temperature``.

    Args:
        module: As :func:`~edgehaul_tools.export.deployed.load_deployed` returns it.
        temperature: 1 changes nothing.
        where: The run directory, for messages.

    Raises:
        UsageError: It is no classifier.
    """
    if temperature == 1:
        return
    if not isinstance(module, DeployedClassifier | DeployedSequence):
        raise UsageError(
            "a temperature is for classifiers alone", where=where, remedy="leave out --temperature"
        )
    module.network = _Tempered(module.network, temperature)


def temperature_of(model: Path) -> float:
    """Return what the logits of an ONNX file are divided by; 1 where nothing is said.

    Raises:
        ModelError: The file is missing or no ONNX model.
    """
    return float(read_metadata(model).get(TEMPERATURE_KEY, "1"))
