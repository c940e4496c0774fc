"""Damaged pictures and videos among what a model is calibrated and verified on."""

from pathlib import Path

import pytest

from edgehaul.errors import DataError
from edgehaul.geometry import Box
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
