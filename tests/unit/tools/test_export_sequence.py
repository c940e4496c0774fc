"""The trace classifier leaves as an LSTM that int8 quantization finds."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edgehaul.bundle.spec import ModelSpec, OutputSpec, SequenceInput
from edgehaul.config.recipe import Recipe, SequenceRecipe
from edgehaul.errors import ModelError
from edgehaul_tools.export.metadata import read_spec
from edgehaul_tools.export.onnx_model import run_onnx
from edgehaul_tools.export.run import PARITY_LIMIT, export_run, load_module
from edgehaul_tools.train.architectures.recurrent import SequenceNetwork, SequenceShape
from edgehaul_tools.train.run_directory import TrainingRun, write_run

FEATURES = ("speed_mps", "heading_rate_dps")


def write_network(folder: Path, network: SequenceNetwork) -> ModelSpec:
    """Write a run directory of a network with 2 features, 16 states and 3 labels."""
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
        recipe=Recipe(sequence=SequenceRecipe(features=FEATURES, window=12, hidden=16)),
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


def test_a_network_that_answers_no_numbers_leaves_no_model(tmp_path: Path) -> None:
    network = SequenceNetwork(SequenceShape(2, 16, 3))
    torch.nn.init.constant_(network.scores.bias, float("nan"))
    write_network(tmp_path / "run", network)
    path = tmp_path / "model.onnx"
    with pytest.raises(ModelError, match="'scores' differs from torch by nan"):
        export_run(tmp_path / "run", path)
    assert not path.exists()
