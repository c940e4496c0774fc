"""What a source says of itself, so that it is not lost on the way into another form."""

from __future__ import annotations

import logging
from pathlib import Path

from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.coco_files import ANNOTATIONS_FILE
from edgehaul_tools.dataset.manifest import DatasetManifest, has_manifest, read_manifest

_LOGGER = logging.getLogger(__name__)


def manifest_of_source(root: Path) -> DatasetManifest | None:
    """Return the manifest of a dataset that is read, given its folder or its annotations.

    A file of that name that is something else stands in nobody's way.
    """
    folder = root.parent if root.name == ANNOTATIONS_FILE else root
    if not has_manifest(folder):
        return None
    try:
        return read_manifest(folder)
    except DatasetError as error:
        _LOGGER.warning("%s: %s; its licence and origin are not known", error.where, error.message)
        return None
