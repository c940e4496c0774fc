"""A model's inputs from a folder, a video or GPS traces, made as the box makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import ModelSpec, SequenceInput
from edgehaul.errors import DataError
from edgehaul.motion.fixes import read_trace
from edgehaul.motion.windows import windows_of
from edgehaul_tools.quantize.answers import Prepared, prepare
from edgehaul_tools.quantize.pictures import Pictures, spread

TRACE_SUFFIXES = frozenset({".csv", ".gpx"})


@dataclass(frozen=True, slots=True)
class InputSource:
    """Inputs that can be read again and again.

    Attributes:
        count: How many there are.
        skipped: Names of unreadable files that are left out.
        prepared: Gives the inputs from the start.
        raw: Gives raw inputs (pictures, or windows of features), as golden vectors keep them.
        warnings: What is odd about them, for the user.
    """

    count: int
    skipped: tuple[str, ...]
    prepared: Callable[[], Iterator[Prepared]]
    raw: Callable[[], Iterator[NDArray[Any]]]
    warnings: tuple[str, ...] = ()


def open_inputs(
    source: Path, spec: ModelSpec, limit: int = 0, files: Sequence[Path] = ()
) -> InputSource:
    """Open a folder or file as inputs of the model.

    Args:
        source: Pictures (see :class:`Pictures`), or GPS traces for a sequence model.
        spec: What the model takes.
        limit: Most inputs; 0 takes all.
        files: Pictures of ``source``, where not all are meant.

    Raises:
        DataError: There is nothing usable in it.
    """
    if isinstance(spec.input, SequenceInput):
        return _windows(source, spec.input, limit)
    pictures = Pictures(source, limit, files)
    return InputSource(
        count=len(pictures),
        skipped=tuple(pictures.skipped),
        prepared=lambda: iter(prepare(pictures, spec)),
        raw=lambda: iter(pictures),
        warnings=pictures.faults.warnings(spec.input),
    )


def _windows(source: Path, canvas: SequenceInput, limit: int) -> InputSource:
    files = [source] if source.is_file() else sorted(source.rglob("*"))
    traces = [file for file in files if file.suffix.lower() in TRACE_SUFFIXES]
    # The same trip often lies there in both forms.
    traces = [f for f in traces if f.suffix == ".csv" or f.with_suffix(".csv") not in traces]
    windows = [w for file in traces for w in windows_of(read_trace(file), canvas)]
    if not windows:
        raise DataError(
            "no GPS trace in it that is long enough for one window",
            where=source,
            remedy="give a folder with .csv or .gpx traces",
        )
    chosen = [windows[i] for i in spread(len(windows), limit)]
    return InputSource(
        count=len(chosen),
        skipped=(),
        prepared=lambda: (Prepared(np.asarray(w.tensor)) for w in chosen),
        raw=lambda: (np.asarray(w.features) for w in chosen),
    )
