"""The search for the fastest form that is as good: its parts, and whole on a small detector."""

import json
from pathlib import Path

import msgspec
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehaul.errors import UsageError
from edgehaul_tools.cli import main
from edgehaul_tools.compress.candidate import GIVEN, Candidate, Wanted
from edgehaul_tools.compress.choice import Choice, judged, variants_for
from edgehaul_tools.compress.explorer import Budget, Explorer
from edgehaul_tools.compress.frontier import choose, frontier
from edgehaul_tools.compress.journal import JOURNAL_NAME, Journal
from edgehaul_tools.compress.live import line_of
from edgehaul_tools.compress.report import write_page
from edgehaul_tools.compress.result import PAGE_NAME, RESULT_NAME, Compression
from edgehaul_tools.compress.verdict import verdict_of
from edgehaul_tools.evaluate.bootstrap import Estimate
from edgehaul_tools.quantize.directory import read_directory
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.plan import Plan
from edgehaul_tools.quantize.target import TARGETS, Target, target_here
from edgehaul_tools.verify.proof import read_verification
from tests.fakes.detectors import write_detector, write_pictures

WANTED = Wanted(max_drop=0.005, min_agreement=0.97)


def candidate(  # noqa: PLR0913 - what is not said is of no matter
    loss: float = 0.0,
    latency_ratio: float = 0.5,
    size_bytes: int = 300,
    *,
    plan: Plan | None = None,
    network: str = GIVEN,
    high: float | None = None,
    metric: str = "map50",
    agreement: float = 1.0,
) -> Candidate:
    fault = "mAP50 drops" if loss > WANTED.max_drop else ""
    return Candidate(
        network=network,
        plan=plan or Plan(Form(), "minmax"),
        metric=metric,
        value=0.9 - loss,
        drop=Estimate(loss, loss, high if high is not None else loss),
        agreement=agreement,
        size_bytes=size_bytes,
        size_ratio=size_bytes / 1000,
        latency_ratio=latency_ratio,
        faults=(fault,) if fault else (),
    )


FP32 = msgspec.structs.replace(candidate(0.0, 1.0, 1000), plan=None)
figures = st.tuples(
    st.sampled_from([0.0, 0.01, 0.1]), st.sampled_from([0.3, 0.5, 0.9]), st.integers(1, 3)
)


@given(st.lists(figures, min_size=1, max_size=8))
def test_the_front_is_what_nothing_beats(rows: list[tuple[float, float, int]]) -> None:
    every = [candidate(*row) for row in rows]
    front = frontier(every)
    assert front == sorted(front, key=lambda one: one.latency_ratio)
    for one in every:
        mine = (one.loss, one.latency_ratio, one.size_bytes)
        covered = any(
            all(x <= y for x, y in zip((f.loss, f.latency_ratio, f.size_bytes), mine, strict=True))
            for f in front
        )
        assert covered, "whatever is not on the front is no better than something that is"
    assert len({(f.loss, f.latency_ratio, f.size_bytes) for f in front}) == len(front)


@given(st.lists(figures, max_size=8))
def test_nothing_slower_or_worse_than_wanted_is_ever_chosen(
    rows: list[tuple[float, float, int]],
) -> None:
    every = [FP32, *(candidate(*row) for row in rows)]
    one = choose(every, WANTED)
    fit = [c for c in every[1:] if c.loss <= WANTED.max_drop and c.latency_ratio < 1]
    assert (one is None) == (not fit)
    if one is not None:
        assert one in fit
        assert one.latency_ratio <= min(c.latency_ratio for c in fit) * 1.03


def test_of_those_as_fast_the_best_answers_decide() -> None:
    better, faster = candidate(0.001, 0.50), candidate(0.004, 0.49)
    assert choose([FP32, faster, better], WANTED) == better
    assert choose([FP32, candidate(0.004, 0.40), better], WANTED) != better


def test_the_clock_cannot_tell_a_gain_of_two_per_cent() -> None:
    assert "not faster than fp32 here: 0.98" in WANTED.refusal_of(candidate(latency_ratio=0.98))


def test_the_float_network_of_a_training_is_no_gain() -> None:
    rounded = msgspec.structs.replace(candidate(-0.01, 0.9, 1000), plan=None, network="qat")
    assert choose([FP32, rounded], WANTED) is None
    fewer = msgspec.structs.replace(rounded, network="pruned50")
    assert choose([FP32, fewer], WANTED) == fewer
    arm = [TARGETS["arm64-dotprod"]]
    assert variants_for([FP32, fewer], arm, WANTED) == (), "its time there is not known"


def test_a_speedup_that_was_asked_for() -> None:
    wanted = msgspec.structs.replace(WANTED, min_speedup=3.0)
    assert "2.00 times as fast as fp32, less than 3" in wanted.refusal_of(candidate())
    assert not wanted.refusal_of(candidate(latency_ratio=0.3))
    elsewhere = msgspec.structs.replace(wanted, timed=False)
    assert not elsewhere.refusal_of(candidate(latency_ratio=2.0))


def test_each_target_gets_a_form_that_is_right_there() -> None:
    here, arm = target_here(), TARGETS["arm64-dotprod"]
    narrow = candidate(plan=Plan(Form(weight_bits=7), "minmax"))
    signed = candidate(latency_ratio=1.4, plan=Plan(Form(activations="s8"), "minmax"))
    every = [FP32, narrow, signed]

    def chosen(*targets: Target) -> list[tuple[Candidate, tuple[str, ...]]]:
        return [(one.candidate, one.targets) for one in variants_for(every, targets, WANTED)]

    assert chosen(here) == [(narrow, (here.name,))]
    assert chosen(arm) == [(signed, (arm.name,))]
    assert chosen(arm, here) == [(narrow, (here.name,)), (signed, (arm.name,))]
    both = chosen(TARGETS["x86-avx2"], TARGETS["x86-vnni"])
    assert [one for one, _ in both] == [narrow], "weights of seven bits are right on both"
    assert len(both[0][1]) == 2


def test_there_is_one_variant_of_each_form() -> None:
    here = target_here()
    other = next(t for t in (TARGETS["generic"], TARGETS["x86-vnni"]) if t != here)
    form = Form(weight_bits=7)
    fast = candidate(0.003, 0.5, plan=Plan(form, "minmax"))
    right = candidate(0.001, 0.6, plan=Plan(form, "minmax", ("a",)))
    (only,) = variants_for([FP32, fast, right], [here, other], WANTED)
    assert only.candidate == fast
    assert only.targets == (here.name, other.name)


def test_why_each_was_kept_or_dropped() -> None:
    chosen, slow, bad = candidate(), candidate(latency_ratio=0.8), candidate(0.1, 0.2)
    slow = msgspec.structs.replace(slow, plan=Plan(Form(weights="u8"), "minmax"))
    bad = msgspec.structs.replace(bad, plan=Plan(Form(activations="s8"), "minmax"))
    here = target_here().name
    rows = judged([FP32, chosen, slow, bad], [Choice(chosen, (here,))], {}, WANTED)
    reasons = [row.why for row in rows]
    assert "as it was given" in reasons[0]
    assert reasons[1] == f"chosen for {here}: the fastest that is good enough"
    assert "1.60 times as slow" in reasons[2]
    assert reasons[3] == "mAP50 drops"
    assert [row.is_chosen for row in rows] == [False, True, False, False]
    failed = judged([FP32, chosen], [], {chosen.key: "mAP50 drops"}, WANTED)
    assert "fails in the proof: mAP50 drops" in failed[1].why


def test_keeping_fp32_says_why() -> None:
    slow, here = candidate(latency_ratio=1.2), target_here().name
    assert "keep fp32" in verdict_of([FP32, slow], [], WANTED, here)
    assert "not faster than fp32 here: 1.20" in verdict_of([FP32, slow], [], WANTED, here)
    assert "whose mAP50 drops" in verdict_of([FP32, candidate(0.1)], [], WANTED, here)
    assert "--budget" in verdict_of([FP32], [], WANTED, here)
    elsewhere = verdict_of([FP32, slow], [Choice(slow, ("arm64",))], WANTED, here)
    assert f"keep fp32 on {here}" in elsewhere
    assert "for arm64" in elsewhere
    assert "times as fast" not in elsewhere, "its time there is not known"


def test_a_journal_is_gone_on_with_and_a_torn_line_measured_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "a", resume=False)
    first, second = candidate(), candidate(plan=Plan(Form(weights="u8"), "mse"))
    journal.add(first)
    journal.add(second)
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match="--resume"):
        Journal(tmp_path, "a", resume=False)
    with pytest.raises(UsageError, match="another one"):
        Journal(tmp_path, "b", resume=True)
    again = Journal(tmp_path, "a", resume=True)
    assert again.known(GIVEN, first.plan) == first
    assert again.known(GIVEN, second.plan) is None
    again.add(second)
    assert len(Journal(tmp_path, "a", resume=True)) == 2
    again.close()
    assert not path.exists()


class Layers:
    """Stands for a quantizer: int8 costs so much for each layer, as its place in ``costs``."""

    has_learnt_ranges = False
    can_equalize = False
    corrects_cheaply = False

    def __init__(self, *costs: float) -> None:
        self.costs = dict(zip("abcdefghijklmnopqrstuvwxyz", costs, strict=False))

    def build(self, plan: Plan) -> Plan:
        return plan

    def distance_of(self, plan: Plan) -> float:
        worse = {"minmax": 0.0, "percentile": 0.1, "mse": 0.2, "entropy": 0.3}
        return worse[str(plan.method)] + (1.0 if plan.bias_corrected else 0.0)

    def by_sensitivity(self, plan: Plan) -> tuple[str, ...]:
        del plan
        return tuple(sorted(self.costs, key=lambda name: -self.costs[name]))

    def measured(self, plan: Plan) -> Candidate:
        left = [cost for name, cost in self.costs.items() if name not in plan.float_units]
        return candidate(sum(left), 0.5 + 0.02 * len(plan.float_units), plan=plan)


def explored(
    layers: Layers, *, seconds: float = 100.0, clock: list[float] | None = None
) -> Explorer:
    ticks = clock if clock is not None else [0.0]
    budget = Budget(seconds, lambda: ticks[0])

    def measure(plan: Plan) -> Candidate:
        ticks[0] += 1.0
        return layers.measured(plan)

    explorer = Explorer(layers, measure, WANTED, budget, lambda _line: None)  # type: ignore[arg-type]  # a stand-in
    explorer.run([Plan(Form(), "minmax")])
    return explorer


@pytest.mark.parametrize("needed", [1, 2, 3, 5, 7])
def test_the_fewest_layers_in_float_are_found(needed: int) -> None:
    costs = [0.01] * needed + [0.0001] * (16 - needed)
    tried = explored(Layers(*costs)).tried
    fit = [len(one.plan.float_units) for one in tried if one.plan and not WANTED.refusal_of(one)]
    assert min(fit) == needed
    assert len(tried) < 10, "doubled and halved, not one by one"


def test_a_good_network_is_left_all_int8() -> None:
    (only,) = explored(Layers(*[0.0001] * 8)).tried
    assert only.plan is not None
    assert not only.plan.float_units


def test_a_spent_budget_ends_the_search_with_what_there_is() -> None:
    tried = explored(Layers(*[0.01] * 20), seconds=2.5).tried
    assert len(tried) == 3


def test_a_line_says_each_figure_once() -> None:
    labelled = line_of(candidate(0.01, agreement=0.98))
    assert "map50 0.8900, 1.00 points lost, agreement 0.980, time 0.50, size 0.30" in labelled
    unlabelled = line_of(candidate(0.02, metric="agreement", agreement=0.98))
    assert unlabelled.count("0.98") == unlabelled.count("agreement") == 1
    assert "lost" not in unlabelled


def test_the_page_shows_a_name_as_text(tmp_path: Path) -> None:
    every = [FP32, candidate()]
    result = Compression(
        model="<script>",
        family="detector",
        targets=(target_here().name,),
        here=target_here().name,
        machine="a processor",
        runtime="1.32",
        wanted=WANTED,
        metric="map50",
        fp32_value=0.9,
        fp32_bytes=1000,
        judged=judged(every, variants_for(every, [target_here()], WANTED), {}, WANTED),
        verdict="int8 is as good",
        finished=True,
        elapsed_s=1.0,
    )
    page = write_page(result, tmp_path).read_text(encoding="utf-8")
    assert "<h1>&lt;script&gt;</h1>" in page
    assert "<script>" not in page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("compress")
    write_detector(made / "detector.onnx")
    write_pictures(made / "pictures", 12)
    write_pictures(made / "others", 8)
    return made


@pytest.fixture(scope="module")
def compressed(folder: Path) -> Path:
    out = folder / "out"
    arguments = ["--calib", str(folder / "pictures"), "--frames", str(folder / "others")]
    loose = ["--min-agreement", "0.5", "--budget", "60s"]
    assert (
        main(["compress", str(folder / "detector.onnx"), *arguments, *loose, "--out", str(out)])
        == 0
    )
    return out


def test_a_search_leaves_a_proved_directory_and_its_reasons(compressed: Path) -> None:
    directory = read_directory(compressed)
    result = msgspec.json.decode((compressed / RESULT_NAME).read_bytes(), type=Compression)
    assert directory.variants[0].name == "fp32"
    assert len(directory.variants) == 1 + len(result.chosen)
    for one in result.chosen:
        assert one.latency_ratio < 1
        assert one.agreement >= 0.5
    assert not read_verification(compressed, directory).failures
    assert not (compressed / JOURNAL_NAME).exists()
    assert result.judged[0].candidate.is_given
    assert all(row.why for row in result.judged)
    page = (compressed / PAGE_NAME).read_text(encoding="utf-8")
    assert page.count("<svg") >= 1
    assert result.judged[1].candidate.summary in page
    assert {file.name for file in compressed.glob("*.onnx")} == {v.path for v in directory.variants}


def test_a_bundle_for_two_other_kinds_of_processors_has_a_variant_for_each(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    asked = ["--calib", str(folder / "pictures"), "--min-agreement", "0.3", "--out", str(out)]
    asked += ["--target", "arm64-dotprod", "--target", "generic"]
    assert main(["compress", str(folder / "detector.onnx"), *asked]) == 0
    names = [variant.name for variant in read_directory(out).variants]
    assert names == ["fp32", "int8-s8s8", "int8-u8s8"]
    assert not read_verification(out, read_directory(out)).failures
    result = msgspec.json.decode((out / RESULT_NAME).read_bytes(), type=Compression)
    assert not result.wanted.timed
    assert {one.plan.form.weight_bits for one in result.chosen if one.plan} == {7, 8}
    again = ["--calib", str(folder / "pictures"), "--min-speedup", "1000", "--out", str(out)]
    assert main(["compress", str(folder / "detector.onnx"), *again]) == 3
    assert [file.name for file in out.glob("*.onnx")] == ["fp32.onnx"], "no model of another search"


def test_files_of_the_user_are_left_alone(folder: Path, tmp_path: Path) -> None:
    (out := tmp_path / "out").mkdir()
    mine = write_detector(out / "my-int8-thing.onnx")
    own = write_detector(tmp_path / "detector.onnx")
    asked = ["--calib", str(folder / "pictures"), "--budget", "5s", "--out", str(out)]
    before = mine.read_bytes()
    assert main(["compress", str(own), *asked]) == 0
    assert mine.read_bytes() == before
    assert main(["compress", str(mine), *asked]) == 2
    assert mine.read_bytes() == before


def test_what_cannot_be_reached_keeps_fp32_with_exit_3(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    asked = ["--calib", str(folder / "pictures"), "--min-speedup", "1000", "--budget", "20s"]
    assert (
        main(["compress", str(folder / "detector.onnx"), *asked, "--out", str(out), "--json"]) == 3
    )
    told = capsys.readouterr()
    assert "keep fp32" in told.err
    assert json.loads(told.out)["verdict"].startswith("keep fp32")
    directory = read_directory(out)
    assert [v.name for v in directory.variants] == ["fp32"]
    assert not read_verification(out, directory).failures, "it can be packed"
    assert "QuantizeLinear" not in {n.op_type for n in onnx.load(out / "fp32.onnx").graph.node}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 1, "nothing to measure on"),
        (["--calib", "PICTURES", "--prune", "0.5"], 2, "cannot be trained"),
        (["--calib", "PICTURES", "--labels", "/none"], 1, "the labels: No such file or directory;"),
        (["--calib", "PICTURES", "--budget", "soon"], 2, "'soon' is no time"),
        (["--calib", "PICTURES", "--target", "x68-vnni"], 2, "x68-vnni"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str],
    code: int,
    message: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [a.replace("PICTURES", str(folder / "pictures")) for a in arguments]
    out = tmp_path / "out"
    assert main(["compress", str(folder / "detector.onnx"), *given, "--out", str(out)]) == code
    assert message in capsys.readouterr().err
    assert not out.exists()
