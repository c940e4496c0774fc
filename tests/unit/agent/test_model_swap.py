"""Another version of a model is installed while one runs: who takes it, and what is let go."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path

import pytest

from edgehaul.config.device import DeviceConfig, StreamConfig
from edgehaul.config.loader import load
from edgehaul.config.recordings import FileSource, ImagesSource, VirtualConveyorSource
from edgehaul_agent.assembly import Assembly
from edgehaul_agent.health.metrics import StreamMetrics
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.pipeline.camera import StreamPipeline
from edgehaul_agent.pipeline.workers import WorkerPool
from edgehaul_agent.proof import prove
from edgehaul_agent.restarts import has_end
from edgehaul_agent.update.install import install_bundle
from tests.fakes.answering import write_color_classifier
from tests.fakes.devices import make_device, write_model_bundle
from tests.fakes.streams import FakeClock, ListFrames, MemoryOutbox, ScriptedModel
from tests.fakes.supervised import TOPICS, Rig
from tests.unit.agent.test_second import COLOR_SPEC

ENDLESS = {"type": "virtual_conveyor", "width": 96, "height": 96}


def assembly_of(folder: Path, **source: object) -> Assembly:
    config = make_device(folder, port=1, source={**ENDLESS, **source})
    return Assembly(load(config, DeviceConfig), folder)


def install(folder: Path, version: str) -> None:
    bundle = write_model_bundle(folder / version, version=version)
    install_bundle(bundle, folder / "device", prove=prove)


def test_streams_are_outdated_from_the_installation_until_they_take_it(tmp_path: Path) -> None:
    assembly = assembly_of(tmp_path)
    (stream,) = assembly.config.streams
    assert assembly.outdated() == set(), "nothing runs yet"
    assembly.picture_model(stream)
    install(tmp_path, "1.0.0")
    assert assembly.outdated() == set(), "the same bundle again is the same model"
    for version in ("1.0.1", "1.0.2", "1.0.3"):
        install(tmp_path, version)
        assert assembly.outdated() == {"dock"}
        assembly.picture_model(stream)
        assert assembly.outdated() == set()
        assert [model.version for model in assembly.used_models] == [version]


def test_two_installations_later_the_slot_is_the_same_and_the_model_is_not(tmp_path: Path) -> None:
    assembly = assembly_of(tmp_path)
    assembly.picture_model(assembly.config.streams[0])
    install(tmp_path, "1.0.1")
    install(tmp_path, "1.0.2")
    assert assembly.outdated() == {"dock"}


def test_a_classifier_of_single_objects_is_taken_over_too(tmp_path: Path) -> None:
    stage = {"model": "colors", "score_threshold": 0.0}
    stream = {"name": "dock", "model": "parcels", "source": ENDLESS, "second": [stage]}
    path = make_device(tmp_path, port=1, source=ENDLESS, streams=[stream])
    model = write_color_classifier(tmp_path / "colors.onnx")

    def install_colors(version: str) -> None:
        bundle = write_model_bundle(
            tmp_path / version, spec=COLOR_SPEC, name="colors", version=version, model=model
        )
        install_bundle(bundle, tmp_path / "device", prove=prove)

    install_colors("1.0.0")
    assembly, workers = Assembly(load(path, DeviceConfig), tmp_path), WorkerPool(1, FakeClock())
    (config,) = assembly.config.streams
    assembly.pipeline(config, MemoryOutbox(), workers, FakeClock())
    assert assembly.outdated() == set()
    install_colors("1.0.1")
    assert assembly.outdated() == {"dock"}
    assembly.pipeline(config, MemoryOutbox(), workers, FakeClock())
    assert assembly.outdated() == set()


def test_a_recording_goes_on_with_the_model_it_began_with(tmp_path: Path) -> None:
    assembly = assembly_of(tmp_path, frames=100)
    assembly.picture_model(assembly.config.streams[0])
    install(tmp_path, "1.0.1")
    assert assembly.outdated() == set()


@pytest.mark.parametrize(
    ("source", "ends"),
    [
        (FileSource(path="a.mp4"), True),
        (FileSource(path="a.mp4", loop=True), False),
        (ImagesSource(path="a"), True),
        (VirtualConveyorSource(frames=3), True),
        (VirtualConveyorSource(), False),
    ],
)
def test_what_ends_by_itself(source: FileSource, ends: bool) -> None:  # noqa: FBT001 - of a table
    assert has_end(StreamConfig(name="dock", model="m", source=source)) is ends


def test_the_old_session_is_let_go_when_the_new_one_is_loaded(tmp_path: Path) -> None:
    assembly = assembly_of(tmp_path)
    (stream,) = assembly.config.streams
    old = weakref.ref(assembly._load(stream).engine)
    assert old() is not None
    install(tmp_path, "1.0.1")
    assembly.picture_model(stream)
    gc.collect()
    assert old() is None


def test_a_damaged_record_leaves_streams_running(tmp_path: Path) -> None:
    assembly = assembly_of(tmp_path)
    assembly.picture_model(assembly.config.streams[0])
    (tmp_path / "device/models/parcels/state.json").write_text("{}")
    assert assembly.outdated() == set()


def test_counters_keep_the_numbers_of_a_run_and_not_the_run() -> None:
    clock = FakeClock()
    metrics = StreamMetrics(clock)

    def ran() -> weakref.ref[StreamPipeline]:
        workers = WorkerPool(1, clock)
        pipeline = StreamPipeline(
            StreamConfig(name="dock", model="m", source=VirtualConveyorSource()),
            source=ListFrames(10, skip=(3, 4)),
            model=ScriptedModel(lambda _index: []),
            outlet=StreamOutlet(MemoryOutbox(), TOPICS, "dock"),
            workers=workers,
            clock=clock,
            metrics=metrics,
        )
        with workers, pipeline:
            pipeline.run(threading.Event())
        return weakref.ref(pipeline)

    first = ran()
    gc.collect()
    assert first() is None
    assert (metrics.runs, metrics.total().bad, metrics.total().frames) == (1, 2, 10)
    ran()
    assert (metrics.runs, metrics.total().bad, metrics.total().frames) == (2, 4, 20)


def test_a_renewed_stream_starts_again_alone_and_counts_on() -> None:
    rig = Rig(("dock", "gate"))
    with rig:
        rig.run("dock")
        rig.run("gate")
        rig.give(3, "dock")
        assert rig.supervisor.keep(rig.configs, rig.section, {"dock"}) == ["dock"]
        rig.run("dock")
        rig.give(2, "dock")
        assert sorted(rig.built) == ["dock", "dock", "gate"]
        total = rig.keeper("dock").total()
        assert (total.processed, total.restarts) == (5, 0)
