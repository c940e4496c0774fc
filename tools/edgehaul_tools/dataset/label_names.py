"""``labels.txt``: the names of the classes in their order, one a line."""

from __future__ import annotations

from pathlib import Path

from edgehaul.errors import DatasetError

LABELS_FILE = "labels.txt"
LABEL_FILES = (LABELS_FILE, "classes.txt", "obj.names")
"""What the file is called, by the tool that wrote it."""


def read_label_names(root: Path) -> tuple[str, ...] | None:
    """Return the names that a dataset's folder lists; None where it lists none."""
    for name in LABEL_FILES:
        if (root / name).is_file():
            text = (root / name).read_text(encoding="utf-8-sig", errors="replace")
            return tuple(line.strip() for line in text.splitlines() if line.strip())
    return None


def write_label_names(root: Path, labels: tuple[str, ...]) -> None:
    """List the names in a dataset's folder.

    Raises:
        DatasetError: A name has line breaks or blanks at its ends, which would not come back.
    """
    for label in labels:
        if not label or label != label.strip() or len(label.splitlines()) != 1:
            raise DatasetError(
                f"the class {label!r} cannot be written as one line",
                where=root,
                remedy="rename it without blanks at its ends and without line breaks",
            )
    (root / LABELS_FILE).write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
