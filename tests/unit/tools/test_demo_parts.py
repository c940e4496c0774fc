"""Parts of the demo: judging against the truth, reading records back, the report."""

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgehaul.clock import format_utc
from edgehaul.errors import DeviceError, GateError, UsageError
from edgehaul.geometry import Box, Point
from edgehaul.messages.codec import encode, type_of
from edgehaul.messages.envelope import Envelope, Payload
from edgehaul.messages.payloads import (
    AnomalyEvent,
    CountEvent,
    DetectedObject,
    DetectionsData,
    EventData,
    PositionData,
)
from edgehaul.sinks.sqlite import SqliteSink
from edgehaul.subscriber.client import ReceivedMessage
from edgehaul.values import Fix
from edgehaul.virtual.conveyor import PARCEL_LABELS, Conveyor
from edgehaul_tools.cli import main
from edgehaul_tools.demo.box import only_account
from edgehaul_tools.demo.command import raise_unless_kept
from edgehaul_tools.demo.judge import confusion_of
from edgehaul_tools.demo.promises import unmet_promises
from edgehaul_tools.demo.records import Records
from edgehaul_tools.demo.report import render
from edgehaul_tools.demo.result import (
    CameraResult,
    DemoResult,
    MessageResult,
    Span,
    TruckResult,
    VariantResult,
)
from edgehaul_tools.demo.summary import summary_of


def perfect(conveyor: Conveyor, index: int) -> DetectionsData:
    objects = tuple(
        DetectedObject(label=p.label, score=0.9, box=p.box) for p in conveyor.frame(index).truth
    )
    return DetectionsData(frame=index, width=320, height=240, objects=objects)


def test_perfect_detections_lie_on_the_diagonal() -> None:
    conveyor = Conveyor(seed=5, width=320, height=240)
    matrix = np.array(
        confusion_of(conveyor, [perfect(conveyor, i) for i in (200, 260)], PARCEL_LABELS)
    )
    assert matrix.sum() == np.trace(matrix) > 0


def test_missed_invented_and_edge_parcels_are_told_apart() -> None:
    conveyor = Conveyor(seed=5, width=320, height=240)
    index = next(i for i in range(200, 900) if conveyor.frame(i).partial)
    frame = conveyor.frame(index)
    at_edge = DetectedObject(label="parcel", score=0.9, box=frame.partial[0].box)
    invented = DetectedObject(label="parcel", score=0.9, box=Box(0, 0, 20, 12))
    found = DetectionsData(frame=index, width=320, height=240, objects=(at_edge, invented))
    matrix = np.array(confusion_of(conveyor, [found], PARCEL_LABELS))
    assert matrix[:-1, -1].sum() == len(frame.truth)
    assert matrix[-1].sum() == 1


def message(sequence: int, payload: Payload, subject: str) -> ReceivedMessage:
    envelope = Envelope(
        id=f"e-{sequence}",
        source="edgehaul/demo/box-1",
        type=type_of(payload),
        time=format_utc(1000.0 + sequence),
        subject=subject,
        data=payload,
        sequence=sequence,
        epoch="e",
    )
    return ReceivedMessage("edgehaul/v1/demo/box-1/x", envelope, encode(envelope), retained=False)


def crossing(direction: str, label: str) -> EventData:
    return EventData(
        event=CountEvent(
            line="exit",
            direction=direction,  # type: ignore[arg-type] # one of the two
            label=label,
            track_id=1,
            at=Point(1, 1),
            totals={},
        )
    )


def test_records_read_back_what_was_collected(tmp_path: Path) -> None:
    fix = Fix(captured_at_s=5.0, latitude_deg=1.0, longitude_deg=2.0)
    anomaly = AnomalyEvent(
        label="speeding", score=0.9, started_at=format_utc(100.0), ended_at=format_utc(110.0)
    )
    payloads: list[tuple[Payload, str]] = [
        (crossing("forward", "parcel"), "camera"),
        (crossing("forward", "parcel"), "camera"),
        (crossing("backward", "parcel"), "camera"),
        (crossing("forward", "parcel"), "another-camera"),
        (EventData(event=anomaly), "truck"),
        (PositionData(fix=fix), "truck"),
        (DetectionsData(frame=3, width=1, height=1, objects=()), "camera"),
    ]
    database = tmp_path / "results.db"
    with SqliteSink(database) as sink:
        sink.write([message(i, p, s) for i, (p, s) in enumerate(payloads, start=1)])
    records = Records(database)
    assert records.counts("camera", "exit") == {"parcel": 1}
    assert records.anomalies("truck") == (Span("speeding", 100.0, 110.0),)
    assert records.fixes("truck") == (fix,)
    assert [d.frame for d in records.detections("camera")] == [3]
    assert records.by_type() == {
        "edgehaul.event.v1": 5,
        "edgehaul.position.v1": 1,
        "edgehaul.detections.v1": 1,
    }


def small_result() -> DemoResult:
    curve = ((0.0, 0.5, 1.0), (1.0, 0.9, 0.1))
    fixes = tuple(
        Fix(captured_at_s=float(t), latitude_deg=51 + t / 1e4, longitude_deg=4.0, speed_mps=9.0)
        for t in range(60)
    )
    return DemoResult(
        seed=1,
        stages=(("Train <it>", 3.0), ("Run", 2.0)),
        images=(8, 1, 1),
        variants=(
            VariantResult("fp32", 0.99, 0.8, 4000, 4.0, curve, 1),
            VariantResult("int8-u8s8", 0.985, 0.79, 1000, 2.0, curve, 1),
        ),
        chosen={"parcels": "int8-u8s8"},
        gps_metrics={"F1": 0.9},
        camera=CameraResult(
            labels=("parcel",),
            counted={"parcel": 3},
            true_counts={"parcel": 3},
            confusion=((9, 1), (0, 0)),
            pictures=(np.zeros((30, 40, 3), np.uint8),),
            frames=10,
            latencies_ms=(1.0, 2.0, 3.0),
        ),
        truck=TruckResult(fixes, fixes, (Span("a", 5, 9),), (Span("a", 5, 9),), 1, 0),
        messages=MessageResult(20, 19, 2, 1, {"edgehaul.detections.v1": 19}),
    )


def test_the_report_stands_alone_and_shows_the_figures() -> None:
    page = render(small_result())
    assert page.count("<svg") == 6
    assert not re.search(r"(src|href)=\"https?:", page), "the report needs no network"
    assert "3 of 3" in page
    assert "of 20" in page
    assert "Train &lt;it&gt;" in page


def test_a_box_that_sent_nothing_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"agent\.log.* 0 spools"):
        only_account((), tmp_path / "agent.log")


@pytest.mark.parametrize("option", [("--frames", "0"), ("--seed", "-1"), ("--images", "0")])
def test_a_demo_of_nothing_is_wrong_usage(option: tuple[str, str], tmp_path: Path) -> None:
    assert main(["demo", "--out", str(tmp_path / "out"), *option]) == UsageError.exit_code
    assert not (tmp_path / "out").exists()


def test_the_summary_tells_what_does_not_add_up() -> None:
    result = small_result()
    assert result.messages.complete
    lost = msgspec.structs.replace(result.messages, received=18)
    assert not lost.complete
    assert summary_of(result).map50 == {"fp32": 0.99, "int8-u8s8": 0.985}


def with_map50(map50: float) -> DemoResult:
    result = small_result()
    fp32, int8 = result.variants
    variants = (fp32, msgspec.structs.replace(int8, map50=map50))
    return msgspec.structs.replace(result, variants=variants)


def with_counts(counted: dict[str, int]) -> DemoResult:
    result = small_result()
    camera = msgspec.structs.replace(result.camera, counted=counted)
    return msgspec.structs.replace(result, camera=camera)


def with_received(received: int) -> DemoResult:
    result = small_result()
    messages = msgspec.structs.replace(result.messages, received=received)
    return msgspec.structs.replace(result, messages=messages)


def test_a_run_that_keeps_its_promises() -> None:
    assert unmet_promises(small_result()) == ()
    assert unmet_promises(with_map50(0.98)) == (), "one point is allowed"


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (with_map50(0.979), "mAP50 of int8-u8s8 is 0.9790, more than 1 point below the 0.9900"),
        (with_map50(float("nan")), "mAP50 of int8-u8s8 is nan, more than 1 point below"),
        (with_counts({"parcel": 2}), "are not the true ones: 2 of 3 parcel"),
        (with_counts({}), "are not the true ones: 0 of 3 parcel"),
        (with_received(18), "20 messages were produced, but 18 received and 1 declared lost"),
    ],
    ids=["less accurate", "no number", "one missed", "none counted", "lost"],
)
def test_each_broken_promise_is_one_line(result: DemoResult, line: str) -> None:
    (told,) = unmet_promises(result)
    assert line in told
    assert "\n" not in told
    assert summary_of(result).unmet == (told,)


def test_broken_promises_are_told_line_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raise_unless_kept(small_result(), tmp_path)
    broken = msgspec.structs.replace(with_counts({}), messages=with_received(18).messages)
    with pytest.raises(GateError, match="did not keep 2 of its promises"):
        raise_unless_kept(broken, tmp_path)
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == ["not met"] * 2
