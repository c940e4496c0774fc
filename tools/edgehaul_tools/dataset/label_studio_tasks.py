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
    """One mark; ``type`` names the field of ``value`` that holds the label."""

    type: str
    value: LsValue = msgspec.field(default_factory=LsValue)
    id: str = ""
    from_name: str = ""
    to_name: str = ""
    original_width: int = 0
    original_height: int = 0
    score: float | None = None
    meta: dict[str, list[str] | str] = {}


class LsAnswer(msgspec.Struct):
    """What one person or model said of a picture."""

    result: list[LsResult] = []
    was_cancelled: bool = False
    ground_truth: bool = False
    model_version: str | None = None
    score: float | None = None


class LsTask(msgspec.Struct):
    """One picture."""

    data: dict[str, object]
    annotations: list[LsAnswer] = []
    predictions: list[LsAnswer] = []
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
    texts = [task.data.get("image"), *task.data.values()]
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


def label_of(result: LsResult) -> str | None:
    """Return the label of a mark; None where it is of a kind that is not read."""
    if result.type not in _KINDS:
        return None
    names: list[str] = getattr(result.value, result.type)
    return names[0] if len(names) == 1 else None
