"""The trace classifier leaves as an LSTM that int8 quantization finds."""

import resource
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edgehaul.bundle.spec import ModelSpec, OutputSpec, SequenceInput
from edgehaul.config.recipe import Recipe, SequenceRecipe
from edgehaul.errors import EdgeHaulError, ModelError, UsageError
from edgehaul_tools.export.metadata import read_spec
from edgehaul_tools.export.onnx_model import run_onnx
from edgehaul_tools.export.run import PARITY_LIMIT, export_run, load_module
from edgehaul_tools.export.temperature import parse_temperature, set_temperature, temperature_of
from edgehaul_tools.quantize.answers import Prepared
from edgehaul_tools.quantize.directory import ModelDirectory, describe_variant
from edgehaul_tools.train.architectures.recurrent import SequenceNetwork, SequenceShape
from edgehaul_tools.train.durable import made_whole
from edgehaul_tools.train.run_directory import TrainingRun, write_run
from edgehaul_tools.verify.torch_parity import compare_with_torch

FEATURES = ("speed_mps", "heading_rate_dps")


def write_network(folder: Path, network: SequenceNetwork, hidden: int = 16) -> ModelSpec:
    """Write a run directory of a network with 2 features and 3 labels."""
    spec = ModelSpec(
        task="sequence",
        input=SequenceInput(
            features=FEATURES, window=12, interval_s=1.0, mean=(0.0, 0.0), std=(1.0, 1.0)
        ),
        output=OutputSpec(head="sequence", labels=("normal", "a", "b"), normal_label="normal"),
    )
    run = TrainingRun(
        kind="sequence",
        spec=spec,
        recipe=Recipe(sequence=SequenceRecipe(features=FEATURES, window=12, hidden=hidden)),
        metrics={},
        history=(),
        counts={},
        parameters=0,
        wall_s=0.0,
        cpu_s=0.0,
        torch_version=str(torch.__version__),
    )
    write_run(folder, run, network)
    return spec


def test_a_classifier_is_exported_with_its_lstm_whole(tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = write_network(tmp_path / "run", SequenceNetwork(SequenceShape(2, 16, 3)))
    path = tmp_path / "model.onnx"
    report = export_run(tmp_path / "run", path)
    assert report.parity["scores"] <= PARITY_LIMIT
    assert [n.op_type for n in onnx.load(path).graph.node].count("LSTM") == 1
    assert read_spec(path) == spec
    windows = np.random.default_rng(1).standard_normal((4, 12, 2), dtype=np.float32)
    scores = run_onnx(path, windows)[0]
    assert scores.shape == (4, 3)
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)
    expected = load_module(tmp_path / "run")(torch.from_numpy(windows)).detach().numpy()
    assert np.allclose(scores, expected, atol=1e-5)


def test_a_temperature_changes_how_sure_a_classifier_is_and_not_what_it_answers(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    spec = write_network(tmp_path / "run", SequenceNetwork(SequenceShape(2, 16, 3)))
    path = tmp_path / "model.onnx"
    report = export_run(tmp_path / "run", path, temperature=0.25)
    assert report.temperature == temperature_of(path) == 0.25
    assert read_spec(path) == spec
    windows = np.random.default_rng(1).standard_normal((16, 12, 2), dtype=np.float32)
    given = torch.from_numpy(windows)
    with torch.no_grad():
        plain, sharp = (load_module(tmp_path / "run", t)(given).numpy() for t in (1.0, 0.25))
    scores = run_onnx(path, windows)[0]
    assert np.allclose(scores, sharp, atol=1e-5)
    raised = plain**4  # the logits times four
    assert np.allclose(scores, raised / raised.sum(axis=1, keepdims=True), atol=1e-5)
    assert np.abs(scores - plain).max() > 0.01
    assert (scores.argmax(axis=1) == plain.argmax(axis=1)).all()
    # Whoever compares the model with its run later divides by it, too.
    variant = describe_variant(tmp_path, "fp32", path.name, "fp32")
    directory = ModelDirectory("model", spec, "metadata", variant.sha256, (variant,))
    parity = compare_with_torch(tmp_path / "run", tmp_path, directory, [Prepared(windows)])
    assert parity.difference["scores"] <= PARITY_LIMIT


def test_a_temperature_is_a_number_or_from_the_report_of_an_evaluation(tmp_path: Path) -> None:
    assert parse_temperature("1.5") == 1.5
    report = tmp_path / "report.json"
    found = '{"calibration": {"ece": 0.1, "temperature": {"value": 1.75, "samples": 9}}}'
    report.write_text(f'{{"data": "d", "models": [{found}]}}')
    assert parse_temperature(str(report)) == 1.75
    for models in (f"{found}, {found}", '{"calibration": null}'):
        report.write_text(f'{{"models": [{models}]}}')
        with pytest.raises(UsageError, match="temperatures; run `edgehaul evaluate"):
            parse_temperature(str(report))
    for impossible in ("0", "-1", "nan", "inf"):
        with pytest.raises(UsageError, match="above 0"):
            parse_temperature(impossible)
    with pytest.raises(UsageError, match="neither a number nor the report"):
        parse_temperature(str(tmp_path / "none.json"))


def test_a_temperature_is_for_classifiers_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="classifiers alone"):
        set_temperature(torch.nn.Identity(), 2.0, tmp_path)


def test_a_network_that_answers_no_numbers_leaves_no_model(tmp_path: Path) -> None:
    network = SequenceNetwork(SequenceShape(2, 16, 3))
    torch.nn.init.constant_(network.scores.bias, float("nan"))
    write_network(tmp_path / "run", network)
    path = tmp_path / "model.onnx"
    with pytest.raises(ModelError, match=r"weights are not finite \(network\.scores\.bias\)"):
        export_run(tmp_path / "run", path)
    assert not path.exists()


def test_a_network_whose_values_grow_too_large_is_not_the_exporters_fault(tmp_path: Path) -> None:
    network = SequenceNetwork(SequenceShape(2, 16, 3))
    torch.nn.init.constant_(network.scores.weight, 3e38)
    torch.nn.init.constant_(network.recurrent.bias_ih_l0, 50.0)  # all states are 1
    write_network(tmp_path / "run", network)
    with pytest.raises(ModelError, match="answers no numbers: its values outgrow float32"):
        export_run(tmp_path / "run", tmp_path / "model.onnx")


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, bytes]:
    """Return the files of an export before, by name; nothing of it may be lost."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("model.onnx", "model.export.json"):
        (out / name).write_bytes(b"good")
    write_network(tmp_path / "large", SequenceNetwork(SequenceShape(2, 128, 3)), hidden=128)
    return contents(out)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_model_that_fails_leaves_the_one_before(tmp_path: Path, kept: dict[str, bytes]) -> None:
    with pytest.raises(ModelError, match="differs from torch"):
        export_run(tmp_path / "large", tmp_path / "out" / "model.onnx", limit=-1.0)
    assert contents(tmp_path / "out") == kept


def test_a_full_disk_leaves_the_model_before(tmp_path: Path, kept: dict[str, bytes]) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, before[1]))
    try:
        with pytest.raises(EdgeHaulError, match=r"File too large; .*intact; free some space"):
            export_run(tmp_path / "large", tmp_path / "out" / "model.onnx")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert contents(tmp_path / "out") == kept


def test_an_interrupted_export_leaves_the_model_before(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"good")

    def interrupted() -> None:
        with made_whole(path) as partial:
            partial.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert contents(tmp_path) == {"model.onnx": b"good"}
