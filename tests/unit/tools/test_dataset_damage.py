"""Files of marks with any bytes in them are read or refused, never anything else."""

import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehaul.errors import DatasetError
from edgehaul.geometry import Box
from edgehaul_tools.dataset.export_dataset import WRITERS, export_dataset
from edgehaul_tools.dataset.manifest import verify_manifest
from edgehaul_tools.dataset.read import READERS, read_dataset
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox, whole_picture

MARKS = {
    "coco": "annotations/instances_train.json",
    "voc": "Annotations/0.xml",
    "yolo": "data.yaml",
    "cvat": "annotations.xml",
    "label-studio": "tasks.json",
    "folder": "labels.txt",
    "csv": "labels.csv",
}
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 4), st.binary(max_size=3)), min_size=1, max_size=4
)


def written(root: Path, form: str) -> Path:
    boxes = (TrueBox(Box(1, 1, 9, 9), 0), TrueBox(Box(2, 2, 20, 30), 1))
    marks = boxes if WRITERS[form].boxes else (whole_picture(40, 30, 1),)
    path = root / "0.png"
    assert cv2.imwrite(str(path), np.zeros((30, 40, 3), np.uint8))
    sample = Sample(path, "dock", 40, 30, marks, part="train")
    export_dataset(DetectionDataset(root, ("van", "bus"), (sample,)), form, root / "out")
    return root / "out"


def spoilt(content: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for place, removed, put in edits:
        at = int(place * len(content))
        content = content[:at] + put + content[at + removed :]
    return content


@pytest.mark.parametrize("form", MARKS)
def test_any_bytes(form: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = written(Path(folder), form)
        file = root / MARKS[form]
        whole = file.read_bytes()

        @settings(max_examples=60, deadline=None)
        @given(EDITS)
        def check(edits: list[tuple[float, int, bytes]]) -> None:
            file.write_bytes(spoilt(whole, edits))
            for told in (form, "auto"):
                try:
                    dataset = read_dataset(root, told)
                except DatasetError:
                    continue
                for sample in dataset.samples:
                    for mark in sample.boxes:
                        assert 0 <= mark.class_id < len(dataset.labels)
                        assert mark.box == mark.box.clipped(40, 30)

        check()


@pytest.mark.parametrize("form", READERS)
@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"\xff\xfe\x00", b"null", b"{}", b"[]"])
def test_files_that_are_something_else(tmp_path: Path, form: str, content: bytes) -> None:
    file = written(tmp_path, form) / MARKS[form]
    file.write_bytes(content)
    try:
        read_dataset(tmp_path / "out", form)
    except DatasetError:
        return
    assert form in {"folder", "voc"}


def test_a_spoilt_manifest_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"[" * 100_000, b"\xff", json.dumps({"schema": 1}).encode()):
        (tmp_path / "dataset.json").write_bytes(content)
        with pytest.raises(DatasetError, match="no manifest of a dataset"):
            verify_manifest(tmp_path)
