import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehaul.errors import DatasetError, UsageError
from edgehaul.geometry import Box
from edgehaul_tools.dataset.coco import write_coco
from edgehaul_tools.dataset.groups import guess_groups
from edgehaul_tools.dataset.read import detect_form, read_dataset
from edgehaul_tools.dataset.samples import TrueBox


def picture(path: Path, width: int = 80, height: int = 60) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path))).integers(0, 255, (height, width, 3))
    assert cv2.imwrite(str(path), noise.astype(np.uint8))
    return path


def coco(root: Path, **changes: object) -> Path:
    picture(root / "images" / "a.jpg")
    picture(root / "images" / "b.png")
    content: dict[str, object] = {
        "info": {"year": 2026},
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 80, "height": 60, "group": "dock"},
            {"id": 9, "file_name": "b.png", "width": 80, "height": 60},
        ],
        "categories": [{"id": 30, "name": "van"}, {"id": 4, "name": "parcel"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 30, "bbox": [10, 20, 30, 15]},
            {"id": 2, "image_id": 7, "category_id": 4, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        ],
    }
    (root / "annotations.json").write_text(json.dumps(content | changes))
    return root


def voc(root: Path, *objects: tuple[str, tuple[int, int, int, int], int]) -> Path:
    picture(root / "JPEGImages" / "a.jpg")
    (root / "Annotations").mkdir(exist_ok=True)
    marks = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{b[0]}</xmin>"
        f"<ymin>{b[1]}</ymin><xmax>{b[2]}</xmax><ymax>{b[3]}</ymax></bndbox></object>"
        for name, b, difficult in objects
    )
    (root / "Annotations" / "a.xml").write_text(f"<annotation>{marks}</annotation>")
    return root


def yolo(root: Path, labels: str, names: str = "names: [parcel, van]") -> Path:
    picture(root / "images" / "train" / "a.jpg")
    picture(root / "images" / "val" / "background.jpg")
    (root / "labels" / "train").mkdir(parents=True)
    (root / "labels" / "train" / "a.txt").write_text(labels)
    (root / "data.yaml").write_text(names)
    return root


def test_coco_with_gaps_in_its_ids_and_crowds(tmp_path: Path) -> None:
    dataset = read_dataset(coco(tmp_path))

    assert detect_form(tmp_path) == "coco"
    assert dataset.labels == ("parcel", "van")
    first, second = dataset.samples
    assert first.boxes == (TrueBox(Box(10, 20, 40, 35), 1),)
    assert first.ignored == (Box(0, 0, 9, 9),)
    assert (first.group, first.width, first.height) == ("dock", 80, 60)
    assert not second.boxes


def test_coco_is_written_as_it_was_read(tmp_path: Path) -> None:
    dataset = read_dataset(coco(tmp_path / "first"))
    (tmp_path / "second").mkdir()
    write_coco(dataset, tmp_path / "second" / "part.json")
    again = read_dataset(tmp_path / "second" / "part.json")

    assert again.labels == dataset.labels
    assert [(s.boxes, s.ignored, s.group) for s in again.samples] == [
        (s.boxes, s.ignored, s.group) for s in dataset.samples
    ]
    assert [s.path.resolve() for s in again.samples] == [s.path for s in dataset.samples]


def test_voc_counts_pixels_from_one(tmp_path: Path) -> None:
    marks = (("van", (1, 1, 80, 60), 0), ("bus", (11, 21, 40, 35), 0), ("van", (2, 2, 9, 9), 1))
    dataset = read_dataset(voc(tmp_path, *marks))

    assert detect_form(tmp_path) == "voc"
    assert dataset.labels == ("bus", "van")
    expected = (TrueBox(Box(0, 0, 80, 60), 1), TrueBox(Box(10, 20, 40, 35), 0))
    assert dataset.samples[0].boxes == expected
    assert dataset.samples[0].ignored == (Box(1, 1, 9, 9),)


def test_yolo_boxes_segments_and_background(tmp_path: Path) -> None:
    text = "1 0.5 0.5 0.25 0.5\n\n0 0.25 0.5 0.5 0.5 0.5 0.75\n"
    dataset = read_dataset(yolo(tmp_path, text, "names: {0: parcel, 1: van}"))

    assert detect_form(tmp_path) == "yolo"
    assert dataset.labels == ("parcel", "van")
    expected = (TrueBox(Box(30, 15, 50, 45), 1), TrueBox(Box(20, 30, 40, 45), 0))
    assert dataset.samples[0].boxes == expected
    assert dataset.samples[1].boxes == ()


def test_yolo_classes_that_an_array_wrote_as_floats(tmp_path: Path) -> None:
    dataset = read_dataset(yolo(tmp_path, "1.000000e+00 0.5 0.5 0.25 0.5\n0.0 0.5 0.5 0.5 0.5\n"))
    assert [mark.class_id for mark in dataset.samples[0].boxes] == [1, 0]


@pytest.mark.parametrize(
    "labels", ["labels/train/images/a.txt", "images/train/labels/a.txt"], ids=["first", "last"]
)
def test_yolo_marks_where_images_is_twice_in_the_path(tmp_path: Path, labels: str) -> None:
    picture(tmp_path / "images" / "train" / "images" / "a.jpg")
    (tmp_path / labels).parent.mkdir(parents=True)
    (tmp_path / labels).write_text("0 0.5 0.5 0.25 0.5\n")
    (tmp_path / "data.yaml").write_text("names: [van]")
    (sample,) = read_dataset(tmp_path).samples
    assert len(sample.boxes) == 1


def test_image_folders_with_and_without_classes(tmp_path: Path) -> None:
    picture(tmp_path / "good" / "1.jpg")
    picture(tmp_path / "bad" / "2.png")
    picture(tmp_path / ".cache" / "3.png")
    dataset = read_dataset(tmp_path)

    assert detect_form(tmp_path) == "folder"
    assert dataset.labels == ("bad", "good")
    assert [s.boxes[0].class_id for s in dataset.samples] == [0, 1]
    assert read_dataset(tmp_path / "good").labels == ()


@pytest.mark.parametrize(
    ("bbox", "boxes", "fault"),
    [
        ([5, 5, 0, 10], 0, "has no area; dropped"),
        ([5, 5, -4, 10], 0, "has no area; dropped"),
        ([90, 5, 10, 10], 0, "is outside 80x60; dropped"),
        ([70, 5, 20, 10], 1, "reaches outside 80x60; cut"),
        ([-0.5, 0, 20, 10], 1, None),
    ],
)
def test_bad_boxes_are_dropped_or_cut_and_told(
    tmp_path: Path, bbox: list[float], boxes: int, fault: str | None
) -> None:
    marks = [{"id": 5, "image_id": 7, "category_id": 4, "bbox": bbox}]
    dataset = read_dataset(coco(tmp_path, annotations=marks))

    assert len(dataset.samples[0].boxes) == boxes
    assert len(dataset.faults) == (fault is not None)
    assert all("a.jpg: annotation 5" in line and str(fault) in line for line in dataset.faults)


def test_all_fatal_faults_are_told_at_once(tmp_path: Path) -> None:
    root = coco(
        tmp_path,
        annotations=[
            {"id": 1, "image_id": 7, "category_id": 99, "bbox": [1, 1, 5, 5]},
            {"id": 2, "image_id": 1234, "category_id": 4, "bbox": [1, 1, 5, 5]},
        ],
    )
    (root / "images" / "b.png").unlink()

    with pytest.raises(DatasetError) as caught:
        read_dataset(root)
    for text in ("3 faults", "category 99 is not listed", "b.png: the picture is missing", "1234"):
        assert text in str(caught.value)


def test_no_more_than_twenty_faults_are_shown(tmp_path: Path) -> None:
    lines = "\n".join(f"{class_id} 0.5 0.5 0.1 0.1" for class_id in range(2, 27))
    with pytest.raises(DatasetError, match=r"25 faults .*a\.txt:20: class 21 .* and 5 more"):
        read_dataset(yolo(tmp_path, lines))


@pytest.mark.parametrize("name", ["a.jpg", "b.png"])
@pytest.mark.parametrize("kept", [0, 10, 0.7])
def test_damaged_pictures_are_found(tmp_path: Path, name: str, kept: float) -> None:
    path = coco(tmp_path) / "images" / name
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else int(kept)])

    with pytest.raises(DatasetError, match=f"{name}: the picture is damaged or cut short"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a\0.png", r"a\x00.png"), ("n" * 5000 + ".png", "n" * 56 + ".png")],
    ids=["NUL", "long"],
)
@pytest.mark.parametrize("form", ["coco", "csv", "label-studio"])
def test_pictures_with_names_that_no_file_can_have(
    tmp_path: Path, form: str, name: str, shown: str
) -> None:
    files = {
        "coco": {"images": [{"id": 1, "file_name": name}], "categories": []},
        "label-studio": [{"data": {"image": name}}],
    }
    if form == "csv":
        (tmp_path / "labels.csv").write_text(f"path,label\n{name},x\n")
    else:
        (tmp_path / "marks.json").write_text(json.dumps(files[form]))

    with pytest.raises(DatasetError) as caught:
        read_dataset(tmp_path)
    assert f"{shown}: the picture has a name that no file can have" in str(caught.value)
    assert "1 fault in this dataset" in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_marks_with_a_name_that_is_too_long_for_a_picture(tmp_path: Path) -> None:
    file = voc(tmp_path) / "Annotations" / "a.xml"
    file.rename(file.with_stem("n" * 251))
    # The picture may be called so with `.jpg`, and not with `.jpeg`.
    with pytest.raises(DatasetError, match=r"nn\.jpg: the picture is missing"):
        read_dataset(tmp_path)


def test_parts_with_names_that_no_file_can_have(tmp_path: Path) -> None:
    root = yolo(tmp_path, "0 0.5 0.5 0.1 0.1")
    (root / "list.txt").write_text("m" * 5000 + ".jpg\n")
    text = (root / "data.yaml").read_text()
    (root / "data.yaml").write_text(f"{text}\ntrain: list.txt\nval: {'n' * 5000}\n")
    with pytest.raises(DatasetError, match=r"m{56}\.jpg: the picture has a name that no") as caught:
        read_dataset(root)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(("orientation", "size"), [(1, (80, 60)), (6, (60, 80)), (8, (60, 80))])
@pytest.mark.parametrize("order", ["little", "big"])
def test_photos_taken_sideways_have_the_size_that_opencv_shows(
    tmp_path: Path, orientation: int, size: tuple[int, int], order: str
) -> None:
    path = picture(tmp_path / "photo.jpg")
    mark = b"II" if order == "little" else b"MM"
    fields = [(42, 2), (8, 4), (1, 2), (0x0112, 2), (3, 2), (1, 4), (orientation, 2), (0, 6)]
    exif = b"Exif\0\0" + mark + b"".join(v.to_bytes(n, order) for v, n in fields)
    plain = path.read_bytes()
    path.write_bytes(
        plain[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + plain[2:]
    )
    sample = read_dataset(tmp_path).samples[0]

    assert (sample.width, sample.height) == size
    assert cv2.imread(str(path)).shape[:2] == (size[1], size[0])


def test_a_picture_of_another_size_than_marked(tmp_path: Path) -> None:
    picture(coco(tmp_path) / "images" / "a.jpg", 40, 30)
    with pytest.raises(DatasetError, match="marked as 80x60, but it is 40x30"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ("0 0.5 0.5 0.1", "names: [a]", r"a\.txt:1: 4 fields"),
        ("0 x 0.5 0.1 0.1", "names: [a]", r"a\.txt:1: 'x' is no number"),
        ("x 0.5 0.5 0.1 0.1", "names: [a]", r"a\.txt:1: 'x' is no number"),
        ("0.5 0.5 0.5 0.1 0.1", "names: [a]", r"a\.txt:1: class '0\.5' is no whole number"),
        ("nan 0.5 0.5 0.1 0.1", "names: [a]", r"a\.txt:1: class 'nan' is no whole number"),
        ("\x00\x01", "names: [a]", r"a\.txt:1: "),
        ("-1 0.5 0.5 0.1 0.1", "names: [a]", r"class -1 is not in 0\.\.0"),
        ("", "names: {1: a}", "must list the classes"),
        ("", "names: [a", "this is no YAML"),
        ("", "nc: 3", "must list the classes"),
    ],
)
def test_wrong_yolo_files(tmp_path: Path, labels: str, names: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_dataset(yolo(tmp_path, labels, names))


@pytest.mark.parametrize("text", ["<annotation>", "<!DOCTYPE a [<!ENTITY x 'y'>]><annotation/>"])
def test_wrong_xml(tmp_path: Path, text: str) -> None:
    voc(tmp_path)
    (tmp_path / "Annotations" / "a.xml").write_text(text)
    with pytest.raises(DatasetError, match=r"a\.xml"):
        read_dataset(tmp_path)


def test_wrong_json_and_missing_things(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text('{"images": 3}')
    with pytest.raises(DatasetError, match="no COCO file"):
        read_dataset(tmp_path / "annotations.json")
    with pytest.raises(DatasetError, match="nothing is here"):
        read_dataset(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="no pictures are here"):
        read_dataset(tmp_path)
    with pytest.raises(UsageError, match="auto, coco, voc, yolo, folder"):
        read_dataset(tmp_path, "tfrecord")


def test_numbers_and_names_that_stand_twice(tmp_path: Path) -> None:
    image = {"file_name": "a.jpg", "width": 80, "height": 60}
    twice = [{"id": 7, **image}, {"id": 7, **image, "file_name": "b.png"}]
    with pytest.raises(DatasetError, match="the id 7 stands for more than one image"):
        read_dataset(coco(tmp_path, images=twice, annotations=[]))
    categories = [{"id": 4, "name": "van"}, {"id": 4, "name": "parcel"}]
    with pytest.raises(DatasetError, match="the id 4 stands for more than one category"):
        read_dataset(coco(tmp_path, categories=categories, annotations=[]))
    categories[0]["id"], categories[1]["name"] = 30, "van"
    with pytest.raises(DatasetError, match="2 classes are called 'van'"):
        read_dataset(coco(tmp_path, categories=categories))


def test_a_picture_larger_than_opencv_holds_is_damaged(tmp_path: Path) -> None:
    root = coco(tmp_path)
    header = b"BM" + bytes(8) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    sides = (100_000).to_bytes(4, "little") * 2
    (root / "images/b.png").write_bytes(header + sides + b"\1\0\x18\0" + bytes(24))
    with pytest.raises(DatasetError, match=r"b\.png: the picture is damaged"):
        read_dataset(root)


def test_two_coco_files_are_told_apart_by_the_user(tmp_path: Path) -> None:
    coco(tmp_path)
    (tmp_path / "more.json").write_bytes((tmp_path / "annotations.json").read_bytes())
    with pytest.raises(DatasetError, match=r"found: annotations\.json, more\.json"):
        read_dataset(tmp_path)
    assert len(read_dataset(tmp_path / "more.json")) == 2


def test_groups_are_guessed_from_names() -> None:
    names = [Path(f"cam{cam}_0815_frame{n:04d}.jpg") for cam in range(6) for n in range(4)]
    assert sorted(set(guess_groups(names))) == [f"cam{cam}_0815" for cam in range(6)]
    folders = [Path(f"dock{dock}/{n:06d}.jpg") for dock in range(5) for n in range(3)]
    assert len(set(guess_groups(folders))) == 5
    telling_nothing = [Path(f"{n:06d}.jpg") for n in range(9)]
    assert len(set(guess_groups(telling_nothing))) == 9


@pytest.mark.shared_data
def test_a_real_voc_dataset_with_two_bad_boxes(shared_data: Path) -> None:
    dataset = read_dataset(shared_data / "images" / "bccd_voc")

    assert dataset.labels == ("Platelets", "RBC", "WBC")
    assert len(dataset) == 364
    assert sum(len(sample.boxes) for sample in dataset.samples) == 4886
    assert len(dataset.faults) == 2
    assert "BloodImage_00338.xml: object 13" in dataset.faults[0]
    assert "BloodImage_00343.xml: object 4" in dataset.faults[1]
