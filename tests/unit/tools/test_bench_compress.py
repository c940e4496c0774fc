from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from torch import nn

from edgehaul.errors import UsageError
from edgehaul_tools.bench.contest import Contest, Row, Rules, hold_contest
from edgehaul_tools.bench.judging import judge
from edgehaul_tools.bench.peers.environment import PeerFaultError, made_by, prepared
from edgehaul_tools.bench.peers.table import PEERS, Peer
from edgehaul_tools.bench.standings import lines_of, page_of
from edgehaul_tools.bench.zoo.learning import learn, wave_lesson
from edgehaul_tools.bench.zoo.samples import DIGITS, Samples, mosaics, scenes, waves
from edgehaul_tools.bench.zoo.zoo import ZOO, export_fp32
from edgehaul_tools.commands import edgehaul
from edgehaul_tools.export.runtime import runner


def run(*arguments: str) -> Result:
    return CliRunner().invoke(edgehaul, ["bench", "compress", *arguments], catch_exceptions=False)


def row(tool: str, ratio: float | None, agreement: float = 1.0, drop: float = 0.0) -> Row:
    if ratio is None:
        return Row(model="lstm", tool=tool, note="does not install: no network")
    return Row(
        model="lstm", tool=tool, ratio=ratio, size_ratio=0.25, drop=drop, agreement=agreement
    )


def contest(*rows: Row) -> Contest:
    return Contest("lstm", "LSTM-128x2", "wave", 2.0, 1_000_000, 0.9, rows)


class TestTable:
    def test_the_fastest_whose_answers_hold_wins_and_what_is_as_fast_with_it(self) -> None:
        shown = contest(
            row("EdgeHaul", 0.50),
            row("alike", 0.51),
            row("slower", 0.55),
            row("wrong", 0.30, agreement=0.9),
            row("worse", 0.30, drop=0.01),
            row("absent", None),
        )
        assert [one.tool for one in shown.best] == ["EdgeHaul", "alike"]

    def test_what_another_engine_runs_does_not_win_in_onnx_runtime(self) -> None:
        quick = Row(
            model="lstm", tool="engine", ratio=0.1, drop=0.0, agreement=1.0, engine="OpenVINO"
        )
        assert [one.tool for one in contest(row("EdgeHaul", 0.5), quick).best] == ["EdgeHaul"]

    def test_a_peer_that_is_not_there_stays_in_the_table_with_its_reason(self) -> None:
        shown = contest(row("EdgeHaul", 0.5), row("absent", None))
        assert "does not install: no network" in lines_of(shown)[-1]
        assert "| absent | - | - | - | - | - | - | does not install: no network |" in page_of(
            [shown]
        )

    def test_the_page_names_the_best_peer_beside_ours_and_the_goal(self) -> None:
        page = page_of([contest(row("EdgeHaul", 0.5), row("other", 0.62), row("wrong", 0.1, 0.5))])
        assert "| LSTM-128x2 | 0.50 | 0.62 (other) | - | 0.47 | - |" in page
        assert "| EdgeHaul | **0.50** | 0.250 | 0.00 | 100.00 % |" in page
        assert "synthetic" in page


class TestZoo:
    @pytest.mark.parametrize(
        "name",
        [
            "lstm",
            *(
                pytest.param(name, marks=pytest.mark.slow)
                for name in ("gru", "transformer", "yolo_relu", "mobilenet_v2", "vgg16_half")
            ),
        ],
    )
    def test_each_network_is_exported_and_answers_as_its_spec_says(
        self, name: str, tmp_path: Path
    ) -> None:
        model = ZOO[name]
        samples = model.samples(2, 1)
        answers = [runner(export_fp32(model, tmp_path, 0))(one[None])[0] for one in samples.tensors]
        verdict = judge(model.spec, samples, answers, answers)
        assert verdict.agreement == 1.0

    def test_what_was_learnt_is_kept(self, tmp_path: Path) -> None:
        model = ZOO["lstm"]
        before = export_fp32(model, tmp_path, 1)
        weights = before.with_suffix(".pt")
        assert weights.exists()
        content, written_s = before.read_bytes(), weights.stat().st_mtime_ns
        before.unlink()
        export_fp32(model, tmp_path, 1)  # from the kept weights
        assert weights.stat().st_mtime_ns == written_s
        one = model.samples(1, 1).tensors
        np.testing.assert_array_equal(runner(before)(one)[0], _answer(content, tmp_path, one))

    def test_learning_lowers_the_loss(self) -> None:
        def levels(rng: np.random.Generator) -> Samples:
            classes = rng.integers(0, 5, 32)
            height = classes[:, None, None] + rng.normal(0, 0.2, (32, 4, 2))
            return Samples(height.astype(np.float32), classes)

        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 5))
        lesson = replace(wave_lesson(rate=1e-2), batch=levels)
        first = learn(network, lesson, 1, 1)
        assert learn(network, lesson, 1, 80) < 0.7 * first


def _answer(content: bytes, folder: Path, tensor: NDArray[Any]) -> NDArray[Any]:
    path = folder / "again.onnx"
    path.write_bytes(content)
    return runner(path)(tensor)[0]


class TestSamples:
    def test_the_same_seed_gives_the_same_samples(self) -> None:
        makers: tuple[Callable[[np.random.Generator], Samples], ...] = (
            lambda rng: mosaics(2, 64, 0.5, "judge", rng),
            lambda rng: scenes(2, 160, "judge", rng),
            lambda rng: waves(2, 16, 3, rng),
        )
        for make in makers:
            first, again = (make(np.random.default_rng(3)) for _ in range(2))
            np.testing.assert_array_equal(first.tensors, again.tensors)
            np.testing.assert_array_equal(first.classes, again.classes)

    def test_objects_of_scenes_do_not_overlap_and_lie_within(self) -> None:
        found = scenes(4, 160, "learn", np.random.default_rng(0))
        for objects in found.objects:
            assert len(objects)
            assert ((objects.boxes >= 0) & (objects.boxes <= 160)).all()
            assert set(objects.class_ids.tolist()) <= set(range(DIGITS))
            drawn = np.zeros((160, 160), int)
            for x1, y1, x2, y2 in objects.boxes.astype(int):
                drawn[y1:y2, x1:x2] += 1
            assert drawn.max() == 1


class TestPeers:
    @pytest.mark.slow
    def test_a_peer_that_does_not_install_says_why(self, tmp_path: Path) -> None:
        nothing = Peer("none", "None", "ort_defaults.py", (str(tmp_path / "no-such-package.whl"),))
        with pytest.raises(PeerFaultError, match="does not install: "):
            prepared(nothing, tmp_path)
        assert not (tmp_path / "none" / "installed.txt").exists()

    def test_a_peer_whose_process_fails_says_why(self, tmp_path: Path) -> None:
        with pytest.raises(PeerFaultError, match=r"fails: .*calibration.npy"):
            made_by(PEERS["ort"], prepared(PEERS["ort"], tmp_path), tmp_path)

    def test_forms_that_fail_are_told_of_one_by_one(self, tmp_path: Path) -> None:
        (tmp_path / "fp32.onnx").write_bytes(b"no model")
        np.save(tmp_path / "calibration.npy", np.zeros((1, 64, 8), np.float32))
        made = made_by(PEERS["ort"], prepared(PEERS["ort"], tmp_path), tmp_path)
        assert len(made["forms"]) >= 3
        assert all(form["fault"] for form in made["forms"].values())

    @pytest.mark.slow
    def test_a_peer_that_is_missing_does_not_keep_others_from_the_table(
        self, tmp_path: Path
    ) -> None:
        nothing = Peer("none", "Absent", "nncf.py", (str(tmp_path / "no-such-package.whl"),))
        rules = Rules((nothing,), tmp_path, tmp_path, rounds=1, images=2, judged=2, steps=0)
        held = hold_contest(ZOO["gru"], rules)
        ours, absent = held.rows
        assert ours.ratio is not None
        assert absent.tool == "Absent"
        assert absent.ratio is None
        assert absent.note.startswith("does not install")

    def test_every_peer_has_a_script(self) -> None:
        assert all(peer.path.is_file() for peer in PEERS.values())


def test_unknown_models_and_peers_are_refused() -> None:
    with pytest.raises(UsageError, match="no model 'resnet'"):
        run("resnet")
    with pytest.raises(UsageError, match="no peer 'tensorrt'"):
        run("lstm", "--peers=tensorrt")


@pytest.mark.slow
def test_a_model_is_compared_with_the_runtime_s_own_quantizer(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    sizes = ("--steps=40", "--images=16", "--judged=40", "--rounds=5")
    result = run("transformer", f"--work={tmp_path}", f"--markdown={page}", "--json", *sizes)
    (held,) = json.loads(result.stdout)
    rows = {one["tool"]: one for one in held["rows"]}
    assert len(rows) == 5
    assert all(one["ratio"] > 0 and one["kernels"] > 0 for one in rows.values())
    assert rows["EdgeHaul"]["agreement"] >= 0.95
    assert rows["EdgeHaul"]["size_ratio"] < 0.5
    assert "## Transformer 128" in page.read_text(encoding="utf-8")
