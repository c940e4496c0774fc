"""Datasets that come divided keep their parts, whatever the form says them in."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.parts import part_in_path, part_named
from edgehaul_tools.dataset.read import detect_form, read_dataset
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.dataset.split import Splits, write_splits


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((30, 40, 3), np.uint8))
    return path


def parts(dataset: DetectionDataset) -> dict[str, str]:
    return {sample.path.name: sample.part for sample in dataset.samples}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("val", "val"),
        ("valid", "val"),
        ("Validation", "val"),
        ("test", "test"),
        ("train2017", "train"),
        ("trains", ""),
        ("", ""),
        ("default", ""),
    ],
)
def test_what_parts_are_called(name: str, part: str) -> None:
    assert part_named(name) == part
    assert part_in_path(Path("images") / name / "a.png") == part
    assert part_in_path(Path("images") / f"{name}.png") == ""


def coco_file(path: Path, *names: str, labels: tuple[str, ...] = ("van",)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(names)],
        "categories": [{"id": n, "name": label} for n, label in enumerate(labels)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 0, "bbox": [1, 1, 9, 9]}
            for n in range(len(names))
        ],
    }
    path.write_text(json.dumps(content))


def test_coco_with_a_file_for_each_part(tmp_path: Path) -> None:
    for part in ("train", "val"):
        picture(tmp_path / f"{part}2017" / f"{part}.jpg")
        coco_file(tmp_path / "annotations" / f"instances_{part}2017.json", f"{part}.jpg")
        (tmp_path / "annotations" / f"captions_{part}2017.json").write_text(
            '{"images": [], "categories": []}'
        )
    assert parts(read_dataset(tmp_path)) == {"train.jpg": "train", "val.jpg": "val"}


def test_coco_with_a_folder_for_each_part(tmp_path: Path) -> None:
    for folder in ("train", "valid", "test"):
        picture(tmp_path / folder / f"{folder}.jpg")
        coco_file(tmp_path / folder / "_annotations.coco.json", f"{folder}.jpg")
    found = {"train.jpg": "train", "valid.jpg": "val", "test.jpg": "test"}
    assert parts(read_dataset(tmp_path)) == found


def test_coco_parts_with_different_classes(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    coco_file(tmp_path / "train.json", "a.jpg")
    coco_file(tmp_path / "val.json", "a.jpg", labels=("van", "bus"))
    with pytest.raises(DatasetError, match=r"different classes: van \| van, bus"):
        read_dataset(tmp_path)


def test_a_divided_dataset_that_is_split_anew(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        picture(tmp_path / name)
    coco_file(tmp_path / "train.json", "a.jpg", "b.jpg", "c.jpg")
    given = read_dataset(tmp_path)
    assert set(parts(given).values()) == {"train"}
    first, *rest = given.samples
    write_splits(Splits(*map(given.subset, ([rest[0]], [rest[1]], [first]))), tmp_path / "anew")
    found = {"a.jpg": "test", "b.jpg": "train", "c.jpg": "val"}
    assert parts(read_dataset(tmp_path / "anew")) == found


def test_two_coco_files_of_one_part(tmp_path: Path) -> None:
    coco_file(tmp_path / "train.json")
    coco_file(tmp_path / "train_2.json")
    with pytest.raises(DatasetError, match="one for each part, found: train"):
        read_dataset(tmp_path)


def voc(root: Path, **sets: str) -> Path:
    (root / "Annotations").mkdir(parents=True)
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for stem in ("a b", "c", "d"):
        picture(root / "JPEGImages" / f"{stem}.jpg")
        (root / "Annotations" / f"{stem}.xml").write_text("<annotation/>")
    for name, text in sets.items():
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
    return root


def test_voc_sets(tmp_path: Path) -> None:
    root = voc(tmp_path, train="a b\n", trainval="a b\nc\n", val="c\n")
    assert parts(read_dataset(root)) == {"a b.jpg": "train", "c.jpg": "val", "d.jpg": ""}
    root = voc(tmp_path / "2", trainval="a b\n", test="c\nd")
    assert parts(read_dataset(root)) == {"a b.jpg": "train", "c.jpg": "test", "d.jpg": "test"}


def test_a_voc_picture_in_two_sets(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="a b is in train and in test"):
        read_dataset(voc(tmp_path, train="a b", test="a b\nc"))


@pytest.mark.parametrize(
    ("text", "folders"),
    [
        ("train: images/one\nval: images/two\n", ("images/one", "images/two")),
        ("path: data\ntrain: one\nval: [two]\n", ("data/one", "data/two")),
        ("train: ../train/images\nval: ../valid/images\n", ("train/images", "valid/images")),
        ("train: one.txt\nval: two.txt\n", ("images", "images/deep")),
        ("", ("images/train", "images/val")),
        ("train: nowhere\nval: images/val\n", ("images/train", "images/val")),
    ],
)
def test_yolo_parts(tmp_path: Path, text: str, folders: tuple[str, str]) -> None:
    (tmp_path / "data.yaml").write_text(f"names: [van]\n{text}")
    for folder, name in zip(folders, ("one", "two"), strict=True):
        picture(tmp_path / folder / f"{name}.jpg")
        (tmp_path / f"{name}.txt").write_text(f"./{folder}/{name}.jpg\n")
    dataset = read_dataset(tmp_path)
    assert parts(dataset) == {"one.jpg": "train", "two.jpg": "val"}
    assert ["nowhere" in line for line in dataset.faults] == [True] * text.count("nowhere")


def test_yolo_pictures_outside_of_its_folder(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere" / "images" / "a.jpg")
    (tmp_path / "elsewhere" / "labels").mkdir()
    (tmp_path / "elsewhere" / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.5")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "data.yaml").write_text("names: [van]\ntrain: ../elsewhere/images")
    (sample,) = read_dataset(tmp_path / "set").samples
    assert (sample.part, len(sample.boxes)) == ("train", 1)


def test_a_yolo_picture_in_two_parts(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "data.yaml").write_text("names: [van]\ntrain: images\ntest: images")
    with pytest.raises(DatasetError, match="is in train and in test"):
        read_dataset(tmp_path)


def test_folders_of_parts_and_classes(tmp_path: Path) -> None:
    for name in ("train/good/1.jpg", "train/bad/2.jpg", "valid/good/1.jpg", "test/bad/9.jpg"):
        picture(tmp_path / name)
    dataset = read_dataset(tmp_path)

    assert detect_form(tmp_path) == "folder"
    assert dataset.labels == ("bad", "good")
    assert [(s.part, s.class_id) for s in dataset.samples] == [
        ("test", 0),
        ("train", 0),
        ("train", 1),
        ("val", 1),
    ]
    # Two pictures that are called alike are not therefore from one camera.
    assert len({sample.group for sample in dataset.samples}) == 4


def test_folders_of_which_one_alone_is_called_as_a_part(tmp_path: Path) -> None:
    for name in ("train/1.jpg", "bus/2.jpg"):
        picture(tmp_path / name)
    dataset = read_dataset(tmp_path)
    assert dataset.labels == ("bus", "train")
    assert {sample.part for sample in dataset.samples} == {""}


@pytest.mark.parametrize("folders", [("",), ("train/", "valid/")])
def test_a_folder_called_images_is_no_class(tmp_path: Path, folders: tuple[str, ...]) -> None:
    for folder in folders:
        for name in ("1.jpg", "2.jpg"):
            picture(tmp_path / f"{folder}images" / name)
    dataset = read_dataset(tmp_path)
    assert dataset.labels == ()
    assert not any(sample.boxes for sample in dataset.samples)

    (tmp_path / "labels.txt").write_text("images\n")
    assert read_dataset(tmp_path).task == "classify"


def test_a_folder_that_labels_txt_does_not_list(tmp_path: Path) -> None:
    picture(tmp_path / "van" / "1.jpg")
    picture(tmp_path / "bus" / "2.jpg")
    (tmp_path / "labels.txt").write_text("van\ntruck\n")
    with pytest.raises(DatasetError, match=r"folder 'bus' is no class of labels\.txt"):
        read_dataset(tmp_path)


@pytest.mark.shared_data
def test_a_real_voc_dataset_comes_divided(shared_data: Path) -> None:
    found = list(parts(read_dataset(shared_data / "images" / "bccd_voc")).values())
    assert [found.count(part) for part in ("train", "val", "test")] == [205, 87, 72]
