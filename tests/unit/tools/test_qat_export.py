"""Learnt ranges from the run to the int8 model: names, plain graphs, integer kernels."""

import collections
import copy
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # no stubs
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.config.recipe import ClassifierRecipe, DetectorRecipe, Recipe
from edgehaul.errors import ModelError
from edgehaul_tools.export.learnt import RANGES_KEY, named_ranges
from edgehaul_tools.export.metadata import read_metadata
from edgehaul_tools.export.onnx_model import TensorNames, export_module
from edgehaul_tools.export.run import export_run
from edgehaul_tools.export.runtime import runner
from edgehaul_tools.quantize.calibrate import Histograms, activation_tensors
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.fusion import fusion_of
from edgehaul_tools.quantize.graph import clean, divide, float_region
from edgehaul_tools.quantize.learnt_ranges import learnt_ranges
from edgehaul_tools.quantize.loading import load_model
from edgehaul_tools.quantize.saturation import WeightBits, weight_bits_here
from edgehaul_tools.quantize.static import quantize_static
from edgehaul_tools.train.architectures.detector import DetectorNetwork, shape_of
from edgehaul_tools.train.architectures.table import build_classifier
from edgehaul_tools.train.detector.training import detector_spec
from edgehaul_tools.train.qat.attach import attach
from edgehaul_tools.train.qat.calls import NETWORK_INPUT, recorded_calls
from edgehaul_tools.train.qat.marks import mark_ranges
from edgehaul_tools.train.qat.ranges import LearntRange
from edgehaul_tools.train.run_directory import TrainingRun, write_run
from tests.fakes.small_network import pictures, small, with_statistics

LABELS = ("a", "b", "c")


def rounded(
    network: nn.Module, images: Tensor, bits: int = 8
) -> tuple[nn.Module, tuple[LearntRange, ...]]:
    """Return a network with the rounding in it, and its ranges."""
    copied = copy.deepcopy(network)
    fake = attach(copied, recorded_calls(network, images), bits, per_channel=True)
    with torch.no_grad(), fake.measuring():
        copied(images)
    return copied, fake.ranges()


def kinds(model: onnx.ModelProto) -> collections.Counter[str]:
    return collections.Counter(node.op_type for node in model.graph.node)


def unoptimized(model: onnx.ModelProto, tensor: np.ndarray) -> list[np.ndarray]:
    """Return what a model answers node by node, without any integer kernel."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return list(session.run(None, {session.get_inputs()[0].name: tensor}))


def exported(network: nn.Module, images: Tensor, path: Path) -> onnx.ModelProto:
    export_module(network, images, TensorNames(("image",), ("logits",)), path)
    return onnx.load(path)


def quantized(path: Path, tensor: np.ndarray, bits: WeightBits = 8) -> onnx.ModelProto:
    """Return the int8 form by learnt ranges where there are, else by measured ones."""
    model = clean(load_model(path), where=path)
    measured = Histograms(model, activation_tensors(model), lambda: iter([tensor]))
    learnt = learnt_ranges(model)
    assert learnt
    # Ranges that would answer nonsense where the learnt ones do not take their place.
    wrong = dict.fromkeys(learnt, (0.0, 1e4))
    ranges = {**measured.ranges("minmax"), **wrong, **learnt}
    region = float_region(model.graph, divide(model.graph), ())
    return quantize_static(model, ranges, float_nodes=region, form=Form(weight_bits=bits))


def operators(int8: onnx.ModelProto, path: Path) -> dict[str, int]:
    """Return how many nodes of each kind ONNX Runtime runs, and that none is astray."""
    model = clean(load_model(path), where=path)
    fusion = fusion_of(int8, float_region(model.graph, divide(model.graph), ()))
    assert fusion.failures == ()
    return collections.Counter(fusion.operators)


def test_the_graph_is_plain_and_ranges_name_its_tensors(tmp_path: Path) -> None:
    network, images = small(), pictures()
    plain = exported(copy.deepcopy(network), images, tmp_path / "plain.onnx")
    _, ranges = rounded(network, images)
    mark_ranges(network, ranges, images)
    path = tmp_path / "marked.onnx"
    marked = exported(network, images, path)
    assert kinds(marked) - kinds(plain) == {"Min": len(ranges)}
    named = msgspec.json.decode(named_ranges(path, ranges), type=dict[str, tuple[float, float]])
    model = onnx.load(path)
    assert kinds(model) == kinds(plain)
    assert [v.name for v in model.graph.output] == ["logits"]
    # In the graph's order: input, ReLU, second convolution, ReLU of the sum, logits.
    by_maker = {name: node.op_type for node in model.graph.node for name in node.output}
    assert [by_maker.get(name, name) for name in named] == ["image", "Relu", "Conv", "Relu", "Gemm"]
    assert list(named.values()) == [(one.low, one.high) for one in ranges]
    tensor = images.numpy()
    np.testing.assert_array_equal(
        runner(path)(tensor)[0], runner(tmp_path / "plain.onnx")(tensor)[0]
    )


def test_marks_that_the_exporter_lost_are_told(tmp_path: Path) -> None:
    exported(small(), pictures(), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="0 of 1 tensors"):
        named_ranges(tmp_path / "m.onnx", (LearntRange(2, "relu", 0.0, 1.0),))


@pytest.mark.parametrize("bits", [7, 8])
def test_int8_answers_as_the_training_rounded(tmp_path: Path, bits: WeightBits) -> None:
    """What was learnt is what runs: the same answers up to a step or two of rounding."""
    network, images = small(), pictures(count=16)
    fake, ranges = rounded(network, images, bits)
    mark_ranges(network, ranges, images)
    path = tmp_path / "model.onnx"
    exported(network, images, path)
    model = onnx.load(path)
    named = named_ranges(path, ranges)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {RANGES_KEY: named})
    onnx.save(model, path)
    int8 = quantized(path, images.numpy(), bits)
    with torch.no_grad():
        expected = fake(images).numpy()
    (answers,) = unoptimized(int8, images.numpy())
    step = (ranges[-1].high - ranges[-1].low) / 255
    assert np.abs(answers - expected).max() <= 2.01 * step
    assert np.mean(np.abs(answers - expected) > 0.01 * step) < 0.2
    if bits == weight_bits_here() or bits == 7:
        # Integer kernels, where this processor's products do not overflow, do the same.
        (fast,) = runner(int8)(images.numpy())
        assert np.abs(fast - answers).max() <= 2.01 * step
    counts = operators(int8, path)
    assert counts["QLinearConv"] == 2
    assert counts["Conv"] == counts["Gemm"] == 0
    assert counts["QGemm"] == 1


def run_of(kind: str, recipe: Recipe, spec: object, ranges: tuple[LearntRange, ...]) -> TrainingRun:
    return TrainingRun(
        kind=kind,  # type: ignore[arg-type]  # one of its literals
        spec=spec,  # type: ignore[arg-type]  # a model's spec
        recipe=recipe,
        metrics={},
        history=(),
        counts={},
        parameters=0,
        wall_s=0,
        cpu_s=0,
        torch_version="",
        ranges=ranges,
    )


@pytest.mark.slow
def test_a_detectors_run_is_exported_with_its_ranges_of_bytes(tmp_path: Path) -> None:
    recipe = DetectorRecipe(size="small", width=64, height=64)
    network = with_statistics(DetectorNetwork(shape_of(recipe, len(LABELS))))
    images = pictures(64)
    _, ranges = rounded(network, images)
    spec = detector_spec(recipe, LABELS)
    write_run(tmp_path / "run", run_of("detector", Recipe(detector=recipe), spec, ranges), network)
    path = tmp_path / "model.onnx"
    report = export_run(tmp_path / "run", path)
    assert max(report.parity.values()) <= 1e-4
    learnt = learnt_ranges(onnx.load(path))
    assert len(learnt) == len(ranges)
    assert ranges[0].call == NETWORK_INPUT
    first = next(iter(learnt.values()))
    assert first == pytest.approx((0.0, 255 * ranges[0].high))
    model = clean(load_model(path), where=path)
    assert learnt_ranges(model) == learnt  # names outlive the cleaning
    assert not {"Min", "QuantizeLinear", "BatchNormalization"} & set(kinds(model))
    tensor = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    int8 = quantized(path, tensor)
    counts = operators(int8, path)
    assert counts["QLinearConv"] == kinds(model)["Conv"]
    assert counts["Conv"] == 0
    # The shared layers of the head are rounded at both strides, each by its own range.
    assert len({learnt[name] for name in learnt}) > len(learnt) - 3


@pytest.mark.slow
def test_a_classifiers_run_is_exported_with_its_ranges(tmp_path: Path) -> None:
    recipe = ClassifierRecipe(network="mobilenet_v2", width=32, height=32)
    network = with_statistics(build_classifier("mobilenet_v2", 3, width=32, height=32))
    images = torch.randn((4, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    _, ranges = rounded(network, images)
    canvas = ImageInput(width=32, height=32, resize="stretch", color="rgb", name="image")
    spec = ModelSpec("classify", canvas, OutputSpec(head="classify", labels=LABELS))
    write_run(
        tmp_path / "run", run_of("classifier", Recipe(classifier=recipe), spec, ranges), network
    )
    path = tmp_path / "model.onnx"
    export_run(tmp_path / "run", path, temperature=2.0)
    assert "edgehaul.temperature" in read_metadata(path)
    model = clean(load_model(path), where=path)
    learnt = learnt_ranges(model)
    assert len(learnt) == len(ranges)
    assert kinds(model)["Clip"] == 35  # its ReLU6, and no other
    int8 = quantized(path, np.zeros((1, 32, 32, 3), np.uint8))
    counts = operators(int8, path)
    assert counts["QLinearConv"] == 52
    assert counts["Conv"] == 0


def identity(metadata: dict[str, str]) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph)
    onnx.helper.set_model_props(model, metadata)
    return model


def test_ranges_are_read_from_the_metadata() -> None:
    assert learnt_ranges(identity({})) == {}
    model = identity({RANGES_KEY: '{"x": [-1, 2.5], "y": [0, 2.5]}'})
    assert learnt_ranges(model) == {"x": (-1.0, 2.5), "y": (0.0, 2.5)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ('{"x": [1]}', "cannot be read"),
        ('{"x": ["a", 1]}', "cannot be read"),
        ('{"z": [0, 1]}', "the graph has none of this name"),
        ('{"x": [0.5, 1]}', "a range holds 0"),
        ('{"x": [-2, -1]}', "a range holds 0"),
        ('{"x": [-1, 1e999]}', "cannot"),
    ],
)
def test_damaged_ranges_are_refused(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        learnt_ranges(identity({RANGES_KEY: text}))
