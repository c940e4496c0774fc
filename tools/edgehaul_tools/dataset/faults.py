"""Faults of a dataset, collected so that the user sees all of them at once."""

from __future__ import annotations

import dataclasses
import logging
import math
from pathlib import Path

from edgehaul.errors import DatasetError
from edgehaul.geometry import Box
from edgehaul_tools.dataset.samples import DetectionDataset

_LOGGER = logging.getLogger(__name__)
_SHOWN = 20
_LONGEST_NAME, _END_OF_NAME = 400, 60
_OUTSIDE_TOLERANCE_PX = 1.0
"""Labelling tools round; a box this little outside its picture is cut without a word."""


def shown_name(name: object) -> str:
    """Return a name as it can be shown, whatever somebody wrote: on one line, not too long."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(name))
    if len(text) <= _LONGEST_NAME:
        return text
    return f"{text[: _LONGEST_NAME - _END_OF_NAME]}...{text[-_END_OF_NAME:]}"


class DatasetFaultsError(DatasetError):
    """A dataset with faults that make it unusable.

    Args:
        message: Some of them.
        where: The dataset.
        faults: All of them, one line each.
        rest: What can be read all the same, for a check; nothing must be learnt from it.
    """

    def __init__(
        self,
        message: str,
        *,
        where: Path,
        faults: tuple[str, ...],
        rest: DetectionDataset | None = None,
    ) -> None:
        remedy = "mend or remove these files and their marks, then run it again"
        super().__init__(message, where=where, remedy=remedy)
        self.faults = faults
        self.rest = rest


class FaultBook:
    """Collects what is wrong with a dataset while it is read.

    Attributes:
        mended: What was dropped, cut or passed over; reading goes on without it.
        fatal: Faults that make the dataset unusable.
    """

    def __init__(self) -> None:
        self.mended: list[str] = []
        self.fatal: list[str] = []

    def checked_box(self, box: Box, width: int, height: int, where: str) -> Box | None:
        """Return the part of a box inside its picture, or None (and note it) if there is none.

        Args:
            box: As it is written, in pixels.
            width: Width of the picture.
            height: Height of the picture.
            where: File and object, for the note.
        """
        sides = (box.x1, box.y1, box.x2, box.y2)
        written = "[" + ", ".join(f"{side:g}" for side in sides) + "]"
        if not all(math.isfinite(side) for side in sides):
            self.mended.append(f"{where}: box {written} is no number; dropped")
            return None
        if box.x2 <= box.x1 or box.y2 <= box.y1:
            self.mended.append(f"{where}: box {written} has no area; dropped")
            return None
        inside = box.clipped(width, height)
        if inside.area == 0:
            self.mended.append(f"{where}: box {written} is outside {width}x{height}; dropped")
            return None
        cut = max(
            abs(a - b)
            for a, b in zip(sides, (inside.x1, inside.y1, inside.x2, inside.y2), strict=True)
        )
        if cut > _OUTSIDE_TOLERANCE_PX:
            self.mended.append(f"{where}: box {written} reaches outside {width}x{height}; cut")
        return inside

    def judged(self, dataset: DetectionDataset) -> DetectionDataset:
        """Return what was read with its mended faults.

        Raises:
            DatasetFaultsError: There is at least one fatal fault; it holds the rest.
        """
        told = dataclasses.replace(dataset, faults=tuple(self.mended))
        self.raise_fatal(dataset.root, told)
        return told

    def raise_fatal(self, root: Path, rest: DetectionDataset | None = None) -> None:
        """Raise all fatal faults as one error, the first 20 of them in full.

        Args:
            root: The dataset.
            rest: What can be read all the same.

        Raises:
            DatasetFaultsError: There is at least one.
        """
        if count := len(self.mended):
            _LOGGER.warning(
                "%s: %d faults were mended or passed over; `edgehaul data check` lists them",
                root,
                count,
            )
        if not self.fatal:
            return
        count = len(self.fatal)
        shown = " | ".join(self.fatal[:_SHOWN])
        more = f" | and {count - _SHOWN} more" if count > _SHOWN else ""
        raise DatasetFaultsError(
            f"{count} fault{'s' if count > 1 else ''} in this dataset: {shown}{more}",
            where=root,
            faults=tuple(self.fatal),
            rest=rest,
        )
