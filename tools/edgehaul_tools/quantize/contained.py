"""A model that nobody knows is read, cleaned and run first where it can do no harm.

Parsers, constant folding and kernels trust the file: 83 bytes can ask for 10^12 elements, a loop
for 2^62 turns, and a damaged graph can crash ONNX Runtime. So a process of its own does it
(:mod:`edgehaul_tools.quantize.trial`), limited in memory, time and what it may write; every end
that it can take becomes one line for the user.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no stubs

from edgehaul.bundle.spec import ModelSpec
from edgehaul.errors import ModelError, SpecMismatchError
from edgehaul_tools.quantize.limits import Limits
from edgehaul_tools.quantize.loading import size_of
from edgehaul_tools.quantize.trial import HEADER_NAME, MODEL_NAME, OUTCOME_NAME, Job, Outcome

_log = logging.getLogger(__name__)

_SHOWN_TEXT = 400
_READ_BYTES = 1 << 16
_REMEDY_UNTRUSTED = (
    "it is damaged, or made to do harm: do not deploy it, and get it again from its source"
)
_RAISE = "give --trial-seconds or --trial-memory more"


@dataclass(frozen=True, slots=True)
class Tried:
    """A model that was read, cleaned and run once.

    Attributes:
        header: The model as its file says it is: metadata, inputs and outputs; it holds neither
            nodes nor weights. It is what a spec is chosen by.
        model: The cleaned model, as :func:`edgehaul_tools.quantize.graph.clean` returns it.
        notes: What was changed on the way, for the user.
    """

    header: onnx.ModelProto
    model: onnx.ModelProto
    notes: tuple[str, ...]


def tried(
    path: Path,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    *,
    spec: ModelSpec | None = None,
) -> Tried:
    """Read, clean and run a model once, in a limited process.

    Args:
        path: Any ONNX file.
        limits: What the trial may take.
        spec: The spec that the user gave; free sizes of the input are taken from it, else from
            the spec in the model's metadata.

    Raises:
        ModelError: The model cannot be used, or takes more than the limits.
        SpecMismatchError: It contradicts its spec.
    """
    size = size_of(path)  # what is no file, or too large, needs no process
    with tempfile.TemporaryDirectory(prefix="edgehaul-trial-") as name:
        folder = Path(name)
        shape = None if spec is None else tuple(spec.input.tensor_shape)
        status, last_words = _run_to_its_end(path, folder, Job(limits, shape))
        outcome = _outcome(folder / OUTCOME_NAME)
        if status or outcome is None:
            raise _broken(status, last_words, path, limits)
        if outcome.message:
            raise _refused(outcome, path, limits.memory_for(size))
        try:
            header = onnx.load_model_from_string((folder / HEADER_NAME).read_bytes())
            model = onnx.load_model_from_string((folder / MODEL_NAME).read_bytes())
        except (OSError, DecodeError, ValueError) as error:
            raise ModelError(
                "the cleaned model cannot be read back", where=path, remedy=_REMEDY_UNTRUSTED
            ) from error
    return Tried(header, model, tuple(map(_printable, outcome.notes)))


def _run_to_its_end(path: Path, folder: Path, job: Job) -> tuple[int, str]:
    """Run the trial and return its exit status (negative: a signal) and its last line.

    Raises:
        ModelError: It was still running when its time was over.
    """
    command = [sys.executable, "-P", "-m", "edgehaul_tools.quantize.trial"]
    errors = folder / "stderr.txt"
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [*command, path.absolute(), folder, msgspec.json.encode(job)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=_environment(),
            cwd=folder,
            start_new_session=True,  # a group of its own, to end it with all that it starts
        ) as process,
    ):
        try:
            status = process.wait(job.limits.seconds)
        except subprocess.TimeoutExpired:
            raise ModelError(
                f"the model is not read and run within {job.limits.seconds:g} s",
                where=path,
                remedy=f"if you trust it, {_RAISE}; else {_REMEDY_UNTRUSTED}",
            ) from None
        finally:
            if process.returncode is None:
                _end(process)
    return status, _last_line(errors)


def _last_line(file: Path) -> str:
    """Return the last line of what may be a long file."""
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - _READ_BYTES))
        words = stream.read().decode(errors="replace").strip().splitlines()
    return _printable(words[-1]) if words else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        process.kill()
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _environment() -> dict[str, str]:
    """Return the environment of the trial: one thread, few memory arenas, our own modules."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, **single, "MALLOC_ARENA_MAX": "2", "PYTHONPATH": paths}


def _outcome(file: Path) -> Outcome | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Outcome)
    except (OSError, msgspec.MsgspecError):
        return None


def _refused(outcome: Outcome, path: Path, memory_bytes: int) -> ModelError:
    if outcome.out_of_memory:
        return _without_memory(path, memory_bytes)
    kind = SpecMismatchError if outcome.is_mismatch else ModelError
    return kind(_printable(outcome.message), where=path, remedy=_printable(outcome.remedy))


def _broken(status: int, last_words: str, path: Path, limits: Limits) -> ModelError:
    """Return the error for a trial that ended without an outcome."""
    _log.debug("%s: the trial ended with status %d: %s", path, status, last_words)
    if sys.platform != "win32" and -status == signal.SIGXCPU:
        return ModelError(
            f"the model takes more than {limits.seconds:g} s of processor time",
            where=path,
            remedy=f"if you trust it, {_RAISE}; else {_REMEDY_UNTRUSTED}",
        )
    if status >= 0:
        return ModelError(
            f"the trial of the model failed: {last_words or f'exit code {status}'}",
            where=path,
            remedy="export or download it again; if others can use it, report this as a defect",
        )
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"{-status}"
    return ModelError(
        f"the model makes its trial crash (signal {name})", where=path, remedy=_REMEDY_UNTRUSTED
    )


def _without_memory(path: Path, memory_bytes: int) -> ModelError:
    return ModelError(
        f"the model needs more than {memory_bytes / 1e9:.1f} GB of memory to be read and run",
        where=path,
        remedy=f"if you trust it, {_RAISE}; else {_REMEDY_UNTRUSTED}",
    )


def _printable(text: str) -> str:
    """Return a text that the model may have had a hand in, fit for a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text[:_SHOWN_TEXT])
