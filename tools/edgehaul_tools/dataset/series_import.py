"""Series of other collections: NAB, the driver-behaviour set, and CSV with any columns."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehaul.errors import DataError, DatasetError
from edgehaul.motion.fields import Rejections, time_of
from edgehaul.motion.table import find_column
from edgehaul_tools.dataset.series import Series, is_infinite
from edgehaul_tools.dataset.trace_files import TABLE_SUFFIXES, recording_name, trace_files
from edgehaul_tools.dataset.traces import AnomalySpan

NAB_WINDOWS = Path("labels") / "combined_windows.json"
"""Where the Numenta Anomaly Benchmark keeps its labels."""
_NAB_COLUMNS = {"time": "timestamp", "value": "value"}
_DRIVER_TRUTH = "groundTruth.csv"
_DRIVER_SENSORS = {"accel": "acelerometro_terra.csv", "gyro": "giroscopio_terra.csv"}
_DRIVER_INTERVAL_S = 0.02
"""A little more often than the phone measured (50.9 Hz): 50 Hz."""
_DRIVER_LABELS = {
    "evento_nao_agressivo": "non_aggressive",
    "freada_agressiva": "aggressive_braking",
    "aceleracao_agressiva": "aggressive_acceleration",
    "curva_direita_agressiva": "aggressive_right_turn",
    "curva_esquerda_agressiva": "aggressive_left_turn",
    "troca_faixa_direita_agressiva": "aggressive_lane_change_right",
    "troca_faixa_esquerda_agressiva": "aggressive_lane_change_left",
}


def find_series(
    source: Path,
    columns: Mapping[str, str] | None,
    rejections: Rejections,
    report: Callable[[int, int], None],
) -> list[Series]:
    """Return the series of a file or folder: of any CSV by its columns, of NAB, of drivers.

    Args:
        source: A file or a folder.
        columns: As of :func:`read_series_csv`; none means NAB or the driver-behaviour set.
        rejections: Told of the files and rows that cannot be used.
        report: Told of each file.

    Raises:
        DatasetError: It is neither, and no columns are named.
        DataError: A file of these sets cannot be read, or the only CSV file.
    """
    if columns is not None:
        return _read_tables(source, columns, rejections, report)
    root = nab_root(source)
    if root is not None:
        return read_nab(source, root, rejections)
    trips = driver_trips(source)
    if not trips:
        raise DatasetError(
            "nothing says which columns of these series to take",
            where=source,
            remedy="add --column time=TITLE, and --column CHANNEL=TITLE for each channel",
        )
    found = []
    for number, trip in enumerate(trips, start=1):
        found.append(read_driver_trip(trip, rejections))
        report(number, len(trips))
    return found


def _read_tables(
    source: Path,
    columns: Mapping[str, str],
    rejections: Rejections,
    report: Callable[[int, int], None],
) -> list[Series]:
    files = [path for path in trace_files(source) if path.suffix.lower() in TABLE_SUFFIXES]
    found: dict[str, Series] = {}
    for number, path in enumerate(files, start=1):
        name = recording_name(path, source)
        if name in found:
            rejections.leave_out("another file has the same name", where=str(path))
            continue
        try:
            found[name] = read_series_csv(path, columns, rejections, name)
        except DataError as error:
            if len(files) == 1:
                raise
            rejections.leave_out(error.message, where=error.where)
        report(number, len(files))
    return list(found.values())


def read_series_csv(
    path: Path, columns: Mapping[str, str], rejections: Rejections, name: str
) -> Series:
    """Read one series from a CSV of any program.

    Args:
        path: The file; its first line names the columns.
        columns: ``time`` and the channels to their columns, such as
            ``{"time": "uptimeNanos:ns", "accel_x": "x"}``; a time without an offset is UTC.
        rejections: Told of rows that are no numbers.
        name: Name of the series.

    Raises:
        DataError: A column is missing, or there is no row.
    """
    if "time" not in columns or len(columns) < 2:  # noqa: PLR2004 - the time and a channel
        raise DataError(
            "a series needs a time and a channel",
            where=path,
            remedy='map them, such as {"time": "timestamp", "value": "value"}',
        )
    channels = tuple(channel for channel in columns if channel != "time")
    own = Rejections()
    rows: list[list[float]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [cell.strip() for cell in next(reader, [])]
            time = find_column(header, "time", columns["time"], str(path))
            places = [find_column(header, c, columns[c], str(path)).index for c in channels]
            for row in reader:
                if not any(cell.strip() for cell in row):
                    continue
                try:
                    time_s = time_of(row[time.index].strip(), time.factor, time.zone)
                    rows.append([time_s, *(_value(row[place]) for place in places)])
                except (ValueError, IndexError) as error:
                    own.add(str(error), where=f"{path}:{reader.line_num}")
    except OSError as error:
        raise DataError(
            f"cannot read the series: {error.strerror}", where=path, remedy="check the path"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"this is no CSV text: {error}", where=path, remedy="save it as UTF-8 CSV"
        ) from error
    rejections.include(own.count, own.faults)
    if not rows:
        raise DataError("no row of this series can be read", where=path, remedy="check its columns")
    table = np.array(rows, dtype=np.float64)
    _, order = np.unique(table[:, 0], return_index=True)
    return Series(name, table[order, 0], channels, table[order, 1:].astype(np.float32))


def _value(text: str) -> float:
    value = float(text) if text.strip() else math.nan
    if is_infinite(value):
        raise ValueError(f"a value is infinite: {text!r}")
    return value


def nab_root(source: Path) -> Path | None:
    """Return the folder of NAB that a file or folder is in; None where it is in none."""
    near = (source, *source.absolute().parents[:2])
    return next((folder for folder in near if (folder / NAB_WINDOWS).is_file()), None)


def read_nab(source: Path, root: Path, rejections: Rejections) -> list[Series]:
    """Read the series of NAB with the windows of their anomalies (all of them, or one folder).

    See Lavin and Ahmad, "Evaluating real-time anomaly detection algorithms" (2015).

    Raises:
        DatasetError: The labels cannot be read.
        DataError: A series cannot be read.
    """
    try:
        windows = json.loads((root / NAB_WINDOWS).read_text(encoding="utf-8"))
        spans = {
            key: tuple(AnomalySpan("anomaly", time_of(a), time_of(b)) for a, b in pairs)
            for key, pairs in windows.items()
        }
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DatasetError(
            f"these are no windows of anomalies: {error}",
            where=root / NAB_WINDOWS,
            remedy="take the file from NAB again",
        ) from error
    files = [source] if source.is_file() else sorted(source.rglob("*.csv"))
    found = []
    for path in files:
        key = path.absolute().relative_to(root.absolute()).as_posix()
        if key not in spans:
            rejections.leave_out("NAB's labels do not name it", where=str(path))
            continue
        name = key.removesuffix(".csv").replace("/", "_")
        series = read_series_csv(path, _NAB_COLUMNS, rejections, name)
        found.append(Series(name, series.time_s, series.channels, series.values, spans[key]))
    return found


def driver_trips(source: Path) -> list[Path]:
    """Return the folders of trips of the driver-behaviour set; none where it is another."""
    folders = (
        [source, *sorted(p for p in source.glob("*") if p.is_dir())] if source.is_dir() else []
    )
    needed = (_DRIVER_TRUTH, *_DRIVER_SENSORS.values())
    return [f for f in folders if all((f / name).is_file() for name in needed)]


def read_driver_trip(folder: Path, rejections: Rejections) -> Series:
    """Read one trip of the driver-behaviour set (Ferreira et al., 2017), both sensors at 50 Hz.

    Raises:
        DataError: A file is missing or wrong.
    """
    started_at_s, zero_s = _driver_start(folder)
    sensors = [
        read_series_csv(
            folder / file,
            {"time": "uptimeNanos:ns", **{f"{name}_{axis}": axis for axis in "xyz"}},
            rejections,
            name,
        )
        for name, file in _DRIVER_SENSORS.items()
    ]
    begin_s = max(float(sensor.time_s[0]) for sensor in sensors)
    end_s = min(float(sensor.time_s[-1]) for sensor in sensors)
    if end_s - begin_s < _DRIVER_INTERVAL_S:
        raise DataError("the sensors have no time in common", where=folder, remedy="leave it out")
    count = math.floor((end_s - begin_s) / _DRIVER_INTERVAL_S) + 1
    grid_s = begin_s + _DRIVER_INTERVAL_S * np.arange(count, dtype=np.float64)
    values = np.concatenate([_interpolated(sensor, grid_s) for sensor in sensors], axis=1)
    return Series(
        f"trip_{folder.name}",
        grid_s - zero_s + started_at_s,
        tuple(channel for sensor in sensors for channel in sensor.channels),
        values,
        _driver_spans(folder / _DRIVER_TRUTH, started_at_s),
    )


def _interpolated(series: Series, grid_s: NDArray[np.float64]) -> NDArray[np.float32]:
    columns = [np.interp(grid_s, series.time_s, column) for column in series.values.T]
    return np.stack(columns, axis=1).astype(np.float32)


def _driver_start(folder: Path) -> tuple[float, float]:
    """Return when the trip began, UTC seconds, and what the phone's own clock said then."""
    path = folder / "viagem.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return time_of(str(about["start"])), int(about["firstCollectionUptimeNanos"]) / 1e9
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"this does not say when the trip began: {error}",
            where=path,
            remedy="take the file from the data set again",
        ) from error


def _driver_spans(path: Path, started_at_s: float) -> tuple[AnomalySpan, ...]:
    spans = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        next(reader, None)
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            try:
                label = _DRIVER_LABELS[row[0].strip()]
                begin_s, end_s = float(row[1]), float(row[2])
            except (KeyError, ValueError, IndexError) as error:
                raise DataError(
                    f"this is no event of the driver-behaviour set: {error}",
                    where=f"{path}:{reader.line_num}",
                    remedy=f"write one of {', '.join(_DRIVER_LABELS)}, its begin and end",
                ) from error
            spans.append(AnomalySpan(label, started_at_s + begin_s, started_at_s + end_s))
    return tuple(sorted(spans, key=lambda span: span.started_at_s))
