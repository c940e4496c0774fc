"""Peak memory of models in processes of their own."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgehaul.errors import ModelError
from edgehaul_tools.export.runtime import open_model
from edgehaul_tools.verify.memory import peak_increases
from edgehaul_tools.verify.memory_child import options_as_on_the_box

TENSOR = np.ones((1, 1024), np.float32)


def write_dense(path: Path, columns: int) -> Path:
    """Write one layer with 1024 x ``columns`` float32 weights."""
    weights = np.full((1024, columns), 0.5, np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1024])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, columns])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process")
def test_weights_are_seen_in_the_peak_and_this_process_is_not(tmp_path: Path) -> None:
    # This process is made larger than the children, which must not inherit that.
    ballast = np.ones(16 << 20, np.float64)
    large = write_dense(tmp_path / "m.onnx", 16384)
    peaks = peak_increases([large], TENSOR, rounds=1, runs=1)
    assert ballast.sum() == 16 << 20
    assert peaks is not None
    assert 50e6 <= peaks[0] <= 250e6


def test_the_process_opens_models_as_all_else_does(tmp_path: Path) -> None:
    here = open_model(write_dense(tmp_path / "m.onnx", 4)).get_session_options()
    there = options_as_on_the_box()
    names = [n for n in dir(here) if not n.startswith("_") and not callable(getattr(here, n))]
    assert {"intra_op_num_threads", "log_severity_level"} <= set(names)
    assert {n: getattr(here, n) for n in names} == {n: getattr(there, n) for n in names}
    spinning = "session.intra_op.allow_spinning"
    assert here.get_session_config_entry(spinning) == "0"
    assert there.get_session_config_entry(spinning) == "0"


def test_a_model_that_cannot_run_is_named(tmp_path: Path) -> None:
    model = write_dense(tmp_path / "m.onnx", 4)
    with pytest.raises(ModelError, match=r"m\.onnx: a fresh process cannot run the model"):
        peak_increases([model], np.ones((1, 7), np.float32), rounds=1, runs=1)
