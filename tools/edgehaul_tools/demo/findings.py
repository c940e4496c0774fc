"""What the box found on its virtual devices, beside the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgehaul.messages.payloads import DetectionsData
from edgehaul.values import Detection
from edgehaul.virtual.conveyor import PARCEL_LABELS, Conveyor
from edgehaul.virtual.truck import TruckTrip
from edgehaul.vision.draw import draw_detections, draw_lines
from edgehaul_tools.demo.box import CAMERA, LINE, TRUCK, BoxRun
from edgehaul_tools.demo.judge import confusion_of
from edgehaul_tools.demo.records import Records
from edgehaul_tools.demo.result import CameraResult, Image, MessageResult, Span, TruckResult
from edgehaul_tools.evaluate.spans import match_spans

JUDGED_EVERY = 5
"""Every n-th frame goes into the confusion matrix; rendering them all again takes long."""
SHOWN_FRAMES = 2


def camera_result(records: Records, conveyor: Conveyor, frames: int) -> CameraResult:
    """Compare the camera stream with the conveyor's truth over its ``frames`` frames."""
    found = records.detections(CAMERA)
    counted, true = records.counts(CAMERA, LINE), conveyor.true_crossings(0, frames - 1)
    return CameraResult(
        labels=PARCEL_LABELS,
        counted={label: counted.get(label, 0) for label in PARCEL_LABELS},
        true_counts={label: true[label] for label in PARCEL_LABELS},
        confusion=confusion_of(conveyor, found[::JUDGED_EVERY], PARCEL_LABELS),
        pictures=tuple(_annotated(conveyor, data) for data in _most_telling(found)),
        frames=len(found),
        latencies_ms=tuple(data.latency_ms for data in found),
    )


def truck_result(records: Records, trip: TruckTrip) -> TruckResult:
    """Compare the GPS stream with the trip's truth."""
    found = records.anomalies(TRUCK)
    true = tuple(Span(a.label, a.started_at_s, a.ended_at_s) for a in trip.anomalies)
    matched, false_alarms = match_spans(found, true)
    return TruckResult(
        true_fixes=trip.true_fixes,
        fixes=records.fixes(TRUCK),
        found=found,
        true_anomalies=true,
        matched=matched,
        false_alarms=false_alarms,
    )


def message_result(records: Records, run: BoxRun) -> MessageResult:
    """Compare what the device numbered with what the collector stored."""
    return MessageResult(
        produced=run.produced.produced,
        received=run.collected.received,
        duplicates=run.collected.duplicates,
        declared_lost=run.collected.declared_lost,
        by_type=records.by_type(),
    )


def _most_telling(found: Sequence[DetectionsData]) -> list[DetectionsData]:
    """Return frames that show many classes and objects, one from each part of the run."""
    parts = np.array_split(np.arange(len(found)), SHOWN_FRAMES)

    def telling(data: DetectionsData) -> tuple[int, int]:
        return len({o.label for o in data.objects}), len(data.objects)

    return [max((found[i] for i in part), key=telling) for part in parts if len(part)]


def _annotated(conveyor: Conveyor, data: DetectionsData) -> Image:
    detections = [
        Detection(o.box, PARCEL_LABELS.index(o.label), o.label, o.score) for o in data.objects
    ]
    picture = draw_detections(conveyor.frame(data.frame).image, detections)
    return draw_lines(picture, [conveyor.counting_line()])
