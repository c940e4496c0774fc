"""Models made to hang, to fill the memory or to crash, and damaged ones: refused in one line."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from edgehaul_tools.quantize.limits import Limits
from edgehaul_tools.quantize.trial import OUTCOME_NAME, Job, Outcome
from tests.fakes.detectors import write_detector, write_pictures
from tests.fakes.forked import STOPPED, TRACEBACK, End, Forks, forks
from tests.fakes.mutations import mutated
from tests.fakes.strange_models import harmful_models, many_nodes, nested_bytes, saved

TRIAL_SECONDS = 10
HANGS = 600
"""Far beyond the trial's limit: what is still running then hangs."""
EXIT_OK, EXIT_FAILED = 0, 1

Quantize = Callable[[Path], End]


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with forks(tmp_path_factory.mktemp("forks") / "errors.txt") as server:
        yield server


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("calibration"), 2)


@pytest.fixture
def quantize(fork: Forks, pictures: Path, tmp_path: Path) -> Quantize:
    """Run ``edgehaul quantize`` on a model."""

    def run(model: Path) -> End:
        # Any int8 form will do: to search for one that agrees is work, and no hang.
        options = ["--calib", pictures, "--trial-seconds", TRIAL_SECONDS, "--min-agreement", 0]
        return fork("quantize", ["quantize", model, "--out", tmp_path / "out", *options], HANGS)

    return run


def refused(end: End, *texts: str) -> None:
    assert end.status == EXIT_FAILED, end
    assert "Traceback" not in end.errors
    lines = [line for line in end.errors.splitlines() if line.startswith("edgehaul: ")]
    assert len(lines) == 1, end.errors
    assert all(text in lines[0] for text in texts), lines[0]


HARMLESS = {"dilated by 10^9", "nested branches"}
"""Odd, but they run: whatever comes of them, it is no crash and no hang."""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(harmful_models()))
def test_a_harmful_model_is_refused(name: str, quantize: Quantize, tmp_path: Path) -> None:
    end = quantize(saved(harmful_models()[name], tmp_path / "m.onnx"))
    if name in HARMLESS:
        assert end.status in {EXIT_OK, EXIT_FAILED}, end
        assert "Traceback" not in end.errors
    else:
        refused(end, "m.onnx")
    assert end.seconds < TRIAL_SECONDS + 30


@pytest.mark.slow
@pytest.mark.parametrize("count", [20_000, 1_000_000])
def test_so_many_nodes_take_no_longer_than_the_limit(
    count: int, quantize: Quantize, tmp_path: Path
) -> None:
    end = quantize(saved(many_nodes(count), tmp_path / "m.onnx"))
    refused(end, "m.onnx", "not read and run within 10 s")


@pytest.mark.slow
@pytest.mark.parametrize("depth", [30, 1_000, 20_000])
def test_branches_nested_too_deeply(depth: int, quantize: Quantize, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(nested_bytes(depth))
    refused(quantize(tmp_path / "m.onnx"), "m.onnx", "no ")


WHOLE_RUNS = 30
"""Damaged models that go through the whole command; each that is usable takes a minute."""

# --- damaged models ---------------------------------------------------------------------------


def files_to_damage(folder: Path, shared_data: Path) -> list[bytes]:
    real = sorted((shared_data / "models").glob("*.onnx"))
    return [path.read_bytes() for path in (write_detector(folder / "own.onnx"), *real)]


@pytest.mark.shared_data
@pytest.mark.parametrize("seeds", [range(15), pytest.param(range(300), marks=pytest.mark.slow)])
def test_damaged_models_end_their_trial_in_words(
    seeds: range, fork: Forks, tmp_path: Path, shared_data: Path
) -> None:
    sources = files_to_damage(tmp_path, shared_data)[:2]  # small ones
    job = msgspec.json.encode(Job(Limits(TRIAL_SECONDS))).decode()
    ends: Counter[str] = Counter()
    for seed in seeds:
        path = tmp_path / f"{seed}.onnx"
        path.write_bytes(mutated(sources[seed % len(sources)], seed))
        (folder := tmp_path / f"{seed}").mkdir()
        end = fork("trial", [path, folder, job], TRIAL_SECONDS)
        assert end.status != TRACEBACK, f"seed {seed}: {end.errors}"
        if end.status == 0:
            outcome = msgspec.json.decode((folder / OUTCOME_NAME).read_bytes(), type=Outcome)
            ends["refused" if outcome.message else "usable"] += 1
        else:
            ends["ended by force"] += 1  # by a signal, which the tool outlives
    assert min(ends["refused"], ends["usable"]) > 0, "the damage is of no use: too much, too little"
    assert ends["ended by force"] < len(seeds) / 8, ends


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.timeout(3600)
def test_no_damaged_model_crashes_or_hangs_the_tool(
    quantize: Quantize, tmp_path: Path, shared_data: Path
) -> None:
    sources = files_to_damage(tmp_path, shared_data)
    ends: Counter[str] = Counter()
    failures = []
    for seed in range(1000, 1000 + WHOLE_RUNS):
        path = tmp_path / "damaged.onnx"
        path.write_bytes(mutated(sources[seed % len(sources)], seed))
        end = quantize(path)
        kinds = {EXIT_OK: "quantized", EXIT_FAILED: "refused", STOPPED: "hangs"}
        kind = "crashes" if "Traceback" in end.errors else kinds.get(end.status, "crashes")
        ends[kind] += 1
        if kind in {"crashes", "hangs"}:
            failures.append(f"seed {seed}: {end}")
    (tmp_path / "ends.json").write_bytes(msgspec.json.encode(ends))
    assert not failures, (ends, failures)
    assert min(ends["quantized"], ends["refused"]) > 0, ends
