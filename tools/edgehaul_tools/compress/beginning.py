"""What is seen to before a search begins: that it can be made, and where it may write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgehaul.errors import UsageError
from edgehaul_tools.compress.journal import JOURNAL_NAME, holds_nothing, refuse_begun
from edgehaul_tools.compress.material import EXPORTED
from edgehaul_tools.compress.networks import WORK, require_trainable
from edgehaul_tools.compress.options import Options
from edgehaul_tools.quantize.directory import directory_to_write


def require_possible(source: Path, out: Path, options: Options) -> None:
    """Refuse what is known to be impossible before any model is exported, read or run.

    Args:
        source: An ONNX file or a run directory.
        out: The model directory that is to be written.
        options: What is asked for.

    Raises:
        UsageError: An option is out of range, networks are asked for that cannot be trained, or
            an unfinished search is in ``out`` and nobody said to go on with it.
        DatasetError: What a run is to train on with is not there any more.
        ModelError: A run cannot be read, or its channels cannot be removed.
    """
    options.require_possible()
    refuse_begun(out, resume=options.resume)
    if source.is_dir():
        require_trainable(source, options)
    elif options.prune or options.qat_epochs:
        raise UsageError(
            "--prune and --qat train, and an ONNX file cannot be trained",
            where=source,
            remedy="give the run directory that the model was exported from",
        )


@contextmanager
def place_for(out: Path) -> Iterator[None]:
    """Make the directory of a search, and try to write into it.

    Where the search fails, what was made on the way leaves again, unless it can be gone on with:
    trained networks, and a journal with candidates in it.

    Raises:
        ModelError: It cannot be made or written.
    """
    exported = out / WORK / EXPORTED
    was_there = exported.exists()
    with directory_to_write(out):
        try:
            yield
        except BaseException:
            with suppress(OSError):  # the search's own error is the one to tell
                if holds_nothing(out):
                    (out / JOURNAL_NAME).unlink(missing_ok=True)
                if not was_there:
                    exported.unlink(missing_ok=True)
                (out / WORK).rmdir()
            raise
