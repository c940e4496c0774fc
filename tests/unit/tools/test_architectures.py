"""Every network of the table learns, costs what its paper says, and is exported unchanged."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgehaul.errors import ModelError
from edgehaul_tools.export.onnx_model import TensorNames, export_module, measure_parity
from edgehaul_tools.train.architectures.architecture import Architecture
from edgehaul_tools.train.architectures.attention import patch_size
from edgehaul_tools.train.architectures.blocks import FixedPool
from edgehaul_tools.train.architectures.complexity import measure_complexity
from edgehaul_tools.train.architectures.convolutional import TemporalConvNet, receptive_steps
from edgehaul_tools.train.architectures.table import (
    ARCHITECTURES,
    architecture,
    build_classifier,
    build_sequence,
)

CLASSIFIERS = [row.name for row in ARCHITECTURES.values() if row.task == "classify-picture"]
LIGHT = [name for name in ARCHITECTURES if name not in {*CLASSIFIERS, "detector_medium"}]
QUICK = {*LIGHT, "mobilenet_v2"}
QUICKLY_EXPORTED = {"tcn"}
SERIES = ("lstm", "gru", "tcn", "transformer", "autoencoder")
PARITY = 1e-4


def slow_unless(quick: set[str], names: list[str]) -> list[object]:
    slow = pytest.mark.slow
    return [name if name in quick else pytest.param(name, marks=slow) for name in names]


def small(row: Architecture, batch: int = 2) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Return a network for few classes and small pictures, and a batch for it."""
    if row.task != "classify-picture":
        return row.build(**row.defaults), row.example(batch)
    side = max(64, row.least_side_px)
    sizes = {"classes": 5, "width": side, "height": side}
    images = torch.rand((batch, 3, side, side), generator=torch.Generator().manual_seed(0))
    return row.build(**sizes), (images,)


def distance_from_one(answer: object) -> Tensor:
    parts = answer if isinstance(answer, tuple) else (answer,)
    return torch.stack([(part.float() - 1).square().mean() for part in parts]).sum()


class OfOneClass(nn.Module):
    """A network that takes labels, for one label alone: exports take one input."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, values: Tensor) -> Tensor:
        labels = torch.ones(values.shape[0], dtype=torch.int64)
        result: Tensor = self.network(values, labels)
        return result


@pytest.mark.parametrize("name", slow_unless(QUICK, list(ARCHITECTURES)))
def test_it_learns_in_a_few_steps(name: str) -> None:
    torch.manual_seed(0)
    # Of fewer pictures, batch norm behind a picture of one pixel knows little but their signs.
    network, inputs = small(ARCHITECTURES[name], batch=8)
    network.train()
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0  # or the loss would jump about
    optimizer = torch.optim.SGD(network.parameters(), lr=0.005)
    losses = []
    for _ in range(6):
        loss = distance_from_one(network(*inputs))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        # Steps of one length, so that large networks do not overshoot.
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    idle = [key for key, p in network.named_parameters() if p.grad is None]
    assert not idle, "these weights take no part"


@pytest.mark.parametrize("name", slow_unless(QUICKLY_EXPORTED, list(ARCHITECTURES)))
def test_its_export_answers_alike(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    row = ARCHITECTURES[name]
    network, inputs = small(row)
    module = OfOneClass(network).eval() if len(inputs) > 1 else network.eval()
    outputs = ("first", "second") if row.task == "detect" else ("first",)
    path = tmp_path / "model.onnx"
    export_module(module, inputs[0], TensorNames(("input",), outputs), path)
    random = np.random.default_rng(1)
    batches = [random.random((count, *inputs[0].shape[1:]), dtype=np.float32) for count in (1, 3)]
    assert max(measure_parity(module, path, batches).values()) <= PARITY


@pytest.mark.parametrize(
    ("name", "million_parameters", "billion_macs"),
    [
        pytest.param("alexnet", 61.1, 0.71, marks=pytest.mark.slow),
        pytest.param("vgg11", 132.9, 7.61, marks=pytest.mark.slow),
        pytest.param("vgg16", 138.4, 15.47, marks=pytest.mark.slow),
        ("resnet18", 11.69, 1.81),
        pytest.param("resnet34", 21.80, 3.66, marks=pytest.mark.slow),
        pytest.param("resnet50", 25.56, 4.09, marks=pytest.mark.slow),
        ("googlenet", 6.62, 1.50),
        pytest.param("inception_v3", 23.83, 5.71, marks=pytest.mark.slow),
        ("mobilenet_v2", 3.50, 0.30),
        ("vit_tiny", 5.72, 1.25),
    ],
)
def test_the_cost_is_the_published_one(
    name: str, million_parameters: float, billion_macs: float
) -> None:
    row = ARCHITECTURES[name]
    cost = measure_complexity(row.listed(), *row.example())
    assert cost.parameters / 1e6 == pytest.approx(million_parameters, abs=0.06)
    assert cost.macs / 1e9 == pytest.approx(billion_macs, abs=0.006)


def test_recurrent_layers_are_counted() -> None:
    lstm = build_sequence("lstm", 3, 10, 8, 2, 0.0, 4)
    first, second, scores = 4 * 8 * (3 + 8), 4 * 8 * (8 + 8), 8 * 4
    assert measure_complexity(lstm, torch.rand(1, 10, 3)).macs == 10 * (first + second) + scores


def test_layers_with_computed_weights_are_counted() -> None:
    plain = nn.Conv2d(3, 4, 3, padding=1)
    normed = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 3, padding=1))
    pictures = torch.rand(1, 3, 8, 8)
    assert measure_complexity(normed, pictures).macs == 8 * 8 * 4 * 27
    assert measure_complexity(plain, pictures).macs == 8 * 8 * 4 * 27


def test_counting_leaves_the_network_as_it_was() -> None:
    network, _ = small(ARCHITECTURES["tcn"])
    network.train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    measure_complexity(network, torch.rand(1, 16, 4))
    assert network.training
    assert not any(layer._forward_hooks for layer in network.modules())
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, before[key])


@pytest.mark.parametrize(
    "name", slow_unless({"resnet18", "googlenet", "mobilenet_v2"}, CLASSIFIERS)
)
def test_the_least_canvas_works_and_a_smaller_one_is_refused(name: str) -> None:
    least = ARCHITECTURES[name].least_side_px
    network = build_classifier(name, 4, width=least, height=least + least % 2).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 3, least + least % 2, least)).shape == (1, 4)
    with pytest.raises(ModelError, match=f"{least} or more"):
        build_classifier(name, 4, width=least - 1, height=300)


@pytest.mark.parametrize("name", ["resnet18", "cbam_resnet18", "vit_tiny"])
def test_small_pictures_can_be_learnt_from(name: str) -> None:
    network = build_classifier(name, 10, width=28, height=28).train()
    assert network(torch.rand(2, 3, 28, 28)).shape == (2, 10)


def test_a_transformer_that_no_patch_fits_says_so() -> None:
    with pytest.raises(ModelError, match="no patch divides"):
        build_classifier("vit_tiny", 10, width=33, height=33)


@pytest.mark.parametrize(
    ("size", "patch"), [((224, 224), 16), ((64, 64), 8), ((28, 28), 4), ((8, 8), 2), ((9, 8), 0)]
)
def test_patches_are_as_large_as_leaves_enough(size: tuple[int, int], patch: int) -> None:
    assert patch_size(*size) == patch


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ModelError, match="did you mean 'resnet18'"):
        build_classifier("resnet-18", 3, width=64, height=64)
    with pytest.raises(ModelError, match="there are: lstm"):
        build_sequence("resnet18", 3, 10, 8, 1, 0.0, 2)
    with pytest.raises(ModelError, match="needs a class"):
        build_classifier("resnet18", 0, width=64, height=64)
    assert architecture("tcn", "sequence") is ARCHITECTURES["tcn"]


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 8), height=st.integers(1, 20), width=st.integers(1, 20))
def test_the_fixed_pool_is_torchs_adaptive_one(size: int, height: int, width: int) -> None:
    cells = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height))
    expected = nn.functional.adaptive_avg_pool2d(cells, size)
    torch.testing.assert_close(FixedPool(size)(cells), expected)


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(SERIES),
    features=st.integers(1, 5),
    window=st.integers(2, 40),
    hidden=st.integers(1, 12),
    layers=st.integers(1, 3),
)
def test_networks_of_series_take_any_sizes(
    name: str, features: int, window: int, hidden: int, layers: int
) -> None:
    network = build_sequence(name, features, window, hidden, layers, 0.1, 3).train()
    answer = network(torch.rand(2, window, features))
    assert answer.shape == ((2, window, features) if name == "autoencoder" else (2, 3))


def test_a_tcn_sees_its_whole_window_and_no_later_step() -> None:
    torch.manual_seed(0)
    network = TemporalConvNet(2, 30, 8, 1, 0.0, 3).eval()
    assert receptive_steps(len(network.blocks)) >= 30
    windows = torch.rand(8, 30, 2, requires_grad=True)
    network(windows).sum().backward()
    assert windows.grad is not None
    assert windows.grad.abs().sum((0, 2)).min() > 0, "every step of the window counts"
    series = torch.rand(1, 2, 30)
    changed = series.clone()
    changed[:, :, 20:] += 1
    before, after = network.blocks(series), network.blocks(changed)
    torch.testing.assert_close(before[:, :, :20], after[:, :, :20])


def test_every_row_says_where_it_is_from() -> None:
    for name, row in ARCHITECTURES.items():
        assert row.name == name
        assert row.paper
        assert row.int8.reason
        assert row.weights_note
