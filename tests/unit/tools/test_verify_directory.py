"""Model directories on labelled data: gate, table, verify.json and what pack makes of it."""

import json
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgehaul.bundle.manifest import Manifest
from edgehaul.errors import GateError, ModelError, SpecMismatchError
from edgehaul_tools.cli import main
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.series import Series, write_series_dataset
from edgehaul_tools.dataset.traces import AnomalySpan
from edgehaul_tools.evaluate.bootstrap import Estimate
from edgehaul_tools.export.metadata import read_spec
from edgehaul_tools.pack.pack import Label, pack_directory
from edgehaul_tools.quantize.answers import Agreement
from edgehaul_tools.quantize.directory import (
    VERIFY_NAME,
    ModelDirectory,
    describe_variant,
    read_directory,
    write_json,
)
from edgehaul_tools.verify.gate import Gate, failures_of
from edgehaul_tools.verify.measure import Measured
from edgehaul_tools.verify.proof import Verification, read_verification
from edgehaul_tools.verify.table import WIDTH, lines_of
from edgehaul_tools.verify.verify import Options, Recorded, verify_directory
from tests.fakes.answering import COLORS, write_color_classifier, write_speed_model
from tests.fakes.detectors import write_detector, write_pictures

FAST = Options(resamples=40)


def write_directory(folder: Path, fp32: Path, int8: Path, calibration: Path | None = None) -> Path:
    """Write a model directory of two models."""
    folder.mkdir()
    for name, model in (("fp32", fp32), ("int8", int8)):
        (folder / f"{name}.onnx").write_bytes(model.read_bytes())
    variants = (
        describe_variant(folder, "fp32", "fp32.onnx", "fp32"),
        describe_variant(folder, "int8-u8s8", "int8.onnx", "int8"),
    )
    spec = read_spec(fp32)
    assert spec is not None
    source = str(calibration) if calibration else ""
    made = ModelDirectory("model", spec, "metadata", variants[0].sha256, variants, source)
    write_json(folder / "model.json", made)
    return folder


def with_weights(model: Path, out: Path, name: str, values: np.ndarray) -> Path:
    """Write a model with other weights."""
    changed = onnx.load(model)
    for tensor in changed.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
    onnx.save(changed, out)
    return out


@pytest.fixture
def colors(tmp_path: Path) -> Path:
    """Eight pictures of each colour."""
    root = tmp_path / "colors"
    for number, label in enumerate(COLORS):
        (root / label).mkdir(parents=True)
        for index in range(8):
            picture = np.full((20, 30, 3), 20, np.uint8)
            picture[..., number] = 150 + 10 * index
            cv2.imwrite(str(root / label / f"{label}_{index}.png"), picture)
    return root


@pytest.fixture
def blind_to_red(colors: Path, tmp_path: Path) -> Path:
    """A classifier whose second variant never says red."""
    fp32 = write_color_classifier(tmp_path / "c.onnx")
    int8 = with_weights(fp32, tmp_path / "b.onnx", "scale", np.array([64, 64, 6400]))
    return write_directory(tmp_path / "blind", fp32, int8, colors)


def test_a_variant_that_loses_a_class_is_exit_3_with_its_figures(
    blind_to_red: Path, colors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["verify", str(blind_to_red), "--data", str(colors), "--no-memory"]
    assert main([*arguments, "--bootstrap", "40"]) == 3
    said = capsys.readouterr()
    assert "int8-u8s8: accuracy drops by 0.3333 (95 % interval 0." in said.err
    assert "more than 0.01; calibrate on more inputs like these, search again" in said.err
    assert "raise --min-agreement" not in said.err, "that is the gate itself"
    assert "red recall 1.0000 to 0.0000, 1.0000 (1.0000 to 1.0000)" in said.out
    assert "24 samples, 24 inputs" in said.out
    assert all(len(line) <= WIDTH for line in said.out.splitlines())
    heading, fp32, int8 = said.out.splitlines()[:3]
    assert heading.split()[:2] == ["agree", "accuracy"]
    assert fp32.split()[:4] == ["fp32", "1.000", "1.0000", "-"]
    assert int8.split()[:4] == ["int8-u8s8", "0.667", "0.6667", "0.3333"]
    with pytest.raises(GateError, match="accuracy drops by"):
        pack_directory(blind_to_red, blind_to_red / "x.edgehaul", Label("x", "1.0.0"))


def test_what_passes_is_packed_with_its_metric_drop_and_interval(
    colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_color_classifier(tmp_path / "c.onnx")
    other = with_weights(model, tmp_path / "o.onnx", "scale", np.array(32))
    folder = write_directory(tmp_path / "same", model, other, colors)
    arguments = ["verify", str(folder), "--data", str(colors), "--no-memory", "--sure", "--json"]
    assert main([*arguments, "--bootstrap", "40"]) == 0
    told = json.loads(capsys.readouterr().out)
    (fp32, int8) = told["models"].values()
    assert fp32["measured"]["metric"] == int8["measured"]["metric"] == "accuracy"
    assert int8["measured"]["drop"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    low_ms, high_ms = int8["latency_spread_ms"]
    assert low_ms <= int8["latency_ms"] <= high_ms
    assert int8["peak_rss_bytes"] is None
    manifest: Manifest = pack_directory(folder, tmp_path / "x.edgehaul", Label("x", "1.0.0"))
    metrics = {v.name: v.metrics for v in manifest.variants}["int8-u8s8"]
    assert metrics.keys() >= {"agreement", "accuracy", "macro_f1", "latency_ms"}
    drops = {k: v for k, v in metrics.items() if k.startswith("accuracy_drop")}
    assert drops == {"accuracy_drop": 0.0, "accuracy_drop_low": 0.0, "accuracy_drop_high": 0.0}


def test_a_proof_of_an_older_form_asks_to_verify_again(blind_to_red: Path) -> None:
    directory = read_directory(blind_to_red)
    models = {
        variant.sha256: {"name": variant.name, "size_bytes": 1, "latency_ms": 1.0}
        for variant in directory.variants
    }
    gate = {"max_drop": 0.01, "min_agreement": 0.95}
    old = {"models": models, "spec_sha256": "", "gate": gate}
    (blind_to_red / VERIFY_NAME).write_text(json.dumps(old))
    with pytest.raises(ModelError, match=f"run: edgehaul verify {blind_to_red}"):
        read_verification(blind_to_red, directory)


def test_a_model_of_series_is_proved_on_labelled_series(tmp_path: Path) -> None:
    level = np.full((300, 1), 10.0, np.float32)
    level[100:130] = 40.0
    began_s = 1_767_600_000.0
    span = AnomalySpan("speeding", began_s + 100, began_s + 130)
    root = tmp_path / "series"
    root.mkdir()
    series = Series("pump", began_s + np.arange(300.0), ("level",), level, (span,))
    write_series_dataset(root, [series])
    fp32 = write_speed_model(tmp_path / "s.onnx", "sequence", feature="level")
    deaf = with_weights(fp32, tmp_path / "d.onnx", "bias", np.array([90, -90]))
    folder = write_directory(tmp_path / "model", fp32, deaf)
    proof = verify_directory(folder, data=Recorded(root, (series,)), options=FAST)
    good, bad = (one.measured for one in proof.models.values())
    assert (good.metric, good.unit, good.drop.value) == ("event_f1", "stretch", 0.0)
    assert bad.classes[0].label == "speeding"
    assert bad.drop.value == pytest.approx(good.fp32)
    assert [line.split(":")[0] for line in proof.failures] == ["int8-u8s8"]
    arguments = ["verify", str(folder), "--data", str(root), "--no-memory", "--bootstrap", "20"]
    assert main(arguments) == 3
    assert main([*arguments, "--part", "test"]) == 2


def test_labelled_data_of_another_kind_is_refused(blind_to_red: Path, tmp_path: Path) -> None:
    series = Series("s", np.arange(3.0), ("a",), np.ones((3, 1), np.float32))
    with pytest.raises(SpecMismatchError, match="takes pictures"):
        verify_directory(blind_to_red, data=Recorded(tmp_path, (series,)))


def test_labels_and_frames_together_prove_both(
    blind_to_red: Path, colors: Path, tmp_path: Path
) -> None:
    frames = write_pictures(tmp_path / "frames", 5)
    proof = verify_directory(
        blind_to_red, data=read_dataset(colors), frames=frames, limit=3, options=FAST
    )
    for one in proof.models.values():
        assert (one.measured.samples, one.measured.agreement.inputs) == (24, 3)
    assert (proof.frames, proof.data) == (str(frames), str(colors))


def test_a_reference_that_finds_nothing_right_is_said(tmp_path: Path) -> None:
    model = write_color_classifier(tmp_path / "c.onnx", labels=("green", "red", "blue"))
    root = tmp_path / "few"
    for number, label in enumerate(COLORS):
        (root / label).mkdir(parents=True)
        picture = np.full((20, 30, 3), 20, np.uint8)
        picture[..., number] = 200
        cv2.imwrite(str(root / label / "a.png"), picture)
    folder = write_directory(tmp_path / "wrong", model, model)
    proof = verify_directory(folder, data=read_dataset(root), options=FAST)
    assert any("fp32 itself reaches 0 accuracy: check the labels" in note for note in proof.notes)
    assert any("3 pictures: too few" in note for note in proof.notes)


@pytest.mark.slow
def test_memory_is_measured_and_shown(blind_to_red: Path, colors: Path) -> None:
    options = Options(resamples=0, memory_rounds=1)
    proof = verify_directory(blind_to_red, frames=colors, options=options)
    for one in proof.models.values():
        assert one.peak_rss_bytes is not None
        assert 0 < one.peak_rss_bytes < 100e6
    assert any(" MB" in line for line in lines_of(proof))


def measured(metric: str, drop: Estimate, agreement: float = 0.99, lost: int = 0) -> Measured:
    return Measured(
        metric=metric,
        fp32=0.9,
        value=None if drop.value is None else 0.9 - drop.value,
        drop=drop,
        agreement=Agreement(agreement, 99, 1, 1, 100),
        samples=100,
        unit="picture",
        units=100,
        figures={},
        lost=lost,
    )


@pytest.mark.parametrize(
    ("found", "gate", "said"),
    [
        (measured("accuracy", Estimate(0.004, -0.01, 0.02)), Gate(), ""),
        (measured("accuracy", Estimate(0.004, -0.01, 0.02)), Gate(sure=True), "by up to 0.0200"),
        (measured("accuracy", Estimate(0.004, -0.01, 0.009)), Gate(sure=True), ""),
        (measured("accuracy", Estimate(0.004)), Gate(sure=True), "there is no interval"),
        (measured("map50", Estimate(0.0101, 0.0, 0.02)), Gate(), "mAP50 drops by 0.0101 (95 %"),
        (measured("map50", Estimate(-0.3, -0.4, -0.2)), Gate(0.0, sure=True), ""),
        (measured("mae", Estimate(0.02, 0.0, 0.04)), Gate(), "mean error grows by 2.0 % (95 %"),
        (measured("mae", Estimate(0.02, 0.0, 0.04)), Gate(0.03), ""),
        (measured("mae", Estimate(None)), Gate(), "mean error is undefined"),
        (measured("auroc", Estimate(0.0, 0.0, 0.0), lost=2), Gate(), "2 of 100 answers are no"),
        (measured("accuracy", Estimate(0.1)), Gate(float("nan")), "accuracy drops by"),
        (measured("agreement", Estimate(0.01, 0.0, 0.02)), Gate(), ""),
        (measured("agreement", Estimate(0.01, 0.0, 0.06)), Gate(sure=True), "may be 0.940"),
        (measured("agreement", Estimate(0.01, 0.0, 0.04)), Gate(sure=True), ""),
        (measured("agreement", Estimate(0.1), 0.9), Gate(), "agreement with fp32 is 0.900, less"),
        (measured("accuracy", Estimate(0.0), 0.2), Gate(), ""),
    ],
)
def test_the_gate_judges_the_drop_and_where_asked_its_interval(
    found: Measured, gate: Gate, said: str
) -> None:
    failures = failures_of(found, gate)
    assert (len(failures) == 1) if said else not failures, failures
    assert all(said in line for line in failures)


def test_a_detectors_table_shows_both_average_precisions(tmp_path: Path) -> None:
    model = write_detector(tmp_path / "d.onnx")
    weights = next(t for t in onnx.load(model).graph.initializer if t.name == "w_score")
    turned = with_weights(model, tmp_path / "t.onnx", "w_score", -numpy_helper.to_array(weights))
    folder = write_directory(tmp_path / "model", model, turned)
    root = write_pictures(tmp_path / "pictures", 4)
    lines = ["0 0.2 0.2 0.3 0.3", "1 0.6 0.6 0.4 0.4"]
    (root / "labels").mkdir()
    (root / "images").mkdir()
    for number, file in enumerate(sorted(root.glob("*.png"))):
        file.rename(root / "images" / file.name)
        (root / "labels" / f"{file.stem}.txt").write_text("\n".join(lines[: 1 + number % 2]))
    (root / "data.yaml").write_text("names: [parcel, pallet]\ntrain: images\n")
    proof = verify_directory(folder, data=read_dataset(root), options=FAST)
    again = msgspec.json.decode((folder / VERIFY_NAME).read_bytes(), type=Verification)
    assert again == proof
    text = "\n".join(lines_of(proof))
    assert "mAP50-95" in text
    for one in proof.models.values():
        assert one.accuracy is not None
        assert one.accuracy.map50 == pytest.approx(one.measured.value)
        assert one.accuracy.map50_95 == pytest.approx(one.measured.figures["map50_95"])
