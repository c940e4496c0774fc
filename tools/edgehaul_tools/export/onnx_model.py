"""From a torch module to one lean ONNX file, and the proof that both answer alike."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxslim  # type: ignore[import-untyped]  # has no stubs
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgehaul.errors import ModelError
from edgehaul_tools.export.runtime import runner

_OPSET = 20
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TensorNames:
    """Names of a model's tensors.

    Attributes:
        inputs: Of its inputs.
        outputs: Of its outputs.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def export_module(module: nn.Module, example: Tensor, names: TensorNames, path: Path) -> str:
    """Write ``module`` as ONNX with a free batch size, slimmed (batch norm folded).

    Args:
        module: In evaluation mode, taking one tensor.
        example: An input whose batch size is above 1, so that it is not taken for a constant.
        names: Names of its tensors.
        path: The file to write.

    Returns:
        Name of the exporter that managed it: ``dynamo`` or ``torchscript``.

    Raises:
        ModelError: No exporter managed it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _export_dynamo(module, example, names, path)
        exporter = "dynamo"
    except torch.onnx.OnnxExporterError as error:
        _logger.warning("the dynamo exporter failed, trying the older one: %s", error)
        _export_torchscript(module, example, names, path)
        exporter = "torchscript"
    _slim(path)
    return exporter


def _export_dynamo(module: nn.Module, example: Tensor, names: TensorNames, path: Path) -> None:
    batch = torch.export.Dim("batch", min=1)
    with _quiet():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=_OPSET,
            input_names=list(names.inputs),
            output_names=list(names.outputs),
            dynamic_shapes=({0: batch},),
            verbose=False,
        )
        if program is None:
            raise torch.onnx.OnnxExporterError("no program came back")
        program.save(path, external_data=False)


def _export_torchscript(module: nn.Module, example: Tensor, names: TensorNames, path: Path) -> None:
    axes = {name: {0: "batch"} for name in (*names.inputs, *names.outputs)}
    try:
        with _quiet():
            torch.onnx.export(
                module,
                (example,),
                path,
                dynamo=False,
                opset_version=_OPSET,
                input_names=list(names.inputs),
                output_names=list(names.outputs),
                dynamic_axes=axes,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"this network cannot be exported: {reason}",
            where=path,
            remedy="use operators that ONNX opset 20 has",
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's remarks on its own internals from the operator."""
    chatty = logging.getLogger("torch.onnx")
    before = chatty.level
    chatty.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        chatty.setLevel(before)


def _slim(path: Path) -> None:
    with _quiet():
        slimmed = onnxslim.slim(onnx.load(path))
    onnx.checker.check_model(slimmed, full_check=True)
    onnx.save(slimmed, path)


def run_onnx(path: Path, inputs: NDArray[np.generic]) -> list[NDArray[np.float32]]:
    """Return the outputs of a model with one input, on one thread.

    Raises:
        ModelError: The model cannot be loaded or run.
    """
    return [np.asarray(output) for output in runner(path)(inputs)]


def measure_parity(
    module: nn.Module, path: Path, batches: Sequence[NDArray[np.generic]]
) -> dict[str, float]:
    """Return the largest difference between torch and ONNX Runtime for each output.

    The difference is relative to the output's own size where that is above 1 (boxes are in
    pixels), and absolute below.

    Args:
        module: The module that was exported, in evaluation mode.
        path: The ONNX file.
        batches: Inputs to compare on; give more than one batch size.
    """
    names = [output.name for output in onnx.load(path, load_external_data=False).graph.output]
    largest = dict.fromkeys(names, 0.0)
    run = runner(path)
    for batch in batches:
        with torch.no_grad():
            answer = module(torch.from_numpy(batch))
        expected = [v.numpy() for v in (answer if isinstance(answer, tuple) else (answer,))]
        for name, ours, theirs in zip(names, expected, run(batch), strict=True):
            size = max(1.0, float(np.abs(ours).max()))
            difference = float(np.abs(ours - theirs).max()) / size
            largest[name] = float(np.maximum(largest[name], difference))  # keeps what is no number
    return largest


def require_numbers(
    module: nn.Module, batches: Sequence[NDArray[np.generic]], folder: Path
) -> None:
    """Refuse a network that answers no numbers, which no exporter could mend.

    Args:
        module: The network, in evaluation mode.
        batches: Inputs to ask it about.
        folder: The run directory that it is from.

    Raises:
        ModelError: An answer is not finite; the message names the weights that are not.
    """
    for batch in batches:
        with torch.no_grad():
            answer = module(torch.from_numpy(batch))
        answers = answer if isinstance(answer, tuple) else (answer,)
        if all(torch.isfinite(value).all() for value in answers):
            continue
        broken = [
            name
            for name, value in module.state_dict().items()
            if value.is_floating_point() and not torch.isfinite(value).all()
        ]
        cause = "its values outgrow float32"
        if broken:
            more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
            cause = f"its weights are not finite ({broken[0]}{more})"
        raise ModelError(
            f"the trained network itself answers no numbers: {cause}",
            where=folder,
            remedy="train again with a lower optimizer.learning_rate (a third is a good try)",
        )


def require_parity(parity: dict[str, float], limit: float, path: Path) -> None:
    """Refuse a model that answers otherwise than the network it was exported from.

    Raises:
        ModelError: A difference is above ``limit``, or no number.
    """
    for name, difference in parity.items():
        if not difference <= limit:
            raise ModelError(
                f"output {name!r} differs from torch by {difference:.2g} (limit {limit:.0e})",
                where=path,
                remedy="report it: the exporter has changed the model",
            )
