"""Models that take bytes: the same answers as with a tensor of floats, and no way through float."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgehaul.bundle.spec import Color, ImageInput, Layout, ModelSpec, OutputSpec, SequenceInput
from edgehaul.errors import ModelError
from edgehaul.vision.preprocess import Preprocessor
from edgehaul_tools.cli import main
from edgehaul_tools.export.metadata import read_spec
from edgehaul_tools.export.runtime import runner
from edgehaul_tools.quantize.byte_input import takes_canvas, with_byte_input
from edgehaul_tools.quantize.byte_tensors import (
    byte_ranges,
    goes_through_float,
    without_float_input,
)
from edgehaul_tools.quantize.calibrate import Histograms, activation_tensors
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.graph import divide, float_region
from edgehaul_tools.quantize.inputs import open_inputs
from edgehaul_tools.quantize.opening import open_unknown
from edgehaul_tools.quantize.plan import Plan
from edgehaul_tools.quantize.quantize import Options, quantize_model
from edgehaul_tools.quantize.quantizer import Quantizer
from edgehaul_tools.quantize.row_constants import repeat_along_rows
from edgehaul_tools.quantize.saturation import weight_bits_here
from edgehaul_tools.quantize.static import quantize_static
from edgehaul_tools.verify.gate import Gate
from edgehaul_tools.verify.verify import verify_directory
from tests.fakes.brown_detector import BROWN, write_brown_detector
from tests.fakes.detectors import SPEC, write_detector, write_pictures
from tests.fakes.float_models import NAME, SIDE_PX, Start, classifier_spec, float_classifier

STARTS: Sequence[Start] = ("conv", "shared", "grouped", "focus", "clipped", "unit", "branch")
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
ULTRAFACE = {"scale": 1.0, "mean": (127.0,) * 3, "std": (128.0,) * 3}
HERE = weight_bits_here()
WINDOWS = SequenceInput(("speed_mps",), 5, 1.0, (0.0,), (1.0,))


FLOATS = ImageInput(SIDE_PX, SIDE_PX, layout="nchw", dtype="float32", scale=1 / 255)


def canvas(**options: object) -> ImageInput:
    return msgspec.structs.replace(FLOATS, **options)


@st.composite
def canvases(draw: st.DrawFn) -> ImageInput:
    """Draw inputs as models have them: of 0..1 or 0..255, normalised or not."""
    color = draw(st.sampled_from(["bgr", "rgb", "gray"]))
    top = draw(st.sampled_from([1.0, 255.0])) * draw(st.floats(0.5, 1.5))
    count = 1 if color == "gray" else 3
    numbers = st.lists(st.floats(0.05, 0.9), min_size=count, max_size=count)
    mean = [top * share for share in draw(st.one_of(st.just([]), numbers))]
    std = [top * share for share in draw(st.one_of(st.just([]), numbers))]
    layout = draw(st.sampled_from(["nchw", "nhwc"]))
    return canvas(color=color, layout=layout, scale=top / 255, mean=tuple(mean), std=tuple(std))


def pictures(count: int = 6) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(2)
    shape = (count, SIDE_PX, SIDE_PX + 4, 3)
    return list(random.integers(0, 256, shape, dtype=np.uint8))


def tensors(spec: ImageInput) -> list[NDArray[Any]]:
    make = Preprocessor(spec)
    return [make(picture)[0].copy() for picture in pictures()]


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def weight(model: onnx.ModelProto, name: str) -> NDArray[Any]:
    return next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == name)


@settings(max_examples=40, deadline=None)
@given(canvases(), st.sampled_from(STARTS))
def test_answers_are_those_on_the_float_tensor(given_: ImageInput, start: Start) -> None:
    model = float_classifier(given_, start)
    folded, spec = with_byte_input(model, classifier_spec(given_))
    assert isinstance(spec.input, ImageInput)
    assert takes_canvas(spec.input)
    plain, of_bytes = runner(model), runner(folded)
    expected = np.concatenate([plain(tensor)[0] for tensor in tensors(given_)])
    got = np.concatenate([of_bytes(tensor)[0] for tensor in tensors(spec.input)])
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    batch = of_bytes(np.concatenate(tensors(spec.input)))[0]
    np.testing.assert_allclose(batch, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_only_type_and_order_of_the_input_change() -> None:
    model = float_classifier(canvas())
    folded, spec = with_byte_input(model, classifier_spec(canvas(pad_value=7, resize="stretch")))
    assert spec.input == ImageInput(SIDE_PX, SIDE_PX, color="bgr", pad_value=7, resize="stretch")
    (taken,) = folded.graph.input
    dims = [d.dim_value or d.dim_param for d in taken.type.tensor_type.shape.dim]
    assert (taken.name, dims) == (NAME, ["batch", SIDE_PX, SIDE_PX, 3])
    assert taken.type.tensor_type.elem_type == TensorProto.UINT8
    assert folded.opset_import == model.opset_import
    assert folded.graph.output == model.graph.output
    (entry,) = folded.metadata_props
    assert msgspec.json.decode(entry.value, type=ModelSpec) == spec
    assert kinds(model)[0] == "Conv", "the model that was given is as it was"


@pytest.mark.parametrize(
    ("given_", "start", "nodes"),
    [
        (canvas(color="bgr", scale=1.0), "conv", ["Transpose", "Cast"]),
        (canvas(), "conv", ["Transpose", "Cast", "Mul"]),
        (canvas(**IMAGENET), "conv", ["Transpose", "Cast", "Mul", "Add"]),
        (canvas(), "unit", ["Transpose", "Cast", "Mul", "Sub", "Mul"]),
        (canvas(layout="nhwc"), "conv", ["Cast", "Mul", "Transpose"]),
        (canvas(), "focus", ["Transpose", "Gather", "Cast", "Mul", "Slice"]),
        (canvas(layout="nhwc"), "focus", ["Transpose", "Gather", "Transpose", "Cast", "Mul"]),
        (canvas(), "grouped", ["Transpose", "Gather", "Cast", "Mul", "Conv"]),
        (canvas(), "branch", ["Transpose", "Gather", "Cast", "Mul", "ReduceMean"]),
        (canvas(color="gray"), "conv", ["Transpose", "Cast", "Mul"]),
        (canvas(dtype="uint8", scale=1.0), "conv", ["Transpose"]),
    ],
)
def test_nodes_stand_only_where_they_do_something(
    given_: ImageInput, start: Start, nodes: list[str]
) -> None:
    folded, _ = with_byte_input(float_classifier(given_, start), classifier_spec(given_))
    assert kinds(folded)[: len(nodes)] == nodes


def test_colours_are_turned_in_the_weights_and_only_there() -> None:
    model = float_classifier(canvas())
    folded, _ = with_byte_input(model, classifier_spec(canvas()))
    np.testing.assert_array_equal(weight(folded, "w"), weight(model, "w")[:, ::-1])
    np.testing.assert_array_equal(weight(folded, "w2"), weight(model, "w2"))


def test_weights_that_others_read_stay_as_they_are() -> None:
    model = float_classifier(canvas(), "shared")
    folded, _ = with_byte_input(model, classifier_spec(canvas()))
    first = [node for node in folded.graph.node if node.op_type == "Conv"][:2]
    for node in first:
        assert node.input[1] != "w"
        np.testing.assert_array_equal(weight(folded, node.input[1]), weight(model, "w")[:, ::-1])


@pytest.mark.parametrize("color", ["bgr", "gray"])
def test_what_takes_the_canvas_already_is_returned_as_it_is(color: Color) -> None:
    spec = classifier_spec(ImageInput(SIDE_PX, SIDE_PX, color=color))
    model = float_classifier(canvas())
    assert with_byte_input(model, spec) == (model, spec)


def test_bytes_in_another_order_of_colours_need_no_node() -> None:
    """EdgeHaul's own exports: bytes in, colours as they were trained."""
    own, _ = with_byte_input(float_classifier(canvas()), classifier_spec(canvas(color="bgr")))
    spec = classifier_spec(ImageInput(SIDE_PX, SIDE_PX, color="rgb"))
    folded, taken = with_byte_input(own, spec)
    assert kinds(folded) == kinds(own)
    assert isinstance(taken.input, ImageInput)
    assert isinstance(spec.input, ImageInput)
    for before, after in zip(tensors(spec.input), tensors(taken.input), strict=True):
        np.testing.assert_allclose(
            runner(folded)(after)[0], runner(own)(before)[0], rtol=1e-5, atol=1e-6
        )


def test_what_has_no_such_input_is_refused() -> None:
    model = float_classifier(canvas())
    windows = ModelSpec("sequence", WINDOWS, OutputSpec("sequence", ("a", "b")))
    with pytest.raises(ModelError, match="takes no pictures"):
        with_byte_input(model, windows)
    rebuilt = ModelSpec("anomaly", canvas(), OutputSpec("autoencoder", (), score_threshold=1.0))
    with pytest.raises(ModelError, match="autoencoder is how far"):
        with_byte_input(model, rebuilt)


def measured(model: onnx.ModelProto, spec: ImageInput) -> dict[str, tuple[float, float]]:
    every = Histograms(model, activation_tensors(model), lambda: iter(tensors(spec)))
    return every.ranges("minmax")


def int8_of(
    model: onnx.ModelProto, ranges: dict[str, tuple[float, float]], form: Form
) -> onnx.ModelProto:
    region = float_region(model.graph, divide(model.graph), ())
    return quantize_static(model, ranges, float_nodes=region, form=form)


@pytest.mark.parametrize(
    ("given_", "start", "form"),
    [
        (canvas(color="bgr"), "conv", Form(weight_bits=HERE)),
        (canvas(color="bgr"), "conv", Form("qoperator", weight_bits=HERE)),
        (canvas(color="bgr"), "grouped", Form(weight_bits=HERE)),
        (canvas(color="bgr", layout="nhwc"), "grouped", Form(weights="u8")),
        (canvas(), "conv", Form(weights="u8")),
        (canvas(layout="nhwc"), "conv", Form("qoperator", weights="u8")),
        (canvas(color="gray"), "conv", Form(weight_bits=HERE)),
        (
            canvas(color="bgr", scale=1.0, mean=(127,) * 3, std=(128,) * 3),
            "conv",
            Form(weights="u8"),
        ),
    ],
)
def test_int8_reads_the_bytes_and_answers_the_same_to_the_bit(
    given_: ImageInput, start: Start, form: Form
) -> None:
    model = float_classifier(given_, start)
    folded, spec = with_byte_input(model, classifier_spec(given_))
    assert isinstance(spec.input, ImageInput)
    known = byte_ranges(folded)
    ranges = measured(model, given_)
    taken = [bounds for name, bounds in known.items() if name.startswith("edgehaul.bytes")][-1]
    entry = {NAME, *(n.output[0] for n in model.graph.node if n.op_type == "Transpose")}
    ranges |= dict.fromkeys(entry, taken)
    plain = int8_of(model, ranges, form)
    of_bytes = int8_of(folded, {**ranges, **known}, form)
    assert not goes_through_float(of_bytes)
    assert "Cast" not in kinds(of_bytes)
    assert kinds(of_bytes).count("QuantizeLinear") == kinds(plain).count("QuantizeLinear") - 1
    for before, after in zip(tensors(given_), tensors(spec.input), strict=True):
        np.testing.assert_array_equal(runner(of_bytes)(after)[0], runner(plain)(before)[0])


@pytest.mark.parametrize(
    ("given_", "start", "form"),
    [
        (canvas(), "conv", Form(activations="s8")),
        (canvas(), "focus", Form(weights="u8")),  # in bytes it would be slower
        (canvas(**IMAGENET), "conv", Form(weights="u8")),
        (canvas(mean=(0.5,) * 3, std=(0.5,) * 3), "conv", Form(weights="u8")),  # no byte is 0
    ],
)
def test_bytes_that_int8_does_not_keep_go_through_float(
    given_: ImageInput, start: Start, form: Form
) -> None:
    folded, spec = with_byte_input(float_classifier(given_, start), classifier_spec(given_))
    assert isinstance(spec.input, ImageInput)
    ranges = {**measured(folded, spec.input), **byte_ranges(folded)}
    of_bytes = int8_of(folded, ranges, form)
    assert goes_through_float(of_bytes)
    (first,) = (n for n in of_bytes.graph.node if NAME in n.input)
    assert first.op_type == "Transpose", "what moves values moves bytes"
    expected = np.concatenate([runner(folded)(t)[0] for t in tensors(spec.input)])
    got = np.concatenate([runner(of_bytes)(t)[0] for t in tensors(spec.input)])
    assert np.abs(got - expected).max() < 0.05 * np.abs(expected).max()


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-4, 10.0), st.sampled_from([0.0, 1.0, 127.0, 128.0, 255.0]))
def test_the_range_of_bytes_keeps_every_byte(scale: float, middle: float) -> None:
    """Whatever the factor is, and wherever zero lies, as long as it is one of the bytes."""
    chosen = canvas(color="gray", scale=scale, mean=(middle * scale,))
    folded, spec = with_byte_input(float_classifier(chosen), classifier_spec(chosen))
    name = [n.output[0] for n in folded.graph.node if n.name.startswith("edgehaul.bytes")][-1]
    low, high = byte_ranges(folded)[name]
    ends = np.array([-middle, 255 - middle]) * scale
    np.testing.assert_allclose([low, high], ends, atol=1e-6 * 255 * scale)
    assert isinstance(spec.input, ImageInput)
    ranges = {**measured(folded, spec.input), **byte_ranges(folded)}
    assert not goes_through_float(int8_of(folded, ranges, Form(weights="u8")))


@pytest.mark.parametrize(
    ("layout", "one", "row"),
    [("nchw", (3, 1, 1), (1, 3, 1, SIDE_PX)), ("nhwc", (3,), (1, 1, SIDE_PX, 3))],
)
def test_numbers_of_each_channel_stand_there_for_a_whole_row(
    layout: Layout, one: tuple[int, ...], row: tuple[int, ...]
) -> None:
    given_ = canvas(layout=layout, **IMAGENET)
    folded, spec = with_byte_input(float_classifier(given_), classifier_spec(given_))
    assert isinstance(spec.input, ImageInput)
    int8 = int8_of(folded, measured(folded, spec.input), Form(weights="u8"))
    before = onnx.ModelProto()
    before.CopyFrom(int8)
    for name in ("edgehaul.bytes.factor", "edgehaul.bytes.offset"):
        assert weight(folded, name).shape == one
        assert weight(int8, name).shape == row
        (held,) = (tensor for tensor in before.graph.initializer if tensor.name == name)
        held.CopyFrom(numpy_helper.from_array(weight(folded, name), name))
    for tensor in tensors(spec.input):
        np.testing.assert_array_equal(runner(int8)(tensor)[0], runner(before)(tensor)[0])
    assert repeat_along_rows(int8) == 0
    assert repeat_along_rows(before) == 2


def test_a_constant_that_two_nodes_read_is_repeated_for_each() -> None:
    constants = {"mean": np.ones((3, 1, 1), np.float32), "one": np.ones(1, np.float32)}
    nodes = [
        helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["mean", "planes"], ["y"], name="sub"),
        helper.make_node("Mul", ["y", "one"], ["z"], name="mul"),
        helper.make_node("Add", ["z", "mean"], ["last"], name="add"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "apart",
        [value("x", TensorProto.UINT8, [1, 4, 5, 3])],
        [value("last", TensorProto.FLOAT, [1, 3, 4, 5])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert repeat_along_rows(model) == 2
    onnx.checker.check_model(model, full_check=True)
    assert weight(model, "sub.0.repeated").shape == (1, 3, 1, 5)
    assert weight(model, "mean").shape == (1, 3, 1, 5)
    every = np.arange(60, dtype=np.uint8).reshape(1, 4, 5, 3)
    np.testing.assert_array_equal(
        runner(model)(every)[0], 2 - every.astype(np.float32).transpose(0, 3, 1, 2)
    )


def test_models_of_floats_have_no_known_range() -> None:
    model = float_classifier(canvas())
    assert byte_ranges(model) == {}
    assert without_float_input(model) == 0


def pair(*, scale: float, zero: int, kind: type = np.uint8) -> onnx.ModelProto:
    """Return bytes / 255, in float and quantized and read back."""
    constants = {
        "factor": np.array(1 / 255, np.float32),
        "scale": np.array(scale, np.float32),
        "zero": np.array(zero, kind),
    }
    nodes = [
        helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "factor"], ["unit"]),
        helper.make_node("QuantizeLinear", ["unit", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["back"]),
        helper.make_node("Neg", ["unit"], ["other"]),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [256]) for n in ("back", "other")]
    taken = helper.make_tensor_value_info("x", TensorProto.UINT8, [256])
    constants_ = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "pair", [taken], values, constants_)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("scale", "zero", "kind", "gone"),
    [
        (1 / 255, 0, np.uint8, 1),
        (0.9995 / 255, 0, np.uint8, 1),
        (0.99 / 255, 0, np.uint8, 0),
        (1.01 / 255, 0, np.uint8, 0),
        (1 / 255, 1, np.uint8, 0),
        (1 / 255, -128, np.int8, 0),
        (0.8 / 255, 0, np.uint8, 0),
    ],
)
def test_quantizing_goes_only_where_it_gives_each_byte_again(
    scale: float, zero: int, kind: type, gone: int
) -> None:
    every = np.arange(256, dtype=np.uint8)
    before = pair(scale=scale, zero=zero, kind=kind)
    after = onnx.ModelProto()
    after.CopyFrom(before)
    assert without_float_input(after) == gone
    onnx.checker.check_model(after, full_check=True)
    assert "Neg" in kinds(after), "what else reads the floats reads them still"
    for expected, got in zip(runner(before)(every), runner(after)(every), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bytes")
    write_brown_detector(made / "brown.onnx")
    (made / "brown.json").write_bytes(msgspec.json.encode(BROWN))
    write_detector(made / "own.onnx")
    write_pictures(made / "pictures", 12)
    for path in (made / "pictures").iterdir():  # never quite white, nor black
        cv2.imwrite(str(path), np.clip(cv2.imread(str(path)), 20, 230))
    return made


def options(**chosen: object) -> Options:
    return msgspec.structs.replace(Options(min_agreement=0.0, byte_input=True), **chosen)


def test_every_model_of_the_directory_takes_the_canvas(folder: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    chosen = options(spec_file=folder / "brown.json", form=Form(weight_bits=HERE))
    made, report = quantize_model(
        folder / "brown.onnx", tmp_path / "out", folder / "pictures", chosen, lines.append
    )
    assert isinstance(made.spec.input, ImageInput)
    assert takes_canvas(made.spec.input)
    assert made.spec_source == "file brown.json; its pre-processing is in the graph"
    assert any("take uint8 nhwc pictures" in line for line in lines)
    assert not any("through float" in line for line in report.warnings)
    for variant in made.variants:
        model = onnx.load(tmp_path / "out" / variant.path)
        assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert "Cast" not in kinds(model), "whatever the pictures hold"
    assert read_spec(tmp_path / "out" / "fp32.onnx") == made.spec
    proof = verify_directory(tmp_path / "out", frames=folder / "pictures", gate=Gate(0.0))
    assert [one.name for one in proof.models.values()] == ["fp32", "int8-u8s8"]


def test_a_folded_model_says_itself_what_it_takes(folder: Path, tmp_path: Path) -> None:
    model, given_ = folder / "brown.onnx", folder / "brown.json"
    chosen = options(spec_file=given_, form=Form(weights="u8"))
    first, _ = quantize_model(model, tmp_path / "one", folder / "pictures", chosen)
    chosen = Options(min_agreement=0.0, form=Form(weights="u8"))
    again = tmp_path / "one" / "fp32.onnx"
    second, _ = quantize_model(again, tmp_path / "two", folder / "pictures", chosen)
    assert second.spec == first.spec
    assert second.spec_source == "the model's metadata"
    assert "Cast" not in kinds(onnx.load(tmp_path / "two" / "int8.onnx"))


def test_a_form_of_signed_numbers_says_that_it_gains_less(folder: Path, tmp_path: Path) -> None:
    chosen = options(spec_file=folder / "brown.json", form=Form(activations="s8"))
    _, report = quantize_model(folder / "brown.onnx", tmp_path / "out", folder / "pictures", chosen)
    assert any("go through float" in line for line in report.warnings)


def test_our_own_exports_lose_the_way_through_float(folder: Path, tmp_path: Path) -> None:
    """They take bytes already, but RGB: the first weights take the colours as they come."""
    made, _ = quantize_model(folder / "own.onnx", tmp_path / "out", folder / "pictures", options())
    assert made.spec.input == msgspec.structs.replace(SPEC.input, color="bgr")
    assert "Cast" not in kinds(onnx.load(tmp_path / "out" / "int8.onnx"))
    assert "Gather" not in kinds(onnx.load(tmp_path / "out" / "fp32.onnx"))


def test_a_model_that_takes_the_canvas_is_quantized_as_it_is(folder: Path, tmp_path: Path) -> None:
    spec = msgspec.structs.replace(SPEC, input=msgspec.structs.replace(SPEC.input, color="bgr"))
    (tmp_path / "bgr.json").write_bytes(msgspec.json.encode(spec))
    lines: list[str] = []
    made, _ = quantize_model(
        folder / "own.onnx",
        tmp_path / "out",
        folder / "pictures",
        options(spec_file=tmp_path / "bgr.json"),
        lines.append,
    )
    assert made.spec == spec
    assert made.spec_source == "file bgr.json"
    assert any("already takes bytes" in line for line in lines)


def test_without_the_option_the_input_stays(folder: Path, tmp_path: Path) -> None:
    chosen = options(spec_file=folder / "brown.json", byte_input=False)
    made, _ = quantize_model(folder / "brown.onnx", tmp_path / "out", folder / "pictures", chosen)
    assert made.spec == BROWN


def test_repairs_and_sensitivity_work_on_bytes(folder: Path) -> None:
    """What reads the calibration inputs reads bytes: biases, equal channels, layers in float."""
    opened = open_unknown(folder / "brown.onnx", folder / "brown.json", ())
    model, spec = with_byte_input(opened.model, opened.spec)
    source = open_inputs(folder / "pictures", spec)
    quantizer = Quantizer(model, spec, source.prepared, lambda _line: None)
    plan = Plan(Form(weights="u8"), "percentile", equalized=True, bias_corrected=True)
    assert not goes_through_float(quantizer.build(plan))
    first = quantizer.division.units[0].name
    assert set(quantizer.by_sensitivity(plan)) == {u.name for u in quantizer.division.units}
    floats = quantizer.build(msgspec.structs.replace(plan, float_units=(first,)))
    assert goes_through_float(floats)
    assert np.isfinite(quantizer.distance_of(floats))


def test_the_command_refuses_windows_before_it_makes_a_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ModelSpec("sequence", WINDOWS, OutputSpec("regress", ("speed_mps",)))
    value = helper.make_tensor_value_info
    nodes = [helper.make_node("ReduceMean", ["window"], ["values"], axes=[1], keepdims=0)]
    graph = helper.make_graph(
        nodes,
        "windows",
        [value("window", TensorProto.FLOAT, [1, 5, 1])],
        [value("values", TensorProto.FLOAT, [1, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"edgehaul.spec": msgspec.json.encode(spec).decode()})
    onnx.save(model, tmp_path / "windows.onnx")
    asked = ["--input", "bytes", "--out", str(tmp_path / "out")]
    assert main(["quantize", str(tmp_path / "windows.onnx"), *asked]) == 1
    assert "takes no pictures; leave out --input bytes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
