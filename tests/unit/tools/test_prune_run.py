"""``edgehaul prune``: from a run to a run with fewer channels, which is exported as any other."""

import copy
import json
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from edgehaul.config.recipe import AnomalyRecipe, Recipe, SequenceRecipe
from edgehaul.config.recipe_sections import AugmentSection, OptimizerSection, SplitSection
from edgehaul.errors import DatasetError, ModelError, UsageError
from edgehaul_tools.commands import edgehaul
from edgehaul_tools.dataset.series import Series
from edgehaul_tools.dataset.traces import AnomalySpan
from edgehaul_tools.dataset.virtual import generate_truck_dataset
from edgehaul_tools.export.run import PARITY_LIMIT, export_run, load_module
from edgehaul_tools.prune.options import PruneOptions
from edgehaul_tools.prune.prune import prune_run, train_control
from edgehaul_tools.prune.removal import Ranking
from edgehaul_tools.prune.report import PruneReport
from edgehaul_tools.prune.sparsity import Zeros, download_of
from edgehaul_tools.train.follow import follow_recipe
from edgehaul_tools.train.kept_split import RecordingSplit
from edgehaul_tools.train.run_directory import read_run
from edgehaul_tools.train.sequence.training import train_sequence

pytest.importorskip("torch_pruning", reason="only who prunes needs it")

RECIPE = Recipe(
    anomaly=AnomalyRecipe(
        width=16,
        height=16,
        channels=32,
        latent=32,
        threads=1,
        augment=AugmentSection(flip=0),
        split=SplitSection("made", 0.5, 0.25, 0.25),
        optimizer=OptimizerSection(epochs=1, batch=8, average_decay=0),
    )
)
HALF = PruneOptions(share=0.5)
PARTS = ("train.json", "val.json", "test.json")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prune")
    random = np.random.default_rng(0)
    (folder / "data").mkdir()
    for number in range(16):
        cells = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        large = cv2.resize(cells, (16, 16), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / "data" / f"{number}.png"), large)
    follow_recipe(RECIPE, folder / "data", folder / "run")
    return folder / "run"


def channels(model: Path) -> list[int]:
    """Return the number of outputs of each convolution of an ONNX model."""
    graph = onnx.load(model).graph
    weights = {tensor.name: next(iter(tensor.dims), 0) for tensor in graph.initializer}
    return [weights[node.input[1]] for node in graph.node if node.op_type == "Conv"]


@pytest.mark.slow
def test_a_pruned_run_is_exported_with_fewer_channels(run: Path, tmp_path: Path) -> None:
    report = prune_run(run, tmp_path / "pruned", HALF)
    assert report.share == pytest.approx(0.5, abs=0.03)
    assert report.after.macs < 0.4 * report.before.macs
    assert report.after.parameters == read_run(tmp_path / "pruned").parameters
    exported = export_run(tmp_path / "pruned", tmp_path / "pruned.onnx")
    assert max(exported.parity.values()) <= PARITY_LIMIT
    export_run(run, tmp_path / "dense.onnx")
    narrow, wide = channels(tmp_path / "pruned.onnx"), channels(tmp_path / "dense.onnx")
    assert len(narrow) == len(wide)
    assert all(few <= many for few, many in zip(narrow, wide, strict=True))
    assert sum(narrow) < 0.55 * sum(wide)
    assert [few for few in narrow if few % 8] == [3]  # the colours of its answer


def test_it_learns_from_the_same_parts_and_says_where_it_is_from(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "pruned"
    report = prune_run(run, out, HALF)

    def names(folder: Path, part: str) -> list[str]:
        images = json.loads((folder / part).read_bytes())["images"]
        return [str((folder / image["file_name"]).resolve()) for image in images]

    assert [names(out, part) for part in PARTS] == [names(run, part) for part in PARTS]
    origin = read_run(out).origin
    assert origin is not None
    assert (origin.how, origin.run, origin.share) == ("pruned", "run", 0.5)
    assert origin.notes["distill"] == "0.5"
    assert msgspec.json.decode((out / "prune.json").read_bytes(), type=PruneReport) == report
    assert report.metrics_before == read_run(run).metrics
    assert report.metrics == read_run(out).metrics


def test_a_pruned_run_is_pruned_again(run: Path, tmp_path: Path) -> None:
    prune_run(run, tmp_path / "once", PruneOptions(share=0.3))
    report = prune_run(tmp_path / "once", tmp_path / "twice", PruneOptions(share=0.3))
    assert report.before.parameters == read_run(tmp_path / "once").parameters
    origin = read_run(tmp_path / "twice").origin
    assert origin is not None
    assert origin.share == pytest.approx(0.51)
    load_module(tmp_path / "twice")


def test_the_control_learns_as_long_and_loses_nothing(run: Path, tmp_path: Path) -> None:
    options = PruneOptions(share=0.5, steps=2, epochs=3)
    said: list[str] = []
    epochs: list[int] = []
    report = prune_run(
        run, tmp_path / "pruned", options, lambda r: epochs.append(r.epoch), say=said.append
    )
    assert [line.split(": ")[1] for line in said] == [
        "25% of the channels removed, 1 epochs",
        "50% of the channels removed, 2 epochs",
    ]
    assert epochs == [1, 1, 2]
    control = train_control(run, tmp_path / "control", options)
    pruned, dense = read_run(tmp_path / "pruned"), read_run(run)
    assert control.parameters == dense.parameters > pruned.parameters
    assert len(control.history) == len(pruned.history) == 2
    assert control.recipe == pruned.recipe
    assert control.origin is not None
    assert (control.origin.how, control.origin.share) == ("retrained", 0.0)
    assert report.share == pytest.approx(0.5, abs=0.03)


def test_the_seed_and_the_rate_are_the_pruning_s(run: Path, tmp_path: Path) -> None:
    prune_run(run, tmp_path / "pruned", PruneOptions(share=0.5, rate=0.25, seed=7))
    training = read_run(tmp_path / "pruned").recipe.training
    assert training.seed == 7
    assert training.optimizer.learning_rate == RECIPE.training.optimizer.learning_rate / 4


@pytest.mark.slow
@pytest.mark.parametrize("importance", ["taylor", "bn-scale"])
def test_rankings_that_learn_first(run: Path, tmp_path: Path, importance: str) -> None:
    ranking = Ranking(importance, "global")  # type: ignore[arg-type]  # one of the names above
    sparse = 1 if importance == "bn-scale" else 0
    options = PruneOptions(share=0.5, ranking=ranking, sparse_epochs=sparse)
    report = prune_run(run, tmp_path / "pruned", options)
    assert report.share == pytest.approx(0.5, abs=0.05)


@pytest.mark.slow
def test_single_weights_stay_zero_until_the_export_and_compress_well(
    run: Path, tmp_path: Path
) -> None:
    options = ["--sparsity", "0.6", "--epochs", "2", "--out", str(tmp_path / "sparse"), "--json"]
    done = CliRunner().invoke(edgehaul, ["prune", str(run), *options])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["layers"] == []
    assert report["before"] == report["after"]
    assert report["download"]["zeros"] == pytest.approx(0.6, abs=0.02)
    assert report["download"]["compressed_bytes"] < report["download_before"]["compressed_bytes"]
    origin = read_run(tmp_path / "sparse").origin
    assert origin is not None
    assert (origin.how, origin.share) == ("sparse", 0.0)
    export_run(tmp_path / "sparse", tmp_path / "sparse.onnx")
    weights = [
        onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load(tmp_path / "sparse.onnx").graph.initializer
        if len(tensor.dims) == 4
    ]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    assert zeros / sum(weight.size for weight in weights) == pytest.approx(0.6, abs=0.05)


def test_weights_at_zero_stay_so_while_the_others_learn() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    before = copy.deepcopy(network)
    zeros = Zeros(network, 0.5)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        network(torch.ones(2, 8)).square().sum().backward()
        optimizer.step()
    learnt = zeros.settle(copy.deepcopy(network))
    first, weight = before[0].weight, learnt[0].weight
    assert int((weight == 0).sum()) == 32
    assert first[weight == 0].abs().max() <= first[weight != 0].abs().min()
    assert not torch.equal(first[weight != 0], weight[weight != 0])
    found, dense = download_of(learnt), download_of(before)
    assert (found.zeros, found.int8_bytes) == (0.5, 96)
    assert found.compressed_bytes < dense.compressed_bytes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PruneOptions(), "nothing is to be removed"),
        (PruneOptions(sparsity=1.0), "--sparsity must be"),
        (PruneOptions(share=1.0), "--share must be"),
        (PruneOptions(share=float("nan")), "--share must be"),
        (PruneOptions(share=0.5, distill=1.5), "--distill"),
        (PruneOptions(share=0.5, steps=0), "--steps"),
        (PruneOptions(share=0.5, steps=3), "1 epochs cannot be divided among 3"),
        (PruneOptions(share=0.5, steps=3, epochs=2), "2 epochs cannot be divided among 3"),
        (PruneOptions(share=0.5, ranking=Ranking(round_to=0)), "--round-to"),
        (PruneOptions(share=0.5, sparse_epochs=1), "bn-scale"),
    ],
)
def test_what_is_out_of_range_is_refused(
    run: Path, tmp_path: Path, options: PruneOptions, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        prune_run(run, tmp_path / "pruned", options)
    assert not (tmp_path / "pruned").exists()


def test_nothing_is_written_over_and_nothing_is_learnt_without_data(
    run: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="there already"):
        prune_run(run, run, HALF)
    with pytest.raises(DatasetError, match="not here any more"):
        prune_run(run, tmp_path / "pruned", HALF, dataset=tmp_path / "nowhere")
    with pytest.raises(ModelError, match="holds no training run"):
        prune_run(tmp_path, tmp_path / "pruned", HALF)


def test_a_network_of_convolutions_over_trips_is_pruned_on_its_own_trips(tmp_path: Path) -> None:
    generate_truck_dataset(tmp_path / "data", 6, 1, duration_s=90.0)
    recipe = SequenceRecipe(
        network="tcn",
        goal="next_position",
        window=6,
        hidden=32,
        threads=1,
        split=SplitSection("made", 0.5, 0.25, 0.25),
        optimizer=OptimizerSection(epochs=1, batch=64),
    )
    follow_recipe(Recipe(sequence=recipe), tmp_path / "data", tmp_path / "run")
    report = prune_run(tmp_path / "run", tmp_path / "pruned", HALF)
    assert report.share == pytest.approx(0.5)
    splits = [(tmp_path / name / "split.json").read_bytes() for name in ("run", "pruned")]
    assert splits[0] == splits[1]
    kept = RecordingSplit(**json.loads(splits[0]))
    (tmp_path / "data" / "trips" / f"{kept.train[0]}.csv").write_text(
        (tmp_path / "data" / "trips" / f"{kept.test[0]}.csv").read_text()
    )
    with pytest.raises(DatasetError, match=f"not here as they were: {kept.train[0]}"):
        prune_run(tmp_path / "run", tmp_path / "again", HALF)


def test_a_recurrent_run_is_refused_with_what_helps(tmp_path: Path) -> None:
    times = np.arange(40.0)
    values = np.random.default_rng(0).normal(size=(40, 1)).astype(np.float32)
    series = Series("a", times, ("level",), values, (AnomalySpan("surge", 10.0, 20.0),))
    recipe = SequenceRecipe(
        features=("level",),
        window=4,
        threads=1,
        hidden=4,
        decision_s=2,
        overlap_s=1,
        dataset=str(tmp_path),
        optimizer=OptimizerSection(epochs=1),
    )
    train_sequence(recipe, [series], [], tmp_path / "run")
    with pytest.raises(ModelError, match=r"an LSTM.*tcn"):
        prune_run(tmp_path / "run", tmp_path / "pruned", HALF)


def test_the_command_says_what_became_of_each_layer(run: Path, tmp_path: Path) -> None:
    arguments = ["prune", str(run), "--out", str(tmp_path / "out"), "--share", "0.5"]
    result = CliRunner().invoke(edgehaul, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "  encoder.3.0                        256 -> 128" in result.output
    assert "(what the network answers)" in result.output
    assert "removed 50% of the channels" in result.output
    assert f"next: edgehaul export {tmp_path / 'out'}" in result.output
    both = ["prune", str(run), "--out", str(tmp_path / "again"), "--share", "0.5", "--json"]
    both += ["--control", str(tmp_path / "control")]
    told = json.loads(CliRunner().invoke(edgehaul, both, catch_exceptions=False).output)
    assert set(told["control"]) == set(told["metrics"])
    weights = [
        torch.load(tmp_path / name / "weights.pt", weights_only=True)["encoder.3.0.weight"]
        for name in ("again", "control")
    ]
    assert [len(weight) for weight in weights] == [128, 256]
