"""Look at every picture of a dataset once, and keep what the checks need of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehaul_tools.dataset.crop_features import Features, crop_features, crop_of, no_features
from edgehaul_tools.dataset.jpeg_damage import jpeg_damage
from edgehaul_tools.dataset.perceptual_hash import Looks, coarse_picture, looks_of
from edgehaul_tools.dataset.progress import Progress
from edgehaul_tools.dataset.samples import Sample

_AT_ONCE = 32
MOST_OBJECTS = 50_000
"""So many objects are looked at in detail, which bounds time (a minute) and memory (90 MB)."""


@dataclass(frozen=True, eq=False)
class Inspection:
    """What the pictures look like.

    Attributes:
        samples: The pictures that can be decoded.
        damaged: Those that cannot.
        flawed: Those that can, but not to what they once were, and why.
        digests: Hash of the pixels of each of ``samples``.
        looks: What they look like.
        features: (N, F) of the objects that were looked at.
        owners: (N,) index into ``samples`` of each object's picture.
        marks: (N,) index into its boxes.
        objects: Number of all objects, of which N were looked at.
    """

    samples: tuple[Sample, ...]
    damaged: tuple[Path, ...]
    flawed: tuple[tuple[Path, str], ...]
    digests: tuple[str, ...]
    looks: Looks
    features: Features
    owners: NDArray[np.int64]
    marks: NDArray[np.int64]
    objects: int


@dataclass(frozen=True, eq=False)
class _Seen:
    digest: str
    coarse: NDArray[np.uint8]
    flaw: str


def inspect_pictures(
    samples: Sequence[Sample], seed: int = 0, progress: Progress | None = None
) -> Inspection:
    """Decode every picture and return what is needed of it.

    Args:
        samples: The pictures.
        seed: Chooses the objects to look at, where there are more than ``MOST_OBJECTS``.
        progress: Told of the pictures.
    """
    chosen = _chosen_marks(samples, seed)
    chunks = [
        range(at, min(at + _AT_ONCE, len(samples))) for at in range(0, len(samples), _AT_ONCE)
    ]
    seen: list[_Seen | None] = []
    features: list[Features] = []
    with ThreadPoolExecutor() as pool:
        # OpenCV lets other threads run while it decodes.
        for part, own in pool.map(lambda chunk: _look_at(samples, chunk, chosen), chunks):
            seen += part
            features.append(own)
            if progress:
                progress(len(seen), len(samples))
    return _gathered(samples, chosen, seen, np.concatenate([no_features(), *features]))


def _chosen_marks(samples: Sequence[Sample], seed: int) -> list[list[int]]:
    """Return, for each picture, which of its marks are looked at."""
    counts = [len(sample.boxes) for sample in samples]
    total = sum(counts)
    taken = np.ones(total, dtype=np.bool_)
    if total > MOST_OBJECTS:
        taken[:] = False
        taken[np.random.default_rng(seed).choice(total, MOST_OBJECTS, replace=False)] = True
    ends = np.cumsum(counts)
    return [
        np.flatnonzero(taken[end - count : end]).tolist()
        for end, count in zip(ends, counts, strict=True)
    ]


def _look_at(
    samples: Sequence[Sample], chunk: range, chosen: list[list[int]]
) -> tuple[list[_Seen | None], Features]:
    seen: list[_Seen | None] = []
    crops, sizes = [], []
    for index in chunk:
        sample = samples[index]
        content, image = _decoded(sample.path)
        if image is None:
            seen.append(None)
            continue
        flaw = jpeg_damage(content, image)
        seen.append(_Seen(_digest(image), coarse_picture(_grey(image)), flaw))
        for mark in chosen[index]:
            box = sample.boxes[mark].box
            crops.append(crop_of(image, box))
            sizes.append((box.width / sample.width, box.height / sample.height))
    if not crops:
        return seen, no_features()
    return seen, crop_features(crops, np.array(sizes, dtype=np.float32))


def _decoded(path: Path) -> tuple[bytes, NDArray[np.uint8] | None]:
    try:
        content = path.read_bytes()
        held = np.frombuffer(content, dtype=np.uint8)
        image = cv2.imdecode(held, cv2.IMREAD_COLOR) if content else None
    except (OSError, cv2.error):
        return b"", None
    return content, None if image is None else np.asarray(image, dtype=np.uint8)


def _digest(image: NDArray[np.uint8]) -> str:
    return hashlib.blake2b(image.tobytes(), digest_size=16, salt=b"%d" % image.shape[1]).hexdigest()


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def _gathered(
    samples: Sequence[Sample],
    chosen: list[list[int]],
    seen: list[_Seen | None],
    features: Features,
) -> Inspection:
    readable = [index for index, item in enumerate(seen) if item is not None]
    kept = [item for item in seen if item is not None]
    pairs = [(place, mark) for place, index in enumerate(readable) for mark in chosen[index]]
    owners, marks = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Inspection(
        samples=tuple(samples[index] for index in readable),
        damaged=tuple(samples[index].path for index, item in enumerate(seen) if item is None),
        flawed=tuple(
            (samples[index].path, item.flaw)
            for index, item in enumerate(seen)
            if item and item.flaw
        ),
        digests=tuple(item.digest for item in kept),
        looks=looks_of([item.coarse for item in kept]),
        features=features,
        owners=owners,
        marks=marks,
        objects=sum(len(samples[index].boxes) for index in readable),
    )
