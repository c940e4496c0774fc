"""One pass for each model: metric, paired drop, classes and agreement, beside fp32."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.clock import format_utc
from edgehaul.errors import DataError, DatasetError, SpecMismatchError
from edgehaul.vision.preprocess import Preprocessor
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox
from edgehaul_tools.dataset.series import Series
from edgehaul_tools.dataset.traces import AnomalySpan, read_truck_dataset
from edgehaul_tools.evaluate.accuracy import measure_accuracy
from edgehaul_tools.evaluate.canvases import Canvases, kept_inputs
from edgehaul_tools.evaluate.classification import ClassScores
from edgehaul_tools.evaluate.detection import Ap50Scores, DetectionScores
from edgehaul_tools.evaluate.ground_truth import ByClass, RecallScores
from edgehaul_tools.evaluate.labelled import detect_in
from edgehaul_tools.evaluate.matching import match_classes
from edgehaul_tools.export.metadata import read_spec
from edgehaul_tools.export.runtime import Run, runner
from edgehaul_tools.quantize.answers import Answers, Prepared
from edgehaul_tools.quantize.inputs import open_inputs
from edgehaul_tools.verify.agreement import agreement_scores
from edgehaul_tools.verify.measure import Measured, Yardstick
from tests.fakes.answering import (
    COLORS,
    write_brightness_anomaly,
    write_color_classifier,
    write_speed_model,
)
from tests.fakes.detectors import SPEC, write_detector

START_S = 1_767_600_000.0
Outputs = Sequence[NDArray[Any]]


def opened(path: Path) -> tuple[ModelSpec, Run]:
    spec = read_spec(path)
    assert spec is not None
    return spec, runner(path)


def changing(run: Run, change: Callable[[int, Outputs], Outputs]) -> Run:
    """Return a model whose answers are changed, by the number of the call."""
    calls = iter(range(10**9))

    def changed(tensor: NDArray[Any]) -> Outputs:
        return change(next(calls), run(tensor))

    return changed


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> DetectionDataset:
    """Eight pictures of each colour."""
    root = tmp_path_factory.mktemp("colors")
    for number, label in enumerate(COLORS):
        (root / label).mkdir()
        for index in range(8):
            picture = np.full((20, 30, 3), 20, np.uint8)
            picture[..., number] = 150 + 10 * index
            cv2.imwrite(str(root / label / f"{index}.png"), picture)
    return read_dataset(root)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelSpec, Run]:
    return opened(write_color_classifier(tmp_path_factory.mktemp("model") / "m.onnx"))


@pytest.fixture(scope="module")
def yardstick(classifier: tuple[ModelSpec, Run], colors: DetectionDataset) -> Yardstick:
    return Yardstick(*classifier, labelled=colors, resamples=60)


def without_red(_call: int, outputs: Outputs) -> Outputs:
    scores = outputs[0].copy()
    scores[0, COLORS.index("red")] = 0.0
    return [scores / scores.sum()]


def test_the_same_model_loses_nothing_for_sure(
    classifier: tuple[ModelSpec, Run], yardstick: Yardstick
) -> None:
    measured = yardstick.measure(classifier[1])
    assert (measured.metric, measured.fp32, measured.value) == ("accuracy", 1.0, 1.0)
    assert (measured.drop.value, measured.drop.low, measured.drop.high) == (0.0, 0.0, 0.0)
    assert measured.agreement.f1 == 1.0
    assert (measured.samples, measured.units, measured.unit) == (24, 24, "picture")
    assert measured.figures["macro_f1"] == 1.0


def test_a_worse_model_loses_and_the_class_is_named(
    classifier: tuple[ModelSpec, Run], yardstick: Yardstick
) -> None:
    measured = yardstick.measure(changing(classifier[1], without_red))
    assert measured.drop.value == pytest.approx(1 / 3)
    assert measured.drop.low is not None
    assert measured.drop.high is not None
    assert 0 < measured.drop.low < 1 / 3 < measured.drop.high < 1
    assert measured.agreement.f1 == pytest.approx(2 / 3)
    worst, *others = measured.classes
    assert (worst.label, worst.samples, worst.fp32, worst.value) == ("red", 8, 1.0, 0.0)
    assert worst.drop.value == 1.0
    assert all(one.drop.value == 0.0 for one in others)
    assert measured.class_figure == "recall"
    assert msgspec.json.decode(msgspec.json.encode(measured), type=Measured) == measured


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=24, max_size=24))
def test_the_drop_is_the_share_that_went_wrong_and_lies_in_its_interval(
    classifier: tuple[ModelSpec, Run], yardstick: Yardstick, wrong: list[bool]
) -> None:
    def change(call: int, outputs: Outputs) -> Outputs:
        return [np.roll(outputs[0], 1, axis=1)] if wrong[call] else outputs

    measured = yardstick.measure(changing(classifier[1], change))
    assert measured.drop.value == pytest.approx(sum(wrong) / 24)
    assert measured.agreement.f1 == pytest.approx(1 - sum(wrong) / 24)
    assert measured.drop.low is not None
    assert measured.drop.high is not None
    assert measured.drop.low <= sum(wrong) / 24 + 1e-9
    assert measured.drop.high >= sum(wrong) / 24 - 1e-9
    if not any(wrong):
        assert (measured.drop.low, measured.drop.high) == (0.0, 0.0)


def test_each_model_runs_once_for_each_sample(
    classifier: tuple[ModelSpec, Run], colors: DetectionDataset
) -> None:
    spec, run = classifier
    calls: list[int] = []

    def counting(tensor: NDArray[Any]) -> Outputs:
        calls.append(1)
        return run(tensor)

    yardstick = Yardstick(spec, counting, labelled=colors, resamples=5)
    assert len(calls) == 24
    yardstick.measure(run)
    yardstick.measure(run)
    assert len(calls) == 24, "fp32 ran again"


def test_answers_that_are_no_numbers_are_counted(
    classifier: tuple[ModelSpec, Run], yardstick: Yardstick
) -> None:
    def broken(call: int, outputs: Outputs) -> Outputs:
        return [outputs[0] * np.nan] if call < 3 else outputs

    measured = yardstick.measure(changing(classifier[1], broken))
    assert (measured.lost, measured.lost_by_fp32) == (3, 0)
    assert measured.drop.value == pytest.approx(3 / 24)


def test_without_labels_the_agreement_is_measured(
    classifier: tuple[ModelSpec, Run], colors: DetectionDataset
) -> None:
    spec, run = classifier

    source = open_inputs(colors.root, spec)
    expected = list(source.prepared())
    inputs = kept_inputs(source, spec)
    for item, plain in zip(inputs(), expected, strict=True):
        assert np.array_equal(item.tensor, plain.tensor)
    yardstick = Yardstick(spec, run, inputs=inputs, resamples=60)
    same, worse = yardstick.measure(run), yardstick.measure(changing(run, without_red))
    assert (same.metric, same.value, same.unit) == ("agreement", 1.0, "input")
    assert (same.drop.value, same.drop.low, same.drop.high) == (0.0, 0.0, 0.0)
    assert worse.value == worse.agreement.f1 == pytest.approx(2 / 3)
    assert worse.drop.value == pytest.approx(1 / 3)
    assert worse.drop.low is not None
    assert 0 < worse.drop.low < 1 / 3
    assert worse.classes == ()


def test_nothing_to_measure_on_is_refused(
    classifier: tuple[ModelSpec, Run], colors: DetectionDataset
) -> None:
    with pytest.raises(DataError, match="nothing to measure on"):
        Yardstick(*classifier)
    with pytest.raises(DatasetError, match="no samples"):
        Yardstick(*classifier, labelled=colors.subset([]))
    with pytest.raises(SpecMismatchError, match="takes pictures"):
        Yardstick(*classifier, labelled=[Series("s", np.arange(3.0), ("a",), np.ones((3, 1), "f"))])


@pytest.fixture
def boxes(tmp_path: Path) -> DetectionDataset:
    """Twelve pictures; what is marked is what the random detector finds in them."""
    random = np.random.default_rng(0)
    run = runner(write_detector(tmp_path / "d.onnx"))
    samples = []
    for index in range(12):
        path = tmp_path / f"{index:02d}.png"
        cv2.imwrite(str(path), cv2.resize(random.integers(0, 255, (6, 8, 3), np.uint8), (96, 72)))
        samples.append(Sample(path, f"{index}", 96, 72, ()))
    bare = DetectionDataset(tmp_path, SPEC.output.labels, tuple(samples))
    marked = []
    for sample, found in zip(samples, detect_in(run, SPEC, bare), strict=True):
        values = found.above(0.5).to_values(SPEC.output.labels)[:4]
        marks = tuple(TrueBox(v.box, v.class_id) for v in values)
        marked.append(Sample(sample.path, sample.group, 96, 72, marks))
    return DetectionDataset(tmp_path, SPEC.output.labels, tuple(marked))


def test_a_detector_reaches_cocos_figures_and_loses_what_it_no_longer_finds(
    boxes: DetectionDataset, tmp_path: Path
) -> None:
    run = runner(write_detector(tmp_path / "d.onnx"))
    yardstick = Yardstick(SPEC, run, labelled=boxes, resamples=30)
    coco = measure_accuracy(detect_in(run, SPEC, boxes), boxes)
    same = yardstick.measure(run)
    assert same.metric == "map50"
    assert same.fp32 == same.value == pytest.approx(coco.map50)
    assert same.figures["map50_95"] == pytest.approx(coco.map50_95)
    assert same.fp32 > 0.3
    assert (same.drop.low, same.drop.high) == (0.0, 0.0)

    def no_pallets(_call: int, outputs: Outputs) -> Outputs:
        return [outputs[0], outputs[1] * np.array([1.0, 0.0], np.float32)]

    worse = yardstick.measure(changing(run, no_pallets))
    assert worse.classes[0].label == "pallet"
    assert worse.classes[0].value == 0.0
    assert worse.drop.value is not None
    assert worse.drop.value > 0.1
    assert worse.agreement.f1 < 1


def test_pictures_without_marks_are_refused(boxes: DetectionDataset, tmp_path: Path) -> None:
    bare = boxes.subset(Sample(s.path, s.group, 96, 72, ()) for s in boxes.samples)
    run = runner(write_detector(tmp_path / "d.onnx"))
    with pytest.raises(DatasetError, match="no object is marked"):
        Yardstick(SPEC, run, labelled=bare)


@pytest.fixture
def trips(tmp_path: Path) -> Path:
    """Six trips of a minute, of which each has 20 s of speeding."""
    root = tmp_path / "trips"
    (root / "trips").mkdir(parents=True)
    spans = {}
    for number in range(6):
        began_s = START_S + 10_000 * number
        rows, latitude = ["time,lat,lon,speed_mps,heading_deg"], 50.0
        for second in range(60):
            speed_mps = 30.0 if 20 <= second < 40 else 15.0
            latitude += speed_mps / 111_195
            time = format_utc(began_s + second)
            rows.append(f"{time},{latitude:.7f},8.0,{speed_mps},0.0")
        (root / "trips" / f"t{number}.csv").write_text("\n".join(rows))
        times = {"started_at": format_utc(began_s + 20), "ended_at": format_utc(began_s + 40)}
        spans[f"t{number}"] = [{"label": "speeding", **times}]
    (root / "labels.json").write_text(json.dumps({"labels": ["speeding"], "trips": spans}))
    return root


def test_a_model_of_traces_loses_events(trips: Path, tmp_path: Path) -> None:
    spec, run = opened(write_speed_model(tmp_path / "m.onnx", "sequence"))
    yardstick = Yardstick(spec, run, labelled=read_truck_dataset(trips), resamples=30)
    same = yardstick.measure(run)
    assert (same.metric, same.unit, same.units) == ("event_f1", "recording", 6)
    assert same.fp32 > 0.8
    assert (same.drop.value, same.drop.low, same.drop.high) == (0.0, 0.0, 0.0)
    blind = changing(run, lambda _call, _outputs: [np.array([[0.9, 0.1]], np.float32)])
    worse = yardstick.measure(blind)
    assert worse.drop.value == pytest.approx(same.fp32)
    assert worse.classes[0].label == "speeding"


def test_a_model_of_places_loses_as_its_error_grows(trips: Path, tmp_path: Path) -> None:
    spec, run = opened(write_speed_model(tmp_path / "m.onnx", "regress"))
    yardstick = Yardstick(spec, run, labelled=read_truck_dataset(trips), resamples=30)
    same = yardstick.measure(run)
    assert (same.metric, same.drop.value, same.drop.high) == ("mae", 0.0, 0.0)
    farther = yardstick.measure(changing(run, lambda _call, outputs: [outputs[0] + 10]))
    assert farther.value is not None
    assert farther.drop.value == pytest.approx(farther.value / farther.fp32 - 1)
    assert farther.value > 1.5 * farther.fp32
    assert {one.label for one in farther.classes} == {"forward_m", "left_m"}


def test_an_anomaly_model_of_series_is_measured_by_auroc(tmp_path: Path) -> None:
    level = np.full((300, 1), 10.0, np.float32)
    level[100:130] = 40.0
    span = AnomalySpan("burst", START_S + 100, START_S + 130)
    series = Series("pump", START_S + np.arange(300.0), ("level",), level, (span,))
    spec, run = opened(write_speed_model(tmp_path / "m.onnx", "anomaly", feature="level"))
    yardstick = Yardstick(spec, run, labelled=[series], resamples=30)
    same = yardstick.measure(run)
    assert (same.metric, same.unit) == ("auroc", "stretch")
    worse = yardstick.measure(changing(run, lambda _call, outputs: [outputs[0] * 0]))
    assert worse.value == pytest.approx(0.5)
    assert worse.classes[0].label == "anomaly"
    quiet = Series("pump", series.time_s, ("level",), np.full((300, 1), 10.0, np.float32))
    with pytest.raises(DatasetError, match="auroc is undefined"):
        Yardstick(spec, run, labelled=[quiet])


def test_an_anomaly_model_of_pictures_is_measured_by_auroc(
    colors: DetectionDataset, tmp_path: Path
) -> None:
    spec, run = opened(write_brightness_anomaly(tmp_path / "m.onnx"))
    with pytest.raises(DatasetError, match="nothing says which"):
        Yardstick(spec, run, labelled=colors)
    yardstick = Yardstick(spec, run, labelled=colors, normal="green", resamples=10)
    assert yardstick.measure(run).drop.high == 0.0


@pytest.mark.parametrize("head", ["sequence", "anomaly", "regress"])
def test_agreement_one_by_one_is_that_of_all(head: str, tmp_path: Path) -> None:
    spec, run = opened(write_speed_model(tmp_path / "m.onnx", head))
    random = np.random.default_rng(3)
    windows = [Prepared(random.uniform(0, 40, (1, 5, 1)).astype(np.float32)) for _ in range(50)]
    noisy = [Prepared(w.tensor + np.float32(random.normal(0, 4))) for w in windows]
    expected, got = Answers(run, windows, spec), Answers(run, noisy, spec)
    whole = expected.agreement_of(got)
    assert agreement_scores(expected, got).agreement == whole
    assert 0 < whole.f1 < 1


@pytest.mark.parametrize("resize", ["letterbox", "stretch", "crop"])
@pytest.mark.parametrize(
    ("color", "layout", "dtype"),
    [("rgb", "nhwc", "uint8"), ("bgr", "nchw", "float32"), ("gray", "nchw", "float32")],
)
def test_kept_canvases_are_the_very_inputs_of_the_box(
    resize: str, color: str, layout: str, dtype: str
) -> None:
    random = np.random.default_rng(1)
    pictures = [random.integers(0, 255, (h, w, 3), np.uint8) for h, w in ((40, 90), (64, 48))]
    channels = 1 if color == "gray" else 3
    scaling = {"scale": 1 / 255, "mean": (0.4,) * channels, "std": (0.2,) * channels}
    spec = msgspec.convert(
        {"type": "image", "width": 64, "height": 48, "resize": resize, "color": color}
        | {"layout": layout, "dtype": dtype, "anchor": "top-left"}
        | (scaling if dtype == "float32" else {}),
        ImageInput,
    )
    plain = Preprocessor(spec)
    kept = Canvases(lambda: iter(pictures), 2, spec)
    read_again = Canvases(lambda: iter(pictures), 2, spec, limit_bytes=2 * 64 * 48 * 3 - 1)
    assert (kept.is_kept, read_again.is_kept) == (True, False)
    next(iter(kept))  # given up half way
    for canvases in (kept, kept, read_again, read_again):
        found = list(canvases)
        assert len(found) == 2
        for picture, item in zip(pictures, found, strict=True):
            tensor, placement = plain(picture)
            assert np.array_equal(item.tensor, tensor)
            assert item.placement == placement


@pytest.mark.parametrize("seed", range(4))
def test_what_is_quick_to_resample_gives_the_same_figures(
    boxes: DetectionDataset, classifier: tuple[ModelSpec, Run], seed: int, tmp_path: Path
) -> None:
    random = np.random.default_rng(seed)
    run = runner(write_detector(tmp_path / "d.onnx"))
    found = [f.above(0.3) for f in detect_in(run, SPEC, boxes)]
    matches = match_classes(found, boxes.samples, len(boxes.labels))
    scores = DetectionScores(np.arange(len(found)), boxes.labels, matches, 0.3)
    n, labels = 40, classifier[0].output.labels
    answers = ClassScores(np.arange(n), random.integers(0, 2, n), random.random((n, len(labels))))
    pairs = (
        (scores, Ap50Scores(scores)),
        (ByClass(answers, labels, "recall"), RecallScores(answers, labels)),
    )
    for whole, quick in pairs:
        weights = random.integers(0, 3, len(whole.units)).astype(np.float64)
        expected = whole.figures(weights)
        got = quick.figures(weights)
        assert len(got) > 2
        for name, value in got.items():
            assert value == pytest.approx(expected[name], nan_ok=True), name
