"""Classes in a CSV table, and pictures packed as IDX."""

import gzip
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.check import check_dataset
from edgehaul_tools.dataset.import_dataset import ImportOptions, import_dataset
from edgehaul_tools.dataset.read import detect_form, read_dataset


def table(root: Path, text: str, encoding: str = "utf-8") -> Path:
    for name in ("images/a b.png", "ä.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(root / name), np.zeros((30, 40, 3), np.uint8))
    (root / "labels.csv").write_bytes(text.encode(encoding))
    return root


def test_a_table_of_classes(tmp_path: Path) -> None:
    text = (
        "\ufeffFilename,Class,split,group\r\nä.png,van,Train,dock 3\r\na b.png,bus,valid,\r\n\r\n"
    )
    dataset = read_dataset(table(tmp_path, text))

    assert detect_form(tmp_path) == "csv"
    assert dataset.labels == ("bus", "van")
    first, second = dataset.samples
    assert (first.path, first.class_id, first.part) == (tmp_path / "images/a b.png", 0, "val")
    assert (second.path, second.class_id, second.part) == (tmp_path / "ä.png", 1, "train")
    assert second.group == "dock 3"


@pytest.mark.parametrize(("name", "mark"), [("labels.csv", ";"), ("marks.tsv", "\t")])
def test_tables_with_semicolons_or_tabs(tmp_path: Path, name: str, mark: str) -> None:
    root = table(tmp_path, "")
    (root / "labels.csv").unlink()
    text = "file_name,category\nä.png,a van\na b.png,bus\n".replace(",", mark)
    (root / name).write_text(text, encoding="utf-8")
    for source in (root, root / name):
        dataset = read_dataset(source)
        assert dataset.labels == ("a van", "bus")
        assert not dataset.faults


@pytest.mark.parametrize("place", ["", "images"])
def test_a_table_that_cannot_be_read_is_told(tmp_path: Path, place: str) -> None:
    root = table(tmp_path, "")
    (root / "labels.csv").unlink()
    file = root / place / "labels.csv"
    file.write_text("picture of;what\nä.png;van\n", encoding="utf-8")
    dataset = read_dataset(root)
    assert dataset.labels == ()
    why = "its columns are picture of, what, not path and label"
    assert dataset.faults == (f"{file} was not read: {why}",)

    (finding,) = (f for f in check_dataset(root).findings if f.kind == "not_read")
    assert (finding.where, finding.what) == (str(file), f"it was not read: {why}")


def test_a_second_table_of_classes_is_told(tmp_path: Path) -> None:
    root = table(tmp_path, "path,label\nä.png,van\n")
    (root / "more.csv").write_text("path,label\na b.png,bus\n", encoding="utf-8")
    (root / "cameras.csv").write_text("camera,town\n1,Ulm\n", encoding="utf-8")
    assert read_dataset(root).faults == (f"{root / 'more.csv'} was not read: labels.csv is read",)


def test_a_table_without_any_label(tmp_path: Path) -> None:
    dataset = read_dataset(table(tmp_path, "path,label\nä.png,\n") / "labels.csv")
    assert dataset.labels == ()
    assert dataset.samples[0].boxes == ()


@pytest.mark.parametrize(
    ("text", "encoding", "message"),
    [
        ("path,label\nä.png,van\na b.png,\n", "utf-8", r"labels\.csv:3: label '' is not one"),
        ("path,label\nä.png,van\n,van\n", "utf-8", r"labels\.csv:3: no path"),
        ("path,label,part\nä.png,van,dev\n", "utf-8", "part 'dev' is not train, val or test"),
        ("path,label\ngone.png,van\n", "utf-8", r"gone\.png: the picture is missing"),
        ("ä.png;van\n", "utf-8", "no columns path and label"),
        ("", "utf-8", "no columns path and label"),
        ("path,label\n", "utf-8", "no pictures are here"),
        ("path,label\nä.png,van\n", "latin-1", "this is no table: .*save it as CSV in UTF-8"),
    ],
)
def test_tables_that_are_wrong(tmp_path: Path, text: str, encoding: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_dataset(table(tmp_path, text, encoding) / "labels.csv")


def idx(*shape: int, content: bytes | None = None, kind: int = 8) -> bytes:
    sizes = b"".join(side.to_bytes(4, "big") for side in shape)
    data = bytes(int(np.prod(shape))) if content is None else content
    return bytes((0, 0, kind, len(shape))) + sizes + data


def packed(content: bytes) -> bytes:
    """Return the same bytes at any time of the day: the workers of a test run compare names."""
    return gzip.compress(content, mtime=0)


def mnist(root: Path) -> Path:
    root.mkdir()
    for part, labels in (("train", bytes((2, 0, 2))), ("t10k", bytes((1,)))):
        count = len(labels)
        pixels = np.arange(count * 24, dtype=np.uint8).tobytes()
        images = packed(idx(count, 4, 6, content=pixels))
        (root / f"{part}-images-idx3-ubyte.gz").write_bytes(images)
        (root / f"{part}-labels-idx1-ubyte.gz").write_bytes(packed(idx(count, content=labels)))
    return root


def test_packed_pictures_become_files(tmp_path: Path) -> None:
    imported = import_dataset(mnist(tmp_path / "src"), tmp_path / "out", ImportOptions())
    dataset = read_dataset(tmp_path / "out")

    assert imported.manifest.form == "idx"
    assert imported.manifest.counts == {"train": 3, "test": 1}
    assert dataset.task == "classify"
    assert dataset.labels == ("0", "1", "2")
    assert [(s.part, s.class_id, s.width, s.height) for s in dataset.samples] == [
        ("test", 1, 6, 4),
        ("train", 2, 6, 4),
        ("train", 0, 6, 4),
        ("train", 2, 6, 4),
    ]
    pixels = cv2.imread(str(dataset.samples[2].path), cv2.IMREAD_UNCHANGED)
    assert pixels.tolist() == np.arange(24, 48).reshape(4, 6).tolist()


def test_packed_pictures_with_names_for_their_classes(tmp_path: Path) -> None:
    source = mnist(tmp_path / "src")
    (source / "labels.txt").write_text("shirt\nbag\nboot\n")
    import_dataset(source, tmp_path / "out", ImportOptions())
    assert read_dataset(tmp_path / "out").labels == ("shirt", "bag", "boot")
    with pytest.raises(DatasetError, match="run: edgehaul data import"):
        read_dataset(source)

    (source / "labels.txt").write_text("shirt\nbag\n")
    with pytest.raises(DatasetError, match=r"class 2 is not in 0\.\.1; name every class"):
        import_dataset(source, tmp_path / "again", ImportOptions())
    assert not list(tmp_path.glob("again*"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-labels-idx1-ubyte.gz", None, "is missing"),
        ("train-labels-idx1-ubyte.gz", packed(idx(2)), "3 pictures, but 2 labels"),
        ("train-images-idx3-ubyte.gz", b"", "the file is empty"),
        ("train-images-idx3-ubyte.gz", b"hello", "Not a gzipped file"),
        ("train-images-idx3-ubyte.gz", packed(b"hello"), "no IDX file of bytes in 3"),
        ("train-images-idx3-ubyte.gz", packed(idx(3, 4, 6))[:-12], "ended before"),
        (
            "train-images-idx3-ubyte.gz",
            packed(idx(3, 4, 6, content=bytes(9))),
            "cut short: 9 of 72 bytes",
        ),
        (
            "train-images-idx3-ubyte.gz",
            packed(idx(1 << 20, 1 << 20, 3, content=b"")),
            "header declares 1048576 x 1048576 x 3",
        ),
        ("train-images-idx3-ubyte.gz", packed(idx(3, 4, 6, kind=13)), "no IDX file"),
    ],
)
def test_packed_pictures_that_are_damaged(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    source = mnist(tmp_path / "src")
    (source / name).unlink()
    if content is not None:
        (source / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        import_dataset(source, tmp_path / "out", ImportOptions())
    assert not list(tmp_path.glob("out*"))
    shutil.rmtree(source)
