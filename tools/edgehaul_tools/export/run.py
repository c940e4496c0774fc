"""The export of a whole run directory."""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch
from torch import nn

from edgehaul.errors import ModelError
from edgehaul_tools.export.deployed import for_export, load_deployed
from edgehaul_tools.export.metadata import write_spec
from edgehaul_tools.export.onnx_model import (
    export_module,
    measure_parity,
    require_parity,
)
from edgehaul_tools.train.run_directory import read_run

PARITY_LIMIT = 1e-4


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """How an export went, as ``NAME.export.json`` beside the model says.

    Attributes:
        model: File name of the model.
        exporter: Which exporter managed it.
        size_bytes: Size of the model.
        parity: Largest difference from torch by output, relative above 1.
        parity_limit: The largest difference that was allowed.
        metrics: The training's figures.
        torch_version: Version of torch.
    """

    model: str
    exporter: str
    size_bytes: int
    parity: dict[str, float]
    parity_limit: float
    metrics: dict[str, float]
    torch_version: str


def load_module(folder: Path) -> nn.Module:
    """Return the trained model of a run directory as torch runs it, in evaluation mode.

    Raises:
        ModelError: The folder holds no run that can be read.
    """
    return load_deployed(folder, read_run(folder))


def export_run(folder: Path, out: Path) -> ExportReport:
    """Export a run directory to ``out``, and write ``NAME.export.json`` beside it.

    Raises:
        ModelError: The run cannot be read or exported, or the ONNX model answers otherwise.
    """
    run = read_run(folder)
    reference = load_deployed(folder, run)
    made = for_export(folder, run)
    exporter = export_module(made.module, torch.from_numpy(made.inputs[-1]), made.names, out)
    write_spec(out, run.spec)
    # Against the module before the scale was folded: the folding is under test, too.
    parity = measure_parity(reference, out, made.inputs)
    try:
        require_parity(parity, PARITY_LIMIT, out)
    except ModelError:
        out.unlink()  # nobody is to go on with it
        raise
    report = ExportReport(
        model=out.name,
        exporter=exporter,
        size_bytes=out.stat().st_size,
        parity=parity,
        parity_limit=PARITY_LIMIT,
        metrics=run.metrics,
        torch_version=str(torch.__version__),
    )
    text = msgspec.json.format(msgspec.json.encode(report), indent=2)
    out.with_suffix(".export.json").write_bytes(text + b"\n")
    return report
