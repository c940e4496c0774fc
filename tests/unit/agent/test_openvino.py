"""OpenVINO answers the golden inputs as ONNX Runtime did, or says how to install it."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edgehaul.config.engine import EngineSection
from edgehaul.errors import ModelError, UsageError
from edgehaul_agent.engines import EngineOpener
from edgehaul_agent.inference.onnxruntime import open_engine
from edgehaul_agent.proof import Prover
from tests.fakes.detectors import write_detector
from tests.unit.agent.test_proof import packed

IS_HERE = importlib.util.find_spec("openvino") is not None
SECTION = EngineSection(runtime="openvino")


def test_its_absence_is_told_with_what_to_do(tmp_path: Path) -> None:
    opener = EngineOpener(SECTION, tmp_path)
    model = write_detector(tmp_path / "model.onnx")
    if IS_HERE:
        assert opener.open(model).providers == ("OpenVINO CPU",)
        return
    with pytest.raises(UsageError, match=r"pip install 'edgehaul\[agent,openvino\]'") as caught:
        opener.open(model)
    assert caught.value.where == "engine.runtime"


@pytest.mark.skipif(not IS_HERE, reason="openvino is an extra, and not installed")
def test_the_golden_answers_are_proved_with_it(tmp_path: Path) -> None:
    manifest = packed(tmp_path)
    proof = Prover(EngineOpener(SECTION, tmp_path), budget_s=1.0)(manifest, tmp_path)
    assert proof.variant == "fast"
    assert proof.tuning is not None
    assert proof.tuning.runtime.startswith("openvino ")
    assert proof.tuning.optimised is None


@pytest.mark.skipif(not IS_HERE, reason="openvino is an extra, and not installed")
def test_many_threads_get_each_its_own_answer(tmp_path: Path) -> None:
    model = write_detector(tmp_path / "model.onnx")
    engine = EngineOpener(SECTION, tmp_path, workers=2).open(model)
    other = open_engine(model)
    assert engine.inputs[0] == other.inputs[0]
    random = np.random.default_rng(0)
    tensors = [random.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8) for _ in range(60)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(engine.run, tensors))
    for tensor, answer in zip(tensors, answers, strict=True):
        for got, expected in zip(answer, other.run(tensor), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(not IS_HERE, reason="openvino is an extra, and not installed")
def test_what_it_cannot_use_is_a_model_error(tmp_path: Path) -> None:
    opener = EngineOpener(SECTION, tmp_path)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(ModelError, match="cannot load"):
        opener.open(broken)
    engine = opener.open(write_detector(tmp_path / "model.onnx"))
    with pytest.raises(ModelError, match="it takes uint8"):
        engine.run(np.zeros((1, 64, 64, 3), np.float32))
    with pytest.raises(ModelError, match="the model failed"):
        engine.run(np.zeros((2, 2), np.uint8))
