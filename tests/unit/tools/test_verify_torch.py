"""Verification against the torch network that a model was exported from."""

import json
from pathlib import Path

import msgspec
import pytest
import torch
from torch import nn

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec, SequenceInput
from edgehaul.clock import format_utc
from edgehaul.config.recipe import DetectorRecipe, Recipe, SequenceRecipe
from edgehaul.errors import GateError, SpecMismatchError
from edgehaul_tools.cli import main
from edgehaul_tools.export.run import export_run
from edgehaul_tools.quantize.directory import ModelDirectory, describe_variant, write_json
from edgehaul_tools.train.architectures.recurrent import SequenceNetwork, SequenceShape
from edgehaul_tools.train.run_directory import TrainingRun, write_run
from edgehaul_tools.verify.gate import Gate
from edgehaul_tools.verify.proof import Verification, raise_unless_passed
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
    with pytest.raises(GateError, match="differs from torch") as caught:
        raise_unless_passed(verification(1.0), Path("model"))
    assert "export the run again" in caught.value.remedy, "no int8 form is at fault"


def a_run(spec: ModelSpec, recipe: Recipe) -> TrainingRun:
    return TrainingRun(
        kind="detector",
        spec=spec,
        recipe=recipe,
        metrics={},
        history=(),
        counts={},
        parameters=0,
        wall_s=0.0,
        cpu_s=0.0,
        torch_version="",
    )


def test_a_run_of_other_classes_is_refused(tmp_path: Path) -> None:
    spec = ModelSpec("detect", ImageInput(64, 64), OutputSpec("edgehaul", ("parcel", "pallet")))
    run = a_run(spec, Recipe(detector=DetectorRecipe()))
    write_run(tmp_path, run, nn.Identity())
    fewer = msgspec.structs.replace(spec.output, labels=("parcel",))
    other = msgspec.structs.replace(spec, output=fewer)
    directory = ModelDirectory("parcels", other, "metadata", "", ())
    with pytest.raises(SpecMismatchError, match="another input or output"):
        compare_with_torch(tmp_path, tmp_path, directory, ())


def write_trips(root: Path, count: int) -> Path:
    """Write trips of a minute at 15 m/s; each speeds for a third of it."""
    (root / "trips").mkdir(parents=True)
    spans = {}
    for number in range(count):
        began_s = 1_767_600_000.0 + 10_000 * number
        rows, latitude = ["time,lat,lon,speed_mps,heading_deg"], 50.0
        for second in range(60):
            speed_mps = 30.0 if 20 <= second < 40 else 15.0
            latitude += speed_mps / 111_195
            time = format_utc(began_s + second)
            rows.append(f"{time},{latitude:.7f},8.0,{speed_mps},0.0")
        (root / "trips" / f"t{number}.csv").write_text("\n".join(rows))
        times = {"started_at": format_utc(began_s + 20), "ended_at": format_utc(began_s + 40)}
        spans[f"t{number}"] = [{"label": "speeding", **times}]
    (root / "labels.json").write_text(json.dumps({"labels": ["speeding"], "trips": spans}))
    return root


@pytest.mark.slow
def test_a_run_gives_its_test_part_and_its_torch_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    features = ("speed_mps", "heading_rate_dps")
    spec = ModelSpec(
        "sequence",
        SequenceInput(features, window=12, interval_s=1.0, mean=(0.0, 0.0), std=(1.0, 1.0)),
        OutputSpec("sequence", ("normal", "speeding"), normal_label="normal"),
    )
    recipe = Recipe(sequence=SequenceRecipe(features=features, window=12, hidden=16))
    folder = tmp_path / "run"
    run = msgspec.structs.replace(a_run(spec, recipe), kind="sequence")
    write_run(folder, run, SequenceNetwork(SequenceShape(2, 16, 2)))
    (folder / "split.json").write_text(
        json.dumps({"train": ["t0", "t1", "t2"], "val": ["t3"], "test": ["t4", "t5"]})
    )
    (tmp_path / "model").mkdir()
    export_run(folder, tmp_path / "model" / "fp32.onnx")
    variant = describe_variant(tmp_path / "model", "fp32", "fp32.onnx", "fp32")
    made = ModelDirectory("model", spec, "metadata", variant.sha256, (variant,))
    write_json(tmp_path / "model" / "model.json", made)
    trips = write_trips(tmp_path / "data", 6)
    arguments = ["verify", str(tmp_path / "model"), "--data", str(trips), "--run", str(folder)]
    arguments += ["--no-memory", "--bootstrap", "5"]
    assert main([*arguments, "--json"]) == 0
    told = capsys.readouterr()
    assert "measuring on 2 recordings (the test part)" in told.err
    proof = msgspec.json.decode(told.out, type=Verification)
    assert proof.torch is not None
    assert proof.torch.inputs == 20
    (one,) = proof.models.values()
    assert one.measured.agreement.inputs == one.measured.samples
