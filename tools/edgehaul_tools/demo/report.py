"""The report: one HTML file with everything inside, readable without a network."""

from __future__ import annotations

from edgehaul_tools.demo import pictures
from edgehaul_tools.demo.findings import JUDGED_EVERY
from edgehaul_tools.demo.result import DemoResult
from edgehaul_tools.evaluate import page
from edgehaul_tools.evaluate.figures import image_source


def render(result: DemoResult) -> str:
    """Return the report as one HTML page."""
    body = (
        _head(result),
        _tiles(result),
        _stages(result),
        _model(result),
        _camera(result),
        _truck(result),
        _messages(result),
    )
    return page.page("EdgeHaul demo", body)


def _head(result: DemoResult) -> str:
    total_s = sum(duration for _, duration in result.stages)
    return (
        "<h1>EdgeHaul demo</h1>\n<p>From pictures and traces to results on MQTT in "
        f"{total_s:.0f} seconds: two models were trained on virtual devices, exported, quantized, "
        "verified, packed, flashed to a virtual box and run there. Every figure below was measured "
        f"in this run (seed {result.seed}).</p>"
    )


def _tiles(result: DemoResult) -> str:
    reference, best = result.variants[0], result.variants[-1]
    drop_points = (reference.map50 - best.map50) * 100
    counted, true = (sum(c.values()) for c in (result.camera.counted, result.camera.true_counts))
    exact = result.camera.counted == result.camera.true_counts
    truck, messages = result.truck, result.messages
    all_found = truck.matched == len(truck.true_anomalies) and truck.false_alarms == 0
    faster = reference.latency_ms / best.latency_ms
    tiles = (
        (f"{best.map50:.3f}", f"{best.name} mAP50 (fp32 {reference.map50:.3f})", drop_points <= 1),
        (f"{best.size_bytes / reference.size_bytes:.0%}", f"{best.name} size of fp32", None),
        (f"{faster:.1f}x", f"{best.name} speed of fp32", faster > 1),
        (f"{counted} of {true}", "parcels counted at the line", exact),
        (f"{truck.matched} of {len(truck.true_anomalies)}", "truck anomalies found", all_found),
        (
            f"{messages.received + messages.declared_lost:,}",
            f"messages received or declared lost, of {messages.produced:,}",
            messages.complete,
        ),
    )
    shown = "".join(page.tile(figure, text, good=good) for figure, text, good in tiles)
    return f'<div class="tiles">{shown}</div>'


def _stages(result: DemoResult) -> str:
    return page.section(
        "What happened",
        "Each stage can be run alone: see edgehaul --help.",
        f"<figure>{pictures.stage_bars(result.stages)}</figure>",
    )


def _model(result: DemoResult) -> str:
    train, val, test = result.images
    reference = result.variants[0]
    rows = [
        (
            v.name,
            f"{v.map50:.4f}",
            f"{v.map50_95:.4f}",
            f"{v.size_bytes / 1024:,.0f} KiB",
            f"{v.latency_ms:.2f} ms",
            f"{v.latency_ms / reference.latency_ms:.2f}",
            "yes" if result.chosen.get("parcels") == v.name else "",
        )
        for v in result.variants
    ]
    columns = ("Variant", "mAP50", "mAP50-95", "Size", "Latency", "of fp32", "Chosen by the box")
    gps = ", ".join(
        f"{name.replace('_', ' ')} {value:.3f}" for name, value in result.gps_metrics.items()
    )
    return page.section(
        "The models",
        f"The detector was trained on {train} pictures, watched on {val} and judged on {test} that "
        "it never saw; latency is the median on one thread, variants measured in turns. "
        f"The driving model on trips that it never saw: {gps}.",
        page.table(columns, rows),
        page.figures(
            (
                (pictures.pr_curve(result.variants), "Precision and recall at IoU 0.5, test split"),
                (
                    pictures.confusion_matrix(result.camera),
                    f"Parcels in every {JUDGED_EVERY}th frame of the live run: true against found",
                ),
            )
        ),
    )


def _camera(result: DemoResult) -> str:
    camera = result.camera
    rows = [
        (label, f"{camera.true_counts.get(label, 0)}", f"{camera.counted.get(label, 0)}")
        for label in camera.labels
    ]
    frames = [
        f'<figure><img alt="annotated frame" src="{image_source(picture)}"></figure>'
        for picture in camera.pictures
    ]
    return page.section(
        "The camera",
        f"The agent processed {camera.frames:,} frames of the virtual conveyor, followed each "
        "parcel and counted it where its centre crossed the line.",
        f'<div class="row">{"".join(frames)}</div>',
        '<div class="row"><div style="flex:1 1 300px">'
        + page.table(("Class", "Truly crossed", "Counted"), rows)
        + "</div>"
        + f"<figure>{pictures.latency_histogram(camera.latencies_ms)}"
        + "<figcaption>Time on the device from source to result</figcaption></figure></div>",
    )


def _truck(result: DemoResult) -> str:
    truck = result.truck
    return page.section(
        "The truck",
        f"{len(truck.true_anomalies)} anomalies were injected into the trip; the agent reported "
        f"{len(truck.found)}, of which {truck.false_alarms} were false alarms. "
        "Holes between the dots are outages of the receiver.",
        f"<figure>{pictures.truck_map(truck)}</figure>",
        f"<figure>{pictures.anomaly_timeline(truck)}</figure>",
    )


def _messages(result: DemoResult) -> str:
    messages = result.messages
    rows = [(name, f"{count:,}") for name, count in sorted(messages.by_type.items())]
    verdict = "complete" if messages.complete else "NOT complete"
    return page.section(
        "The messages",
        f"The device numbered {messages.produced:,} messages; the collector stored "
        f"{messages.received:,} different ones ({messages.duplicates:,} came twice and were stored "
        f"once), and {messages.declared_lost:,} were declared lost: {verdict}.",
        page.table(("Type", "Received"), rows),
    )
