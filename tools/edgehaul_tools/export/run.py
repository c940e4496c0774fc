"""The export of a whole run directory."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import torch
from torch import nn

from edgehaul.errors import EdgeHaulError
from edgehaul_tools.export.deployed import for_export, load_deployed
from edgehaul_tools.export.learnt import RANGES_KEY, named_ranges
from edgehaul_tools.export.metadata import write_spec
from edgehaul_tools.export.onnx_model import (
    export_module,
    measure_parity,
    require_numbers,
    require_parity,
)
from edgehaul_tools.export.temperature import TEMPERATURE_KEY, set_temperature
from edgehaul_tools.train.durable import made_whole, written_whole
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
        temperature: What the logits are divided by; 1 where nothing was asked for.
    """

    model: str
    exporter: str
    size_bytes: int
    parity: dict[str, float]
    parity_limit: float
    metrics: dict[str, float]
    torch_version: str
    temperature: float = 1.0


def load_module(folder: Path, temperature: float = 1.0) -> nn.Module:
    """Return the trained model of a run directory as torch runs it, in evaluation mode.

    Args:
        folder: The run directory.
        temperature: What a classifier's logits are divided by.

    Raises:
        ModelError: The folder holds no run that can be read.
        UsageError: A temperature is given for what is no classifier.
    """
    module = load_deployed(folder, read_run(folder))
    set_temperature(module, temperature, folder)
    return module


def export_run(
    folder: Path, out: Path, *, temperature: float = 1.0, limit: float = PARITY_LIMIT
) -> ExportReport:
    """Export a run directory to ``out``, and write ``NAME.export.json`` beside it.

    Both take the place of what was there only when the model is whole, proved and on the disk.

    Args:
        folder: The run directory.
        out: The ONNX file.
        temperature: What a classifier's logits are divided by, in the graph.
        limit: The largest difference from torch that is allowed.

    Raises:
        UsageError: A temperature is given for what is no classifier.
        ModelError: The run cannot be read or exported, or the ONNX model answers otherwise.
        EdgeHaulError: The disk is full, or ``out`` cannot be written.
    """
    run = read_run(folder)
    reference = load_module(folder, temperature)
    made = for_export(folder, run, temperature)
    require_numbers(reference, made.inputs, folder)
    try:
        with written_whole(report_path(out)) as stream, made_whole(out) as partial:
            example = torch.from_numpy(made.inputs[-1])
            exporter = export_module(made.module, example, made.names, partial)
            more = {} if temperature == 1 else {TEMPERATURE_KEY: repr(temperature)}
            if made.ranges:
                more[RANGES_KEY] = named_ranges(partial, made.ranges)
            write_spec(partial, run.spec, more)
            # Against the module before the scale was folded: the folding is under test, too.
            parity = measure_parity(reference, partial, made.inputs)
            require_parity(parity, limit, out)
            report = ExportReport(
                model=out.name,
                exporter=exporter,
                size_bytes=partial.stat().st_size,
                parity=parity,
                parity_limit=limit,
                metrics=run.metrics,
                torch_version=str(torch.__version__),
                temperature=temperature,
            )
            stream.write(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
            # Before the model takes its place: one without the other would tell of another model.
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        kept = "the model that was there is intact; " if out.exists() else ""
        raise EdgeHaulError(
            f"the model cannot be written: {error.strerror or error}",
            where=out,
            remedy=f"{kept}free some space, or name another file with --out",
        ) from error
    return report


def report_path(out: Path) -> Path:
    """Return where the report of the export to ``out`` lies."""
    return out.with_suffix(".export.json")
