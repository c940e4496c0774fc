"""What a demo run measured; the table and the report show only this."""

from __future__ import annotations

from typing import Any

import msgspec
from numpy.typing import NDArray

from edgehaul.values import Fix

Image = NDArray[Any]
Curve = tuple[tuple[float, ...], tuple[float, ...]]
"""Recall and precision, point by point."""


class VariantResult(msgspec.Struct, frozen=True):
    """One variant of the detector as verified on the test split.

    Attributes:
        name: Name of the variant.
        map50: Mean average precision at IoU 0.5, 0..1.
        map50_95: Mean average precision over IoU 0.5 to 0.95, 0..1.
        size_bytes: Size of the model file.
        latency_ms: Median time for one picture on one thread.
        pr_curve: Recall and precision at IoU 0.5, averaged over the classes.
        pictures: Number of pictures it was measured on.
    """

    name: str
    map50: float
    map50_95: float
    size_bytes: int
    latency_ms: float
    pr_curve: Curve
    pictures: int


class Span(msgspec.Struct, frozen=True):
    """An anomaly from ``started_at_s`` to ``ended_at_s`` (UTC seconds)."""

    label: str
    started_at_s: float
    ended_at_s: float


class CameraResult(msgspec.Struct, frozen=True):
    """What the agent saw on the virtual conveyor.

    Attributes:
        labels: Names of the classes.
        counted: Parcels counted at the line, by label.
        true_counts: Parcels that truly crossed it, by label.
        confusion: Rows are true classes and a last row for none; columns are found classes
            and a last column for missed.
        pictures: Annotated frames, BGR.
        frames: Number of frames published.
        latencies_ms: Time of each frame from source to result, on the device.
    """

    labels: tuple[str, ...]
    counted: dict[str, int]
    true_counts: dict[str, int]
    confusion: tuple[tuple[int, ...], ...]
    pictures: tuple[Image, ...]
    frames: int
    latencies_ms: tuple[float, ...]


class TruckResult(msgspec.Struct, frozen=True):
    """What the agent found on the virtual truck's trip.

    Attributes:
        true_fixes: Where the truck truly was.
        fixes: What the receiver gave and the agent published.
        found: Anomalies that the agent reported.
        true_anomalies: Anomalies that were injected.
        matched: Injected anomalies that a report of the same kind overlaps.
        false_alarms: Reports that overlap no injected anomaly of their kind.
    """

    true_fixes: tuple[Fix, ...]
    fixes: tuple[Fix, ...]
    found: tuple[Span, ...]
    true_anomalies: tuple[Span, ...]
    matched: int
    false_alarms: int


class MessageResult(msgspec.Struct, frozen=True):
    """What became of the messages.

    Attributes:
        produced: Messages that the device numbered.
        received: Different messages that the collector stored.
        duplicates: Messages that came more than once and were stored once.
        declared_lost: Messages that the device declared in gap records.
        by_type: Received messages by type.
    """

    produced: int
    received: int
    duplicates: int
    declared_lost: int
    by_type: dict[str, int]

    @property
    def complete(self) -> bool:
        """Whether every numbered message was received or declared lost."""
        return self.received + self.declared_lost == self.produced


class DemoResult(msgspec.Struct, frozen=True):
    """Everything that the demo measured.

    Attributes:
        seed: Seed of the virtual devices.
        stages: Name and duration in seconds of each stage, in order.
        images: Number of training, validation and test pictures.
        variants: The detector's variants; the first is fp32.
        chosen: Variant that the device chose, by model name.
        gps_metrics: Of the GPS model on the validation trips, by name (0..1).
        camera: What the camera stream gave.
        truck: What the GPS stream gave.
        messages: What became of the messages.
    """

    seed: int
    stages: tuple[tuple[str, float], ...]
    images: tuple[int, int, int]
    variants: tuple[VariantResult, ...]
    chosen: dict[str, str]
    gps_metrics: dict[str, float]
    camera: CameraResult
    truck: TruckResult
    messages: MessageResult
