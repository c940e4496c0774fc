"""Datasets made with the virtual devices: parcels on conveyors, and trips of trucks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import msgspec
import numpy as np

from edgehaul.clock import format_utc
from edgehaul.errors import DatasetError, UsageError
from edgehaul.motion.fixes import write_csv
from edgehaul.values import Fix
from edgehaul.virtual.conveyor import PARCEL_LABELS, Conveyor, ConveyorFrame
from edgehaul.virtual.truck import ANOMALY_LABELS, MODE_LABELS, TruckTrip
from edgehaul_tools.dataset.coco import write_coco
from edgehaul_tools.dataset.coco_files import ANNOTATIONS_FILE
from edgehaul_tools.dataset.import_dataset import About, manifest_of
from edgehaul_tools.dataset.manifest import write_manifest
from edgehaul_tools.dataset.new_directory import new_directory
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox

Progress = Callable[[int, int], None]
"""Called with the number of items done and the number of all."""

Truth = Literal["faults", "modes"]

_SEED_OFFSET = 1_000_000
"""Conveyors and trucks of datasets have seeds from here on: no live one with a small seed is
ever one that was learnt from."""
_SEEDS_PER_DATASET = 10_000
_IMAGES_PER_SCENE = 20
_FEWEST_SCENES = 10
_FRAMES_BETWEEN = 40
_JPEG_QUALITY = 90
_PICTURES = "images"
_LICENCE = "CC0-1.0"
"""Nobody took these pictures."""


def generate_conveyor_dataset(
    out: Path,
    images: int,
    seed: int,
    *,
    width: int = 640,
    height: int = 480,
    progress: Progress | None = None,
) -> DetectionDataset:
    """Render pictures of many conveyors and write them as a COCO dataset with a manifest.

    Every conveyor ("scene") is one group. Its pictures are at least 1.6 s apart. Parcels at
    the edges that are too cut off to tell their class are marked ``iscrowd``.

    Args:
        out: New or empty folder: ``dataset.json``, ``annotations.json`` and ``images/*.jpg``.
            It appears whole or not at all.
        images: Number of pictures.
        seed: The same seed gives the same dataset.
        width: Width of the pictures in pixels.
        height: Height of the pictures in pixels.
        progress: Told of each picture.

    Raises:
        UsageError: The number of pictures is not in 1..100,000.
        DatasetError: The folder is not empty or cannot be written.
    """
    if not 1 <= images <= 100_000:  # noqa: PLR2004 - more would use up the scenes' seeds
        raise UsageError(f"{images} pictures cannot be made", remedy="ask for 1 to 100000")
    Conveyor(seed=0, width=width, height=height)  # refuses sizes that it cannot draw
    with new_directory(out) as folder:
        samples = _render(folder, images, seed, (width, height), progress)
        dataset = DetectionDataset(folder, PARCEL_LABELS, samples)
        write_coco(dataset, folder / ANNOTATIONS_FILE)
        made_by = (
            f"edgehaul data virtual conveyor --images {images} --seed {seed} "
            f"--width {width} --height {height}"
        )
        about = About(name="virtual conveyor", licence=_LICENCE, origin=made_by)
        # No time is in it: the seed decides every byte.
        write_manifest(folder, manifest_of(dataset, folder, "virtual", about))
    return _moved(dataset, out)


def _render(
    folder: Path, images: int, seed: int, size: tuple[int, int], progress: Progress | None
) -> tuple[Sample, ...]:
    """Write the pictures and return them in the order of their paths."""
    (folder / _PICTURES).mkdir()
    width, height = size
    scenes = min(images, max(_FEWEST_SCENES, round(images / _IMAGES_PER_SCENE)))
    samples: list[Sample] = []
    for scene in range(scenes):
        count = images // scenes + (scene < images % scenes)
        scene_seed = _SEED_OFFSET + seed * _SEEDS_PER_DATASET + scene
        conveyor = Conveyor(seed=scene_seed, width=width, height=height)
        for index in _spread(scene_seed, count):
            samples.append(_save(folder, conveyor, conveyor.frame(index)))
            if progress:
                progress(len(samples), images)
    return tuple(sorted(samples, key=lambda sample: sample.path))


def _moved(dataset: DetectionDataset, out: Path) -> DetectionDataset:
    """Return a dataset whose directory has been put in its place."""
    samples = (
        dataclasses.replace(sample, path=out / sample.path.relative_to(dataset.root))
        for sample in dataset.samples
    )
    return dataclasses.replace(dataset, root=out, samples=tuple(samples))


def _spread(seed: int, count: int) -> list[int]:
    """Return frame numbers with random gaps, beginning when the belt is full."""
    gaps = np.random.default_rng(seed).integers(_FRAMES_BETWEEN, 3 * _FRAMES_BETWEEN, count)
    return [150 + int(index) for index in np.cumsum(gaps)]


def _save(folder: Path, conveyor: Conveyor, frame: ConveyorFrame) -> Sample:
    group = f"scene_{conveyor.seed:08d}"
    path = folder / _PICTURES / f"{group}_frame_{frame.index:06d}.jpg"
    if not cv2.imwrite(str(path), frame.image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]):
        raise DatasetError("the picture cannot be written", where=path, remedy="free some space")
    boxes = tuple(TrueBox(p.box, PARCEL_LABELS.index(p.label)) for p in frame.truth)
    ignored = tuple(parcel.box for parcel in frame.partial)
    return Sample(path, group, conveyor.width, conveyor.height, boxes, ignored)


def generate_truck_dataset(
    out: Path,
    trips: int,
    seed: int,
    *,
    duration_s: float = 1800.0,
    truth: Truth = "faults",
    progress: Progress | None = None,
) -> None:
    """Drive virtual trucks and write their traces and what is true of them.

    Args:
        out: New or empty folder: ``trips/*.csv``, the same as ``trips/*.gpx``, and
            ``labels.json`` with the spans of what ``truth`` names. It appears whole or not at
            all.
        trips: Number of trips.
        seed: The same seed gives the same dataset.
        duration_s: Length of each trip.
        truth: ``faults`` of the drivers, or ``modes``: standing, or driving in which area.
        progress: Told of each trip.

    Raises:
        UsageError: The number of trips is not in 1..10,000.
        DatasetError: The folder is not empty or cannot be written.
    """
    if not 1 <= trips <= _SEEDS_PER_DATASET:
        raise UsageError(f"{trips} trips cannot be made", remedy="ask for 1 to 10000")
    TruckTrip(seed=0, duration_s=duration_s)  # refuses a length that it cannot drive
    with new_directory(out) as folder:
        (folder / "trips").mkdir()
        spans: dict[str, list[dict[str, str]]] = {}
        for number in range(trips):
            trip_seed = _SEED_OFFSET + seed * _SEEDS_PER_DATASET + number
            trip = TruckTrip(seed=trip_seed, duration_s=duration_s)
            name = f"truck_{trip_seed:08d}"
            write_csv(folder / "trips" / f"{name}.csv", trip.fixes)
            (folder / "trips" / f"{name}.gpx").write_text(_gpx(name, trip.fixes), encoding="utf-8")
            spans[name] = _spans(trip, truth)
            if progress:
                progress(number + 1, trips)
        labels = ANOMALY_LABELS if truth == "faults" else MODE_LABELS
        content = {"labels": labels, "trips": spans}
        (folder / "labels.json").write_bytes(msgspec.json.format(msgspec.json.encode(content)))


def _spans(trip: TruckTrip, truth: Truth) -> list[dict[str, str]]:
    return [
        {
            "label": span.label,
            "started_at": format_utc(span.started_at_s),
            "ended_at": format_utc(span.ended_at_s),
        }
        for span in (trip.anomalies if truth == "faults" else trip.modes)
    ]


def _gpx(name: str, fixes: tuple[Fix, ...]) -> str:
    """Return a trace as GPX 1.1; speed and course in the extension that Garmin defines."""
    points = "\n".join(
        f'<trkpt lat="{f.latitude_deg:.7f}" lon="{f.longitude_deg:.7f}">'
        f"<time>{format_utc(f.captured_at_s)}</time><extensions><gpxtpx:TrackPointExtension>"
        f"<gpxtpx:speed>{f.speed_mps:.2f}</gpxtpx:speed>"
        f"<gpxtpx:course>{f.heading_deg:.1f}</gpxtpx:course>"
        "</gpxtpx:TrackPointExtension></extensions></trkpt>"
        for f in fixes
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<gpx version="1.1" creator="EdgeHaul" xmlns="http://www.topografix.com/GPX/1/1"'
        ' xmlns:gpxtpx="http://www.garmin.com/xmlschemas/TrackPointExtension/v2">\n'
        f"<trk><name>{name}</name><trkseg>\n{points}\n</trkseg></trk></gpx>\n"
    )
