"""Damaged pictures and videos among what a model is calibrated and verified on."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehaul.bundle.spec import ImageInput
from edgehaul.clock import SystemClock
from edgehaul.errors import DataError
from edgehaul.geometry import Box
from edgehaul_agent.sources.images import ImageFolder
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox
from edgehaul_tools.quantize.pictures import Pictures
from edgehaul_tools.quantize.quantize import quantize_model
from edgehaul_tools.verify.verify import verify_directory
from tests.fakes.damage import damage_frames, write_clip, write_oversized_picture
from tests.fakes.detectors import SPEC, write_detector, write_pictures


def test_an_oversized_picture_is_counted_and_skipped(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 3)
    write_oversized_picture(folder / "huge.png")
    lines: list[str] = []
    model = write_detector(tmp_path / "m.onnx")
    _, report = quantize_model(model, tmp_path / "out", folder, progress=lines.append)
    assert (report.inputs, report.skipped) == (3, ("huge.png",))
    assert any("1 unreadable files skipped, first huge.png" in line for line in lines)


def test_labelled_data_names_the_picture_that_cannot_be_decoded(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 2)
    quantize_model(write_detector(tmp_path / "m.onnx"), tmp_path / "out", folder)
    huge = write_oversized_picture(folder / "huge.png")
    marks = (TrueBox(Box(0, 0, 20, 20), 0),)
    samples = tuple(Sample(path, "all", 96, 72, marks) for path in (folder / "000.png", huge))
    dataset = DetectionDataset(folder, SPEC.output.labels, samples)
    with pytest.raises(DataError, match=r"huge\.png: this picture cannot be decoded"):
        verify_directory(tmp_path / "out", data=dataset)


def test_frames_of_a_damaged_video_are_those_that_the_box_sees(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = damage_frames(write_clip(tmp_path / "clip.avi"), 2, 5)
    pictures = Pictures(clip)
    assert len(pictures) == 8
    levels = [round(float(picture.mean()) / 20) for picture in pictures]
    assert levels == [0, 1, 3, 4, 6, 7, 8, 9]
    assert "8 of the 10 frames that its header declares can be decoded" in caplog.text
    last = list(Pictures(clip, 2))[-1]
    assert round(float(last.mean()) / 20) == 8


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "good"), [("tree.avi", 68), ("box.mp4", 455)])
def test_real_videos_with_faults(name: str, good: int, shared_data: Path) -> None:
    pictures = Pictures(shared_data / "video" / name, 3)
    assert len(pictures) == len(list(pictures)) == 3
    assert len(Pictures(shared_data / "video" / name)) == good


def test_pictures_that_say_little_are_told_of(tmp_path: Path) -> None:
    canvas = ImageInput(256, 256)
    (alike := tmp_path / "alike").mkdir()
    for index in range(4):
        cv2.imwrite(str(alike / f"{index}.png"), np.full((64, 96, 3), (9, 70, 200), np.uint8))
    assert Pictures(alike).faults.warnings(canvas) == (
        "all 4 pictures are the same: their ranges are those of one",
        "4 of 4 pictures are of one colour",
        "4 of 4 pictures are much smaller than the input (96x64 for 256x256): they are blurred",
    )
    good = write_pictures(tmp_path / "good", 4)
    assert Pictures(good).faults.warnings(ImageInput(96, 72)) == ()
    (copies := tmp_path / "copies").mkdir()
    for index in range(5):
        name = "000.png" if index else "001.png"
        (copies / f"{index}.png").write_bytes((good / name).read_bytes())
    assert Pictures(copies).faults.warnings(ImageInput(96, 72)) == ("only 2 of 5 pictures differ",)


def test_frames_of_a_video_that_say_little_are_told_of(tmp_path: Path) -> None:
    path = tmp_path / "still.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(12):
        writer.write(np.full((48, 64, 3), 90, np.uint8))
    writer.release()
    lines = Pictures(path).faults.warnings(ImageInput(64, 48))
    assert [line.split()[0] for line in lines] == ["all", "8"]


def test_warnings_of_the_pictures_reach_the_report(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 1)
    (folder / "copy.png").write_bytes((folder / "000.png").read_bytes())
    lines: list[str] = []
    _, report = quantize_model(
        write_detector(tmp_path / "m.onnx"), tmp_path / "out", folder, progress=lines.append
    )
    assert any("all 2 pictures are the same" in line for line in report.warnings)
    assert any("all 2 pictures are the same" in line for line in lines)


@pytest.mark.parametrize(
    "picture",
    [
        np.full((20, 30), 77, np.uint8),
        np.full((20, 30), 77 * 257, np.uint16),
        np.full((20, 30, 3), 77 * 257, np.uint16),
        np.full((20, 30, 4), (77, 77, 77, 10), np.uint8),
        np.full((20, 30, 4), 77 * 257, np.uint16),
    ],
    ids=["grey", "grey 16 bit", "colour 16 bit", "transparent", "transparent 16 bit"],
)
def test_other_kinds_of_pictures_become_what_the_box_makes_of_them(
    picture: np.ndarray, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), picture)
    (made,) = Pictures(tmp_path)
    assert (made == np.full((20, 30, 3), 77, np.uint8)).all()
    assert made.dtype == np.uint8
    with ImageFolder(tmp_path, stream="dock", clock=SystemClock()) as box:
        (frame,) = box.frames()
        assert (made == frame.image).all()


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.avi"
    cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48)).release()
    with pytest.raises(DataError, match=r"cannot be opened|no frame of this video"):
        Pictures(path)
