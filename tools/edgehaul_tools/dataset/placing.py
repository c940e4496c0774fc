"""Put the pictures of a dataset into a new directory, under names of their own there."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Literal

from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.progress import Progress
from edgehaul_tools.dataset.samples import DetectionDataset, Sample

Link = Literal["copy", "hardlink", "move"]


def own_names(samples: Sequence[Sample]) -> list[PurePath]:
    """Return each picture's path below the folder that holds all of them; no ``..`` is in it."""
    paths = [PurePath(os.path.normpath(sample.path.absolute())) for sample in samples]
    common = os.path.commonpath([path.parent for path in paths]) if paths else "."
    return [path.relative_to(common) for path in paths]


def place_pictures(
    dataset: DetectionDataset,
    targets: Sequence[Path],
    link: Link,
    progress: Progress | None = None,
) -> DetectionDataset:
    """Copy or link each picture to its target and return the dataset of these, by their paths.

    Args:
        dataset: To place.
        targets: Where each picture goes; pictures that are there already are left alone.
        link: ``hardlink`` takes no space, but both names are one file ever after; ``move``
            leaves nothing behind.
        progress: Told of each picture.

    Raises:
        DatasetError: There is not enough space, or the link cannot be made.
        OSError: The file system refuses.
    """
    pairs = [(s, t) for s, t in zip(dataset.samples, targets, strict=True) if s.path != t]
    if link == "copy" and pairs:
        _require_space([sample.path for sample, _ in pairs], pairs[0][1])
    put = _PUT[link]
    placed: dict[Path, Path] = {}
    for number, (sample, target) in enumerate(pairs, start=1):
        if placed.setdefault(target, sample.path) != sample.path:
            raise DatasetError(
                f"{placed[target].name} and this picture would have one name",
                where=sample.path,
                remedy="rename one of them",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            put(sample.path, target)
        if progress:
            progress(number, len(pairs))
    moved = [
        dataclasses.replace(sample, path=target)
        for sample, target in zip(dataset.samples, targets, strict=True)
    ]
    ordered = sorted(moved, key=lambda sample: sample.path.as_posix())
    return dataclasses.replace(dataset, samples=tuple(ordered))


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _move(source: Path, target: Path) -> None:
    source.rename(target)


def _hardlink(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source.resolve())
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}:
            raise
        raise DatasetError(
            f"cannot link the picture: {(error.strerror or str(error)).lower()}",
            where=source,
            remedy="use --link copy",
        ) from error


_PUT: dict[Link, Callable[[Path, Path], None]] = {
    "copy": _copy,
    "hardlink": _hardlink,
    "move": _move,
}


def _require_space(sources: Sequence[Path], target: Path) -> None:
    needed = sum(source.stat().st_size for source in sources)
    place = next(folder for folder in target.absolute().parents if folder.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise DatasetError(
            f"the pictures take {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free",
            where=place,
            remedy="free some space, or use --link hardlink",
        )
