"""The files of a split are replaced together, whatever happens on the way."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehaul.errors import DatasetError
from edgehaul.geometry import Box
from edgehaul_tools.dataset.new_directory import locked
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.samples import DetectionDataset, Part, Sample, TrueBox
from edgehaul_tools.dataset.split import Splits, write_splits

OLD = ["train", "train", "train", "val", "val", "test"]
NEW = ["test", "val", "train", "train", "train", "val"]


def dataset(root: Path, marks: int = 1) -> DetectionDataset:
    boxes = tuple(TrueBox(Box(1, 1, 9, 9), 0) for _ in range(marks))
    samples = []
    for number in range(len(OLD)):
        path = root / f"{number}.png"
        cv2.imwrite(str(path), np.full((12, 16), 9 * number, np.uint8))
        samples.append(Sample(path, f"g{number}", 16, 12, boxes))
    return DetectionDataset(root, ("parcel",), tuple(samples))


def splits(whole: DetectionDataset, parts: list[str]) -> Splits:
    pairs = list(zip(whole.samples, parts, strict=True))
    return Splits(
        *(whole.subset(s for s, own in pairs if own == part) for part in ("train", "val", "test"))
    )


def parts_in(path: Path) -> list[Part]:
    samples = read_dataset(path).samples
    return [s.part for s in sorted(samples, key=lambda sample: sample.path)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


KILLED = """
import os, signal, sys
from pathlib import Path
from edgehaul_tools.dataset.split_files import write_split_files
made, folder, event, before = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
new = {part: (made / f"{part}.json").read_bytes() for part in ("train", "val", "test")}
seen = []
def stop(name, _arguments):
    if name == event:
        seen.append(name)
        if len(seen) > before:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(stop)
write_split_files(new, folder)
"""


@pytest.mark.parametrize(
    ("event", "before", "left"),
    [
        ("open", 2, OLD),  # a part has been written beside the others
        ("os.rename", 0, NEW),
        ("os.rename", 1, NEW),
        ("os.rename", 2, NEW),
        ("os.remove", 3, NEW),  # all parts are in their places, and the mark is there
    ],
)
@pytest.mark.parametrize("first_read", ["", "test.json"])
def test_a_kill_leaves_one_split(
    tmp_path: Path, event: str, before: int, left: list[str], first_read: str
) -> None:
    whole = dataset(tmp_path)
    out, made = tmp_path / "out", tmp_path / "made"
    write_splits(splits(whole, OLD), out)
    write_splits(splits(whole, NEW), made)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(made), str(out), event, str(before)],
        check=False,
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL

    read_dataset(out / first_read)
    assert parts_in(out) == left
    write_splits(splits(whole, OLD), out)
    assert parts_in(out) == OLD
    assert {path.name for path in out.iterdir()} == {"train.json", "val.json", "test.json"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can make a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_on_a_full_disk_the_split_before_stays(tmp_path: Path, small_disk: Path) -> None:
    write_splits(splits(dataset(tmp_path), OLD), small_disk)
    before = contents(small_disk)

    with pytest.raises(DatasetError, match=r"no space left.*free space"):
        write_splits(splits(dataset(tmp_path, marks=120), NEW), small_disk)

    assert contents(small_disk) == before
    assert parts_in(small_disk) == OLD


def test_a_mixture_that_cannot_be_mended_is_not_read(tmp_path: Path) -> None:
    whole, out = dataset(tmp_path), tmp_path / "out"
    write_splits(splits(whole, OLD), out)
    (out / "val.json").unlink()
    (out / "val.json").mkdir()
    with pytest.raises(DatasetError, match=r"cannot be written: is a directory"):
        write_splits(splits(whole, NEW), out)

    for path in (out, out / "train.json", out / "test.json"):
        with pytest.raises(DatasetError, match=r"files of two splits are here.*is a directory"):
            read_dataset(path)
    (out / "val.json").rmdir()
    assert parts_in(out) == NEW


def test_what_a_killed_process_left_is_not_taken_for_a_part(tmp_path: Path) -> None:
    whole, out = dataset(tmp_path), tmp_path / "out"
    out.mkdir()
    (out / "test.json.partial").write_text("half of a par")
    write_splits(splits(whole, ["train", "val"] * 3), out)
    assert {path.name for path in out.iterdir()} == {"train.json", "val.json"}


def test_two_splits_at_once_into_one_folder(tmp_path: Path) -> None:
    whole, out = dataset(tmp_path), tmp_path / "out"
    write_splits(splits(whole, OLD), out)
    with locked(out), pytest.raises(DatasetError, match="another process writes this now"):
        write_splits(splits(whole, NEW), out)
    assert parts_in(out) == OLD
