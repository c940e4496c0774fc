"""Verification against the torch network that a model was exported from."""

from pathlib import Path

import msgspec
import pytest
from torch import nn

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.config.recipe import DetectorRecipe, Recipe
from edgehaul.errors import SpecMismatchError
from edgehaul_tools.quantize.directory import ModelDirectory
from edgehaul_tools.train.run_directory import TrainingRun, write_run
from edgehaul_tools.verify.gate import Gate
from edgehaul_tools.verify.proof import Verification
from edgehaul_tools.verify.torch_parity import compare_with_torch
from edgehaul_tools.verify.torch_record import PARITY_LIMIT, TorchParity


def verification(difference: float) -> Verification:
    parity = TorchParity(run="parcels", inputs=3, difference={"boxes": 1e-7, "scores": difference})
    return Verification(models={}, spec_sha256="", gate=Gate(), torch=parity)


def test_what_rounding_explains_passes() -> None:
    assert verification(PARITY_LIMIT / 10).failures == ()


def test_an_output_that_moved_fails_by_name() -> None:
    (failure,) = verification(PARITY_LIMIT * 2).failures
    assert "'scores' differs from torch" in failure
    assert verification(float("nan")).failures


def test_a_run_of_other_classes_is_refused(tmp_path: Path) -> None:
    spec = ModelSpec("detect", ImageInput(64, 64), OutputSpec("edgehaul", ("parcel", "pallet")))
    run = TrainingRun(
        kind="detector",
        spec=spec,
        recipe=Recipe(detector=DetectorRecipe()),
        metrics={},
        history=(),
        counts={},
        parameters=0,
        wall_s=0.0,
        cpu_s=0.0,
        torch_version="",
    )
    write_run(tmp_path, run, nn.Identity())
    fewer = msgspec.structs.replace(spec.output, labels=("parcel",))
    other = msgspec.structs.replace(spec, output=fewer)
    directory = ModelDirectory("parcels", other, "metadata", "", ())
    with pytest.raises(SpecMismatchError, match="another input or output"):
        compare_with_torch(tmp_path, tmp_path, directory, ())
