"""Checkpoints: all that a training needs to go on to the very same weights after a kill.

A checkpoint holds tensors and primitives alone and is read with ``weights_only=True``.
"""

from __future__ import annotations

import hashlib
import io
import time
from pathlib import Path
from typing import Any

import msgspec
import torch

from edgehaul.config.recipe import Training
from edgehaul.config.recipe_sections import OptimizerSection
from edgehaul.errors import EdgeHaulError, ModelError, UsageError
from edgehaul_tools.train.damage import DAMAGE, reason_of
from edgehaul_tools.train.durable import save_tensors

CHECKPOINT_FILE = "checkpoint.pt"
_FORM = 1
_LARGEST_SHARE = 0.05
"""Checkpoints take no more of a training's time than this."""
_AT_EPOCHS_END = 1 / 6
"""At an epoch's end it need not be so long ago: what is lost then is at most this time."""


def training_digest(*content: object) -> str:
    """Return the SHA-256 of what makes a training the one it is: its recipe and its data.

    Args:
        *content: The recipe (:func:`as_digested`), names and marks of the samples, arrays:
            bytes, or anything that msgspec writes as JSON.
    """
    digest = hashlib.sha256()
    for part in content:
        data = part if isinstance(part, bytes | memoryview) else msgspec.json.encode(part)
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def as_digested(recipe: Training) -> Training:
    """Return a recipe without what may change when a training goes on.

    That is where the dataset lies, as its content is digested, and the rate and the norm of the
    gradient: whoever lowers them after a training diverged goes on from the weights before.
    """
    usual = OptimizerSection()
    optimizer = msgspec.structs.replace(
        recipe.optimizer,
        learning_rate=usual.learning_rate,
        gradient_norm=usual.gradient_norm,
    )
    return msgspec.structs.replace(recipe, dataset="", optimizer=optimizer)


def refuse_unfinished(folder: Path, *, resume: bool) -> None:
    """Refuse to begin a training where another one waits to go on.

    Raises:
        UsageError: ``folder`` holds a checkpoint, and ``resume`` is not set.
    """
    if not resume and (folder / CHECKPOINT_FILE).exists():
        raise UsageError(
            "an unfinished training is here",
            where=folder,
            remedy=f"go on with --resume, or remove {CHECKPOINT_FILE} there to begin anew",
        )


class Checkpoints:
    """The checkpoint of a run directory.

    Args:
        folder: The run directory.
        digest: Of recipe and data; a checkpoint of another training is refused.
        every_s: Time between two within an epoch.
    """

    def __init__(self, folder: Path, digest: str, every_s: float = 60.0) -> None:
        self._path = folder / CHECKPOINT_FILE
        self._digest = digest
        self._every_s = every_s
        self._written_s = time.monotonic()
        self._took_s = 0.0

    def due(self, *, within_epoch: bool) -> bool:
        """Return whether it is time for one."""
        since_s = time.monotonic() - self._written_s
        least_s = self._every_s if within_epoch else self._every_s * _AT_EPOCHS_END
        return since_s >= max(self._took_s / _LARGEST_SHARE, least_s)

    def write(self, state: dict[str, Any]) -> None:
        """Write a checkpoint; the one before stays until this one is whole and on the disk.

        Raises:
            EdgeHaulError: It cannot be written; the one before is intact.
        """
        started_s = time.monotonic()
        before = self._path.exists()
        try:
            save_tensors(self._path, {"form": _FORM, "digest": self._digest, **state})
        except OSError as error:
            kept = "the one before it is intact; " if before else ""
            raise EdgeHaulError(
                f"the checkpoint cannot be written: {error.strerror}",
                where=self._path,
                remedy=f"{kept}free some space and go on with --resume",
            ) from error
        self._written_s = time.monotonic()
        self._took_s = self._written_s - started_s

    def read(self) -> bytes:
        """Return the checkpoint's bytes; none where there is none yet.

        Raises:
            ModelError: It is there, and empty.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return b""
        if not content:
            raise self._damaged("it is empty")
        return content

    def decode(self, content: bytes) -> dict[str, Any]:
        """Return what :meth:`write` was given.

        Raises:
            ModelError: The checkpoint is damaged.
            UsageError: It is of another training.
        """
        try:
            state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True)
            form, digest = state.pop("form"), state.pop("digest")
        except DAMAGE as error:
            raise self._damaged(reason_of(error)) from error
        if form != _FORM or digest != self._digest:
            raise UsageError(
                "this checkpoint is of another training: the recipe or the dataset was changed",
                where=self._path,
                remedy="restore them (but for optimizer.learning_rate and gradient_norm, which may "
                "change), or remove it (or name another --out) and train anew",
            )
        return state

    def _damaged(self, reason: str) -> ModelError:
        return ModelError(
            f"the checkpoint cannot be read: {reason}",
            where=self._path,
            remedy="remove it and train anew",
        )
