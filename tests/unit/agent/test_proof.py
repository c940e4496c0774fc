"""Proving on the box: golden answers decide which variants may run, time which one does."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgehaul.bundle.archive import file_entries
from edgehaul.bundle.golden import record_golden
from edgehaul.bundle.manifest import Manifest, Variant
from edgehaul.bundle.spec import Color, ImageInput, ModelSpec, OutputSpec
from edgehaul.bundle.tensors import tensor_maker
from edgehaul.errors import BundleError, ModelError, ParityError, SpecMismatchError
from edgehaul_agent.inference.onnxruntime import open_engine
from edgehaul_agent.proof import prove
from tests.fakes.models import SIDE_PX, WEIGHTS, write_constant_detector, write_tiny_detector

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 48, 3), dtype=np.uint8)
PICTURE[..., 0] //= 4


def spec(side_px: int = SIDE_PX, color: Color = "rgb") -> ModelSpec:
    return ModelSpec(
        task="detect",
        input=ImageInput(width=side_px, height=side_px, color=color),
        output=OutputSpec(head="edgehaul", labels=("parcel",)),
    )


def write_tiny(path: Path, extra_work: int) -> Path:
    return write_tiny_detector(path, extra_work=extra_work)


def packed(
    folder: Path,
    *,
    model_spec: ModelSpec | None = None,
    write: Callable[[Path, int], Path] = write_tiny,
) -> Manifest:
    """Write a model folder as it would be unpacked: a slow and a fast variant, with goldens."""
    write(folder / "slow.onnx", 40)
    write(folder / "fast.onnx", 0)
    make_tensor = tensor_maker(spec())
    golden, files = record_golden(
        [PICTURE],
        make_tensor,
        {name: ("fp32", open_engine(folder / f"{name}.onnx").run) for name in ("slow", "fast")},
    )
    for path, content in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)
    every = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return Manifest(
        name="parcels",
        version="1.0.0",
        spec=model_spec or spec(),
        variants=tuple(
            Variant(name=name, path=f"{name}.onnx", precision="fp32") for name in ("slow", "fast")
        ),
        files=file_entries(every),
        golden=golden,
    )


def test_the_fastest_proved_variant_is_chosen(tmp_path: Path) -> None:
    assert prove(packed(tmp_path), tmp_path).variant == "fast"


def test_a_variant_that_answers_otherwise_is_passed_over(tmp_path: Path) -> None:
    manifest = packed(tmp_path)
    write_tiny_detector(tmp_path / "fast.onnx", weights=WEIGHTS * 1.1)
    assert prove(manifest, tmp_path).variant == "slow"


def test_a_variant_that_cannot_be_loaded_is_passed_over(tmp_path: Path) -> None:
    manifest = packed(tmp_path)
    (tmp_path / "fast.onnx").write_bytes(b"\x08\x0aonnx?")
    assert prove(manifest, tmp_path).variant == "slow"
    (tmp_path / "slow.onnx").unlink()
    with pytest.raises(ModelError):
        prove(manifest, tmp_path)


def test_swapped_colours_are_refused_by_name(tmp_path: Path) -> None:
    manifest = packed(tmp_path, model_spec=spec(color="bgr"))
    with pytest.raises(ParityError, match="colour channels are swapped"):
        prove(manifest, tmp_path)


def test_a_spec_that_does_not_fit_the_model_is_refused(tmp_path: Path) -> None:
    manifest = packed(tmp_path, model_spec=spec(side_px=64))
    with pytest.raises(SpecMismatchError, match="64"):
        prove(manifest, tmp_path)


@pytest.mark.parametrize(
    ("box", "scores", "words"),
    [
        pytest.param([2, 2, 20, 20], [0.1, 0.2, 0.9], "answers for 3 classes", id="classes"),
        pytest.param([2, 2, 20], [0.9], "4 values for each box, not 3", id="box-values"),
    ],
)
def test_open_shapes_do_not_hide_answers_that_do_not_fit(
    tmp_path: Path, box: list[float], scores: list[float], words: str
) -> None:
    answers = {"boxes": np.array([[box]]), "scores": np.array([[scores]])}
    manifest = packed(tmp_path, write=lambda path, _work: write_constant_detector(path, **answers))
    with pytest.raises(SpecMismatchError, match=words):
        prove(manifest, tmp_path)


def test_a_bundle_without_golden_answers_is_refused(tmp_path: Path) -> None:
    manifest = packed(tmp_path)
    bare = Manifest(
        name="parcels",
        version="1.0.0",
        spec=spec(),
        variants=manifest.variants,
        files=manifest.files,
    )
    with pytest.raises(BundleError, match="no golden answers"):
        prove(bare, tmp_path)
