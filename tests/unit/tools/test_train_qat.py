"""The rounding of int8 within a training: its arithmetic, its places, what it leaves behind."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.quant_utils import (  # type: ignore[import-untyped]  # no stubs
    QuantType,
    compute_scale_zp,
    get_qmin_qmax_for_qType,
)
from torch import Tensor, nn
from torch.nn import functional

from edgehaul.errors import ModelError
from edgehaul_tools.export.runtime import runner
from edgehaul_tools.train.architectures.autoencoder import ImageAutoencoder
from edgehaul_tools.train.architectures.detector import DetectorNetwork, shape_of_size
from edgehaul_tools.train.architectures.table import build_classifier
from edgehaul_tools.train.qat.attach import CHILD, attach
from edgehaul_tools.train.qat.calls import NETWORK_INPUT, Call, recorded_calls
from edgehaul_tools.train.qat.fake import byte_grid, fake_byte, fake_weight
from edgehaul_tools.train.qat.fold import folded
from edgehaul_tools.train.qat.marks import mark_ranges
from edgehaul_tools.train.qat.places import places_of
from edgehaul_tools.train.qat.ranges import LearntRange
from tests.fakes.small_network import pictures, small, with_statistics


def qdq(values: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """Return values after QuantizeLinear and DequantizeLinear, by ONNX Runtime."""
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
        ],
        "qdq",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
        [
            numpy_helper.from_array(np.array(scale, np.float32), "scale"),
            numpy_helper.from_array(np.array(zero_point, np.uint8), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (answer,) = runner(model)(values)
    return np.asarray(answer)


ENDS = st.floats(0, 100, width=32).map(lambda v: v if v > 1e-3 else 0.0)


@settings(max_examples=40, deadline=None)
@given(ENDS, ENDS, st.integers(0, 1000))
def test_activations_are_rounded_as_onnx_runtime_rounds_them(
    below: float, high: float, seed: int
) -> None:
    low = -below
    zero, scale = compute_scale_zp(
        np.float32(low), np.float32(high), *get_qmin_qmax_for_qType(QuantType.QUInt8.tensor_type)
    )
    step, zero_point = byte_grid(low, high)
    assert np.float32(step) == np.float32(scale)
    assert zero_point == int(zero)
    spread = np.random.default_rng(seed).uniform(2 * low - 0.1, 2 * high + 0.1, 500)
    # Halves between two steps, too, where rounding goes to the even one.
    halves = (np.arange(-300, 300) + 0.5) * np.float32(step)
    values = np.concatenate((spread, halves)).astype(np.float32)
    found = fake_byte(torch.from_numpy(values), torch.tensor(low), torch.tensor(high))
    np.testing.assert_array_equal(found.numpy(), qdq(values, float(scale), int(zero)))


@pytest.mark.parametrize("bits", [7, 8])
@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_are_rounded_as_onnx_runtime_rounds_them(bits: int, *, per_channel: bool) -> None:
    weight = torch.randn((6, 4, 3, 3), generator=torch.Generator().manual_seed(0))
    weight[2] *= 30
    weight[3] = 0
    found = fake_weight(weight, bits, per_channel=per_channel)
    for channel, values in zip(found, weight, strict=True):
        largest = (values if per_channel else weight).abs().max().numpy()
        bounds = get_qmin_qmax_for_qType(
            QuantType.QInt8.tensor_type, reduce_range=bits == 7, symmetric=True
        )
        _, scale = compute_scale_zp(-largest, largest, *bounds, symmetric=True)
        rounded = np.clip(np.rint(values.numpy() / scale), *bounds) * scale
        np.testing.assert_allclose(channel.numpy(), rounded.astype(np.float32), rtol=1e-6)
    assert len(set(found[0].flatten().tolist())) <= 2**bits


def test_gradients_pass_the_rounding_and_stop_where_values_are_cut() -> None:
    values = torch.tensor([-3.0, 0.501, 1.0, 9.0], requires_grad=True)
    low, high = torch.tensor(-1.0, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    fake_byte(values, low, high).sum().backward()  # type: ignore[no-untyped-call]  # torch's
    assert values.grad is not None
    assert low.grad is not None
    assert high.grad is not None
    assert values.grad.tolist() == [0, 1, 1, 0]
    # One value is cut at each end, and moves with it; the rounding error is a share of a step.
    fair = 1 / (4 * 255) ** 0.5
    assert low.grad.item() == pytest.approx(fair, rel=0.01)
    assert high.grad.item() == pytest.approx(fair, rel=0.01)


def test_the_step_learns_from_the_rounding_error() -> None:
    """The gradient of a range is that of the true loss, where no value changes its step."""
    values = torch.linspace(0.013, 0.9, 31)
    low, high = torch.tensor(-0.25), torch.tensor(1.0, requires_grad=True)
    fake_byte(values, low, high).sum().backward()  # type: ignore[no-untyped-call]  # torch's
    step = (1.0 + 0.25) / 255
    rounded = fake_byte(values, low, high).detach()
    expected = ((rounded - values) / step).sum() / 255 / (31 * 255) ** 0.5
    assert high.grad is not None
    assert high.grad.item() == pytest.approx(expected.item(), rel=1e-3)


def test_a_range_that_is_no_number_makes_the_loss_none() -> None:
    values = torch.ones(3, requires_grad=True)
    for low, high in ((0.0, float("nan")), (float("-inf"), 1.0), (0.0, float("inf"))):
        loss = fake_byte(values, torch.tensor(low), torch.tensor(high)).sum()
        assert torch.isnan(loss)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's


def test_weights_keep_their_gradient() -> None:
    weight = torch.randn((3, 4), requires_grad=True)
    fake_weight(weight, 8, per_channel=True).mul(2).sum().backward()  # type: ignore[no-untyped-call]  # torch's
    assert weight.grad is not None
    assert (weight.grad == 2).all()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_folding_keeps_answers(*, bias: bool, affine: bool) -> None:
    conv, norm = nn.Conv2d(4, 6, 3, bias=bias), nn.BatchNorm2d(6, affine=affine)
    block = nn.Sequential(conv, norm)
    nn.init.uniform_(norm.running_mean, -1, 1)  # type: ignore[arg-type]  # it keeps statistics
    nn.init.uniform_(norm.running_var, 0.3, 3)  # type: ignore[arg-type]  # as above
    images = torch.randn(2, 4, 8, 8)
    weight, shift = folded(conv.weight, conv.bias, norm)
    answers = functional.conv2d(images, weight, shift)
    torch.testing.assert_close(answers, block.eval()(images), atol=1e-5, rtol=1e-5)


def test_a_norm_without_statistics_is_not_folded() -> None:
    with pytest.raises(ValueError, match="cannot be folded"):
        folded(torch.ones(2, 2), None, nn.BatchNorm1d(2, track_running_stats=False))


def test_calls_are_the_same_in_both_modes_and_know_their_sources() -> None:
    network = small()
    calls = recorded_calls(network, pictures())
    assert [call.function for call in calls] == [
        *("conv2d", "batch_norm", "relu", "conv2d", "batch_norm", "add", "relu"),
        *("max_pool2d", "avg_pool2d", "flatten", "linear"),
    ]
    assert calls[0].sources == (NETWORK_INPUT,)
    assert calls[1].norm == "first_norm"
    assert calls[5].sources == (2, 4)
    assert calls[10].sources == (9,)
    assert recorded_calls(network.train(), pictures()) == calls


def test_values_are_rounded_where_onnx_runtime_does() -> None:
    places = places_of(recorded_calls(small(), pictures()))
    # Input, ReLU of the first layer, second norm, ReLU of the sum, logits.
    assert places.rounded == (NETWORK_INPUT, 2, 4, 6, 10)
    assert dict(places.norms) == {0: 1, 3: 4}
    assert dict(places.shared) == {8: 6}  # an average pool takes the steps of its input


def test_entry_and_tail_stay_in_float() -> None:
    calls = (
        Call("mul", (NETWORK_INPUT,)),
        Call("add", (0,)),
        Call("conv2d", (1,)),
        Call("sigmoid", (2,)),
        Call("mul", (3,)),
    )
    assert places_of(calls).rounded == (1, 2)


@pytest.mark.parametrize(
    "network",
    [
        lambda: DetectorNetwork(shape_of_size("nano", 3)),
        lambda: DetectorNetwork(shape_of_size("small", 3)),
        lambda: ImageAutoencoder(width=32, height=32),
        lambda: build_classifier("mobilenet_v2", 4, width=32, height=32),
        lambda: build_classifier("resnet18", 4, width=32, height=32),
        lambda: build_classifier("cbam_resnet18", 4, width=32, height=32),
    ],
    ids=["nano", "small", "autoencoder", "mobilenet_v2", "resnet18", "cbam_resnet18"],
)
def test_our_networks_answer_nearly_the_same_rounded_and_the_same_measured(network) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - what makes a network
    plain = with_statistics(network())
    rounded = copy.deepcopy(plain)
    images = pictures(32)
    fake = attach(rounded, recorded_calls(plain, images), 8, per_channel=True)
    with torch.no_grad():
        expected = first_of(plain(images))
        with fake.measuring():
            measured = first_of(rounded(images))
        answers = first_of(rounded(images))
        again = first_of(copy.deepcopy(rounded)(images))
    size = expected.abs().max()
    assert (measured - expected).abs().max() <= 1e-5 * size
    assert 0 < (answers - expected).abs().max() < 0.1 * size
    assert torch.equal(again, answers)
    assert type(rounded) is type(plain)
    norms = sum(isinstance(layer, nn.BatchNorm2d) for layer in plain.modules())
    assert len(places_of(recorded_calls(plain, images)).norms) >= norms


def first_of(answer: Tensor | tuple[Tensor, ...]) -> Tensor:
    return answer if isinstance(answer, Tensor) else answer[0]


def test_training_moves_weights_and_ranges_and_no_statistics() -> None:
    network = small()
    images = pictures()
    fake = attach(network, recorded_calls(network, images), 7, per_channel=False)
    with torch.no_grad(), fake.measuring():
        network(images)
    before = copy.deepcopy(network.state_dict())
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        network(images).square().sum().backward()
        optimizer.step()
    after = network.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert {"first.weight", "first_norm.weight", "second_norm.bias", "matrix.weight"} <= moved
    assert f"{CHILD}.stretch_high" in moved
    assert not any("running" in name or "tracked" in name for name in moved)
    ranges = fake.ranges()
    assert ranges[0].call == NETWORK_INPUT
    assert (ranges[0].low, ranges[0].high) == pytest.approx(
        (min(0.0, float(images.min())), float(images.max()))
    )
    assert ranges[1].low == 0.0  # behind a ReLU
    assert ranges[2].low < 0 < ranges[2].high


def test_another_forward_than_the_recorded_one_is_refused() -> None:
    network = small()
    calls = recorded_calls(network, pictures())
    attach(network, (*calls[:2], Call("sigmoid", (1,)), *calls[3:]), 8, per_channel=True)
    with pytest.raises(ModelError, match=r"call 2 .* is 'relu', and was 'sigmoid'"):
        network(pictures())
    plain = small()(pictures())  # what was switched on is off again
    assert torch.isfinite(plain).all()


def test_ranges_of_another_network_are_refused() -> None:
    ranges = (LearntRange(2, "sigmoid", 0.0, 1.0),)
    with pytest.raises(ModelError, match=r"'sigmoid', and call 2 of the network is 'relu'"):
        mark_ranges(small(), ranges, pictures())
    with pytest.raises(ModelError, match="is 'none'"):
        mark_ranges(small(), (LearntRange(99, "relu", 0.0, 1.0),), pictures())


@pytest.mark.parametrize(("low", "high"), [(0.5, 1.0), (-1.0, -0.5), (0.0, float("inf"))])
def test_impossible_ranges_are_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="range"):
        LearntRange(0, "relu", low, high)


def test_marks_change_no_answer() -> None:
    network, images = small(), pictures()
    expected = network(images)
    mark_ranges(network, (LearntRange(2, "relu", 0.0, 1.0),), images)
    assert torch.equal(network(images), expected)
