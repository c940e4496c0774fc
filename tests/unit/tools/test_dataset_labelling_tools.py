"""What CVAT and Label Studio export is read as they mean it."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehaul.errors import DatasetError
from edgehaul.geometry import Box
from edgehaul_tools.dataset.export_dataset import export_dataset
from edgehaul_tools.dataset.label_studio_write import write_label_studio
from edgehaul_tools.dataset.read import detect_form, read_dataset
from edgehaul_tools.dataset.samples import DetectionDataset, TrueBox


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((60, 80, 3), np.uint8))
    return path


def cvat(root: Path, marks: str, *, labels: str = "parcel,van", subset: str = "Train") -> Path:
    picture(root / "images" / "a b.jpg")
    names = "".join(
        f"<label><name>{name}</name><type>bbox</type></label>"
        for name in filter(None, labels.split(","))
    )
    (root / "annotations.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        f"<meta><job><labels>{names}</labels></job></meta>"
        f'<image id="0" name="a b.jpg" subset="{subset}" width="80" height="60">{marks}</image>'
        "</annotations>",
        encoding="utf-8",
    )
    return root


def sides(box: Box) -> list[float]:
    return [box.x1, box.y1, box.x2, box.y2]


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        ('<box label="van" xtl="10" ytl="20" xbr="40.5" ybr="35"/>', [10, 20, 40.5, 35]),
        # Turned about its middle (30, 30): its sides change places.
        (
            '<box label="van" xtl="20" ytl="25" xbr="40" ybr="35" rotation="90"/>',
            [25, 20, 35, 40],
        ),
        ('<polygon label="van" points="10,20;40,21;30,35"/>', [10, 20, 40, 35]),
        ('<points label="van" points="10,20;40,21"/>', [10, 20, 40, 21]),
        ('<tag label="van" source="manual"></tag>', [0, 0, 80, 60]),
    ],
)
def test_marks_of_cvat(tmp_path: Path, mark: str, expected: list[float]) -> None:
    dataset = read_dataset(cvat(tmp_path, mark))

    assert detect_form(tmp_path) == "cvat"
    assert dataset.labels == ("parcel", "van")
    (sample,) = dataset.samples
    assert sample.part == "train"
    assert [m.class_id for m in sample.boxes] == [1]
    assert sides(sample.boxes[0].box) == pytest.approx(expected)


def test_cvat_without_a_list_of_labels_and_with_subfolders(tmp_path: Path) -> None:
    mark = (
        '<box label="van" xtl="1" ytl="1" xbr="9" ybr="9"><attribute name="x">y</attribute></box>'
    )
    root = cvat(tmp_path, mark, labels="", subset="Validation")
    (root / "images" / "Validation").mkdir()
    (root / "images" / "a b.jpg").rename(root / "images" / "Validation" / "a b.jpg")
    dataset = read_dataset(root / "annotations.xml")
    assert dataset.labels == ("van",)
    assert dataset.samples[0].part == "val"


def test_a_project_of_cvat_with_one_name_in_two_subsets(tmp_path: Path) -> None:
    for subset in ("Train", "Test"):
        picture(tmp_path / "images" / subset / "0.jpg")
    items = "".join(
        f'<image name="0.jpg" subset="{subset}">'
        '<skeleton label="van"><points label="x"/></skeleton>'
        f'<box label="van" xtl="1" ytl="1" xbr="{right}" ybr="9"/></image>'
        for subset, right in (("Train", 9), ("Test", 19))
    )
    (tmp_path / "annotations.xml").write_text(
        "<annotations><meta><project><labels><label><name>van</name></label>"
        "<label><name>x</name><parent>van</parent></label></labels></project></meta>"
        f"{items}</annotations>"
    )
    dataset = read_dataset(tmp_path)
    assert dataset.labels == ("van",)
    assert {(s.part, s.path.parent.name, s.boxes[0].box.x2) for s in dataset.samples} == {
        ("train", "Train", 9),
        ("test", "Test", 19),
    }
    assert len({sample.group for sample in dataset.samples}) == 2
    assert ["skeleton 1: this kind of mark is no box" in line for line in dataset.faults] == [
        True
    ] * 2


@pytest.mark.parametrize(
    ("mark", "fault"),
    [
        ('<box label="van" xtl="70" ytl="1" xbr="99" ybr="9"/>', "reaches outside 80x60; cut"),
        ('<box label="van" xtl="9" ytl="1" xbr="9" ybr="9"/>', "has no area; dropped"),
        ('<box label="van" xtl="9" ytl="1" ybr="9"/>', "is no number; dropped"),
        ('<mask label="van" rle="1,2"/>', "mask 1: this kind of mark is no box; dropped"),
    ],
)
def test_marks_of_cvat_that_are_mended(tmp_path: Path, mark: str, fault: str) -> None:
    (line,) = read_dataset(cvat(tmp_path, mark)).faults
    assert line.endswith(fault)


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ('<box label="bus" xtl="1" ytl="1" xbr="9" ybr="9"/>', "label 'bus' is not listed"),
        ('<box label="van" xtl="one" ytl="1" xbr="9" ybr="9"/>', "could not convert"),
        ('<polygon label="van" points="1,2;3"/>', "points must be"),
        ('<polygon label="van"/>', "could not convert"),
        ("<box", "no well-formed XML"),
        ("</image><track/><image>", "the tracks of a video"),
        ("</image><image>", "image .* has no name"),
        ('</image><image name="gone.jpg">', r"gone\.jpg: the picture is missing"),
    ],
)
def test_wrong_files_of_cvat(tmp_path: Path, mark: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_dataset(cvat(tmp_path, mark))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    lol = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY l0 "lol">{lol}]>'
    cvat(tmp_path, "")
    text += "<annotations><image>&l9;</image></annotations>"
    (tmp_path / "annotations.xml").write_bytes(text.encode(encoding))
    with pytest.raises(DatasetError, match="entities is refused"):
        read_dataset(tmp_path, "cvat")


def result(kind: str, label: str, **value: object) -> dict[str, object]:
    return {
        "id": "x",
        "type": kind,
        "from_name": "label",
        "to_name": "image",
        "original_width": 80,
        "original_height": 60,
        "value": {kind: [label], **value},
    }


RECTANGLE = result("rectanglelabels", "van", x=12.5, y=50, width=25, height=25, rotation=0)
CHOICE = result("choices", "van")


def studio(root: Path, image: str = "/data/upload/3/0a1b2c3d-a%20b.jpg", **task: object) -> Path:
    picture(root / "images" / "a b.jpg")
    content = [{"id": 5, "data": {"image": image}, **task}]
    (root / "project-1.json").write_text(json.dumps(content))
    return root


@pytest.mark.parametrize(
    "image",
    [
        "/data/upload/3/0a1b2c3d-a%20b.jpg",
        "/data/local-files/?d=images/a%20b.jpg",
        "/data/local-files/?d=parcels/2026/images/a%20b.jpg",
        "https://example.org/pictures/a%20b.jpg?signature=1",
        "s3://bucket/x/a%20b.jpg",
        "a b.jpg",
        "images/a b.jpg",
    ],
)
def test_pictures_are_found_whatever_serves_them(tmp_path: Path, image: str) -> None:
    dataset = read_dataset(studio(tmp_path, image, annotations=[{"result": [RECTANGLE]}]))
    assert detect_form(tmp_path) == "label-studio"
    assert dataset.labels == ("van",)
    assert dataset.samples[0].path == tmp_path / "images" / "a b.jpg"
    assert dataset.samples[0].boxes == (TrueBox(Box(10, 30, 30, 45), 0),)


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        # Turned clockwise about its first corner (40, 30): it comes to lie left of it.
        (
            result("rectanglelabels", "van", x=50, y=50, width=25, height=10, rotation=90),
            [34, 30, 40, 50],
        ),
        (result("polygonlabels", "van", points=[[10, 10], [50, 20], [20, 50]]), [8, 6, 40, 30]),
        (CHOICE, [0, 0, 80, 60]),
    ],
)
def test_marks_of_label_studio(
    tmp_path: Path, mark: dict[str, object], expected: list[float]
) -> None:
    (sample,) = read_dataset(studio(tmp_path, annotations=[{"result": [mark]}])).samples
    assert sides(sample.boxes[0].box) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("task", "count"),
    [
        ({"annotations": [], "predictions": [{"result": [RECTANGLE], "score": 0.4}]}, 1),
        ({"predictions": [{"result": [RECTANGLE]}, {"result": [RECTANGLE, RECTANGLE]}]}, 2),
        (
            {
                "annotations": [{"result": [RECTANGLE], "was_cancelled": False}],
                "predictions": [{"result": [RECTANGLE, RECTANGLE]}],
            },
            1,
        ),
        (
            {
                "annotations": [
                    {"result": [RECTANGLE]},
                    {"result": [RECTANGLE, RECTANGLE], "was_cancelled": True},
                ]
            },
            1,
        ),
        (
            {
                "annotations": [
                    {"result": [RECTANGLE] * 3, "ground_truth": True},
                    {"result": [RECTANGLE]},
                ]
            },
            3,
        ),
        ({"annotations": [{"result": []}], "predictions": [{"result": [RECTANGLE]}]}, 0),
        ({}, 0),
    ],
)
def test_the_answer_that_counts(tmp_path: Path, task: dict[str, object], count: int) -> None:
    assert len(read_dataset(studio(tmp_path, **task)).samples[0].boxes) == count


@pytest.mark.parametrize(
    ("mark", "fault"),
    [
        (result("brushlabels", "van"), "brushlabels is no box with one label; dropped"),
        (result("choices", "van") | {"value": {"choices": ["a", "b"]}}, "no box with one label"),
        (result("choices", "unsure", x=9, y=9, width=9, height=9), "choices is no box"),
        (result("rectanglelabels", "van", x="left"), "rectanglelabels is no box"),
        ({"type": "relation", "from_id": "a", "to_id": "b"}, "relation is no box"),
        ({"from_name": "x", "value": None, "meta": None}, "it is no box"),
        (
            result("rectanglelabels", "van", x=90, y=50, width=25, height=10),
            "reaches outside 80x60; cut",
        ),
    ],
)
def test_marks_of_label_studio_that_are_mended(
    tmp_path: Path, mark: dict[str, object], fault: str
) -> None:
    (line,) = read_dataset(studio(tmp_path, annotations=[{"result": [mark]}])).faults
    assert fault in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "no export of Label Studio"),
        ('[{"data": {"text": "hello"}}]', "names no picture"),
        ('[{"data": {"image": "gone.jpg"}}]', r"gone\.jpg: the picture is missing"),
        ('[{"data": 3}]', "no export of Label Studio"),
    ],
)
def test_wrong_files_of_label_studio(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "tasks.json").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path / "tasks.json", "label-studio")


def test_a_picture_that_is_named_by_its_upload_alone(tmp_path: Path) -> None:
    task = {"annotations": [{"result": [RECTANGLE]}], "file_upload": "0a1b2c3d-a b.jpg"}
    (sample,) = read_dataset(studio(tmp_path, "/image1", **task)).samples
    assert len(sample.boxes) == 1


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        ('<Label value="van"/><Choice value="unsure"/><Label value="bus"/>', ("van", "bus")),
        ('<Choice value="van"/><Choice value="bus"/>', ("van", "bus")),
    ],
)
def test_the_labels_of_a_project(tmp_path: Path, config: str, labels: tuple[str, ...]) -> None:
    root = studio(tmp_path)
    (root / "label_config.xml").write_text(f'<View><Image value="$image"/>{config}</View>')
    assert read_dataset(root).labels == labels


def test_a_label_that_the_project_does_not_know(tmp_path: Path) -> None:
    root = studio(tmp_path, annotations=[{"result": [RECTANGLE]}])
    (root / "label_config.xml").write_text('<View><Label value="bus"/></View>')
    with pytest.raises(DatasetError, match=r"label 'van' is not in label_config\.xml"):
        read_dataset(root)


def test_marks_for_people_to_correct_are_predictions(tmp_path: Path) -> None:
    first = read_dataset(studio(tmp_path / "a", annotations=[{"result": [RECTANGLE]}]))
    sample = first.samples[0]
    write_label_studio(
        DetectionDataset(tmp_path, ("van",), (sample,)), tmp_path / "tasks.json", predicted=True
    )
    (task,) = json.loads((tmp_path / "tasks.json").read_text())
    assert "annotations" not in task
    assert task["predictions"][0]["result"][0]["value"]["rectanglelabels"] == ["van"]
    assert read_dataset(tmp_path / "tasks.json").samples[0].boxes == sample.boxes


def studio_tasks(root: Path, answers: list[list[dict[str, object]]]) -> Path:
    tasks = []
    for number, answer in enumerate(answers):
        picture(root / f"{number}.jpg")
        task: dict[str, object] = {"id": number, "data": {"image": f"{number}.jpg"}}
        tasks.append(task | ({"annotations": [{"result": answer}]} if answer else {}))
    (root / "tasks.json").write_text(json.dumps(tasks))
    return root


def test_choices_make_classes_even_where_one_picture_is_unanswered(tmp_path: Path) -> None:
    bus = result("choices", "bus")
    dataset = read_dataset(studio_tasks(tmp_path / "in", [[CHOICE], [bus], [], [bus, bus]]))

    assert dataset.task == "classify"
    assert [sample.class_id for sample in dataset.samples] == [1, 0, 0]
    assert dataset.faults == (f"{tmp_path / 'in'}: 1 picture has no class; left out",)
    export_dataset(dataset, "csv", tmp_path / "out")
    assert read_dataset(tmp_path / "out").task == "classify"


def test_a_picture_with_two_classes(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"1\.jpg: the picture has 2 classes: van and bus"):
        read_dataset(studio_tasks(tmp_path, [[CHOICE], [CHOICE, result("choices", "bus")]]))


def test_choices_beside_boxes_leave_no_picture_out(tmp_path: Path) -> None:
    dataset = read_dataset(studio_tasks(tmp_path, [[CHOICE], [RECTANGLE], []]))
    assert [len(sample.boxes) for sample in dataset.samples] == [1, 1, 0]
    assert dataset.task == "detect"


def test_tags_make_classes_even_where_pictures_have_none(tmp_path: Path) -> None:
    root = cvat(tmp_path, '<tag label="van"/>')
    for name in ("c.jpg", "d.jpg"):
        picture(root / "images" / name)
    file = root / "annotations.xml"
    more = '<image id="7" name="c.jpg"/><image id="8" name="d.jpg"></image></annotations>'
    file.write_text(file.read_text().replace("</annotations>", more))

    dataset = read_dataset(root)
    assert dataset.task == "classify"
    assert len(dataset.samples) == 1
    assert any("pictures have no class; left out" in line for line in dataset.faults)
