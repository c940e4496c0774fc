from __future__ import annotations

from edgehaul.messages.payloads import AnomalyEvent
from edgehaul.values import Fix
from edgehaul_agent.events.anomalies import AnomalyMerger

LENGTH_S = 1.0


def merge(verdicts: list[tuple[str, float]], *, hop_s: float = 1.0) -> list[AnomalyEvent]:
    merger = AnomalyMerger("trips", normal_label="normal", least_score=0.5)
    events = []
    for index, (label, score) in enumerate(verdicts):
        started_at_s = index * hop_s
        fix = Fix(captured_at_s=started_at_s, latitude_deg=index, longitude_deg=0)
        events += merger.update(
            label, score, started_at_s=started_at_s, ended_at_s=started_at_s + LENGTH_S, fix=fix
        )
    return events + merger.close()


def test_windows_in_a_row_are_one_event() -> None:
    verdicts = [("normal", 0.9), ("braking", 0.6), ("braking", 0.95), ("braking", 0.7)]
    (event,) = merge([*verdicts, *[("normal", 0.9)] * 5])
    assert (event.label, event.score, event.model) == ("braking", 0.95, "trips")
    assert event.started_at == "1970-01-01T00:00:01.000Z"
    assert event.ended_at == "1970-01-01T00:00:04.000Z"
    assert event.position is not None
    assert event.position.latitude_deg == 2


def test_one_quiet_window_does_not_cut_an_event() -> None:
    events = merge([("braking", 0.9), ("normal", 0.9), ("braking", 0.9)])
    assert len(events) == 1


def test_labels_are_told_apart_and_the_end_of_the_trace_ends_a_span() -> None:
    events = merge([("braking", 0.9), ("cornering", 0.8), ("cornering", 0.8)])
    assert [e.label for e in events] == ["braking", "cornering"]


def test_low_scores_are_normal() -> None:
    assert merge([("braking", 0.4)] * 5) == []


def test_windows_that_do_not_touch_are_two_events() -> None:
    assert len(merge([("braking", 0.9), ("braking", 0.9)], hop_s=20.0)) == 2
