"""Series of several channels over time, with labelled spans: sensors, counters, travel times."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehaul.errors import DataError, DatasetError
from edgehaul_tools.dataset.faults import FaultBook
from edgehaul_tools.dataset.traces import AnomalySpan, read_labels, spans_of, write_labels

OUTAGE_INTERVALS = 5
"""A pause longer than so many intervals is an outage: nothing is interpolated across it."""
_MEAN_FROM = 1.5
"""From so many samples a step on, a step is their mean: single ones would alias."""
_TIME_TOLERANCE = 1e-6
_TIME = "time_s"
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Series:
    """Channels measured at the same times.

    Attributes:
        name: Name of the series; series are never split.
        time_s: (T,) float64, rising; UTC seconds, or seconds since the recording began.
        channels: Names of the channels.
        values: (T, C) float32; NaN where a channel has no value.
        spans: What happened when, by time, on the same clock.
        group: The vehicle or machine, which no split tears apart; empty where nothing names it.
    """

    name: str
    time_s: NDArray[np.float64]
    channels: tuple[str, ...]
    values: NDArray[np.float32]
    spans: tuple[AnomalySpan, ...] = ()
    group: str = ""

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        if self.values.shape != (len(self.time_s), len(self.channels)):
            raise ValueError(f"values {self.values.shape} are not (times, channels)")
        if len(self.time_s) > 1 and not (np.diff(self.time_s) > 0).all():
            raise ValueError("times do not rise")

    @property
    def median_interval_s(self) -> float:
        """The usual time between two samples; 0 where there are fewer than two."""
        return float(np.median(np.diff(self.time_s))) if len(self.time_s) > 1 else 0.0


def is_series_dataset(path: str | Path) -> bool:
    """Return whether this is a folder that :func:`read_series_dataset` reads."""
    root = Path(path)
    return (root / "labels.json").is_file() and (root / "series").is_dir()


def read_series_dataset(path: str | Path) -> tuple[Series, ...]:
    """Read labelled series.

    Args:
        path: Folder with ``labels.json`` (as for trips) and ``series/NAME.csv``: the first
            column is ``time_s``, each other one a channel. An empty cell is a missing value.

    Raises:
        DatasetError: A file is missing or wrong, a label is not listed, or the series have
            different channels; all at once.
    """
    root = Path(path)
    content = read_labels(root / "labels.json")
    faults = FaultBook()
    found: list[Series] = []
    for name, spans in sorted(content.trips.items()):
        kept = spans_of(name, spans, content.labels, faults)
        try:
            time_s, channels, values = _read_csv(root / "series" / f"{name}.csv")
        except DataError as error:
            faults.fatal.append(str(error))
            continue
        group = content.groups.get(name, "")
        found.append(Series(name, time_s, channels, values, kept, group))
        if channels != found[0].channels:
            faults.fatal.append(
                f"series {name}: channels {', '.join(channels)} are not those of "
                f"{found[0].name}: {', '.join(found[0].channels)}"
            )
    faults.raise_fatal(root)
    if not found:
        raise DatasetError("no series are here", where=root, remedy="list them in labels.json")
    return tuple(found)


def write_series_dataset(
    out: Path, series: Sequence[Series], progress: Callable[[int, int], None] | None = None
) -> None:
    """Write series in the form that :func:`read_series_dataset` reads.

    Args:
        out: Folder that exists; ``labels.json`` is written last.
        series: What to write.
        progress: Told of each series.
    """
    (out / "series").mkdir(exist_ok=True)
    for number, one in enumerate(series):
        write_series_csv(out / "series" / f"{one.name}.csv", one)
        if progress:
            progress(number + 1, len(series))
    spans = {one.name: one.spans for one in series}
    write_labels(out / "labels.json", spans, {one.name: one.group for one in series})


def write_series_csv(path: Path, series: Series) -> None:
    """Write the times and channels of one series; times are exact, values float32."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([_TIME, *series.channels])
        for time_s, row in zip(series.time_s.tolist(), series.values, strict=True):
            writer.writerow([repr(time_s), *("" if np.isnan(v) else str(v) for v in row)])


def windows_of_series(
    series: Series, interval_s: float, window: int, hop: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return windows of even steps.

    A step is the mean of the samples since the step before, where there are more than one;
    else it is interpolated. So no step looks more than one sample ahead. Samples with missing
    values are left out. No window reaches across an outage: a pause longer than five
    intervals, of the steps or of the series, whichever is longer.

    Args:
        series: Where to cut them from.
        interval_s: Time between two steps.
        window: Steps in a window.
        hop: Steps between the starts of two windows.

    Returns:
        The times of the windows' first steps (n,) float64, and the windows (n, window, C)
        float32. A window ends ``(window - 1) * interval_s`` after its start.
    """
    starts: list[NDArray[np.float64]] = [np.empty(0)]
    windows = [np.empty((0, window, len(series.channels)), dtype=np.float32)]
    for time_s, values in resample_series(series, interval_s):
        if len(time_s) >= window:
            view = np.lib.stride_tricks.sliding_window_view(values, window, axis=0)[::hop]
            windows.append(np.ascontiguousarray(view.swapaxes(1, 2)))
            starts.append(time_s[: len(time_s) - window + 1 : hop])
    return np.concatenate(starts), np.concatenate(windows)


def resample_series(
    series: Series, interval_s: float
) -> list[tuple[NDArray[np.float64], NDArray[np.float32]]]:
    """Return the even steps of each part without an outage: times (T,) and values (T, C).

    Raises:
        ValueError: The interval is not above 0.
    """
    if not interval_s > 0:
        raise ValueError("interval_s must be above 0")
    whole = np.isfinite(series.values).all(axis=1)
    time_s, values = series.time_s[whole], series.values[whole].astype(np.float64)
    if len(time_s) == 0:
        return []
    limit_s = OUTAGE_INTERVALS * max(interval_s, series.median_interval_s)
    cuts = np.flatnonzero(np.diff(time_s) > limit_s * (1 + _TIME_TOLERANCE)) + 1
    return [
        _even_steps(part_s, part, interval_s)
        for part_s, part in zip(np.split(time_s, cuts), np.split(values, cuts), strict=True)
    ]


def _even_steps(
    time_s: NDArray[np.float64], values: NDArray[np.float64], interval_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    count = math.floor((time_s[-1] - time_s[0]) / interval_s + _TIME_TOLERANCE) + 1
    grid_s = time_s[0] + interval_s * np.arange(count)
    steps = np.stack([np.interp(grid_s, time_s, column) for column in values.T], axis=1)
    if len(time_s) > 1 and interval_s >= _MEAN_FROM * np.median(np.diff(time_s)):
        ends = np.searchsorted(time_s, grid_s + interval_s * _TIME_TOLERANCE, side="right")
        begins = np.concatenate([[0], ends[:-1]])
        filled = ends > begins
        sums = np.vstack([np.zeros(values.shape[1]), np.cumsum(values, axis=0)])
        means = (sums[ends] - sums[begins])[filled] / (ends - begins)[filled, None]
        steps[filled] = means
    return grid_s, steps.astype(np.float32)


def _read_csv(
    path: Path,
) -> tuple[NDArray[np.float64], tuple[str, ...], NDArray[np.float32]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [cell.strip() for cell in next(reader, [])]
            _check_header(header, path)
            rows = [
                _numbers(row, len(header), f"{path}:{reader.line_num}")
                for row in reader
                if any(cell.strip() for cell in row)
            ]
    except OSError as error:
        raise DataError(
            f"cannot read the series: {error.strerror}", where=path, remedy="check the path"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"this is no CSV text: {error}", where=path, remedy="save it as UTF-8 CSV"
        ) from error
    if not rows:
        raise DataError("this series is empty", where=path, remedy="record it again")
    table = np.array(rows, dtype=np.float64)
    # By time, and of samples with the same time the first.
    _, order = np.unique(table[:, 0], return_index=True)
    return table[order, 0], tuple(header[1:]), table[order, 1:].astype(np.float32)


def is_infinite(value: float) -> bool:
    """Return whether a value is infinite, as a float32 too."""
    return abs(value) > _LARGEST


def _check_header(header: list[str], path: Path) -> None:
    names = header[1:]
    if header[:1] != [_TIME] or not names or len(set(names)) != len(names) or "" in names:
        raise DataError(
            f"the first line is not {_TIME} and the names of the channels, each once",
            where=f"{path}:1",
            remedy="import the file with `edgehaul data import`, or name the columns",
        )


def _numbers(row: list[str], count: int, where: str) -> list[float]:
    if len(row) != count:
        raise DataError(
            f"{len(row)} cells instead of {count}", where=where, remedy="correct this row"
        )
    try:
        numbers = [float(cell) if cell.strip() else math.nan for cell in row]
    except ValueError as error:
        raise DataError(str(error), where=where, remedy="correct or delete this row") from error
    if not math.isfinite(numbers[0]) or any(is_infinite(number) for number in numbers[1:]):
        raise DataError(
            "a value is infinite, or the time missing", where=where, remedy="correct it"
        )
    return numbers
