"""Which spec a model is run by: the file's, the model's own, or a guess."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.config.loader import load
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import DataError, SpecMismatchError
from edgehaul.vision.outputs import check_outputs
from edgehaul_tools.export.guess import guess_spec, signature_of
from edgehaul_tools.export.metadata import SPEC_KEY
from edgehaul_tools.export.runtime import Run


def choose_spec(
    model: onnx.ModelProto, *, where: Path, file: Path | None, labels: Sequence[str]
) -> tuple[ModelSpec, str]:
    """Return a model's spec and where it is from, checked against the model's shapes.

    Args:
        model: The model.
        where: Its file.
        file: A spec in YAML or JSON; it wins over what the model says.
        labels: Names of the classes; they win over the spec's.

    Raises:
        ConfigError: The spec file has faults.
        SpecMismatchError: There is no spec, or the model does not fit it.
    """
    signature = signature_of(model, labels)
    if file is not None:
        spec, source = load(file, ModelSpec), f"file {file.name}"
    elif SPEC_KEY in signature.metadata:
        try:
            spec = msgspec.json.decode(signature.metadata[SPEC_KEY], type=ModelSpec)
        except UNREADABLE_JSON as error:
            raise SpecMismatchError(
                f"its {SPEC_KEY!r} cannot be read: {error}",
                where=where,
                remedy="export the model again, or give --spec",
            ) from error
        source = "the model's metadata"
    else:
        guess = guess_spec(signature, where=str(where))
        spec, source = guess.spec, f"a guess: {guess.reason}"
    if labels:
        output = msgspec.structs.replace(spec.output, labels=tuple(labels))
        spec = msgspec.structs.replace(spec, output=output)
    _check_input(spec, signature.input_shape, where)
    check_outputs(spec, list(signature.output_shapes), where=str(where))
    return spec, source


def check_answers(run: Run, tensor: NDArray[Any], spec: ModelSpec, *, where: Path) -> None:
    """Run a model once and refuse it where its answers are not those of its spec.

    Declared dimensions may be free, and may be wrong: only a run tells the real ones.

    Args:
        run: The model.
        tensor: An input of it.
        spec: What the model is said to do.
        where: Its file.

    Raises:
        SpecMismatchError: The model does not fit its spec.
    """
    shapes = [np.shape(output) for output in run(tensor)]
    # Nothing found is an answer (no rows), but rows that hold nothing are none.
    if any(shape and shape[-1] == 0 for shape in shapes):
        shown = ", ".join("x".join(map(str, shape)) for shape in shapes)
        raise SpecMismatchError(
            f"an output of the model has no columns; the outputs are {shown}",
            where=where,
            remedy="export the model again",
        )
    check_outputs(spec, shapes, where=str(where))


def read_labels(path: Path) -> tuple[str, ...]:
    """Read names of classes, one a line.

    Raises:
        DataError: There are none, or the file is not text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        raise DataError(
            f"cannot read the labels: {why}",
            where=path,
            remedy="give a text file, one name a line",
        ) from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise DataError("there are no labels in it", where=path, remedy="write one name a line")
    if len(set(names)) != len(names):
        raise DataError("a label stands in it twice", where=path, remedy="make the names differ")
    return names


def _check_input(spec: ModelSpec, shape: tuple[int | None, ...], where: Path) -> None:
    expected = spec.input.tensor_shape
    fits = len(shape) == len(expected) and all(
        actual in {None, wanted} for actual, wanted in zip(shape[1:], expected[1:], strict=True)
    )
    if not fits:
        kind = "picture" if isinstance(spec.input, ImageInput) else "window"
        raise SpecMismatchError(
            f"the spec makes a {kind} of shape {expected}, but the model's input is "
            f"{tuple('free' if n is None else n for n in shape)}",
            where=where,
            remedy="correct the input in the spec",
        )
