"""What is exported in a form is read back the same, up to the digits that it is written with."""

import functools
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehaul.errors import DatasetError, UsageError
from edgehaul.geometry import Box
from edgehaul_tools.dataset.export_dataset import WRITERS, export_dataset
from edgehaul_tools.dataset.import_dataset import ImportOptions, import_dataset
from edgehaul_tools.dataset.read import detect_form, read_dataset
from edgehaul_tools.dataset.samples import (
    DetectionDataset,
    Part,
    Sample,
    TrueBox,
    whole_picture,
)

PARTS: tuple[Part, ...] = ("", "train", "val", "test")
SIZES = ((40, 30), (64, 48), (33, 97))
TOLERANCE_PX = 0.001


@functools.cache
def png(width: int, height: int) -> bytes:
    _, content = cv2.imencode(".png", np.zeros((height, width), np.uint8))
    return content.tobytes()


def box(width: int, height: int) -> st.SearchStrategy[Box]:
    def made(x: float, y: float, right: float, down: float) -> Box:
        return Box(
            x * (width - 3), y * (height - 3), *(x_to(x, right, width), x_to(y, down, height))
        )

    def x_to(start: float, share: float, side: int) -> float:
        first = start * (side - 3)
        return first + 2.5 + share * (side - first - 2.5)

    share = st.floats(0, 1)
    return st.builds(made, share, share, share, share)


LABEL = st.text("abcXYZ äß&<'车-_1", min_size=1, max_size=6).map(str.strip)
LABELS = st.lists(LABEL.filter(bool), min_size=1, max_size=4, unique=True).map(tuple)


@st.composite
def datasets(draw: st.DrawFn, *, whole: bool) -> DetectionDataset:
    """Pictures named so that their names tell no groups; the files are made later."""
    labels = draw(LABELS)
    samples = []
    for number in range(draw(st.integers(1, 4))):
        width, height = draw(st.sampled_from(SIZES))
        class_ids = st.integers(0, len(labels) - 1)
        if whole:
            boxes = (whole_picture(width, height, draw(class_ids)),)
            ignored: tuple[Box, ...] = ()
        else:
            marks = st.builds(TrueBox, box(width, height), class_ids)
            boxes = tuple(draw(st.lists(marks, max_size=3)))
            ignored = tuple(draw(st.lists(box(width, height), max_size=1)))
        name = Path(f"picture ä{number}.png")
        group = draw(st.sampled_from(["dock 1", "dock 2", "车"]))
        part = draw(st.sampled_from(PARTS))
        samples.append(Sample(name, group, width, height, boxes, ignored, part))
    return DetectionDataset(Path(), labels, tuple(samples))


def with_files(dataset: DetectionDataset, root: Path) -> DetectionDataset:
    placed = []
    for sample in dataset.samples:
        (root / sample.path).write_bytes(png(sample.width, sample.height))
        placed.append(Sample(root / sample.path, *list(vars(sample).values())[1:]))
    return DetectionDataset(root, dataset.labels, tuple(placed))


def sides(marks: tuple[Box, ...]) -> list[float]:
    return [side for mark in marks for side in (mark.x1, mark.y1, mark.x2, mark.y2)]


def assert_same(again: DetectionDataset, first: DetectionDataset, form: str) -> None:
    assert again.labels == first.labels
    assert not again.faults
    found = {sample.path.name: sample for sample in again.samples}
    assert len(found) == len(first.samples)
    for sample in first.samples:
        other = found[sample.path.name]
        assert (other.width, other.height) == (sample.width, sample.height)
        assert [m.class_id for m in other.boxes] == [m.class_id for m in sample.boxes]
        marks, others = (tuple(m.box for m in s.boxes) for s in (sample, other))
        assert sides(others) == pytest.approx(sides(marks), abs=TOLERANCE_PX)
        if WRITERS[form].ignored:
            assert sides(other.ignored) == pytest.approx(sides(sample.ignored), abs=TOLERANCE_PX)
        if WRITERS[form].groups:
            assert other.group == sample.group
        if form != "folder":
            assert other.part == sample.part


@pytest.mark.parametrize("form", [form for form, writer in WRITERS.items() if writer.boxes])
def test_boxes_come_back(form: str) -> None:
    @settings(max_examples=20, deadline=None)
    @given(datasets(whole=False))
    def check(dataset: DetectionDataset) -> None:
        with tempfile.TemporaryDirectory() as folder:
            first = with_files(dataset, Path(folder))
            export_dataset(first, form, Path(folder) / "out")
            assert detect_form(Path(folder) / "out") == form
            assert_same(read_dataset(Path(folder) / "out"), first, form)

    check()


@pytest.mark.parametrize("form", WRITERS)
def test_classes_come_back(form: str) -> None:
    @settings(max_examples=20, deadline=None)
    @given(datasets(whole=True))
    def check(dataset: DetectionDataset) -> None:
        with tempfile.TemporaryDirectory() as folder:
            first = with_files(dataset, Path(folder))
            export_dataset(first, form, Path(folder) / "out")
            assert detect_form(Path(folder) / "out") == form
            again = read_dataset(Path(folder) / "out")
            assert again.task == "classify"
            assert_same(again, first, form)

    check()


@settings(max_examples=20, deadline=None)
@given(st.booleans().flatmap(lambda whole: datasets(whole=whole)))
def test_an_import_holds_all_of_it(dataset: DetectionDataset) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        first = with_files(dataset, root)
        export_dataset(first, "coco", root / "coco")
        source = read_dataset(root / "coco")
        import_dataset(root / "coco", root / "ours", ImportOptions())
        again = read_dataset(root / "ours")

        assert again.labels == source.labels
        assert sorted(
            (s.path.name, s.boxes, s.ignored, s.group, s.part) for s in again.samples
        ) == (sorted((s.path.name, s.boxes, s.ignored, s.group, s.part) for s in source.samples))


def whole(root: Path, labels: tuple[str, ...], parts: tuple[Part, ...]) -> DetectionDataset:
    samples = [
        Sample(Path(f"{n}.png"), "g", 40, 30, (whole_picture(40, 30, 0),), part=part)
        for n, part in enumerate(parts)
    ]
    return with_files(DetectionDataset(root, labels, tuple(samples)), root)


def test_folders_keep_parts_where_they_would_be_read_as_such(tmp_path: Path) -> None:
    dataset = whole(tmp_path, ("good",), ("train", "test"))
    assert not export_dataset(dataset, "folder", tmp_path / "a").lost[1:]
    assert [s.part for s in read_dataset(tmp_path / "a").samples] == ["test", "train"]

    report = export_dataset(whole(tmp_path, ("good",), ("test",)), "folder", tmp_path / "b")
    assert any("the parts" in line for line in report.lost)
    assert read_dataset(tmp_path / "b").labels == ("good",)


@pytest.mark.parametrize("label", ["a/b", "..", ".hidden", "train"])
def test_classes_that_cannot_be_folders(tmp_path: Path, label: str) -> None:
    with pytest.raises(DatasetError, match="cannot be called so as a folder"):
        export_dataset(whole(tmp_path, (label,), ("",)), "folder", tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_forms_that_cannot_hold_a_dataset(tmp_path: Path) -> None:
    sample = Sample(Path("a.png"), "g", 40, 30, (TrueBox(Box(1, 1, 9, 9), 0),))
    boxes = with_files(DetectionDataset(tmp_path, ("van",), (sample,)), tmp_path)
    with pytest.raises(DatasetError, match=r"one class for each picture.*coco, voc, yolo"):
        export_dataset(boxes, "csv", tmp_path / "out")
    bare = with_files(
        DetectionDataset(tmp_path, (), (Sample(*list(vars(sample).values())[:4], ()),)), tmp_path
    )
    with pytest.raises(DatasetError, match="needs classes"):
        export_dataset(bare, "yolo", tmp_path / "out")
    with pytest.raises(UsageError, match="choose of coco"):
        export_dataset(bare, "tfrecord", tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("form", [form for form, writer in WRITERS.items() if writer.unlabelled])
def test_pictures_without_marks_stay_so(tmp_path: Path, form: str) -> None:
    samples = (Sample(Path("a.png"), "g", 40, 30, ()), Sample(Path("b.png"), "h", 64, 48, ()))
    bare = with_files(DetectionDataset(tmp_path, (), samples), tmp_path)
    export_dataset(bare, form, tmp_path / "out")
    again = read_dataset(tmp_path / "out", form)
    assert again.labels == ()
    assert [s.boxes for s in again.samples] == [(), ()]


@pytest.mark.parametrize("form", ["voc", "yolo"])
def test_pictures_whose_marks_would_have_one_name(tmp_path: Path, form: str) -> None:
    for name in ("x/a.png", "y/a.png", "y/a.bmp"):
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.zeros((30, 40, 3), np.uint8))
    paths = sorted((tmp_path / "src").rglob("a.*"))
    samples = [
        Sample(path, "g", 40, 30, (TrueBox(Box(1, 1, 9, 9 + number), 0),))
        for number, path in enumerate(paths)
    ]
    export_dataset(DetectionDataset(tmp_path, ("van",), tuple(samples)), form, tmp_path / "out")
    again = read_dataset(tmp_path / "out")
    assert sorted(round(s.boxes[0].box.y2) for s in again.samples) == [9, 10, 11]


def test_other_trainers_find_the_labels_of_a_yolo_export(tmp_path: Path) -> None:
    """They replace the last ``images`` of a path, and look where ``data.yaml`` says."""
    source = tmp_path / "images" / "source"
    names = ("train/images/a.png", "train/images/deep/a.png", "valid/images/a.png", "test/a.png")
    for name in names:
        for folder, content in (("images", png(40, 30)), ("labels", b"0 0.5 0.5 0.5 0.5\n")):
            file = (source / name.replace("images", folder)).with_suffix(
                ".png" if folder == "images" else ".txt"
            )
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    (source / "data.yaml").write_text("names: [van]\ntrain: ../train/images\nval: ../valid/images")
    import_dataset(source, tmp_path / "ours", ImportOptions())
    export_dataset(read_dataset(tmp_path / "ours"), "yolo", tmp_path / "images" / "out")

    root = tmp_path / "images" / "out"
    found = sorted(root.rglob("*.png"))
    marks = [Path("/labels/".join(str(p).rsplit("/images/", 1))).with_suffix(".txt") for p in found]
    assert all(file.is_file() for file in marks)
    assert sorted(root.rglob("*.txt")) == sorted(marks)
    assert [path.parent.relative_to(root).as_posix() for path in found] == [
        "images/test",
        "images/train",
        "images/train/deep",
        "images/val",
    ]
    again = read_dataset(root)
    assert sorted(sample.part for sample in again.samples) == ["test", "train", "train", "val"]
    assert all(len(sample.boxes) == 1 for sample in again.samples)
