"""Models that cannot be quantized are refused in one line, or made so that they can."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgehaul.errors import ModelError
from edgehaul_tools.export.runtime import runner
from edgehaul_tools.quantize.graph import clean, divide
from edgehaul_tools.quantize.loading import load_model, parse_model
from tests.fakes.strange_models import classifier, constant, model_of, saved, value

RELU = helper.make_node("Relu", ["c"], ["last"], name="relu")


def load(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    return load_model(saved(model, folder / "m.onnx"))


# --- files that are no models -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"hello", "no ONNX file"),
        (b"PK\x03\x04" + bytes(80), r"zip archive, as PyTorch's \.pt"),
        (b"\x80\x02}q\x00.", r"pickle, as PyTorch's"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(9), "TensorFlow Lite"),
        (b"\x89HDF\r\n", "Keras"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "download that failed"),
        (np.random.default_rng(1).bytes(5000), "no ONNX file"),
    ],
)
def test_a_file_that_is_no_model_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path / "m.onnx")


def test_what_is_no_regular_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")  # to open it would wait for ever
    (tmp_path / "loop.onnx").symlink_to(tmp_path / "loop.onnx")
    for path, message in (
        (tmp_path, "a directory"),
        (tmp_path / "pipe.onnx", "device, pipe or socket"),
        (Path("/dev/zero"), "device, pipe or socket"),
        (tmp_path / "loop.onnx", "symbolic link"),
        (tmp_path / "none.onnx", "No such file"),
        (tmp_path / ("n" * 300), "name too long"),
    ):
        with pytest.raises(ModelError, match=message):
            load_model(path)


def test_more_than_2_gb_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "m.onnx").open("wb") as file:
        file.truncate(2_000_000_001)  # a hole: it takes no space
    with pytest.raises(ModelError, match="larger than 2 GB"):
        load_model(tmp_path / "m.onnx")


# --- weights in other files -------------------------------------------------------------------


def beside(folder: Path, **said: str) -> Path:
    """A model whose weight lies in w.bin beside it, or where ``said`` says."""
    folder.mkdir(parents=True, exist_ok=True)
    model = classifier(RELU)
    tensor = model.graph.initializer[0]
    (folder / "w.bin").write_bytes(bytes(16) + tensor.raw_data)
    entries = {"location": "w.bin", "offset": "16", "length": str(len(tensor.raw_data)), **said}
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in entries.items():
        tensor.external_data.add(key=key, value=text)
    return saved(model, folder / "m.onnx")


def test_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    model = load_model(beside(tmp_path))
    expected = numpy_helper.to_array(classifier().graph.initializer[0])
    assert (numpy_helper.to_array(model.graph.initializer[0]) == expected).all()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"location": "../w.bin"}, "outside the model's folder"),
        ({"location": "below/../../w.bin"}, "outside the model's folder"),
        ({"location": "/etc/passwd"}, "outside the model's folder"),
        ({"location": "C:\\w.bin"}, "outside the model's folder"),
        ({"location": ""}, "outside the model's folder"),
        ({"location": "link.bin"}, "outside the model's folder"),
        ({"location": "loop.bin"}, "outside the model's folder|cannot be read"),
        ({"location": "pipe.bin"}, "no regular file"),
        ({"location": "absent.bin"}, "absent.bin: No such file"),
        ({"location": "."}, "no regular file"),
        ({"offset": "32"}, "which is truncated"),
        ({"length": str(10**15)}, "which is truncated"),
        ({"offset": "-8"}, "which is truncated"),
        ({"offset": "many"}, "cannot be read"),
    ],
)
def test_weights_elsewhere_or_cut_short_are_refused(
    said: dict[str, str], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    path = beside(folder, **said)
    (tmp_path / "w.bin").write_bytes((folder / "w.bin").read_bytes())
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    (folder / "loop.bin").symlink_to(folder / "loop.bin")
    os.mkfifo(folder / "pipe.bin")
    with pytest.raises(ModelError, match=message):
        load_model(path)


def test_external_data_counts_for_the_2_gb_and_is_not_read_for_it(tmp_path: Path) -> None:
    path = beside(tmp_path, offset="0", length=str(2_000_000_000))
    with (tmp_path / "w.bin").open("r+b") as file:
        file.truncate(2_000_000_000)
    with pytest.raises(ModelError, match=r"2\.0 GB with its external data"):
        parse_model(path)


def test_nan_in_external_data_is_found(tmp_path: Path) -> None:
    path = beside(tmp_path)
    content = bytearray((tmp_path / "w.bin").read_bytes())
    content[16:20] = np.float32("nan").tobytes()
    (tmp_path / "w.bin").write_bytes(content)
    with pytest.raises(ModelError, match="weight 'w' holds NaN"):
        load_model(path)


# --- weights that are broken, or of another type ----------------------------------------------


def broken(number: float, dtype: type = np.float32) -> np.ndarray:
    values = np.ones((3, 3, 3, 3), dtype)
    values[1, 2, 0, 0] = number
    return values


def typed_fields(number: float) -> onnx.ModelProto:
    model = classifier(RELU)
    floats = [1.0] * 80 + [number]
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [3, 3, 3, 3], floats)
    model.graph.initializer[0].CopyFrom(tensor)
    return model


def in_a_constant_node(number: float) -> onnx.ModelProto:
    tensor = numpy_helper.from_array(np.full((3, 3, 1, 1), number, np.float32))
    return classifier(
        helper.make_node("Constant", [], ["k"], value=tensor),
        helper.make_node("Conv", ["c", "k"], ["last"]),
    )


def in_a_branch(number: float) -> onnx.ModelProto:
    def branch(name: str) -> onnx.GraphProto:
        weight = numpy_helper.from_array(np.full((3, 3, 1, 1), number, np.float32), f"w{name}")
        node = helper.make_node("Conv", ["c", f"w{name}"], [name])
        return helper.make_graph([node], name, [], [value(name, shape=[1, 3, 32, 32])], [weight])

    node = helper.make_node(
        "If", ["yes"], ["last"], then_branch=branch("then"), else_branch=branch("other")
    )
    return classifier(node, weights=[constant("yes", 1, np.bool_)])


@pytest.mark.parametrize(
    "model",
    [
        classifier(RELU, weight=broken(np.nan)),
        classifier(RELU, weight=broken(np.inf)),
        classifier(RELU, weight=broken(-np.inf)),
        classifier(RELU, weight=broken(np.nan), dtype=np.float16),
        typed_fields(np.nan),
        in_a_constant_node(np.inf),
        in_a_constant_node(np.nan),
        in_a_branch(np.inf),
    ],
)
def test_weights_that_are_no_numbers_are_refused(model: onnx.ModelProto, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"weight '.*' holds NaN or infinite.*train again"):
        load(model, tmp_path)


def test_infinity_in_a_mask_or_limit_has_its_use(tmp_path: Path) -> None:
    mask = constant("mask", [[[[0.0, -np.inf] * 16] * 32] * 3], np.float32)
    load(classifier(helper.make_node("Max", ["c", "mask"], ["last"]), weights=[mask]), tmp_path)


def test_an_attribute_that_is_no_number_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("LeakyRelu", ["c"], ["last"], alpha=float("nan"))
    with pytest.raises(ModelError, match="attribute 'alpha' of a 'LeakyRelu' is NaN"):
        load(classifier(node), tmp_path)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (classifier(RELU, dtype=np.float64), "fp64.*in fp32"),
        (
            model_of(
                [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
                inputs=[value("x", TensorProto.BFLOAT16, [1, 3, 8, 8])],
            ),
            "bfloat16.*in fp32",
        ),
    ],
)
def test_other_precisions_are_refused(model: onnx.ModelProto, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        load(model, tmp_path)


def half_with_casts() -> onnx.ModelProto:
    tenth = numpy_helper.from_array(np.array([0.1], np.float16))
    return classifier(
        helper.make_node("Constant", [], ["tenth"], value=tenth),
        helper.make_node("Mul", ["c", "tenth"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Sigmoid", ["wide"], ["sure"]),
        helper.make_node("Cast", ["sure"], ["last"], to=TensorProto.FLOAT16),
        dtype=np.float16,
    )


def test_a_half_precision_model_becomes_fp32_with_the_same_weights(tmp_path: Path) -> None:
    source = half_with_casts()
    made = clean(load(source, tmp_path), where=tmp_path)
    kinds = {t.data_type for t in made.graph.initializer}
    assert TensorProto.FLOAT16 not in kinds
    weights = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    half = numpy_helper.to_array(source.graph.initializer[0])
    assert any(w.shape == half.shape and (w == half).all() for w in weights.values())
    picture = np.random.default_rng(2).normal(0, 1, (1, 3, 32, 32)).astype(np.float16)
    expected = runner(source)(picture)[0]
    got = runner(made)(picture.astype(np.float32))[0]
    assert got.dtype == np.float32
    assert np.abs(got - expected).max() < 2e-3, "what fp16 rounds, no more"
    assert np.abs(got).max() > 0.1


def test_a_shape_that_asks_for_more_than_is_there_is_refused(tmp_path: Path) -> None:
    for dims in ([3, 3, 3, 4], [10**6, 10**6], [2**62, 2**62], [-1, 3], [0]):
        model = classifier(RELU)
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)
        with pytest.raises(ModelError, match="does not have the bytes"):
            load(model, tmp_path)


def test_sparse_weights_are_refused(tmp_path: Path) -> None:
    model = classifier(RELU)
    del model.graph.initializer[:]
    sparse = helper.make_sparse_tensor(
        constant("w", [1.0], np.float32), constant("at", [0]), [3, 3, 3, 3]
    )
    model.graph.sparse_initializer.append(sparse)
    with pytest.raises(ModelError, match=r"sparse.*dense weights"):
        load(model, tmp_path)


# --- graphs -----------------------------------------------------------------------------------


def with_input(*inputs: onnx.ValueInfoProto) -> onnx.ModelProto:
    model = classifier(RELU)
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model


def renamed(change: Callable[[onnx.GraphProto], object]) -> onnx.ModelProto:
    model = classifier(RELU)
    change(model.graph)
    return model


def twice(graph: onnx.GraphProto) -> None:
    graph.initializer.append(graph.initializer[0])


def cycle(graph: onnx.GraphProto) -> None:
    graph.node[0].input[0] = "last"


SEQUENCE = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (with_input(), "takes 0 inputs"),
        (with_input(value("x"), value("z")), r"takes 2 inputs \(x, z\)"),
        (with_input(SEQUENCE), r"no tensor \(sequence_type\)"),
        (with_input(onnx.ValueInfoProto(name="x")), r"no tensor \(no type\)"),
        (with_input(value("x", shape=[1, 3, 0, 32])), "dimension of 0"),
        (with_input(value("x", shape=[-1, 3, 32, 32])), "dimension of -1"),
        (renamed(twice), "two nodes or weights have the name 'w'"),
        (renamed(lambda g: g.node[1].output.__setitem__(0, "c")), "nothing makes 'last'"),
        (renamed(lambda g: g.node.append(g.node[0])), "two nodes or weights have the name 'c'"),
        (renamed(lambda g: g.ClearField("initializer")), "nothing makes 'w'"),
        (renamed(lambda g: g.ClearField("output")), "no nodes or outputs"),
        (
            classifier(
                helper.make_node("DynamicQuantizeLSTM", ["c"], ["last"], domain="com.microsoft")
            ),
            r"already quantized \(DynamicQuantizeLSTM\)",
        ),
        (
            classifier(helper.make_node("MatMulNBits", ["c"], ["last"], domain="com.microsoft")),
            "already quantized.*start from the float model",
        ),
        (classifier(helper.make_node("QLinearAdd", ["c"], ["last"])), "already quantized"),
        (classifier(RELU, opset=99), "opset 99 is newer than"),
        (
            classifier(helper.make_node("Mish2", ["c"], ["last"])),
            "no such operators: ai.onnx:Mish2",
        ),
        (
            classifier(
                *(
                    helper.make_node(f"Op{i}", ["c"], [f"o{i}"], domain="com.acme")
                    for i in range(5)
                ),
                RELU,
                domains=["com.acme"],
            ),
            "com.acme:Op0, com.acme:Op1, com.acme:Op2 and 2 more.*standard ONNX operators",
        ),
    ],
)
def test_graphs_that_cannot_be_taken(model: onnx.ModelProto, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load(model, tmp_path)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the graph is invalid"):
        clean(load(renamed(cycle), tmp_path), where=tmp_path)


def test_names_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    content = classifier(helper.make_node("Relu", ["c"], ["last"], name="abcdefgh"))
    path = tmp_path / "m.onnx"
    path.write_bytes(content.SerializeToString().replace(b"abcdefgh", b"\xff\xfe\xfd\xfcefgh"))
    with pytest.raises(ModelError, match="a name in the model is not UTF-8"):
        load_model(path)


def test_an_old_opset_is_raised(tmp_path: Path) -> None:
    made = clean(load(classifier(RELU, opset=9), tmp_path), where=tmp_path)
    assert made.opset_import[0].version == 13


def test_nodes_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    convolutions = [
        helper.make_node("Conv", [a, "w"], [b], name="same", pads=[1, 1, 1, 1])
        for a, b in (("c", "d"), ("d", "e"), ("e", "last"))
    ]
    made = clean(load(classifier(*convolutions), tmp_path), where=tmp_path)
    names = [node.name for node in made.graph.node]
    assert len(set(names)) == len(names)
    assert len(divide(made.graph).units) == 4


def test_local_functions_are_inlined(tmp_path: Path) -> None:
    model = classifier(helper.make_node("Twice", ["c"], ["last"], domain="own"), domains=["own"])
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "Twice", ["a"], ["b"], body, opsets))
    made = clean(load(model, tmp_path), where=tmp_path)
    picture = np.ones((1, 3, 32, 32), np.float32)
    assert np.allclose(runner(made)(picture)[0], 2 * runner(classifier())(picture)[0], atol=1e-6)
    assert not made.functions
