"""What tells one search from another: whatever decides which figures it measures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import onnxruntime  # type: ignore[import-untyped]  # no stubs

from edgehaul import __version__
from edgehaul.bundle.spec import ModelSpec
from edgehaul_tools.compress.journal import search_digest
from edgehaul_tools.compress.material import LabelledSource, Material
from edgehaul_tools.compress.options import Options
from edgehaul_tools.export.machine import machine
from edgehaul_tools.quantize.directory import sha256_of


def fingerprint(material: Material, spec: ModelSpec, options: Options, out: Path) -> str:
    """Return the SHA-256 of all that decides what a search measures.

    Of data it is the names, sizes and times of change of the files, not their content.

    Args:
        material: The model and its data.
        spec: Its input and output.
        options: What is asked for.
        out: Where the search writes: no data, wherever it lies.
    """
    labelled = material.labelled
    return search_digest(
        sha256_of(material.model).encode(),
        msgspec.json.encode(spec),
        options.identity,
        repr((machine(), onnxruntime.__version__, __version__)).encode(),
        *(_state_of(path, out) for path in (material.calibration, material.frames)),
        b"" if labelled is None else _labelled_state(labelled, out),
    )


def _labelled_state(labelled: LabelledSource, out: Path) -> bytes:
    part = msgspec.json.encode((labelled.part, str(labelled.run)))
    return part + _state_of(labelled.path, out)


def _state_of(path: Path | None, out: Path) -> bytes:
    """Return where data lies and what it is, as far as its files' names and marks tell."""
    if path is None:
        return b""
    return repr((str(path.resolve()), sorted(_files(path, out.resolve())))).encode()


def _files(path: Path, out: Path) -> Iterator[tuple[str, int, int]]:
    files = path.rglob("*") if path.is_dir() else (path,)
    for file in files:
        if file.is_file() and out not in file.resolve().parents:
            state = file.stat()
            yield str(file.relative_to(path)), state.st_size, state.st_mtime_ns
