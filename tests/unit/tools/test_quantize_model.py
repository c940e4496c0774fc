"""Quantizing a small detector, and refusing what cannot be quantized."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgehaul.errors import (
    DataError,
    DatasetError,
    EdgeHaulError,
    GateError,
    ModelError,
    SpecMismatchError,
)
from edgehaul.geometry import Box
from edgehaul_tools.cli import main
from edgehaul_tools.compress.writing import write_directory
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox
from edgehaul_tools.pack.pack import Label, pack_directory
from edgehaul_tools.quantize.directory import (
    ModelDirectory,
    describe_variant,
    read_directory,
    save_model,
    write_json,
)
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.graph import clean, divide, float_region, load_model
from edgehaul_tools.quantize.plan import Plan
from edgehaul_tools.quantize.quantize import Options, _write_models, quantize_model
from edgehaul_tools.quantize.quantizer import Quantizer
from edgehaul_tools.quantize.search import Trial, worth
from edgehaul_tools.quantize.static import guard_float_nodes, quantize_static
from edgehaul_tools.verify.gate import Gate
from edgehaul_tools.verify.proof import read_verification
from edgehaul_tools.verify.verify import verify_directory
from tests.fakes.detectors import SPEC, write_detector, write_pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("byo")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return write_detector(folder / "detector.onnx")


@pytest.fixture(scope="module")
def pictures(folder: Path) -> Path:
    return write_pictures(folder / "pictures", 12)


@pytest.fixture(scope="module")
def directory(folder: Path, model: Path, pictures: Path) -> Path:
    out = folder / "quantized"
    quantize_model(model, out, pictures)
    return out


def ops(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def test_quantized_directory_holds_both_precisions(directory: Path) -> None:
    made = read_directory(directory)
    assert [v.name for v in made.variants] == ["fp32", "int8-u8s8"]
    assert made.spec_source == "the model's metadata"
    assert "QuantizeLinear" in ops(directory / "int8.onnx")
    assert "QuantizeLinear" not in ops(directory / "fp32.onnx")


def test_tail_and_entry_stay_in_float(model: Path) -> None:
    division = divide(clean(load_model(model), where=model).graph)
    assert len(division.units) == 5
    assert len(division.last) == 2
    kinds = {n.name: n.op_type for n in clean(load_model(model), where=model).graph.node}
    assert {kinds[name] for name in division.tail} == {"Transpose", "Reshape", "Add", "Sigmoid"}
    assert {kinds[name] for name in division.entry} == {"Cast", "Mul", "Transpose"}
    assert all(len(unit.nodes) == 2 for unit in division.units if unit.name not in division.last)


def test_few_pictures_warn_and_are_reported(model: Path, pictures: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    _, report = quantize_model(model, tmp_path / "out", pictures, progress=lines.append)
    assert any("12 inputs are few" in line for line in lines)
    assert report.inputs == 12
    assert report.trials


def test_verify_then_pack(directory: Path, pictures: Path, tmp_path: Path) -> None:
    proof = verify_directory(directory, frames=pictures, gate=Gate(min_agreement=0.5))
    assert not proof.failures
    fp32, int8 = proof.models.values()
    assert fp32.agreement is not None
    assert fp32.agreement.f1 == 1.0
    assert int8.agreement is not None
    assert int8.agreement.inputs == 12
    first, second = tmp_path / "a.edgehaul", tmp_path / "b.edgehaul"
    label = Label("parcels", "1.0.0")
    manifest = pack_directory(directory, first, label)
    pack_directory(directory, second, label)
    assert first.read_bytes() == second.read_bytes()
    assert manifest.golden is not None
    assert len(manifest.golden.cases) == 3
    assert {v.name for v in manifest.variants} == {"fp32", "int8-u8s8"}


def test_a_missed_gate_is_exit_3_and_is_not_packed(
    directory: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy := tmp_path / "copy").mkdir()
    for name in ("fp32.onnx", "int8.onnx", "model.json"):
        (copy / name).write_bytes((directory / name).read_bytes())
    made = read_directory(copy)
    with pytest.raises(GateError, match="not verified; run: edgehaul verify"):
        read_verification(copy, made)
    # Scores turned round, as a broken quantization would give them.
    broken = onnx.load(copy / "int8.onnx")
    for tensor in broken.graph.initializer:
        if tensor.name == "w_score_quantized":
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    onnx.save(broken, copy / "int8.onnx")
    with pytest.raises(ModelError, match="changed after it was quantized"):
        read_directory(copy)
    fp32, int8 = made.variants
    changed = describe_variant(copy, int8.name, int8.path, int8.precision)
    assert changed.sha256 != int8.sha256
    write_json(copy / "model.json", msgspec.structs.replace(made, variants=(fp32, changed)))
    assert main(["verify", str(copy), "--frames", str(pictures), "--no-memory"]) == 3
    assert "agreement with fp32 is" in capsys.readouterr().err
    with pytest.raises(GateError, match="agreement"):
        pack_directory(copy, tmp_path / "x.edgehaul", Label("x", "1.0.0"))


def test_agreement_about_nothing_proves_nothing(
    directory: Path, pictures: Path, tmp_path: Path
) -> None:
    (copy := tmp_path / "copy").mkdir()
    for name in ("fp32.onnx", "int8.onnx"):
        (copy / name).write_bytes((directory / name).read_bytes())
    made = read_directory(directory)
    blind = msgspec.structs.replace(made.spec.output, score_threshold=1.0)
    spec = msgspec.structs.replace(made.spec, output=blind)
    write_json(copy / "model.json", msgspec.structs.replace(made, spec=spec))
    proof = verify_directory(copy, frames=pictures)
    assert all("nothing was found in any of 12 inputs" in line for line in proof.failures)
    with pytest.raises(GateError, match="correct the spec"):
        pack_directory(copy, tmp_path / "x.edgehaul", Label("x", "1.0.0"))


def test_a_gate_that_is_no_number_is_not_met(directory: Path, pictures: Path) -> None:
    assert verify_directory(directory, frames=pictures, gate=Gate(0.01, float("nan"))).failures


def test_unverified_is_said_in_the_manifest(model: Path, pictures: Path, tmp_path: Path) -> None:
    quantize_model(model, tmp_path / "out", pictures)
    manifest = pack_directory(
        tmp_path / "out", tmp_path / "x.edgehaul", Label("x", "1.0.0"), unverified=True
    )
    assert manifest.provenance.notes["verified"] == "no"


def test_a_changed_spec_is_not_the_verified_one(directory: Path, pictures: Path) -> None:
    verify_directory(directory, frames=pictures, gate=Gate(min_agreement=0))
    made = read_directory(directory)
    output = msgspec.structs.replace(made.spec.output, score_threshold=0.9)
    other = msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, output=output))
    with pytest.raises(GateError, match="the spec is not the one that was verified"):
        read_verification(directory, other)


def test_guard_keeps_float_layers_in_float() -> None:
    quantized = ["QuantizeLinear", "DequantizeLinear"]
    nodes = [
        helper.make_node(quantized[0], ["x", "s", "z"], ["xq"]),
        helper.make_node(quantized[1], ["xq", "s", "z"], ["xd"]),
        helper.make_node("Conv", ["xd", "w"], ["y"], name="conv"),
        helper.make_node("Relu", ["y"], ["r"]),
        helper.make_node("MaxPool", ["xd"], ["m"], name="pool", kernel_shape=[1, 1]),
        helper.make_node(quantized[0], ["r", "s", "z"], ["rq"]),
        helper.make_node(quantized[0], ["m", "s", "z"], ["mq"]),
    ]
    graph = helper.make_graph(
        nodes,
        "guarded",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])],
        [
            helper.make_tensor_value_info("rq", TensorProto.UINT8, [1, 4, 8, 8]),
            helper.make_tensor_value_info("mq", TensorProto.UINT8, [1, 4, 8, 8]),
        ],
        [
            numpy_helper.from_array(np.ones((4, 4, 1, 1), np.float32), "w"),
            numpy_helper.from_array(np.array(0.1, np.float32), "s"),
            numpy_helper.from_array(np.array(0, np.uint8), "z"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert guard_float_nodes(made, {"conv", "pool"}) == 3
    onnx.checker.check_model(made)


def test_sensitive_layers_are_left_in_float_until_the_answers_agree(
    model: Path, pictures: Path, tmp_path: Path
) -> None:
    _, report = quantize_model(model, tmp_path / "out", pictures, Options(min_agreement=1.0))
    first = report.trials[0].plan.form
    tried = [len(t.plan.float_units) for t in report.trials if t.plan.form == first]
    assert tried == sorted(tried)
    assert len(set(tried)) == len(tried)
    assert report.agreement is not None
    assert 0 <= report.agreement <= 1
    assert set(report.plan.float_units) <= set(report.noise)


def test_a_quick_timing_never_outweighs_the_agreement() -> None:
    def trial(agreement: float, latency_ratio: float) -> Trial:
        return Trial(Plan(Form(), "minmax"), 0.0, agreement, latency_ratio)

    faster_but_wrong, right = trial(0.957, 0.98), trial(0.981, 1.01)
    assert worth(right, 0.98) > worth(faster_but_wrong, 0.98)
    both_right = trial(0.99, 0.7)
    assert worth(both_right, 0.98) > worth(right, 0.98), "above the target the time counts"


def test_nothing_to_quantize_is_said() -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ModelError, match="no layer that int8 could speed up"):
        Quantizer(made, SPEC, lambda: iter(()), lambda _line: None)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def quantized_again(tmp_path: Path) -> Path:
    source = clean(load_model(write_detector(tmp_path / "m.onnx")), where=tmp_path)
    division = divide(source.graph)
    ranges = {
        name: (0.0, 1.0)
        for node in source.graph.node
        for name in (*node.input, *node.output)
        if not name.startswith("w")
    }
    region = float_region(source.graph, division, ())
    onnx.save(quantize_static(source, ranges, float_nodes=region), tmp_path / "q.onnx")
    return tmp_path / "q.onnx"


def with_nan(tmp_path: Path) -> Path:
    model = onnx.load(write_detector(tmp_path / "m.onnx"))
    for tensor in model.graph.initializer:
        if tensor.name == "w0":
            values = numpy_helper.to_array(tensor).copy()
            values[0, 0, 0, 0] = np.nan
            tensor.CopyFrom(numpy_helper.from_array(values, "w0"))
    onnx.save(model, tmp_path / "nan.onnx")
    return tmp_path / "nan.onnx"


def half(tmp_path: Path) -> Path:
    content = write_detector(tmp_path / "m.onnx").read_bytes()
    return write(tmp_path / "half.onnx", content[: len(content) // 2])


def without_its_weights(tmp_path: Path) -> Path:
    model = onnx.load(write_detector(tmp_path / "m.onnx"))
    options = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save(model, tmp_path / "parts.onnx", **options)
    (tmp_path / "weights.bin").unlink()
    return tmp_path / "parts.onnx"


def classifier(path: Path, *nodes: onnx.NodeProto, inputs: tuple[str, ...] = ("x",)) -> Path:
    """Write a model of pictures x (and more of their shape) that ends in means y of 3 colours."""
    mean = helper.make_node("ReduceMean", ["last"], ["y"], axes=[2, 3], keepdims=0)
    weight = numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "w")
    graph = helper.make_graph(
        [*nodes, mean],
        "classifier",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 32, 32]) for n in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [weight],
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def two_inputs(tmp_path: Path) -> Path:
    convolution = helper.make_node("Conv", ["x", "w"], ["c"])
    both = helper.make_node("Add", ["c", "z"], ["last"])
    return classifier(tmp_path / "two.onnx", convolution, both, inputs=("x", "z"))


def no_layers(tmp_path: Path) -> Path:
    return classifier(tmp_path / "plain.onnx", helper.make_node("Relu", ["x"], ["last"]))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: p / "none.onnx", ModelError, "No such file"),
        (without_its_weights, ModelError, "lie in another file"),
        (lambda p: write(p / "text.onnx", b"hello"), ModelError, "no ONNX"),
        (lambda p: write(p / "empty.onnx", b""), ModelError, "no ONNX"),
        (half, ModelError, "truncated"),
        (two_inputs, ModelError, r"takes 2 inputs \(x, z\)"),
        (no_layers, ModelError, "no layer that int8 could speed up"),
        (quantized_again, ModelError, "already quantized"),
        (with_nan, ModelError, "NaN"),
    ],
)
def test_unusable_models_are_refused_in_one_line(
    make: Callable[[Path], Path],
    error: type[EdgeHaulError],
    message: str,
    tmp_path: Path,
    pictures: Path,
) -> None:
    path = make(tmp_path)
    with pytest.raises(error, match=message) as caught:
        quantize_model(path, tmp_path / "out", pictures)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_form_that_makes_nothing_int8_is_refused(
    tmp_path: Path, pictures: Path, *, calibrated: bool
) -> None:
    path = classifier(tmp_path / "c.onnx", helper.make_node("Conv", ["x", "w"], ["last"]))
    with pytest.raises(ModelError, match="int8-dynamic nothing of this network") as caught:
        quantize_model(
            path,
            tmp_path / "out",
            pictures if calibrated else None,
            Options(form=Form("dynamic")),
        )
    assert "leave out --form" in caught.value.remedy
    assert not (tmp_path / "out").exists()


def test_marked_objects_do_not_measure_a_classifier(pictures: Path, tmp_path: Path) -> None:
    path = classifier(tmp_path / "c.onnx", helper.make_node("Conv", ["x", "w"], ["last"]))
    quantize_model(path, tmp_path / "out", pictures)
    marked = (TrueBox(Box(0, 0, 20, 20), 0),)
    sample = Sample(next(pictures.glob("*.png")), "all", 96, 72, marked)
    labelled = DetectionDataset(pictures, ("class_0",), (sample,))
    with pytest.raises(DatasetError, match="do not each have a class"):
        verify_directory(tmp_path / "out", data=labelled)


def test_wrong_number_of_labels(model: Path, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecMismatchError, match=r"detector\.onnx"):
        quantize_model(model, tmp_path / "o", pictures, Options(labels=("a", "b", "c")))


def test_empty_calibration_folder(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures in it"):
        quantize_model(model, tmp_path / "out", tmp_path / "empty")
    with pytest.raises(DataError, match="no such folder or video"):
        quantize_model(model, tmp_path / "out", tmp_path / "absent")
    with pytest.raises(DataError, match="--calib"):
        quantize_model(model, tmp_path / "out", None)


def test_corrupt_pictures_are_counted_and_skipped(model: Path, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "some", 3)
    write(folder / "broken.jpg", b"\xff\xd8\xff not a picture")
    _, report = quantize_model(model, tmp_path / "out", folder)
    assert (report.inputs, report.skipped) == (3, ("broken.jpg",))
    assert any("1 unreadable" in line for line in report.warnings)
    (only := tmp_path / "only").mkdir()
    write(only / "broken.jpg", b"nothing")
    with pytest.raises(DataError, match="none of 1 pictures can be decoded"):
        quantize_model(model, tmp_path / "out", only)


def test_command_prints_the_spec_and_what_comes_next(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["quantize", str(model), "--calib", str(pictures), "--out", str(tmp_path / "o")]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "spec from the model's metadata" in printed.err
    assert "edgehaul verify" in printed.out


@pytest.mark.parametrize("folder", ["file/below/out", "/proc/self/task"])
def test_an_unwritable_directory_is_found_before_the_search(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    lines: list[str] = []
    model = write_detector(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"cannot write into this directory: .*; correct the path"):
        quantize_model(
            model, tmp_path / folder, write_pictures(tmp_path / "p", 2), progress=lines.append
        )
    assert lines == ["spec from the model's metadata"]


def test_a_model_file_that_cannot_be_written_is_named(model: Path, tmp_path: Path) -> None:
    given = onnx.load(model)
    (taken := tmp_path / "fp32.onnx").mkdir()
    spec = ModelDirectory("m", SPEC, "file", "0" * 64, ())
    for write_models in (
        lambda: save_model(given, taken),
        lambda: write_directory(tmp_path, spec, given, (), lambda _one: given),
        lambda: _write_models(tmp_path, given, "int8-u8s8", given),
    ):
        with pytest.raises(ModelError, match=r"fp32\.onnx: cannot write the model: Is a dir"):
            write_models()


def test_a_failed_search_leaves_no_empty_directories(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "kept").mkdir()
    model = write_detector(tmp_path / "m.onnx")
    with pytest.raises(DataError, match="no pictures in it"):
        quantize_model(model, tmp_path / "kept" / "made" / "out", tmp_path / "pictures")
    assert list((tmp_path / "kept").iterdir()) == []
