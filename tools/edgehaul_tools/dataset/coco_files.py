"""The files of a COCO dataset: one, or one for each part (cocodataset.org/#format-data)."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.parts import part_named
from edgehaul_tools.dataset.samples import Part
from edgehaul_tools.dataset.split_files import finish_split_files

ANNOTATIONS_FILE = "annotations.json"
MANIFEST_FILE = "dataset.json"
"""Beside it, ``annotations.json`` is the one that counts, whatever else lies there."""

_OBJECTS = "instances_"
"""How COCO's own files of boxes begin; those of key points and captions lie beside them."""
_WORDS = re.compile(r"[^_.\-\s]+")


class CocoImage(msgspec.Struct):
    """One picture; ``group`` and ``part`` are EdgeHaul's own."""

    id: int
    file_name: str
    width: int = 0
    height: int = 0
    group: str = ""
    part: Part = ""


class CocoCategory(msgspec.Struct):
    """One class."""

    id: int
    name: str


class CocoAnnotation(msgspec.Struct):
    """One box."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0
    id: int = 0
    area: float = 0.0


class Coco(msgspec.Struct):
    """What is read of one file."""

    images: list[CocoImage]
    categories: list[CocoCategory]
    annotations: list[CocoAnnotation] = []


class CocoInfo(msgspec.Struct):
    """What the standard says of a dataset as a whole."""

    description: str
    version: str


class CocoLicence(msgspec.Struct):
    """A licence of the pictures."""

    id: int
    name: str
    url: str = ""


class DescribedCoco(Coco, kw_only=True):
    """A file for other tools. It is never read as this: they write anything into these."""

    info: CocoInfo
    licenses: list[CocoLicence]


def find_annotations(root: Path) -> list[Path]:
    """Return the JSON files that may be a COCO dataset's, given the folder or the file.

    Raises:
        DatasetError: Files of two splits are here.
    """
    for folder in (root, root / "annotations") if root.is_dir() else (root.parent,):
        finish_split_files(folder)
    if root.is_file():
        return [root] if root.suffix.lower() == ".json" else []
    own = root / ANNOTATIONS_FILE
    if own.is_file() and (root / MANIFEST_FILE).is_file():
        return [own]
    places = (
        root.glob("*.json"),
        (root / "annotations").glob("*.json"),
        root.glob("*/*.coco.json"),
    )
    found = [path for files in places for path in sorted(files) if _is_coco(path)]
    return [path for path in found if path.name.startswith(_OBJECTS)] or found


def part_of_file(file: Path, root: Path) -> Part:
    """Return the part that a file's name, or else its folder, says that it is."""
    told = part_words(file)
    below = root.is_dir() and file.parent != root
    return part_named(told[0] if told else file.parent.name if below else "")


def part_words(file: Path) -> list[str]:
    """Return the words in a file's name that stand for a part, such as ``train2017``."""
    return [word for word in _WORDS.findall(file.stem) if part_named(word)]


def decode_coco(file: Path) -> Coco:
    """Read one file.

    Raises:
        DatasetError: It cannot be read, or is no COCO file.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=Coco)
    except (OSError, *UNREADABLE_JSON) as error:
        raise DatasetError(
            f"this is no COCO file: {error}",
            where=file,
            remedy="export it again as COCO detection (images, categories, annotations)",
        ) from error


def _is_coco(file: Path) -> bool:
    if file.name == MANIFEST_FILE:
        return False
    content = file.read_bytes()
    is_object = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"
    return is_object and b'"images"' in content and b'"categories"' in content
