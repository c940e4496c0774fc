"""The trial of a model in a limited process: every end of it is one line."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.errors import ModelError
from edgehaul_tools.cli import main
from edgehaul_tools.export.runtime import runner
from edgehaul_tools.quantize.contained import tried
from edgehaul_tools.quantize.graph import clean
from edgehaul_tools.quantize.limits import Limits, output_limit
from edgehaul_tools.quantize.loading import load_model
from edgehaul_tools.quantize.quantize import Options, quantize_model
from tests.fakes.detectors import SPEC, write_detector, write_pictures
from tests.fakes.strange_models import classifier, constant, harmful_models, saved, value

RELU = helper.make_node("Relu", ["c"], ["last"], name="relu")


def test_a_trial_gives_what_reading_and_cleaning_give(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "m.onnx")
    found = tried(path)
    assert found.model == clean(load_model(path), where=path)
    assert not found.header.graph.node
    assert not found.header.graph.initializer
    source = onnx.load(path)
    assert found.header.metadata_props == source.metadata_props
    assert found.header.graph.input == source.graph.input
    assert found.header.graph.output == source.graph.output
    assert found.notes == ()


def test_what_was_changed_is_said(tmp_path: Path) -> None:
    path = saved(classifier(RELU, opset=9, dtype=np.float16), tmp_path / "m.onnx")
    notes = tried(path).notes
    assert "opset 9 raised to 13" in notes
    assert any(note.startswith("fp16 made fp32") for note in notes)


def test_an_endless_loop_is_stopped(tmp_path: Path) -> None:
    path = saved(harmful_models()["2^62 turns"], tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"m\.onnx: .* within 3 s; .*--trial-seconds"):
        tried(path, Limits(seconds=3))
    running = subprocess.run(
        ["ps", "-eo", "args"], capture_output=True, text=True, check=True
    ).stdout
    assert str(path) not in running, "nothing of it is left"


def test_too_much_memory_is_refused(tmp_path: Path) -> None:
    path = saved(harmful_models()["10^12 elements"], tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"needs more than .* GB of memory.*--trial-memory"):
        tried(path)


def test_the_memory_can_be_lowered(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"m\.onnx: "):
        tried(path, Limits(memory_bytes=100 << 20))


def test_the_memory_follows_the_model_and_the_machine() -> None:
    limits, plenty = Limits(), 10**12
    assert limits.memory_for(0, plenty) == 4 << 30
    assert limits.memory_for(10**8, plenty) == (4 << 30) + 12 * 10**8
    assert limits.memory_for(10**8, 2 * 10**9) == 18 * 10**8, "nine tenths of what is free"
    assert limits.memory_for(10**8, 0) == limits.memory_for(10**8, plenty), "nobody knows"
    assert Limits(memory_bytes=10**9).memory_for(10**10, plenty) == 10**9
    assert 0 < Limits(memory_bytes=1 << 60).memory_for(0) < 1 << 60, "what this machine has"
    assert output_limit(10**12) == 2_000_000_000
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="positive"):
            Limits(seconds=wrong)


def test_a_crash_of_the_trial_is_an_error_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What Python runs at its start stands for a library that crashes.
    (tmp_path / "sitecustomize.py").write_text("import os\nos.abort()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = write_detector(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"crash \(signal SIGABRT\); .*do not deploy it"):
        tried(path)
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('\\x1b[31mno')\n")
    with pytest.raises(ModelError, match=r"the trial of the model failed: SystemExit: \?\[31mno"):
        tried(path)


def test_a_module_beside_the_model_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnx.py").write_text("raise SystemExit('taken')\n")
    monkeypatch.chdir(tmp_path)
    write_detector(tmp_path / "m.onnx")
    assert tried(Path("m.onnx")).model.graph.node


def test_a_name_of_a_file_need_not_be_utf_8(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "m.onnx")
    strange = tmp_path / os.fsdecode(b"\xff\xfe.onnx")
    path.rename(strange)
    assert tried(strange).model.graph.node


def free(model: onnx.ModelProto) -> onnx.ModelProto:
    for axis, name in ((0, "n"), (2, "h"), (3, "w")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    return model


def test_free_sizes_are_taken_from_the_spec_and_the_batch_stays_free(tmp_path: Path) -> None:
    path = saved(free(classifier(RELU)), tmp_path / "m.onnx")
    canvas = ImageInput(48, 40, layout="nchw", dtype="float32")
    spec = ModelSpec("classify", canvas, OutputSpec("classify", ("a", "b", "c")))
    dims = tried(path, spec=spec).model.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["n", 3, 40, 48]


def test_free_sizes_without_a_spec_are_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(free(classifier(RELU)), tmp_path / "m.onnx")
    pictures = write_pictures(tmp_path / "p", 1)
    assert main(["quantize", str(path), "--calib", str(pictures), "--out", "o"]) == 1
    assert "leaves it open" in (said := capsys.readouterr().err)
    assert "--spec" in said


def test_the_spec_in_the_model_gives_free_sizes(tmp_path: Path) -> None:
    model = onnx.load(write_detector(tmp_path / "m.onnx"))
    for axis in (1, 2):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"free{axis}"
    path = saved(model, tmp_path / "free.onnx")
    dims = tried(path).model.graph.input[0].type.tensor_type.shape.dim
    assert tuple(d.dim_value for d in dims) == SPEC.input.tensor_shape


def test_the_command_says_how_to_raise_the_limits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_detector(tmp_path / "m.onnx")
    options = ["--out", str(tmp_path / "o"), "--trial-seconds", "0.01"]
    assert main(["quantize", str(path), *options]) == 1
    assert "not read and run within 0.01 s; if you trust it" in capsys.readouterr().err


def test_limits_hold_in_the_process(tmp_path: Path) -> None:
    program = (
        "import resource as r\n"
        "from edgehaul_tools.quantize.limits import Limits, allow_for, confine\n"
        "limits = Limits(5, 3_000_000_000)\n"
        "confine(limits)\n"
        "allow_for(limits, 100)\n"
        "print(r.getrlimit(r.RLIMIT_CPU)[0], r.getrlimit(r.RLIMIT_CORE)[0],"
        " r.getrlimit(r.RLIMIT_AS)[1] <= 3_000_000_000, r.getrlimit(r.RLIMIT_FSIZE)[0])\n"
    )
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert ended.stdout.split() == ["5", "0", "True", str(output_limit(100))]


def test_branches_stay_in_float_and_the_rest_is_quantized(tmp_path: Path) -> None:
    def branch(name: str) -> onnx.GraphProto:
        node = helper.make_node("Conv", ["r", "w"], [name], pads=[1, 1, 1, 1])
        return helper.make_graph([node], name, [], [value(name, shape=[1, 3, 32, 32])])

    sides = {"then_branch": branch("then"), "else_branch": branch("other")}
    model = classifier(
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "limit"], ["bright"]),
        helper.make_node("If", ["bright"], ["side"], **sides),
        helper.make_node("Conv", ["side", "w"], ["last"], pads=[1, 1, 1, 1]),
        weights=[constant("limit", 1.5, np.float32)],
    )
    path = saved(model, tmp_path / "m.onnx")
    out = tmp_path / "out"
    quantize_model(path, out, write_pictures(tmp_path / "p", 4), Options(target=0.0))
    made = onnx.load(out / "int8.onnx")
    assert sum(node.op_type == "QuantizeLinear" for node in made.graph.node) >= 2
    (both,) = [node for node in made.graph.node if node.op_type == "If"]
    assert [[node.op_type for node in a.g.node] for a in both.attribute] == [["Conv"], ["Conv"]]
    for scale in (0.3, 1.0):  # one for each branch
        picture = np.random.default_rng(4).normal(0, scale, (1, 3, 32, 32)).astype(np.float32)
        expected, got = runner(path)(picture)[0], runner(out / "int8.onnx")(picture)[0]
        assert np.abs(expected - got).max() < 0.15 * np.abs(expected).max() + 0.02
