"""The model directory that a search leaves: fp32, the chosen forms, and their proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import onnx

from edgehaul.errors import ModelError, UsageError
from edgehaul.reporting import remedy_for_writing
from edgehaul_tools.compress.candidate import GIVEN, Candidate
from edgehaul_tools.quantize.directory import (
    DIRECTORY_NAME,
    REPORT_NAME,
    VERIFY_NAME,
    DirectoryVariant,
    ModelDirectory,
    describe_variant,
    read_directory,
    save_model,
    write_json,
)
from edgehaul_tools.quantize.quantize import FP32

Build = Callable[[Candidate], onnx.ModelProto]
"""Makes the model of a candidate anew."""


def variant_name(one: Candidate) -> str:
    """Return the name of a candidate's variant, such as ``int8-u8s8`` or ``pruned30-int8-u8s8``."""
    form = one.plan.form.name if one.plan is not None else FP32
    return form if one.network == GIVEN else f"{one.network}-{form}"


def write_directory(
    out: Path,
    directory: ModelDirectory,
    model: onnx.ModelProto,
    chosen: Sequence[Candidate],
    build: Build,
) -> ModelDirectory:
    """Write the model directory; model files of an earlier search are replaced or removed.

    Args:
        out: The directory.
        directory: What it is to say of the model, but for the variants.
        model: The cleaned fp32 model.
        chosen: What becomes a variant, the preferred one first.
        build: Makes their models.

    Raises:
        ModelError: It cannot be written.
    """
    try:
        _remove_former(out)
        variants = [_written(out, FP32, model)]
        variants += [_written(out, variant_name(one), build(one)) for one in chosen]
    except OSError as error:
        raise ModelError(
            f"cannot write the models: {error.strerror or error}",
            where=out,
            remedy=remedy_for_writing(error),
        ) from error
    whole = msgspec.structs.replace(directory, variants=tuple(variants))
    write_json(out / DIRECTORY_NAME, whole)
    return whole


def refuse_model_in(out: Path, model: Path) -> None:
    """Refuse to write over the model that is to be compressed.

    Raises:
        UsageError: It lies in ``out``, under a name that variants have.
    """
    if model.resolve().parent != out.resolve():
        return
    if model.name == f"{FP32}.onnx" or "int8-" in model.name:
        raise UsageError(
            "the model lies in --out, where a variant of it would be written over it",
            where=model,
            remedy="name another folder with --out",
        )


def _remove_former(out: Path) -> None:
    """Remove the variants of an earlier search; what is no variant is somebody's own file."""
    with suppress(ModelError):  # there is none, or its files were changed since
        for variant in read_directory(out).variants:
            (out / variant.path).unlink()
    for old in (VERIFY_NAME, REPORT_NAME, DIRECTORY_NAME):
        (out / old).unlink(missing_ok=True)  # they tell of other files than these


def _written(out: Path, name: str, model: onnx.ModelProto) -> DirectoryVariant:
    path = f"{name}.onnx"
    save_model(model, out / path)
    return describe_variant(out, name, path, "fp32" if name.endswith(FP32) else "int8")
