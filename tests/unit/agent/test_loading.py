"""What is loaded: the graph optimised here while it is the proved one, in the fastest variant."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import pytest

from edgehaul.bundle.archive import write_bundle
from edgehaul.config.engine import EngineSection
from edgehaul.errors import ParityError
from edgehaul_agent.engines import EngineOpener
from edgehaul_agent.inference.engine import Array, Engine
from edgehaul_agent.inference.machine import Machine
from edgehaul_agent.loading import ModelLoader, trial_tensor
from edgehaul_agent.pipeline.workers import default_workers
from edgehaul_agent.proof import Prover
from edgehaul_agent.update.install import install_bundle
from edgehaul_agent.update.slots import InstalledModel, ModelStore
from edgehaul_agent.update.tuning import Proof, Tuning
from tests.unit.agent.test_proof import packed

WORKERS = default_workers()


class OtherMachine(EngineOpener):
    """This machine under the name of another one, whose answers may differ."""

    cpu, factor = "another processor", 1.0

    @property
    def machine(self) -> Machine:
        return msgspec.structs.replace(super().machine, cpu=self.cpu)

    def open(self, path: Path, threads: int = 1, *, optimised: bool = False) -> Engine:
        engine, factor = super().open(path, threads, optimised=optimised), self.factor

        class Moved:
            inputs, outputs, providers = engine.inputs, engine.outputs, engine.providers

            def run(self, tensor: Array) -> list[Array]:
                return [np.asarray(output * factor, output.dtype) for output in engine.run(tensor)]

        return Moved()


def install(tmp_path: Path, section: EngineSection | None = None) -> ModelStore:
    """Install a bundle with a slow and a fast variant below ``tmp_path/root``."""
    source, root = tmp_path / "packed", tmp_path / "root"
    source.mkdir()
    root.mkdir()
    manifest = packed(source)
    bundle = tmp_path / "parcels.edgehaul"
    write_bundle(bundle, manifest, {entry.path: source / entry.path for entry in manifest.files})
    opener = EngineOpener(section or EngineSection(), root)
    install_bundle(bundle, root, prove=Prover(opener, budget_s=1.0))
    return ModelStore(root)


def loader(
    store: ModelStore,
    opener: EngineOpener | None = None,
    section: EngineSection | None = None,
    *,
    workers: int = WORKERS,
) -> ModelLoader:
    section = section or EngineSection(retune_s=1.0)
    return ModelLoader(store, opener or EngineOpener(section, Path()), section, workers=workers)


def tuning_of(installed: InstalledModel) -> Tuning:
    return cast("Tuning", installed.tuning)


def test_an_installation_keeps_its_timings_and_the_optimised_graph(tmp_path: Path) -> None:
    installed = install(tmp_path).active("parcels")
    tuning = tuning_of(installed)
    assert installed.variant == "fast"
    assert [timing.variant for timing in tuning.variants] == ["slow", "fast"]
    slow, fast = tuning.variants
    assert slow.shared_ms > fast.shared_ms > 0
    assert set(slow.single_ms) >= {1}
    assert tuning.optimised is not None
    assert (installed.folder / tuning.optimised.path).is_file()
    assert tuning.workers == WORKERS


def test_the_optimised_graph_runs_and_answers_the_same(tmp_path: Path) -> None:
    store = install(tmp_path)
    installed = store.active("parcels")
    loaded = loader(store).load(installed, "", alone=False)
    assert loaded.optimised
    tensor = trial_tensor(installed)
    plain = EngineOpener(EngineSection(), tmp_path).open(installed.model_path())
    for answer, expected in zip(loaded.engine.run(tensor), plain.run(tensor), strict=True):
        np.testing.assert_allclose(answer, expected, rtol=1e-5)


@pytest.mark.parametrize("fault", ["altered", "missing"])
def test_a_graph_that_is_not_the_proved_one_is_not_run(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = install(tmp_path)
    installed = store.active("parcels")
    path = next((installed.folder / "optimised").iterdir())
    if fault == "missing":
        path.unlink()
    else:
        path.write_bytes((installed.folder / "slow.onnx").read_bytes())
    loaded = loader(store).load(store.active("parcels"), "", alone=False)
    assert not loaded.optimised
    assert "the original runs" in caplog.text
    assert loaded.engine.run(trial_tensor(installed))


def test_no_graph_is_kept_where_that_is_configured(tmp_path: Path) -> None:
    store = install(tmp_path, EngineSection(cache=False))
    assert tuning_of(store.active("parcels")).optimised is None
    assert not (store.active("parcels").folder / "optimised").exists()


def test_the_same_machine_is_not_timed_again(tmp_path: Path) -> None:
    store = install(tmp_path)
    before = store.active("parcels")
    assert loader(store).tuned(before) is before


def test_on_another_processor_it_is_timed_again_and_remembered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = install(tmp_path)
    before = store.active("parcels")
    other = OtherMachine(EngineSection(), tmp_path)
    with caplog.at_level(logging.WARNING):
        fresh = loader(store, other).tuned(before)
    assert "timed again" in caplog.text
    assert tuning_of(fresh).cpu == "another processor"
    assert store.active("parcels") == fresh
    assert loader(store, other).tuned(fresh) is fresh
    # Back on the first one, neither its figures nor its graph are trusted.
    assert not loader(store).load(fresh, "", alone=False).optimised


def test_old_figures_do_not_keep_a_variant_that_is_slower_here(tmp_path: Path) -> None:
    store = install(tmp_path)
    before = store.active("parcels")
    stale = msgspec.structs.replace(tuning_of(before), runtime="onnxruntime 0.1")
    store.retune(before, lambda _manifest, _folder: Proof("slow", stale))
    assert store.active("parcels").variant == "slow"
    start_s = time.monotonic()
    assert loader(store).tuned(store.active("parcels")).variant == "fast"
    assert time.monotonic() - start_s < 10
    assert store.active("parcels").variant == "fast"


def test_other_workers_are_timed_again(tmp_path: Path) -> None:
    store = install(tmp_path)
    fresh = loader(store, workers=WORKERS + 1).tuned(store.active("parcels"))
    assert tuning_of(fresh).workers == WORKERS + 1


def test_a_timing_that_hangs_holds_neither_streams_nor_installations(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = install(tmp_path)
    before = store.active("parcels")
    hanging, released = threading.Event(), threading.Event()

    class Hanging(OtherMachine):
        def open(self, path: Path, threads: int = 1, *, optimised: bool = False) -> Engine:
            hanging.set()
            released.wait()
            return super().open(path, threads, optimised=optimised)

    section = EngineSection(retune_s=0.1)
    models = loader(store, Hanging(section, tmp_path), section)
    first = threading.Thread(target=models.tuned, args=(before,))
    first.start()
    assert hanging.wait(20)
    assert models.tuned(before) is before
    assert "does not end; the old choice stays" in caplog.text
    with store.locked():
        pass
    released.set()
    first.join()
    assert tuning_of(store.active("parcels")).cpu == "another processor"


def test_answers_that_moved_with_the_machine_are_refused(tmp_path: Path) -> None:
    store = install(tmp_path)
    other = OtherMachine(EngineSection(), tmp_path)
    other.factor = 1.1
    before = store.active("parcels")
    with pytest.raises(ParityError, match="moved"):
        loader(store, other).tuned(before)
    assert store.active("parcels") == before


def test_the_old_choice_stays_where_nothing_may_be_spent(tmp_path: Path) -> None:
    store = install(tmp_path)
    before = store.active("parcels")
    other, section = OtherMachine(EngineSection(), tmp_path), EngineSection(retune_s=0)
    assert loader(store, other, section).tuned(before) is before


def test_a_record_that_cannot_be_written_is_timed_once_a_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = install(tmp_path)
    before = store.active("parcels")
    models = loader(store, OtherMachine(EngineSection(), tmp_path))
    with store.locked():
        assert models.tuned(before) == before
        assert models.tuned(before) == before
    assert caplog.text.count("another installation is under way") == 1


def test_a_record_of_an_agent_that_timed_nothing_is_read(tmp_path: Path) -> None:
    store = install(tmp_path)
    path = tmp_path / "root" / "models" / "parcels" / "state.json"
    state = msgspec.json.decode(path.read_bytes())["state"]
    del state["tuning"]
    content = msgspec.json.encode(state)
    sealed = {"state": state, "sha256": hashlib.sha256(content).hexdigest()}
    path.write_bytes(msgspec.json.encode(sealed))
    installed = store.active("parcels")
    assert installed.tuning is None
    assert loader(store).tuned(installed) is installed


def test_one_stream_alone_may_have_the_threads_that_serve_it_best(tmp_path: Path) -> None:
    store = install(tmp_path)
    section = EngineSection(threads=0)
    seen: list[int] = []

    class Watched(EngineOpener):
        def open(self, path: Path, threads: int = 1, *, optimised: bool = False) -> Engine:
            seen.append(threads)
            return super().open(path, threads, optimised=optimised)

    installed = store.active("parcels")
    best = next(t for t in tuning_of(installed).variants if t.variant == "fast").best_threads
    models = loader(store, Watched(section, tmp_path), section)
    models.load(installed, "", alone=True)
    models.load(installed, "", alone=False)
    assert seen == [best, 1]


def test_the_first_frame_meets_a_model_that_has_run(tmp_path: Path) -> None:
    store = install(tmp_path)
    section = EngineSection(warmup_runs=3)
    models = loader(store, section=section)
    loaded = models.load(store.active("parcels"), "", alone=False)
    runs: list[Array] = []

    class Counted:
        inputs, outputs = loaded.engine.inputs, loaded.engine.outputs
        providers = loaded.engine.providers

        def run(self, tensor: Array) -> list[Array]:
            runs.append(tensor)
            return loaded.engine.run(tensor)

    models.warm_up(msgspec.structs.replace(loaded, engine=Counted()))
    assert len(runs) == 3
