"""`edgehaul data import` and `edgehaul data export`, as they are called."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgehaul.errors import DatasetError, UsageError
from edgehaul_tools.dataset.export_command import export_command
from edgehaul_tools.dataset.import_command import import_command
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.virtual import generate_truck_dataset


def call(command: str, *arguments: object) -> Result:
    table = {"import": import_command, "export": export_command}
    result = CliRunner().invoke(table[command], [str(v) for v in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Pictures of two classes, in two parts."""
    for name in ("train/van/1", "train/bus/2", "test/van/3"):
        path = tmp_path / "src" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.zeros((30, 40, 3), np.uint8))
    return tmp_path / "src"


def test_in_and_out_again(classes: Path, tmp_path: Path) -> None:
    about = ("--name", "cars", "--version", "3", "--licence", "MIT", "--origin", "here")
    done = call("import", classes, "--out", tmp_path / "ours", *about, "--json")
    summary = json.loads(done.stdout)
    assert (summary["name"], summary["version"], summary["licence"]) == ("cars", "3", "MIT")
    assert summary["counts"] == {"train": 2, "test": 1}
    assert summary["objects"] == {"bus": 1, "van": 2}

    done = call(
        "export",
        tmp_path / "ours",
        "--form",
        "csv",
        "--out",
        tmp_path / "csv",
        "--link",
        "hardlink",
    )
    assert "wrote 3 pictures with 3 marks" in done.stdout
    again = read_dataset(tmp_path / "csv")
    assert [(s.part, s.class_id) for s in again.samples] == [
        ("test", 1),
        ("train", 0),
        ("train", 1),
    ]


def test_dry_runs_write_nothing(classes: Path, tmp_path: Path) -> None:
    done = call("import", classes, "--out", tmp_path / "out", "--dry-run", "--json")
    assert json.loads(done.stdout) == {
        "form": "folder",
        "written": False,
        "task": "classify",
        "images": 3,
        "labels": ["bus", "van"],
        "faults": [],
    }
    done = call(
        "export", classes, "--form", "yolo", "--out", tmp_path / "out", "--dry-run", "--json"
    )
    summary = json.loads(done.stdout)
    assert (summary["written"], summary["images"], summary["lost"]) == (False, 3, [])
    assert [path.name for path in tmp_path.iterdir()] == ["src"]
    with pytest.raises(DatasetError, match="no empty folder"):
        call("import", classes, "--out", classes, "--dry-run")


def test_what_is_lost_is_said(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    for number in range(2):
        assert cv2.imwrite(str(tmp_path / "src" / f"{number}.png"), np.zeros((30, 40, 3), np.uint8))
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "group": "dock"} for n in range(2)],
        "categories": [{"id": 1, "name": "van"}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [1, 1, 9, 9], "iscrowd": n}
            for n in range(2)
        ],
    }
    (tmp_path / "src" / "annotations.json").write_text(json.dumps(content))
    done = call("export", tmp_path / "src", "--form", "yolo", "--out", tmp_path / "out")
    assert "not held by this form: 1 ignored marks" in done.stdout
    assert "not held by this form: the names of the groups" in done.stdout


def test_traces_are_imported_by_their_own_reader(tmp_path: Path) -> None:
    generate_truck_dataset(tmp_path / "truck", 1, 1, duration_s=60)
    (path,) = (tmp_path / "truck" / "trips").glob("*.gpx")
    for name, form in (("a", ()), ("b", ("--form", "gps"))):
        done = call("import", path, "--out", tmp_path / name, *form, "--json")
        summary = json.loads(done.stdout)
        assert (summary["form"], summary["names"], summary["rejected"]) == ("trips", 1, 0)
    (tmp_path / "many").mkdir()
    path.rename(tmp_path / "many" / path.name)
    assert call("import", tmp_path / "many", "--out", tmp_path / "c").stdout.startswith("path")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--every", 2, "--fps", 3), "exclude each other"),
        (("--column", "speed_mps"), "must be FIELD=TITLE"),
        (("--form", "folder", "--column", "a=b"), "--column is for traces"),
        (("--form", "gps", "--dry-run"), "--dry-run is for pictures"),
    ],
)
def test_options_that_do_not_fit(
    classes: Path, tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        call("import", classes, "--out", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()
