"""Compare a model directory's fp32 model with the torch network that it was exported from."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edgehaul.errors import SpecMismatchError
from edgehaul_tools.export.onnx_model import measure_parity
from edgehaul_tools.export.run import load_module
from edgehaul_tools.export.temperature import temperature_of
from edgehaul_tools.quantize.answers import Prepared
from edgehaul_tools.quantize.directory import ModelDirectory
from edgehaul_tools.train.run_directory import read_run
from edgehaul_tools.verify.torch_record import TorchParity

_INPUTS = 20


def compare_with_torch(
    run: Path, folder: Path, directory: ModelDirectory, inputs: Iterable[Prepared]
) -> TorchParity:
    """Run torch and the directory's fp32 model on the same inputs.

    Args:
        run: The run directory that the model was exported from.
        folder: The model directory.
        directory: What lies in it.
        inputs: The inputs, of which the first twenty are taken.

    Raises:
        ModelError: The run directory is unreadable.
        SpecMismatchError: It is of another model.
    """
    trained = read_run(run)
    ours, theirs = trained.spec.output, directory.spec.output
    is_alike = ours.head == theirs.head and len(ours.labels) == len(theirs.labels)
    if trained.spec.input != directory.spec.input or not is_alike:
        raise SpecMismatchError(
            "this run was trained with another input or output than the model directory has",
            where=run,
            remedy="give the run that the model was exported from",
        )
    tensors = [np.asarray(item.tensor) for item in itertools.islice(inputs, _INPUTS)]
    fp32 = folder / directory.variants[0].path
    difference = measure_parity(load_module(run, temperature_of(fp32)), fp32, tensors)
    return TorchParity(run.name, len(tensors), difference)
