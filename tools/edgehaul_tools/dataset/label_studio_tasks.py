"""The tasks of Label Studio as its JSON holds them (labelstud.io/guide/task_format)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.pictures import SUFFIXES

_KINDS = ("rectanglelabels", "polygonlabels", "choices", "labels")


class LsValue(msgspec.Struct):
    """One region or choice; sides in per cent of the picture, the angle in degrees."""

    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0
    rotation: float = 0.0
    points: list[tuple[float, float]] = []
    rectanglelabels: list[str] = []
    polygonlabels: list[str] = []
    labels: list[str] = []
    choices: list[str] = []


class LsResult(msgspec.Struct):
    """One mark; ``type`` names the field of ``value`` that holds the label.

    ``value`` is read by :func:`value_of`: in marks of other kinds it holds anything at all.
    """

    type: str = ""
    value: msgspec.Raw = msgspec.Raw()
    meta: object = None


class LsAnswer(msgspec.Struct):
    """What one person or model said of a picture."""

    result: list[LsResult] = []
    was_cancelled: bool = False
    ground_truth: bool = False


class LsTask(msgspec.Struct):
    """One picture."""

    data: dict[str, object]
    annotations: list[LsAnswer] = []
    predictions: list[LsAnswer] = []
    file_upload: str | None = None
    id: int = 0


def decode_tasks(file: Path) -> list[LsTask]:
    """Read the tasks of one file.

    Raises:
        DatasetError: It cannot be read, or holds no tasks.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=list[LsTask])
    except (OSError, *UNREADABLE_JSON) as error:
        raise DatasetError(
            f"this is no export of Label Studio: {error}",
            where=file,
            remedy="export the project again as JSON",
        ) from error


def is_tasks(file: Path) -> bool:
    """Return whether a JSON file looks like a list of tasks."""
    content = file.read_bytes()
    is_list = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    return is_list and b'"data"' in content


def picture_name(task: LsTask) -> str:
    """Return the path that a task gives for its picture, whatever serves it; or nothing."""
    texts = [task.data.get("image"), *task.data.values(), task.file_upload]
    given = next((t for t in texts if isinstance(t, str) and path_in(t)), "")
    return path_in(given)


def path_in(text: str) -> str:
    """Return the path in ``/data/local-files/?d=PATH``, ``https://...``, ``s3://...`` or plain."""
    try:
        url = urlsplit(text)
    except ValueError:
        return ""
    served = parse_qs(url.query).get("d")
    plain = "://" not in text and not text.startswith("/data/")
    path = served[0] if served else text if plain else unquote(url.path)
    return path if PurePath(path).suffix.lower() in SUFFIXES else ""


def answer_of(task: LsTask) -> Sequence[LsResult]:
    """Return the marks that count: ground truth, else the last person's, else the model's."""
    given = [answer for answer in task.annotations if not answer.was_cancelled]
    truth = [answer for answer in given if answer.ground_truth]
    chosen = (truth or given or task.predictions or [LsAnswer()])[-1]
    return chosen.result


def value_of(result: LsResult) -> LsValue | None:
    """Return what a mark holds; None where it is of a kind that is not read.

    A choice with a place is an attribute of a part of the picture, and no class of it.
    """
    if result.type not in _KINDS:
        return None
    try:
        value = msgspec.json.decode(result.value, type=LsValue)
    except UNREADABLE_JSON:
        return None
    placed = bool(value.points or value.width)
    return None if result.type == "choices" and placed else value


def label_of(result: LsResult) -> str | None:
    """Return the label of a mark; None where it is of a kind that is not read."""
    value = value_of(result)
    names: list[str] = getattr(value, result.type) if value else []
    return names[0] if len(names) == 1 else None
