"""The parity certificate: proved inputs and answers, recorded by the host, checked by the box.

The input is kept raw (a picture before resizing, a window before normalisation), and the
tensor made of it is kept too, so that a failure names its cause: pre-processing that
differs (swapped colours, a lost letterbox), or a model or runtime that answers otherwise.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.manifest import Golden, GoldenCase, Manifest, Precision
from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.errors import BundleError, ParityError

Array = NDArray[Any]
MakeTensor = Callable[[Array], Array]
"""Turns a raw input into the model's input tensor."""
RunModel = Callable[[Array], Sequence[Array]]
"""Runs a model on its input tensor."""

OUTPUT_TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "fp16": 1e-2, "mixed": 0.05, "int8": 0.05}
"""How far an answer may move between processors, as a part of the output's range."""


class GoldenReport(msgspec.Struct, frozen=True):
    """What a check found.

    Attributes:
        variant: The variant that ran.
        cases: Number of proved inputs.
        tensor_difference: Largest mean difference of an input tensor, part of its range.
        output_difference: Largest difference of an answer, part of the output's range.
        tolerance: What the answer was allowed.
    """

    variant: str
    cases: int
    tensor_difference: float
    output_difference: float
    tolerance: float


def record_golden(
    inputs: Sequence[Array],
    make_tensor: MakeTensor,
    runs: Mapping[str, tuple[Precision, RunModel]],
) -> tuple[Golden, dict[str, bytes]]:
    """Run every variant on every input and return the certificate with its files.

    Args:
        inputs: Raw inputs: pictures (height, width, 3) uint8 BGR, or windows (steps,
            features) float32.
        make_tensor: The one pre-processing, as the box will do it.
        runs: For each variant its precision and how to run it.

    Returns:
        The certificate, and the content of the files that it names.
    """
    files: dict[str, bytes] = {}
    cases = []
    for index, raw in enumerate(inputs):
        stem = f"golden/{index:03d}"
        tensor = np.array(make_tensor(raw))
        files[f"{stem}.input.npy"] = _to_npy(raw)
        files[f"{stem}.tensor.npy"] = _to_npy(tensor)
        outputs: dict[str, tuple[str, ...]] = {}
        for name, (_, run) in runs.items():
            paths = []
            for number, output in enumerate(run(tensor)):
                path = f"{stem}.{name}.{number}.npy"
                files[path] = _to_npy(output)
                paths.append(path)
            outputs[name] = tuple(paths)
        cases.append(
            GoldenCase(input=f"{stem}.input.npy", tensor=f"{stem}.tensor.npy", outputs=outputs)
        )
    tolerance = {name: OUTPUT_TOLERANCE[precision] for name, (precision, _) in runs.items()}
    return Golden(cases=tuple(cases), output_tolerance=tolerance), files


def check_golden(
    manifest: Manifest, folder: Path, variant: str, make_tensor: MakeTensor, run: RunModel
) -> GoldenReport:
    """Answer the proved inputs on this machine and compare.

    Args:
        manifest: The bundle's manifest.
        folder: Where the bundle's files lie.
        variant: Name of the variant that ``run`` runs.
        make_tensor: This machine's pre-processing.
        run: This machine's way to run the variant.

    Returns:
        How close the answers are.

    Raises:
        ParityError: The input tensor or an answer moved too far; the message names the cause.
        BundleError: The bundle carries no proved answers for the variant.
    """
    golden = manifest.golden
    if golden is None or not golden.cases or any(variant not in c.outputs for c in golden.cases):
        raise BundleError(
            f"bundle {manifest.name} has no golden answers for variant {variant!r}",
            where=folder,
            remedy="pack it again with edgehaul pack",
        )
    where = f"{manifest.name} {manifest.version} ({variant})"
    tolerance = golden.output_tolerance.get(variant, OUTPUT_TOLERANCE["fp32"])
    worst_tensor = worst_output = 0.0
    for case in golden.cases:
        expected_tensor = _from_npy(folder / case.tensor)
        tensor = np.array(make_tensor(_from_npy(folder / case.input)))
        difference = mean_difference(tensor, expected_tensor)
        if difference > golden.tensor_tolerance:
            cause = _cause_of_tensor(tensor, expected_tensor, manifest.spec, golden)
            raise ParityError(
                cause, where=where, remedy="correct the spec and pack the model again"
            )
        worst_tensor = max(worst_tensor, difference)
        answers = run(expected_tensor)
        expected = [_from_npy(folder / path) for path in case.outputs[variant]]
        worst_output = max(worst_output, _compare_answers(answers, expected, tolerance, where))
    return GoldenReport(variant, len(golden.cases), worst_tensor, worst_output, tolerance)


def mean_difference(a: Array, b: Array) -> float:
    """Return the mean absolute difference as a part of ``b``'s range; infinite if shapes differ."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    return float(np.mean(np.abs(a.astype(np.float64) - b))) / _range_of(b)


def _compare_answers(
    answers: Sequence[Array], expected: Sequence[Array], tolerance: float, where: str
) -> float:
    if [a.shape for a in answers] != [e.shape for e in expected]:
        raise ParityError(
            f"outputs of shape {[a.shape for a in answers]} instead of "
            f"{[e.shape for e in expected]}: this is another model",
            where=where,
            remedy="pack the model again",
        )
    worst = 0.0
    for number, (answer, proved) in enumerate(zip(answers, expected, strict=True)):
        moved = float(np.max(np.abs(answer.astype(np.float64) - proved), initial=0.0))
        moved /= _range_of(proved)
        if not moved <= tolerance:  # NaN fails too
            raise ParityError(
                f"output {number} moved by {moved:.1%} of its range ({tolerance:.1%} allowed) "
                "on the same input tensor: the weights were altered, or this runtime is wrong",
                where=where,
                remedy="install another variant, or pack the model again",
            )
        worst = max(worst, moved)
    return worst


def _cause_of_tensor(got: Array, expected: Array, spec: ModelSpec, golden: Golden) -> str:
    if got.shape != expected.shape:
        return f"input tensor of shape {got.shape} instead of {expected.shape}"
    if got.dtype != expected.dtype:
        return f"input tensor of type {got.dtype} instead of {expected.dtype}"
    if isinstance(spec.input, ImageInput):
        channel_axis = 3 if spec.input.layout == "nhwc" else 1
        if mean_difference(np.flip(got, channel_axis), expected) <= golden.tensor_tolerance:
            return "the colour channels are swapped (BGR instead of RGB, or the reverse)"
        if _has_bars(expected, spec.input) != _has_bars(got, spec.input):
            return "the letterbox differs: pictures are padded on one side and not on the other"
        if _same_up_to_scale(got, expected):
            return "the normalisation differs (scale, mean or std)"
    return "pre-processing gives another input tensor than where the model was proved"


def _has_bars(tensor: Array, spec: ImageInput) -> bool:
    """Return whether the picture's first or last rows or columns are all one value (padding)."""
    channels_last = tensor if spec.layout == "nhwc" else np.moveaxis(tensor, 1, 3)
    edges = (
        channels_last[:, 0],
        channels_last[:, -1],
        channels_last[:, :, 0],
        channels_last[:, :, -1],
    )
    return any(float(np.ptp(edge.reshape(-1, edge.shape[-1]), axis=0).max()) == 0 for edge in edges)


def _same_up_to_scale(got: Array, expected: Array) -> bool:
    a, b = got.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    if a.std() == 0 or b.std() == 0:
        return False
    same_correlation = 0.98
    return float(np.corrcoef(a, b)[0, 1]) > same_correlation


def _range_of(values: Array) -> float:
    """Return how far values spread; of a lone value, such as a score, its size."""
    if not values.size:
        return 1e-6
    wide = values.astype(np.float64)
    return max(float(np.ptp(wide)) if values.size > 1 else abs(float(wide.ravel()[0])), 1e-6)


def _to_npy(values: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(values), allow_pickle=False)
    return buffer.getvalue()


def _from_npy(path: Path) -> Array:
    try:
        values: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BundleError(
            f"unreadable golden vector: {error}", where=path, remedy="install the bundle again"
        ) from error
    return values
