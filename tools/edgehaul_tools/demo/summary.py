"""The demo's figures in short: a table for people, one object for programs."""

from __future__ import annotations

import msgspec
from rich.table import Table

from edgehaul_tools.demo.promises import unmet_promises
from edgehaul_tools.demo.result import DemoResult


class Summary(msgspec.Struct, frozen=True):
    """The demo's figures.

    Attributes:
        seconds: Duration of all stages.
        map50: Mean average precision at IoU 0.5 by variant, test split.
        size_bytes: Size of the model file by variant.
        latency_ms: Median time for one picture on one thread by variant.
        chosen: Variant that the box chose, by model.
        counted: Parcels counted at the line by class.
        true_counts: Parcels that truly crossed it by class.
        anomalies_true: Anomalies that were injected into the trip.
        anomalies_found: Of these, those that were reported.
        anomalies_false: Reports of anomalies that were none.
        messages_produced: Messages that the device numbered.
        messages_received: Different messages that the collector stored.
        messages_declared_lost: Messages that the device declared lost.
        unmet: Promises that the run did not keep, a line each.
    """

    seconds: float
    map50: dict[str, float]
    size_bytes: dict[str, int]
    latency_ms: dict[str, float]
    chosen: dict[str, str]
    counted: dict[str, int]
    true_counts: dict[str, int]
    anomalies_true: int
    anomalies_found: int
    anomalies_false: int
    messages_produced: int
    messages_received: int
    messages_declared_lost: int
    unmet: tuple[str, ...] = ()


def summary_of(result: DemoResult) -> Summary:
    """Return the figures of a run."""
    return Summary(
        seconds=round(sum(duration for _, duration in result.stages), 1),
        map50={v.name: round(v.map50, 4) for v in result.variants},
        size_bytes={v.name: v.size_bytes for v in result.variants},
        latency_ms={v.name: round(v.latency_ms, 3) for v in result.variants},
        chosen=result.chosen,
        counted=result.camera.counted,
        true_counts=result.camera.true_counts,
        anomalies_true=len(result.truck.true_anomalies),
        anomalies_found=result.truck.matched,
        anomalies_false=result.truck.false_alarms,
        messages_produced=result.messages.produced,
        messages_received=result.messages.received,
        messages_declared_lost=result.messages.declared_lost,
        unmet=unmet_promises(result),
    )


def summary_table(result: DemoResult) -> Table:
    """Return the table that ends the demo."""
    table = Table(title="What the demo measured", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    reference, best = result.variants[0], result.variants[-1]
    camera, truck, messages = result.camera, result.truck, result.messages
    table.add_row(
        "Accuracy (mAP50, test split)",
        f"{reference.name} {reference.map50:.4f}   {best.name} {best.map50:.4f}",
    )
    table.add_row(
        "Model size",
        f"{reference.name} {reference.size_bytes / 1024:.0f} KiB   "
        f"{best.name} {best.size_bytes / 1024:.0f} KiB "
        f"({best.size_bytes / reference.size_bytes:.0%})",
    )
    table.add_row(
        "Latency, one thread",
        f"{reference.name} {reference.latency_ms:.2f} ms   {best.name} {best.latency_ms:.2f} ms "
        f"({best.latency_ms / reference.latency_ms:.0%})",
    )
    table.add_row("Variant the box chose", ", ".join(f"{k}: {v}" for k, v in result.chosen.items()))
    table.add_row(
        "Parcels at the line",
        "   ".join(
            f"{label} {camera.counted.get(label, 0)} of {camera.true_counts.get(label, 0)}"
            for label in camera.labels
        ),
    )
    table.add_row(
        "Anomalies of the truck",
        f"{truck.matched} of {len(truck.true_anomalies)} found, {truck.false_alarms} false alarms",
    )
    table.add_row(
        "Messages",
        f"{messages.produced:,} produced = {messages.received:,} received + "
        f"{messages.declared_lost:,} declared lost"
        + ("" if messages.complete else "   [red]does not add up[/red]"),
    )
    return table
