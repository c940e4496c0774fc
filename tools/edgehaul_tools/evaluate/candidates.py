"""The models that are measured: ONNX files, model directories and training runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no stubs

from edgehaul.errors import ModelError, UsageError
from edgehaul_tools.evaluate.candidate import Candidate
from edgehaul_tools.export.run import export_run
from edgehaul_tools.export.runtime import runner
from edgehaul_tools.export.spec_choice import choose_spec
from edgehaul_tools.quantize.directory import DIRECTORY_NAME, read_directory, sha256_of
from edgehaul_tools.train.run_directory import RUN_FILE, read_run


def open_candidates(paths: Sequence[Path], scratch: Path) -> tuple[Candidate, ...]:
    """Open all models; of a model directory every variant.

    Args:
        paths: ONNX files, model directories (``edgehaul quantize``), run directories.
        scratch: Folder for the exports of run directories.

    Raises:
        ModelError: One is no model, or cannot be exported.
        SpecMismatchError: Nothing says how to run one.
        UsageError: They are for different tasks, so that no figure compares them.
    """
    found = [c for number, path in enumerate(paths) for c in _open(path, scratch / f"{number}")]
    tasks = {(c.spec.task, c.spec.output.head in {"anomaly", "autoencoder"}) for c in found}
    if len(tasks) > 1:
        questions = sorted({question_of(c) for c in found})
        raise UsageError(
            f"these models are for different tasks: {', '.join(questions)}",
            remedy="evaluate those of each task alone",
        )
    return tuple(_named_apart(found))


_QUESTIONS = {
    "sequence": "what happens in a window",
    "regress": "where the vehicle will be",
    "anomaly": "whether it is normal",
    "autoencoder": "whether it is normal",
}


def question_of(candidate: Candidate) -> str:
    """Return what a model answers: its task, or what its head answers of several in one task."""
    return _QUESTIONS.get(candidate.spec.output.head, candidate.spec.task)


def is_run(path: Path) -> bool:
    """Return whether a path is a training's run directory."""
    return (path / RUN_FILE).is_file()


def _open(path: Path, scratch: Path) -> list[Candidate]:
    if is_run(path):
        run = read_run(path)
        file = scratch.with_suffix(".onnx")
        export_run(path, file)
        name = path.resolve().name
        return [Candidate(name, path, sha256_of(file), run.spec, runner(file), run.recipe)]
    if (path / DIRECTORY_NAME).is_file():
        directory = read_directory(path)
        return [
            Candidate(
                f"{directory.name} {variant.name}",
                path,
                variant.sha256,
                directory.spec,
                runner(path / variant.path),
            )
            for variant in directory.variants
        ]
    spec, _ = choose_spec(_load(path), where=path, file=None, labels=())
    return [Candidate(path.stem, path, sha256_of(path), spec, runner(path))]


def _load(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise ModelError(
            "this is no model",
            where=path,
            remedy="name an ONNX file, a model directory (edgehaul quantize) or a run directory "
            "(edgehaul train)",
        ) from error


def _named_apart(candidates: Sequence[Candidate]) -> list[Candidate]:
    counts = Counter(c.name for c in candidates)
    renamed = [
        replace(c, name=f"{c.path.resolve().parent.name}/{c.name}") if counts[c.name] > 1 else c
        for c in candidates
    ]
    seen: Counter[str] = Counter()
    result = []
    for candidate in renamed:
        seen[candidate.name] += 1
        again = seen[candidate.name]
        suffix = f" ({again})" if again > 1 else ""
        result.append(replace(candidate, name=candidate.name + suffix))
    return result
