"""Make a dataset of any form ours: a directory with a manifest, whole or not at all."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from edgehaul.clock import Clock, SystemClock, format_utc
from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.coco import write_coco
from edgehaul_tools.dataset.coco_files import ANNOTATIONS_FILE
from edgehaul_tools.dataset.idx import unpack_idx
from edgehaul_tools.dataset.manifest import (
    DatasetManifest,
    file_record,
    sealed,
    write_manifest,
)
from edgehaul_tools.dataset.new_directory import PARTIAL_MARK, new_directory
from edgehaul_tools.dataset.parts import PARTS
from edgehaul_tools.dataset.placing import Link, own_names, place_pictures
from edgehaul_tools.dataset.progress import Progress
from edgehaul_tools.dataset.provenance import manifest_of_source
from edgehaul_tools.dataset.read import checked_dataset, detect_form, read_dataset
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.dataset.unpack import is_archive, unpack
from edgehaul_tools.dataset.video_frames import Sampling, extract_frames

_UNPACKED = "unpacked"
_PICTURES = "images"


@dataclass(frozen=True)
class About:
    """What the manifest is to say of a dataset; what is empty follows from the source.

    That is its manifest, or else its name; the version is then 1.

    Attributes:
        name: Name of the dataset.
        version: Version of its content.
        licence: Licence of the pictures and marks.
        origin: Where it is from.
    """

    name: str = ""
    version: str = ""
    licence: str = ""
    origin: str = ""


@dataclass(frozen=True)
class ImportOptions:
    """How a dataset is imported.

    Attributes:
        form: Form of the source; ``auto`` tells it by its files.
        about: What the manifest says.
        link: Whether pictures are copied or linked.
        sampling: Which frames of a video are taken.
        clock: Tells when it was imported.
    """

    form: str = "auto"
    about: About = field(default_factory=About)
    link: Link = "copy"
    sampling: Sampling = field(default_factory=Sampling)
    clock: Clock = field(default_factory=SystemClock)


@dataclass(frozen=True)
class Imported:
    """What came of an import.

    Attributes:
        manifest: The manifest.
        faults: Marks and frames that were mended or dropped.
    """

    manifest: DatasetManifest
    faults: tuple[str, ...]


def import_dataset(
    source: Path, out: Path, options: ImportOptions, progress: Progress | None = None
) -> Imported:
    """Make the directory ``out``: ``dataset.json``, ``annotations.json`` (COCO) and ``images``.

    :func:`edgehaul_tools.dataset.read.read_dataset` reads it back with all marks, groups and
    parts. It appears whole or not at all, even if the process is killed.

    Args:
        source: A folder, a file with the marks, an archive of either, or a video.
        out: The new directory.
        options: How.
        progress: Told of each picture.

    Raises:
        DatasetError: The source is unusable, ``out`` is not empty or cannot be written.
    """
    if not source.exists():
        raise DatasetError("nothing is here", where=source, remedy="check the path of the dataset")
    with new_directory(out) as folder:
        read, form, told = _read(source, folder, options, progress)
        placed = _place(read, folder, options.link, progress)
        write_coco(placed, folder / ANNOTATIONS_FILE)
        shutil.rmtree(folder / _UNPACKED, ignore_errors=True)
        about = _completed(options.about, told, source)
        created_at = format_utc(options.clock.now_s())
        manifest = manifest_of(placed, folder, form, about, created_at)
        write_manifest(folder, manifest)
    faults = tuple(line.replace(str(folder / _UNPACKED), str(source)) for line in read.faults)
    return Imported(manifest, faults)


def preview(source: Path, options: ImportOptions) -> tuple[DetectionDataset | None, str]:
    """Return what would be imported, and its form; no dataset where it must be unpacked first.

    Raises:
        DatasetError: The source is unusable.
    """
    if not source.exists():
        raise DatasetError("nothing is here", where=source, remedy="check the path of the dataset")
    if is_archive(source):
        return None, "archive"
    form = detect_form(source) if options.form == "auto" else options.form
    return (None if form in {"idx", "video"} else read_dataset(source, form)), form


def _read(
    source: Path, folder: Path, options: ImportOptions, progress: Progress | None
) -> tuple[DetectionDataset, str, DatasetManifest | None]:
    """Return what the source holds, its pictures as files, its form, and its manifest."""
    if not is_archive(source):
        return _read_unpacked(source, folder, options, progress)
    unpacked = folder / _UNPACKED
    try:
        return _read_unpacked(unpack(source, unpacked), folder, options, progress)
    except DatasetError as error:
        message, where = (
            t.replace(str(unpacked), str(source)) for t in (error.message, error.where)
        )
        raise DatasetError(message, where=where, remedy=error.remedy) from error


def _read_unpacked(
    root: Path, folder: Path, options: ImportOptions, progress: Progress | None
) -> tuple[DetectionDataset, str, DatasetManifest | None]:
    form = detect_form(root) if options.form == "auto" else options.form
    if form == "idx":
        dataset = checked_dataset(unpack_idx(root, folder, progress))
    elif form == "video":
        dataset = checked_dataset(extract_frames(root, folder, options.sampling, progress))
    else:
        dataset = read_dataset(root, form)
    return dataset, form, manifest_of_source(root)


def _place(
    dataset: DetectionDataset, folder: Path, link: Link, progress: Progress | None
) -> DetectionDataset:
    """Bring the pictures below ``images``; unpacked ones need no space for a second copy."""
    pictures, unpacked = folder / _PICTURES, folder / _UNPACKED
    if all(sample.path.is_relative_to(pictures) for sample in dataset.samples):
        return dataset
    if unpacked.exists():
        _refuse_outside(dataset, unpacked.resolve())
        link = "move"
    targets = [pictures / name for name in own_names(dataset.samples)]
    return place_pictures(dataset, targets, link, progress)


def _refuse_outside(dataset: DetectionDataset, unpacked: Path) -> None:
    """Raise an error if an archive's marks name pictures of this machine."""
    for sample in dataset.samples:
        if not sample.path.resolve().is_relative_to(unpacked):
            raise DatasetError(
                "the archive names a picture outside of it",
                where=sample.path,
                remedy="export the dataset again, with its pictures",
            )


def _completed(about: About, told: DatasetManifest | None, source: Path) -> About:
    """Return what was not given as the source tells it."""
    known = About(told.name, told.version, told.licence, told.origin) if told else About()
    return About(
        name=about.name or known.name or source.name.partition(".")[0],
        version=about.version or known.version,
        licence=about.licence or known.licence,
        # The name alone: the path tells about somebody's machine, and differs between two.
        origin=about.origin or known.origin or source.name,
    )


def manifest_of(
    dataset: DetectionDataset, folder: Path, form: str, about: About, created_at: str = ""
) -> DatasetManifest:
    """Return the manifest of a directory in which pictures and annotations are complete.

    Args:
        dataset: With its pictures in this directory.
        folder: The directory, as :func:`new_directory` gives it.
        form: Form of the source.
        about: What else it says.
        created_at: When it was made, RFC 3339.
    """
    parts: Counter[str] = Counter(sample.part or "undivided" for sample in dataset.samples)
    marks = Counter(mark.class_id for sample in dataset.samples for mark in sample.boxes)
    found = (path for path in folder.rglob("*") if path.is_file())
    files = sorted(path for path in found if path.name != PARTIAL_MARK)
    return sealed(
        DatasetManifest(
            name=about.name,
            version=about.version or "1",
            licence=about.licence,
            origin=about.origin,
            created_at=created_at,
            form=form,
            task=dataset.task,
            labels=dataset.labels,
            counts={part: parts[part] for part in (*PARTS, "undivided") if parts[part]},
            objects={label: marks[number] for number, label in enumerate(dataset.labels)},
            files=tuple(file_record(folder, path) for path in files),
        )
    )
