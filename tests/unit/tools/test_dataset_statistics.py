import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edgehaul.geometry import Box
from edgehaul_tools.dataset.coco import read_coco, write_coco
from edgehaul_tools.dataset.command import split_command, stats
from edgehaul_tools.dataset.grouping import regrouped
from edgehaul_tools.dataset.samples import DetectionDataset, Part, Sample, TrueBox
from edgehaul_tools.dataset.series import Series, write_series_dataset
from edgehaul_tools.dataset.statistics import (
    picture_statistics,
    series_statistics,
    trace_statistics,
)
from edgehaul_tools.dataset.traces import AnomalySpan
from edgehaul_tools.dataset.virtual import generate_truck_dataset

PARTS: tuple[Part, ...] = ("train", "train", "val", "test")


@pytest.fixture
def written(tmp_path: Path) -> DetectionDataset:
    """Two videos of two frames each; every picture has a small bag, the first a box, too."""
    samples = []
    rng = np.random.default_rng(0)
    for number, part in enumerate(PARTS):
        path = tmp_path / f"cam{number // 2}_{number:04d}.png"
        cv2.imwrite(str(path), rng.integers(0, 255, (120, 200, 3)).astype(np.uint8))
        boxes = [TrueBox(Box(10, 10, 30, 20), 1)]
        boxes += [TrueBox(Box(0, 0, 120, 100), 0)] if number == 0 else []
        samples.append(Sample(path, f"day{number}", 200, 120, tuple(boxes), part=part))
    dataset = DetectionDataset(tmp_path, ("box", "bag", "tyre"), tuple(samples))
    write_coco(dataset, tmp_path / "annotations.json")
    return dataset


def test_figures_on_pictures(written: DetectionDataset) -> None:
    found = picture_statistics(written, "coco")

    assert found["objects"] == {"box": 1, "bag": 4, "tyre": 0}
    assert found["parts"] == {"train": 2, "val": 1, "test": 1}
    assert found["objects_by_part"] == {
        "train": {"box": 1, "bag": 2, "tyre": 0},
        "val": {"box": 0, "bag": 1, "tyre": 0},
        "test": {"box": 0, "bag": 1, "tyre": 0},
    }
    assert found["imbalance_ratio"] == 4.0
    sizes = found["object_sizes"]
    assert isinstance(sizes, dict)
    assert sizes["bag"]["width_px"]["median"] == 20
    assert (sizes["bag"]["small"], sizes["box"]["large"]) == (4, 1)
    assert "tyre" not in sizes


def test_figures_on_trips(tmp_path: Path) -> None:
    generate_truck_dataset(tmp_path, 2, 1, duration_s=600)

    found = trace_statistics(tmp_path)

    assert (found["trips"], found["rate_hz"], found["with_speed"]) == (2, 1.0, 1.0)
    assert found["hours"] == pytest.approx(1 / 3, abs=0.01)
    events, counts = found["events"], found["anomalies"]
    assert isinstance(events, dict)
    assert isinstance(counts, dict)
    assert events.keys() == counts.keys()
    assert all(event["total_s"] > 0 for event in events.values())


def test_figures_on_series(tmp_path: Path) -> None:
    values = np.array([[1, 2], [3, np.nan], [5, 6], [7, 8]], np.float32)
    spans = (AnomalySpan("shock", 0.5, 1.0),)
    write_series_dataset(tmp_path, [Series("a", np.arange(4) * 0.5, ("x", "y"), values, spans)])

    found = series_statistics(tmp_path)

    assert (found["samples"], found["channels"], found["rate_hz"]) == (4, ["x", "y"], 2.0)
    assert found["missing"] == 0.125
    assert found["events"] == {"shock": {"recordings": 1, "total_s": 0.5, "median_s": 0.5}}


def test_the_command_tells_the_same_on_a_terminal(written: DetectionDataset) -> None:
    run = CliRunner()
    told = run.invoke(stats, [str(written.root)])
    whole = json.loads(run.invoke(stats, [str(written.root), "--json"]).output)

    assert told.exception is None
    assert "  train            box 1, bag 2, tyre 0" in told.output
    assert "width_px 20..20..20" in told.output
    assert whole["near_duplicates"] == 0
    assert whole["object_sizes"]["bag"]["small"] == 4


@pytest.mark.parametrize(
    ("by", "groups"), [("dataset", 4), ("folder", 1), ("prefix", 2), ("none", 4)]
)
def test_groups_of_other_kinds(written: DetectionDataset, by: str, groups: int) -> None:
    assert len({sample.group for sample in regrouped(written, by).samples}) == groups


def test_a_split_by_prefix_keeps_videos_whole(written: DetectionDataset, tmp_path: Path) -> None:
    out = tmp_path / "parts"
    arguments = [written.root, "--out", out, "--group-by", "prefix", "--fractions", 0.5, 0.5, 0]

    result = CliRunner().invoke(split_command, [str(argument) for argument in arguments])

    assert result.exception is None
    for name in ("train", "val"):
        content = json.loads((out / f"{name}.json").read_bytes())
        # The parts that the pictures came in are of no account any more.
        assert {image["part"] for image in content["images"]} == {name}
        cameras = {s.path.name.partition("_")[0] for s in read_coco(out / f"{name}.json").samples}
        assert len(cameras) == 1
    assert not (out / "test.json").exists()
