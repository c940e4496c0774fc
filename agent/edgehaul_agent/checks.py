"""``edgehaul-agent check``: try everything that a configuration names, without running it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import msgspec

from edgehaul.clock import Clock
from edgehaul.config.clips import ClipSection
from edgehaul.config.device import GpsConfig, StreamConfig
from edgehaul.config.second import SecondStage
from edgehaul.errors import DeviceError, EdgeHaulError, SourceError
from edgehaul.messages.payloads import ModelState
from edgehaul_agent.assembly import Assembly
from edgehaul_agent.delivery.mqtt import check_broker
from edgehaul_agent.media.webm import require_encoder

Kind = Literal["model", "source", "clips", "geofences", "broker"]
_PATIENCE_S = 15.0
"""Longest wait for a live receiver's first position."""


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was tried.

    Attributes:
        kind: What kind of thing.
        name: Which one.
        detail: What was found, or what is wrong and what to do.
        exit_code: 0 where it works, else that of the error.
    """

    kind: Kind
    name: str
    detail: str
    exit_code: int = 0


def check_device(assembly: Assembly, clock: Clock) -> list[CheckResult]:
    """Try the model and the source of every stream, then the broker.

    Each model answers once, on an input that it was proved with.
    """
    results = []
    for stream in assembly.streams():
        if stream.model:
            results.append(_try("model", stream.name, partial(_check_model, assembly, stream)))
        if isinstance(stream, StreamConfig):
            for stage in stream.second:
                look = partial(_check_second, assembly, stage, stream)
                results.append(_try("model", f"{stream.name}, {stage.name}", look))
        results.append(_try("source", stream.name, partial(_check_source, assembly, stream, clock)))
        if isinstance(stream, StreamConfig) and stream.clips is not None:
            results.append(_try("clips", stream.name, partial(_check_clips, stream.clips)))
        if isinstance(stream, GpsConfig) and stream.geofences is not None:
            results.append(_try("geofences", stream.name, partial(_check_fences, assembly, stream)))
    mqtt = assembly.mqtt
    results.append(
        _try(
            "broker",
            f"{mqtt.host}:{mqtt.port}",
            lambda: f"speaks MQTT {check_broker(mqtt, assembly.topics)}",
        )
    )
    return results


def _try(kind: Kind, name: str, look: Callable[[], str]) -> CheckResult:
    try:
        return CheckResult(kind=kind, name=name, detail=look())
    except EdgeHaulError as error:
        return CheckResult(kind=kind, name=name, detail=str(error), exit_code=error.exit_code)


def _check_model(assembly: Assembly, stream: StreamConfig | GpsConfig) -> str:
    return _shown(assembly.try_model(stream))


def _check_second(assembly: Assembly, stage: SecondStage, stream: StreamConfig) -> str:
    return _shown(assembly.try_second(stage, stream))


def _shown(used: ModelState) -> str:
    where = ", ".join(used.providers)
    return f"{used.name} {used.version}, variant {used.variant}, by {used.runtime} on {where}"


def _check_fences(assembly: Assembly, stream: GpsConfig) -> str:
    geofences = assembly.vehicle(stream).geofences
    return f"{len(geofences.fences) if geofences else 0} areas"


def _check_clips(section: ClipSection) -> str:
    with TemporaryDirectory() as folder:
        try:
            require_encoder(Path(folder))
        except OSError as error:
            raise DeviceError(
                f"no clip can be written: {error}",
                where=folder,
                remedy="make room for temporary files",
            ) from error
    return f"VP8 in WebM, {section.fps:g} pictures a second, up to {section.max_mb:g} MiB"


def _check_source(assembly: Assembly, stream: StreamConfig | GpsConfig, clock: Clock) -> str:
    if isinstance(stream, StreamConfig):
        with assembly.frame_source(stream, clock, persistent=False) as frames:
            for frame in frames.frames():
                height, width = frame.image.shape[:2]
                return f"{stream.source.__struct_config__.tag}, {width}x{height} pixels"
    else:
        with assembly.fix_source(stream, clock, patience_s=_PATIENCE_S) as fixes:
            for fix in fixes.fixes():
                if fix is None:
                    continue
                place = f"{fix.latitude_deg:.5f}, {fix.longitude_deg:.5f}"
                return f"{stream.source.__struct_config__.tag}, starts at {place}"
    raise SourceError("the source gives nothing", remedy="check what it records")
