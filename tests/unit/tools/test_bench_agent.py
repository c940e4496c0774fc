from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from edgehaul.errors import UsageError
from edgehaul_tools.bench.agents.contenders import CONTENDERS
from edgehaul_tools.bench.agents.material import (
    CLIP_PX,
    FRAMES,
    Passing,
    crossings,
    for_pictures,
)
from edgehaul_tools.bench.agents.programs import Engine, Took, run_peer
from edgehaul_tools.bench.agents.rounds import Comparison, Entry, Standing
from edgehaul_tools.bench.agents.standings import HEADING, lines_of, page_of
from edgehaul_tools.bench.peers.environment import PeerFaultError
from edgehaul_tools.commands import edgehaul

SCRIPTS = Path(sys.modules[run_peer.__module__].__file__ or "").with_name("peers")
CLIPS = (Path("short.mp4"), Path("long.mp4"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(edgehaul, ["bench", "agent", *arguments], catch_exceptions=False)


def took(cpu_s: float, *, forward: int = 3) -> Took:
    return Took(
        cpu_s=cpu_s,
        wall_s=2 * cpu_s,
        rss_peak_mib=100.0,
        first_result_s=1.5,
        forward=forward,
        backward=0,
        versions={"package": "1.0"},
    )


def entry(whole_s: float, bare_s: float, *, forward: int = 3) -> Entry:
    """Return one that needs a second to start and so long for the frames."""

    def lasting(more_s: float) -> Took:
        return took(1.0 + more_s, forward=forward)

    return Entry(
        "peer",
        whole=lambda clip: lasting(whole_s if clip == CLIPS[1] else 0.0),
        bare=lambda clip: lasting(bare_s if clip == CLIPS[1] else 0.0),
    )


def comparison(*rows: Standing) -> Comparison:
    return Comparison(rows=rows, rounds=1, versions={"package": "1.0"}, broker="mosquitto")


class TestTurns:
    def test_the_start_is_taken_off_and_efficiency_is_bare_by_whole(self) -> None:
        one = entry(6.0, 3.0)
        one.turn(CLIPS)
        row = one.standing(crossings=3)
        assert row.cpu_ms_per_frame == pytest.approx(20.0)
        assert row.bare_ms_per_frame == pytest.approx(10.0)
        assert row.efficiency == pytest.approx(0.5)
        assert row.fps == pytest.approx(FRAMES[1] / (2 * 7.0 - 1.5))
        assert row.first_result_s == 1.5
        assert row.is_right

    def test_who_fails_keeps_its_row_with_the_reason_and_is_not_run_again(self) -> None:
        calls = []

        def failing(clip: Path) -> Took:
            calls.append(clip)
            raise PeerFaultError("fails: no such model")

        one = Entry("peer", whole=failing, bare=failing)
        one.turn(CLIPS)
        one.turn(CLIPS)
        assert len(calls) == 1
        row = one.standing(crossings=3)
        assert row.cpu_ms_per_frame is None
        assert row.note == "fails: no such model"


class TestTable:
    def test_counts_are_shown_beside_the_truth(self) -> None:
        right, wrong = entry(6.0, 3.0), entry(6.0, 3.0, forward=2)
        for one in (right, wrong):
            one.turn(CLIPS)
        text = lines_of(comparison(right.standing(3), wrong.standing(3)))
        assert "3 of 3" in text[1]
        assert "wrong" not in text[1]
        assert "2 of 3, wrong" in text[2]

    def test_the_page_has_every_row_and_the_versions(self) -> None:
        absent = Standing(name="absent", crossings=3, note="does not install: no network")
        page = page_of(comparison(absent))
        assert f"| {' | '.join(HEADING)} |" in page
        assert "| absent | - | - | - | - | - | - | - | does not install: no network |" in page
        assert "package 1.0" in page

    def test_it_survives_json(self) -> None:
        one = entry(6.0, 3.0)
        one.turn(CLIPS)
        given = comparison(one.standing(3))
        assert msgspec.json.decode(msgspec.json.encode(given), type=Comparison) == given


class TestMaterial:
    def test_crossings_are_counted_of_what_passes_more_than_once(self) -> None:
        part = Passing(np.zeros((100, 100, 3), np.uint8), top_px=0, speed_px=20, start_px=0)
        once_round = (CLIP_PX[0] + 100) // 20
        assert crossings([part], once_round) == 1
        assert crossings([part, part], 2 * once_round) == 4

    def test_the_detector_sees_pictures_as_those_that_it_was_taught_with(
        self, tmp_path: Path
    ) -> None:
        random = np.random.default_rng(0)
        arrays = {
            "weight": random.normal(0, 1, (2, 3, 3, 3)).astype(np.float32),
            "bias": np.array([1, -1], np.float32),
        }
        graph = helper.make_graph(
            [helper.make_node("Conv", ["x", "weight", "bias"], ["y"])],
            "one",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 6, 6])],
            [numpy_helper.from_array(values, name) for name, values in arrays.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        picture = random.random((1, 3, 8, 8), np.float32)

        def answer(name: str, tensor: np.ndarray) -> np.ndarray:
            onnx.save(model, tmp_path / name)
            session = onnxruntime.InferenceSession(
                str(tmp_path / name), providers=["CPUExecutionProvider"]
            )
            return np.asarray(session.run(None, {"x": tensor})[0])

        before = answer("before.onnx", picture * 3 - 1)
        for_pictures(model)
        np.testing.assert_allclose(answer("after.onnx", picture), before, atol=1e-4)


class TestPeers:
    def test_every_contender_has_a_script_or_a_reason(self) -> None:
        for one in CONTENDERS.values():
            assert one.left_out or (SCRIPTS / f"{one.script}.py").is_file()

    def test_one_whose_process_fails_says_why(self, tmp_path: Path) -> None:
        engine = Engine(Path(sys.executable), "plain_loop", tmp_path / "no-model.onnx", 1)
        with pytest.raises(PeerFaultError, match=r"fails: .*NO_SUCHFILE"):
            run_peer(engine, tmp_path / "clip.mp4", tmp_path, part="bare")

    def test_one_that_is_not_there_says_so(self, tmp_path: Path) -> None:
        engine = Engine(tmp_path / "no-python", "plain_loop", tmp_path / "model.onnx", 1)
        with pytest.raises(PeerFaultError, match="fails: "):
            run_peer(engine, tmp_path / "clip.mp4", tmp_path, part="bare")

    def test_unknown_peers_are_refused(self) -> None:
        with pytest.raises(UsageError, match="no peer 'tensorrt'"):
            run("--peers=tensorrt")

    def test_help_names_all(self) -> None:
        text = " ".join(run("--help").output.split()).replace(" ", "")
        assert all(name in text for name in CONTENDERS)


@pytest.mark.slow
def test_our_agent_is_measured_and_counts(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    peers = f"--peers=roboflow --work={tmp_path} --rounds=1 --markdown={page} --json"
    result = run(*peers.split(), "--steps=2")
    found = json.loads(result.stdout)
    ours = [row for row in found["rows"] if row["name"].startswith("EdgeHaul")]
    assert len(ours) == 2
    assert all(row["cpu_ms_per_frame"] > 0 and row["rss_peak_mib"] > 0 for row in ours)
    assert found["rows"][-1]["note"].startswith("not measured: ")
    assert "| Roboflow inference |" in page.read_text(encoding="utf-8")
