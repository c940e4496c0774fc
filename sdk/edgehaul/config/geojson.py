"""Geofences from a GeoJSON file (RFC 7946), every fault at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgehaul.config.vehicle import MAX_FENCES, Geofence
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import ConfigError

if TYPE_CHECKING:
    from os import PathLike

MAX_BYTES = 64_000_000
_KINDS = "a Polygon, a MultiPolygon, or a Point with a property radius_m"
_PROPERTIES = ("dwell_after_s", "speed_limit_mps")


class _Geometry(msgspec.Struct):
    type: str
    coordinates: Any = None


class _Feature(msgspec.Struct):
    geometry: _Geometry | None = None
    properties: dict[str, Any] | None = None
    id: str | int | None = None


class _Collection(msgspec.Struct):
    type: str
    features: list[_Feature] = []


def read_fences(path: str | PathLike[str]) -> tuple[Geofence, ...]:
    """Read the areas of a FeatureCollection, in the order of the file.

    An area is a Polygon or MultiPolygon, holes included, or a Point with a property ``radius_m``.
    Its name is the property ``name``, or the feature's ``id``; ``dwell_after_s`` and
    ``speed_limit_mps`` are as in the configuration, other properties are for others.

    Raises:
        ConfigError: The file cannot be read, or holds faults; all of them are named.
    """
    file = Path(path)
    features = _features(file)
    fences: list[Geofence] = []
    faults: list[str] = []
    for number, feature in enumerate(features):
        try:
            fences.append(msgspec.convert(_described(feature), Geofence))
        except (ValueError, TypeError) as error:
            faults.append(f"{file}: features[{number}]: {error}")
    names = [fence.name for fence in fences]
    faults += [
        f"{file}: two features are called {name!r}; give names that differ"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    if faults:
        raise ConfigError(faults, where=file)
    return tuple(fences)


def _features(file: Path) -> list[_Feature]:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise _fault(file, f"larger than {MAX_BYTES} bytes; simplify the areas")
        found = msgspec.json.decode(file.read_bytes(), type=_Collection)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _fault(file, f"cannot read the geofences: {reason}; check the path") from error
    except UNREADABLE_JSON as error:
        raise _fault(file, f"this is no GeoJSON: {error}; export it again") from error
    if found.type != "FeatureCollection":
        raise _fault(file, f"expected a FeatureCollection, got {found.type!r}; export it as one")
    if len(found.features) > MAX_FENCES:
        raise _fault(file, f"{len(found.features)} features are more than {MAX_FENCES}")
    return found.features


def _described(feature: _Feature) -> dict[str, object]:
    """Return the feature as a configuration would write it.

    Raises:
        ValueError: It is none of the forms that make an area.
    """
    properties = feature.properties or {}
    name = properties.get("name", feature.id)
    if not isinstance(name, str | int) or name == "":
        raise ValueError("it has no name; give it a property name")
    described: dict[str, object] = {"name": str(name)}
    described |= {key: properties[key] for key in _PROPERTIES if key in properties}
    geometry = feature.geometry
    kind, coordinates = (geometry.type, geometry.coordinates) if geometry else ("nothing", None)
    if kind == "Point":
        if "radius_m" not in properties:
            raise ValueError("a Point needs a property radius_m to be a circle")
        circle = {"center": _place(coordinates), "radius_m": properties["radius_m"]}
        return described | {"circle": circle}
    if kind not in {"Polygon", "MultiPolygon"}:
        raise ValueError(f"expected {_KINDS}, got {kind}")
    polygons = [coordinates] if kind == "Polygon" else coordinates
    rings = [_ring(ring) for polygon in _listed(polygons) for ring in _listed(polygon)]
    if not rings:
        raise ValueError("it has no corners")
    return described | {"polygon": rings[0], "rings": rings[1:]}


def _ring(ring: object) -> list[list[object]]:
    """Return the corners of a ring, which GeoJSON closes with the first again."""
    corners = [_place(place) for place in _listed(ring)]
    return corners[:-1] if len(corners) > 1 and corners[0] == corners[-1] else corners


def _place(coordinates: object) -> list[object]:
    """Return (longitude, latitude, ...) the other way round."""
    values = _listed(coordinates)
    if len(values) < 2:  # noqa: PLR2004 - longitude and latitude
        raise ValueError(f"a place is [longitude, latitude], got {values!r}")
    return [values[1], values[0]]


def _listed(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list in the coordinates, got {value!r}")  # noqa: TRY004 - a fault of the file
    return value


def _fault(file: Path, what: str) -> ConfigError:
    return ConfigError([f"{file}: {what}"], where=file)
