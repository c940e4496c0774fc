"""The parity certificate names what moved: colours, letterbox, normalisation, weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgehaul.bundle.archive import file_entries
from edgehaul.bundle.golden import check_golden, record_golden
from edgehaul.bundle.manifest import Manifest, Variant
from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.errors import BundleError, ParityError

Array = NDArray[Any]
SPEC = ModelSpec(
    task="detect",
    input=ImageInput(width=16, height=16),
    output=OutputSpec(head="edgehaul", labels=("parcel",)),
)
WEIGHTS = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)


def letterboxed(image: Array) -> Array:
    """8x16 picture onto a 16x16 canvas with grey bars."""
    canvas = np.full((1, 16, 16, 3), 114, np.uint8)
    canvas[0, 4:12] = image[..., ::-1]
    return canvas


def model(weights: Array) -> Callable[[Array], list[Array]]:
    return lambda tensor: [tensor.astype(np.float32).mean(axis=(1, 2)) @ weights]


@pytest.fixture
def packed(tmp_path: Path) -> tuple[Manifest, Path]:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (8, 16, 3), dtype=np.uint8) for _ in range(2)]
    pictures = [p * np.array([1, 0.5, 0.2]) for p in pictures]
    inputs = [p.astype(np.uint8) for p in pictures]
    golden, files = record_golden(inputs, letterboxed, {"fp32": ("fp32", model(WEIGHTS))})
    files["fp32.onnx"] = b"weights"
    manifest = Manifest(
        name="parcels",
        version="1.0.0",
        spec=SPEC,
        variants=(Variant(name="fp32", path="fp32.onnx", precision="fp32"),),
        files=file_entries(files),
        golden=golden,
    )
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return manifest, tmp_path


def test_the_same_answers_pass(packed: tuple[Manifest, Path]) -> None:
    report = check_golden(*packed, "fp32", letterboxed, model(WEIGHTS))
    assert (report.cases, report.tensor_difference, report.output_difference) == (2, 0.0, 0.0)


def swapped_colours(image: Array) -> Array:
    return letterboxed(image)[..., ::-1]


def lost_letterbox(image: Array) -> Array:
    return np.repeat(image[None, ..., ::-1], 2, axis=1)


def other_scale(image: Array) -> Array:
    return (letterboxed(image) // 2).astype(np.uint8)


def other_type(image: Array) -> Array:
    return letterboxed(image).astype(np.float32)


@pytest.mark.parametrize(
    ("make_tensor", "cause"),
    [
        (swapped_colours, "colour channels are swapped"),
        (lost_letterbox, "letterbox differs"),
        (other_scale, "normalisation differs"),
        (other_type, "type float32 instead of uint8"),
        (lambda image: letterboxed(image)[:, :8], "shape"),
    ],
)
def test_the_cause_in_pre_processing_is_named(
    packed: tuple[Manifest, Path], make_tensor: Callable[[Array], Array], cause: str
) -> None:
    with pytest.raises(ParityError, match=cause):
        check_golden(*packed, "fp32", make_tensor, model(WEIGHTS))


@pytest.mark.parametrize(
    ("weights", "cause"),
    [
        (WEIGHTS * 1.01, "weights were altered"),
        (WEIGHTS * np.nan, "weights were altered"),
        (WEIGHTS[:, :2], "another model"),
    ],
)
def test_altered_weights_are_refused(
    packed: tuple[Manifest, Path], weights: Array, cause: str
) -> None:
    with pytest.raises(ParityError, match=cause):
        check_golden(*packed, "fp32", letterboxed, model(weights))


def test_a_variant_without_answers_is_refused(packed: tuple[Manifest, Path]) -> None:
    with pytest.raises(BundleError, match="no golden answers"):
        check_golden(*packed, "int8", letterboxed, model(WEIGHTS))


def test_recording_twice_gives_the_same_bytes() -> None:
    picture = np.arange(8 * 16 * 3, dtype=np.uint8).reshape(8, 16, 3)
    runs = {"fp32": ("fp32", model(WEIGHTS))}
    assert record_golden([picture], letterboxed, runs) == record_golden(
        [picture], letterboxed, runs
    )
