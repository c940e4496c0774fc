"""What a search keeps on the way: whole after any cut, and only for the very same search."""

import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehaul.errors import UsageError
from edgehaul_tools.compress.candidate import GIVEN, Candidate, Wanted
from edgehaul_tools.compress.explorer import METHODS, MOST_FLOAT, Budget, Explorer
from edgehaul_tools.compress.journal import JOURNAL_NAME, Journal
from edgehaul_tools.evaluate.bootstrap import Estimate
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.plan import Plan

FIRST, SECOND = Plan(Form(), "minmax"), Plan(Form(weights="u8"), "mse")


def candidate(plan: Plan | None, loss: float = 0.0, network: str = GIVEN) -> Candidate:
    return Candidate(
        network=network,
        plan=plan,
        metric="map50",
        value=0.9 - loss,
        drop=Estimate(loss, loss, loss),
        agreement=1.0,
        size_bytes=300,
        size_ratio=0.3,
        latency_ratio=0.5,
        faults=("it drops",) if loss > 0.005 else (),
    )


@settings(max_examples=25)
@given(st.data())
def test_wherever_a_journal_is_cut_off_it_goes_on(data: st.DataObject) -> None:
    every = [candidate(None), candidate(FIRST), candidate(SECOND)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = Journal(folder, "a", resume=False)
        for one in every:
            journal.add(one)
        path = folder / JOURNAL_NAME
        content = path.read_bytes()
        kept = data.draw(st.integers(0, len(content)))
        path.write_bytes(content[:kept])
        again = Journal(folder, "a", resume=True)
        for one in every:
            if again.known(GIVEN, one.plan) is None:
                again.add(one)
        assert path.read_bytes() == content, "as if nothing had been cut off"


def test_a_line_of_another_version_is_measured_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "a", resume=False)
    journal.add(candidate(FIRST))
    path = tmp_path / JOURNAL_NAME
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"network":"given","plan":{"shape":"old"}}\n[1]\n\xff\n')
    again = Journal(tmp_path, "a", resume=True)
    assert len(again) == 1
    assert path.read_bytes() == whole


def test_a_journal_that_is_whole_is_not_written_again(tmp_path: Path) -> None:
    Journal(tmp_path, "a", resume=False).add(candidate(FIRST))
    before = (tmp_path / JOURNAL_NAME).stat()
    Journal(tmp_path, "a", resume=True)
    after = (tmp_path / JOURNAL_NAME).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_is_appended_to_a_torn_line_is_a_line_of_its_own(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "a", resume=False)
    path = tmp_path / JOURNAL_NAME
    with path.open("ab") as stream:  # as where the disk was full for a moment
        stream.write(msgspec.json.encode(candidate(FIRST))[:-20])
    journal.add(candidate(SECOND))
    assert Journal(tmp_path, "a", resume=True).known(GIVEN, SECOND) == candidate(SECOND)


def test_candidates_without_their_search_are_not_taken(tmp_path: Path) -> None:
    Journal(tmp_path, "a", resume=False).add(candidate(FIRST))
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(path.read_bytes()[3:])
    with pytest.raises(UsageError, match="another one"):
        Journal(tmp_path, "a", resume=True)


def test_what_was_measured_of_a_network_is_forgotten(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "a", resume=False)
    for one in (candidate(FIRST), candidate(FIRST, network="qat"), candidate(None, network="qat")):
        journal.add(one)
    journal.forget("qat")
    for found in (journal, Journal(tmp_path, "a", resume=True)):
        assert found.known("qat", FIRST) is None
        assert found.known(GIVEN, FIRST) is not None


class Layers:
    """Stands for a quantizer of ten layers, which are good enough with ``needed`` in float."""

    has_learnt_ranges = False
    can_equalize = False
    corrects_cheaply = True

    def __init__(self, needed: int, ticks: list[float]) -> None:
        self.needed, self.ticks = needed, ticks
        self.built: list[Plan] = []

    def build(self, plan: Plan) -> Plan:
        self.ticks[0] += 1.0
        self.built.append(plan)
        return plan

    def distance_of(self, plan: Plan) -> float:
        return METHODS.index(plan.method) if plan.method in METHODS else 0.0

    def by_sensitivity(self, plan: Plan) -> tuple[str, ...]:
        del plan
        return tuple("abcdefghij")

    def measured(self, plan: Plan) -> Candidate:
        return candidate(plan, 0.0 if len(plan.float_units) >= self.needed else 0.1)


def explored(needed: int, seconds: float) -> tuple[Explorer, Layers]:
    ticks = [0.0]
    layers = Layers(needed, ticks)
    wanted, budget = Wanted(0.005, 0.97), Budget(seconds, lambda: ticks[0])
    explorer = Explorer(layers, layers.measured, wanted, budget, lambda _line: None)  # type: ignore[arg-type]  # a stand-in
    explorer.run([FIRST, SECOND])
    return explorer, layers


def test_a_search_that_ends_by_itself_was_not_cut_short() -> None:
    explorer, _ = explored(needed=0, seconds=8.0)
    assert len(explorer.tried) == 2
    assert not explorer.was_cut_short, "the time is just over, and nothing was left to do"


def test_the_time_is_looked_at_between_methods_and_one_form_is_tried() -> None:
    explorer, layers = explored(needed=0, seconds=0.0)
    assert [plan.method for plan in layers.built] == [METHODS[0]]
    assert [one.plan for one in explorer.tried] == [FIRST]
    assert explorer.was_cut_short


def test_the_most_layers_that_may_be_in_float_are_tried_at_last() -> None:
    most = int(MOST_FLOAT * 10)
    explorer, _ = explored(needed=most, seconds=100.0)
    fit = [one for one in explorer.tried if one.loss <= 0]
    assert {len(one.plan.float_units) for one in fit if one.plan} == {most}
    assert not explorer.was_cut_short
