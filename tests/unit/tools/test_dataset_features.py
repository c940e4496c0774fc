"""The ranking finds what tells labels apart, drops twins and noise, and says why."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgehaul.errors import DatasetError
from edgehaul_tools.commands import edgehaul
from edgehaul_tools.dataset.feature_report import ranking_record, ranking_text, write_report
from edgehaul_tools.dataset.feature_selection import FeatureRanking, rank_features
from edgehaul_tools.dataset.feature_windows import load_feature_windows
from edgehaul_tools.dataset.series import Series, write_series_dataset
from edgehaul_tools.dataset.traces import AnomalySpan
from edgehaul_tools.dataset.virtual import generate_truck_dataset

CHANNELS = ("load", "load_twin", "tilt", "noise", "constant")


def recording(number: int, label: str = "event") -> Series:
    """Return 280 s in which load rises in events of one kind, and tilt in those of another."""
    random = np.random.default_rng(number)
    time_s = np.arange(280.0)
    values = random.normal(0, 0.3, (280, 5)).astype(np.float32)
    spans = []
    for start in range(20, 260, 60):
        is_shift = label == "event" and start % 120 == 20
        values[start : start + 20, 2 if is_shift else 0] += 3.0
        name = "shift" if is_shift else label
        spans.append(AnomalySpan(name, float(start), float(start + 19)))
    values[:, 1] = 2 * values[:, 0] + 1
    values[:, 4] = 7
    return Series(f"r{number}", time_s, CHANNELS, values, tuple(spans))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings whose labels depend on two of five channels."""
    path = tmp_path_factory.mktemp("series")
    write_series_dataset(path, [recording(number) for number in range(3)])
    return path


@pytest.fixture(scope="module")
def ranking(dataset: Path) -> FeatureRanking:
    """The ranking of that dataset."""
    return rank_features(dataset, window=8, interval_s=1.0)


def test_what_matters_is_recommended_and_the_rest_says_why_not(ranking: FeatureRanking) -> None:
    assert set(ranking.recommended) in ({"load", "tilt"}, {"load_twin", "tilt"})
    reasons = {feature.name: feature.reason for feature in ranking.features}
    twin = "load_twin" if "load" in ranking.recommended else "load"
    assert "says the same as" in reasons[twin]
    assert reasons["constant"] == "never changes here"
    assert "lost" in reasons["tilt"]
    assert reasons["noise"] in {"tells no more than by chance", "the others make up for it"}
    assert ranking.macro_f1_recommended > 0.9
    assert (ranking.groups, ranking.grouped_by) == (3, "recording")
    assert [f.recommended for f in ranking.features][:3] == [True, True, False]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_ranking(dataset: Path, ranking: FeatureRanking) -> None:
    again = rank_features(dataset, window=8, interval_s=1.0)
    assert ranking_record(again) == ranking_record(ranking)


def test_text_and_report_hold_every_feature(ranking: FeatureRanking, tmp_path: Path) -> None:
    text = ranking_text(ranking)
    out = tmp_path / "report.html"
    write_report(ranking, out)
    page = out.read_text(encoding="utf-8")
    for name in CHANNELS:
        assert name in text
        assert name in page
    assert "data:image/png;base64," in page
    assert "http" not in page, "it needs nothing from elsewhere"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(DatasetError, match="cannot write the report"):
        write_report(ranking, tmp_path / "absent" / "report.html")


def test_few_recordings_are_divided_into_blocks(tmp_path: Path) -> None:
    write_series_dataset(tmp_path, [recording(1), recording(2)])
    windows = load_feature_windows(tmp_path, 8, 1.0)
    assert windows.grouped_by == "block"
    assert sorted(set(windows.groups.tolist())) == list(range(20))
    labelled = load_feature_windows(tmp_path, 8, 1.0, labelled_only=True)
    assert set(labelled.labels.tolist()) == {"event", "shift"}
    assert len(labelled) < len(windows)


def test_windows_with_a_piece_of_an_event_are_left_out(tmp_path: Path) -> None:
    values = np.zeros((60, 1), dtype=np.float32)
    spans = (AnomalySpan("event", 30.0, 45.0),)
    write_series_dataset(tmp_path, [Series("a", np.arange(60.0), ("v",), values, spans)])
    windows = load_feature_windows(tmp_path, 9, 1.0)
    # Ends at 8, 10, ... 58; the second half lasts 4 s; ends at 31 and 49 hold a second of it.
    ends = [8 + 2 * i for i in range(26)]
    expected = sum(30 + 2 <= end <= 45 + 2 for end in ends)
    assert (windows.labels == "event").sum() == expected


@pytest.mark.parametrize(
    ("count", "labels", "window", "words"),
    [
        (4, (), 8, "all windows show 'normal': there is nothing to tell apart"),
        (4, ("event",), 5000, "nothing in here is 5000 steps of 1 s long"),
    ],
)
def test_datasets_that_cannot_be_ranked(
    tmp_path: Path, count: int, labels: tuple[str, ...], window: int, words: str
) -> None:
    found = [recording(number) for number in range(count)]
    if not labels:
        found = [Series(s.name, s.time_s, s.channels, s.values) for s in found]
    write_series_dataset(tmp_path, found)
    with pytest.raises(DatasetError, match=words) as caught:
        rank_features(tmp_path, window=window, interval_s=1.0)
    assert caught.value.remedy


def test_a_label_of_one_recording_alone_cannot_be_judged(tmp_path: Path) -> None:
    found = [recording(number, label) for number, label in enumerate(("x", "y", "z"))]
    write_series_dataset(tmp_path, found)
    with pytest.raises(DatasetError, match="fewer than two labels are in more than one recording"):
        rank_features(tmp_path, window=8, interval_s=1.0, labelled_only=True)


@pytest.mark.slow
def test_the_command_on_virtual_trucks(tmp_path: Path) -> None:
    generate_truck_dataset(tmp_path / "trucks", 3, seed=1, duration_s=400)
    out = tmp_path / "report.html"
    arguments = ["data", "features", str(tmp_path / "trucks"), "--out", str(out), "--json"]
    result = CliRunner().invoke(edgehaul, arguments, catch_exceptions=False)
    record = json.loads(result.stdout)
    assert result.exit_code == 0
    assert len(record["features"]) == 22
    assert set(record["recommended"]) <= {feature["name"] for feature in record["features"]}
    assert out.is_file()


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    result = CliRunner().invoke(edgehaul, ["data", "features", str(tmp_path)])
    assert isinstance(result.exception, DatasetError)
    assert "labels.json" in str(result.exception)
