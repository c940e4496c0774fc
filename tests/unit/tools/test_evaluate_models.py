"""Whole evaluations of models whose answers can be told by hand, and what they refuse."""

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edgehaul.clock import format_utc
from edgehaul.errors import DatasetError, SpecMismatchError, UsageError
from edgehaul.geometry import Box
from edgehaul.vision.decode import Detections
from edgehaul_tools.cli import main
from edgehaul_tools.dataset.coco import write_coco
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox
from edgehaul_tools.dataset.series import Series, write_series_dataset
from edgehaul_tools.dataset.traces import AnomalySpan, read_truck_dataset
from edgehaul_tools.evaluate.candidates import open_candidates
from edgehaul_tools.evaluate.detection import DetectionScores
from edgehaul_tools.evaluate.detectors import detector_points, pooled_curve
from edgehaul_tools.evaluate.evaluate import Measured, Options, evaluate_models
from edgehaul_tools.evaluate.matching import match_classes
from edgehaul_tools.evaluate.material import learnt_from, read_recordings
from edgehaul_tools.evaluate.result import Evaluation
from edgehaul_tools.train.kept_split import split_of_recordings
from tests.fakes.answering import (
    COLORS,
    write_brightness_anomaly,
    write_color_classifier,
    write_speed_model,
)
from tests.fakes.detectors import write_detector

START_S = 1_767_600_000.0
FAST = Options(resamples=40)


def picture(path: Path, color: tuple[int, int, int], side_px: int = 24) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((side_px, side_px, 3), color, np.uint8))
    return path


@pytest.fixture
def colors(tmp_path: Path) -> Path:
    """Eight pictures of each colour; of the red ones two are blue in truth."""
    root = tmp_path / "colors"
    for number, label in enumerate(COLORS):
        for index in range(8):
            shade = [20, 20, 20]
            is_blue = label == "red" and index < 2
            shade[0 if is_blue else number] = 150 + 10 * index
            picture(root / label / f"{label}_{index}.png", (shade[0], shade[1], shade[2]))
    return root


def measure(model: Path, data: Path, tmp_path: Path, options: Options = FAST) -> Measured:
    return evaluate_models(open_candidates([model], tmp_path), data, options)


def value(measured: Measured, name: str) -> float | None:
    return measured.evaluation.models[0].figures[name].value


def test_a_classifier_is_measured_and_its_mistakes_shown(colors: Path, tmp_path: Path) -> None:
    measured = measure(write_color_classifier(tmp_path / "m.onnx"), colors, tmp_path)
    (model,) = measured.evaluation.models
    assert value(measured, "accuracy") == pytest.approx(22 / 24)
    assert model.confusion is not None
    assert model.confusion.counts == ((8, 0, 0), (0, 8, 0), (2, 0, 6))
    recall = {row.label: row.figures["recall"] for row in model.classes}
    assert recall == {"blue": 1.0, "green": 1.0, "red": 0.75}
    shown = measured.examined[0].exhibits(6)
    assert len(shown) == 2
    assert "blue" in shown[0].caption
    assert "but it is red" in shown[0].caption
    assert {part.name for part in model.slices if part.kind == "light"} == {
        "dark",
        "medium",
        "bright",
    }
    assert all(part.thin for part in model.slices)


def test_the_command_writes_a_page_that_needs_no_network(colors: Path, tmp_path: Path) -> None:
    good = write_color_classifier(tmp_path / "good.onnx")
    bad = write_color_classifier(tmp_path / "bad.onnx", labels=("green", "blue", "red"))
    out = tmp_path / "report"
    arguments = ["evaluate", str(good), str(bad), "--data", str(colors), "--out", str(out)]
    assert main([*arguments, "--compare", "--calibrate", "--bootstrap", "60"]) == 0
    report = msgspec.json.decode((out / "report.json").read_bytes(), type=Evaluation)
    (comparison,) = report.comparisons
    assert "good is better than bad" in comparison.verdict
    assert comparison.mcnemar_p is not None
    assert comparison.mcnemar_p < 0.01
    assert report.models[0].calibration is not None
    assert report.models[0].calibration.temperature is not None
    assert report.models[0].calibration.temperature.same_part
    page = (out / "report.html").read_text()
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "@import" not in page
    assert "prefers-color-scheme: dark" in page
    assert "good is better than bad" in page
    assert page.count("<img") >= 2
    assert not list(out.glob("*.partial"))


def test_json_is_one_object(
    colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_color_classifier(tmp_path / "m.onnx")
    arguments = ["evaluate", str(model), "--data", str(colors), "--bootstrap", "0", "--json"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["models"][0]["figures"]["accuracy"] == {
        "value": pytest.approx(22 / 24),
        "low": None,
        "high": None,
    }


def test_classes_that_a_model_does_not_know_are_left_out_and_said(
    colors: Path, tmp_path: Path
) -> None:
    model = write_color_classifier(tmp_path / "m.onnx", labels=("blue", "green", "orange"))
    measured = measure(model, colors, tmp_path)
    assert measured.evaluation.samples == 16
    assert value(measured, "accuracy") == 1.0
    assert any("red: 8 pictures" in line for line in measured.evaluation.warnings)
    stranger = write_color_classifier(tmp_path / "s.onnx", labels=("x", "y", "z"))
    with pytest.raises(SpecMismatchError, match="know none of the classes"):
        measure(stranger, colors, tmp_path)


def test_answers_that_are_no_numbers_count_as_wrong(colors: Path, tmp_path: Path) -> None:
    picture(colors / "red" / "white.png", (255, 255, 255))
    measured = measure(write_color_classifier(tmp_path / "m.onnx", broken=True), colors, tmp_path)
    (model,) = measured.evaluation.models
    assert value(measured, "accuracy") == pytest.approx(22 / 25)
    assert model.warnings == ("1 answers are no numbers and count as wrong",)
    assert model.confusion is not None
    assert model.confusion.columns[-1] == "(no answer)"


def test_a_dataset_that_comes_divided_is_measured_on_its_test_part(tmp_path: Path) -> None:
    root = tmp_path / "divided"
    for part, count in (("train", 4), ("test", 3)):
        for index in range(count):
            box = TrueBox(Box(0, 0, 24, 24), index % 2)
            path = picture(root / "images" / part / f"{part}_{index}.png", (40 * index, 90, 30))
            (root / "labels" / part).mkdir(parents=True, exist_ok=True)
            line = f"{box.class_id} 0.5 0.5 0.5 0.5\n"
            (root / "labels" / part / f"{path.stem}.txt").write_text(line)
    (root / "data.yaml").write_text("names: [parcel, pallet]\ntrain: images/train\n")
    model = write_detector(tmp_path / "m.onnx")
    measured = measure(model, root, tmp_path)
    assert measured.evaluation.part == "test"
    assert measured.evaluation.samples == 3
    with pytest.raises(DatasetError, match="the val part is empty"):
        measure(model, root, tmp_path, changed(FAST, part="val"))


def changed(options: Options, **changes: str | bool) -> Options:
    return Options(**{**vars(options), **changes})


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """Six pictures with one parcel and one van each."""
    random = np.random.default_rng(0)
    samples = []
    for index in range(6):
        image = cv2.resize(random.integers(0, 255, (6, 8, 3), np.uint8), (96, 72))
        path = tmp_path / f"cam{index % 2}_{index}.png"
        cv2.imwrite(str(path), image)
        marks = (TrueBox(Box(8, 8, 40, 40), 0), TrueBox(Box(50, 20, 80, 60), 1))
        samples.append(Sample(path, f"cam{index % 2}", 96, 72, marks))
    file = tmp_path / "boxes.json"
    write_coco(DetectionDataset(tmp_path, ("parcel", "van"), tuple(samples)), file)
    return file


def test_a_detector_is_measured_on_the_classes_it_shares(boxes: Path, tmp_path: Path) -> None:
    measured = measure(write_detector(tmp_path / "m.onnx"), boxes, tmp_path)
    (model,) = measured.evaluation.models
    assert any(
        "does not" in w or "not every model knows van" in w for w in measured.evaluation.warnings
    )
    assert [row.label for row in model.classes] == ["parcel"]
    assert model.classes[0].samples == 6
    assert {part.kind for part in model.slices} == {"camera", "light", "size"}
    assert model.thresholds[0].name == "model"
    assert measured.examined[0].exhibits(2)


def test_models_for_different_tasks_are_not_measured_together(tmp_path: Path) -> None:
    paths = [write_detector(tmp_path / "a.onnx"), write_color_classifier(tmp_path / "b.onnx")]
    with pytest.raises(UsageError, match="different tasks"):
        open_candidates(paths, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--slices", "weather"], 2),
        (["--compare"], 2),
        (["--split-from", "nothing"], 1),
        (["--data", "nowhere"], 1),
        ([], 0),
    ],
)
def test_wrong_options_are_refused_in_words(
    colors: Path, tmp_path: Path, arguments: list[str], code: int
) -> None:
    model = write_color_classifier(tmp_path / "m.onnx")
    given = ["--data", str(colors), "--bootstrap", "5", *arguments]
    assert main(["evaluate", str(model), *given]) == code


def test_what_is_no_model_is_refused(colors: Path, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    assert main(["evaluate", str(tmp_path / "m.onnx"), "--data", str(colors)]) == 1
    assert main(["evaluate", str(colors), "--data", str(colors)]) == 1


@pytest.fixture
def greys(tmp_path: Path) -> Path:
    root = tmp_path / "greys"
    for index in range(6):
        level = 110 + 8 * index
        picture(root / "good" / f"good_{index}.png", (level, level, level))
        level = 10 + 20 * index
        picture(root / "scratched" / f"bad_{index}.png", (level, level, level))
    return root


def test_an_anomaly_model_is_measured_with_its_error_maps(greys: Path, tmp_path: Path) -> None:
    measured = measure(write_brightness_anomaly(tmp_path / "m.onnx"), greys, tmp_path)
    (model,) = measured.evaluation.models
    # Distances from grey: normal 18, 10, 2, 6, 14, 22; scratched 118, 98, 78, 58, 38, 18.
    assert value(measured, "auroc") == pytest.approx((5 * 6 + 4.5) / 36)
    assert value(measured, "recall") == pytest.approx(3 / 6)
    assert value(measured, "false_alarm_rate") == 0.0
    assert {p.name for p in model.thresholds} >= {"model", "most_f1", "false_alarms"}
    (missed, *_) = [e for e in measured.examined[0].exhibits(1) if "missed" in e.kind]
    assert missed.image is not None
    assert missed.image.shape[1] == 2 * 220


def test_one_kind_alone_is_said_and_does_not_crash(greys: Path, tmp_path: Path) -> None:
    for file in (greys / "scratched").iterdir():
        file.unlink()
    out = tmp_path / "report"
    model = write_brightness_anomaly(tmp_path / "m.onnx")
    arguments = ["evaluate", str(model), "--data", str(greys), "--bootstrap", "9"]
    assert main([*arguments, "--out", str(out)]) == 0
    report = msgspec.json.decode((out / "report.json").read_bytes(), type=Evaluation)
    assert report.models[0].figures["auroc"].value is None
    assert "every sample is normal" in report.models[0].warnings[0]


def test_a_model_that_answers_with_no_number_at_all_has_a_report(
    greys: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    model = write_brightness_anomaly(tmp_path / "m.onnx", broken=True)
    arguments = ["evaluate", str(model), "--data", str(greys), "--bootstrap", "9"]
    assert main([*arguments, "--out", str(out)]) == 0
    report = msgspec.json.decode((out / "report.json").read_bytes(), type=Evaluation)
    assert report.models[0].figures["auroc"].value == 0.0
    assert report.models[0].warnings == ("12 scores are no numbers and count as mistakes",)


def test_a_detector_that_finds_nothing_has_charts() -> None:
    sample = Sample(Path("a.jpg"), "a", 64, 64, (TrueBox(Box(8, 8, 40, 40), 0),))
    matches = match_classes([Detections.empty()], [sample], 2)
    scores = DetectionScores(np.zeros(1, np.int64), ("parcel", "van"), matches, 0.5)
    figures = scores.figures(np.ones(1))
    assert (figures["map50"], figures["recall"]) == (0.0, 0.0)
    assert np.isnan(figures["precision"])
    assert [point.name for point in detector_points(scores)] == ["model"]
    assert pooled_curve(scores).average_precision == 0.0


def test_nothing_says_which_class_is_normal(colors: Path, tmp_path: Path) -> None:
    model = write_brightness_anomaly(tmp_path / "m.onnx")
    with pytest.raises(DatasetError, match="nothing says which of blue, green, red is normal"):
        measure(model, colors, tmp_path)
    measured = measure(model, colors, tmp_path, changed(FAST, normal="green"))
    assert measured.examined[0].scores.truth.sum() == 16  # type: ignore[attr-defined]  # of anomalies


@pytest.fixture
def trips(tmp_path: Path) -> Path:
    """Six trips of two minutes, of which each has 20 s of speeding."""
    root = tmp_path / "trips"
    (root / "trips").mkdir(parents=True)
    spans = {}
    for number in range(6):
        began_s = START_S + 10_000 * number
        rows, latitude = ["time,lat,lon,speed_mps,heading_deg"], 50.0
        for second in range(120):
            speed_mps = 30.0 if 50 <= second < 70 else 15.0
            latitude += speed_mps / 111_195
            time = format_utc(began_s + second)
            rows.append(f"{time},{latitude:.7f},8.0,{speed_mps},0.0")
        (root / "trips" / f"t{number}.csv").write_text("\n".join(rows))
        spans[f"t{number}"] = [
            {
                "label": "speeding",
                "started_at": format_utc(began_s + 50),
                "ended_at": format_utc(began_s + 70),
            }
        ]
    (root / "labels.json").write_text(json.dumps({"labels": ["speeding"], "trips": spans}))
    return root


def test_a_trace_model_is_measured_by_windows_and_by_events(trips: Path, tmp_path: Path) -> None:
    measured = measure(write_speed_model(tmp_path / "m.onnx", "sequence"), trips, tmp_path)
    (model,) = measured.evaluation.models
    assert measured.evaluation.unit == "recording"
    assert value(measured, "event_f1") > 0.8
    assert model.events is not None
    assert (model.events.true, model.events.found, model.events.false_alarms) == (6, 6, 0)
    assert len([part for part in model.slices if part.kind == "recording"]) == 6
    (first, *_) = measured.examined[0].exhibits(1)
    assert first.svg.startswith("<svg")
    assert "speeding" in first.svg
    assert re.search(r">(?:\d+ k?m)<", first.svg)


def test_a_model_of_places_is_measured_beside_driving_on_straight(
    trips: Path, tmp_path: Path
) -> None:
    measured = measure(write_speed_model(tmp_path / "m.onnx", "regress"), trips, tmp_path)
    # The model itself drives on straight.
    assert value(measured, "mae") == pytest.approx(
        value(measured, "constant_velocity_mae"), abs=0.5
    )


def test_an_anomaly_model_of_series_is_measured_in_stretches(tmp_path: Path) -> None:
    root = tmp_path / "series"
    root.mkdir()
    level = np.full((300, 1), 10.0, np.float32)
    level[100:130] = 40.0
    span = AnomalySpan("burst", START_S + 100, START_S + 130)
    one = Series("pump", START_S + np.arange(300.0), ("level",), level, (span,))
    write_series_dataset(root, [one])
    model = write_speed_model(tmp_path / "m.onnx", "anomaly", feature="level")
    measured = measure(model, root, tmp_path)
    assert measured.evaluation.unit == "stretch"
    assert value(measured, "auroc") > 0.9
    assert measured.evaluation.models[0].events is not None
    assert measured.evaluation.models[0].events.found == 1
    (exhibit,) = measured.examined[0].exhibits(3)
    assert "<svg" in exhibit.svg


def test_models_with_different_goals_are_refused_before_they_are_measured(
    trips: Path, tmp_path: Path
) -> None:
    paths = [write_speed_model(tmp_path / f"{head}.onnx", head) for head in ("sequence", "regress")]
    lines: list[str] = []
    with pytest.raises(UsageError, match=r"different questions.*leave out --compare"):
        evaluate_models(
            open_candidates(paths, tmp_path), trips, changed(FAST, compare=True), lines.append
        )
    assert not lines
    paths[1] = write_speed_model(tmp_path / "anomaly.onnx", "anomaly")
    with pytest.raises(UsageError, match=r"tasks: what happens in a window, whether it is normal"):
        open_candidates(paths, tmp_path)


def test_classifiers_that_differ_in_what_is_normal_are_compared_by_all_classes(
    trips: Path, tmp_path: Path
) -> None:
    (first,) = open_candidates([write_speed_model(tmp_path / "a.onnx", "sequence")], tmp_path)
    fast = msgspec.structs.replace(first.spec.output, normal_label="speeding")
    other = replace(first, name="b", spec=msgspec.structs.replace(first.spec, output=fast))
    options = changed(FAST, compare=True)
    for pair, figure in (((first, first), "event_f1"), ((first, other), "macro_f1")):
        (comparison,) = evaluate_models(pair, trips, options).evaluation.comparisons
        assert comparison.figure == figure


def test_a_trace_model_refuses_a_part_that_nothing_tells(trips: Path, tmp_path: Path) -> None:
    model = write_speed_model(tmp_path / "m.onnx", "sequence")
    with pytest.raises(UsageError, match="nothing says which recordings are in the test part"):
        measure(model, trips, tmp_path, changed(FAST, part="test"))


def test_only_recordings_of_the_runs_part_are_measured(trips: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    named = {"train": ["t0", "t1"], "val": ["t2"], "test": ["t3", "t4"]}
    (run / "split.json").write_text(json.dumps(named))
    model = write_speed_model(tmp_path / "m.onnx", "sequence")
    options = Options(resamples=5, split_from=run, calibrate=True)
    measured = measure(model, trips, tmp_path, options)
    assert set(measured.examined[0].names) == {"t3", "t4"}
    assert measured.evaluation.part == "test"
    assert any("1 samples of the dataset are in no part" in w for w in measured.evaluation.warnings)
    calibration = measured.evaluation.models[0].calibration
    assert calibration is not None
    assert calibration.temperature is not None
    assert not calibration.temperature.same_part


def test_a_model_of_filtered_fixes_is_measured_on_filtered_fixes(
    trips: Path, tmp_path: Path
) -> None:
    errors = []
    for name in ("none", "kalman"):
        model = write_speed_model(tmp_path / f"{name}.onnx", "regress", fix_filter=name)
        measured = measure(model, trips, tmp_path, Options(resamples=0))
        errors.append(value(measured, "mae"))
    # Speeding up by 15 m/s at once is more than a filter follows at once.
    assert errors[0] < errors[1] < errors[0] + 2.0


def test_trips_of_another_dataset_with_the_same_names_are_new(trips: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    recorded = read_truck_dataset(trips)
    split_of_recordings((recorded[:3], recorded[3:4], recorded[4:])).write(run)
    names = [trip.name for trip in recorded]
    assert learnt_from(run, names, recorded) == 3
    assert len(read_recordings(trips, "test", run).content) == 2
    for path in (trips / "trips").iterdir():
        path.write_text(path.read_text().replace(",8.0,", ",9.0,"))
    other = read_truck_dataset(trips)
    assert [trip.name for trip in other] == names
    assert learnt_from(run, names, other) == 0
    found = read_recordings(trips, "", run)
    assert (found.part, len(found.content)) == ("all", 6)
    assert "all of it is new" in found.notes[0]
