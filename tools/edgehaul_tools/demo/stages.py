"""The stages of the demo, each by the same functions that its own command calls."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from edgehaul.bundle.archive import BUNDLE_SUFFIX
from edgehaul.config.recipe import DetectorRecipe, Recipe, SequenceRecipe
from edgehaul.config.recipe_sections import AugmentSection, SplitSection
from edgehaul.errors import UsageError
from edgehaul.virtual.conveyor import Conveyor
from edgehaul.virtual.truck import TruckTrip
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.virtual import generate_conveyor_dataset, generate_truck_dataset
from edgehaul_tools.demo.board import Advance, Board
from edgehaul_tools.demo.box import DETECTOR, GPS_MODEL, BoxRun, run_box, write_device_config
from edgehaul_tools.demo.findings import camera_result, message_result, truck_result
from edgehaul_tools.demo.records import Records
from edgehaul_tools.demo.result import DemoResult, VariantResult
from edgehaul_tools.export.run import export_run
from edgehaul_tools.flash.flash import FlashOptions, flash_bundle
from edgehaul_tools.flash.target import FolderTarget
from edgehaul_tools.pack.pack import Label, pack_directory
from edgehaul_tools.quantize.quantize import Options, quantize_model
from edgehaul_tools.subscribe.embedded_broker import EmbeddedBroker
from edgehaul_tools.train.follow import follow_recipe
from edgehaul_tools.train.loop.optimization import EpochReport, Progress
from edgehaul_tools.train.run_directory import TrainingRun
from edgehaul_tools.verify.proof import Verification, raise_unless_passed
from edgehaul_tools.verify.verify import verify_directory

DATA_SEED = 1
MARKER_NAME = ".edgehaul-demo"
DATABASE_NAME = "results.db"
_OUR_LICENCE = "Apache-2.0"


class DemoSettings(msgspec.Struct, frozen=True):
    """How large the demo is.

    Attributes:
        seed: Seed of the live conveyor and truck; they are never the ones learnt from.
        images: Pictures of the dataset.
        trips: Trips of the GPS dataset.
        frames: Least number of frames that the box looks at.
        trip_s: Length of the live trip in seconds.
    """

    seed: int = 7
    images: int = 600
    trips: int = 24
    frames: int = 1500
    trip_s: float = 1800.0

    @property
    def detector(self) -> Recipe:
        """How the detector is trained."""
        return Recipe(
            detector=DetectorRecipe(
                split=SplitSection(train=0.8, val=0.1, test=0.1),
                # The camera looks down on the belt: a parcel upside down is a parcel.
                augment=AugmentSection(flip_vertical=0.5),
            )
        )

    @property
    def sequence(self) -> Recipe:
        """How the GPS model is trained."""
        return Recipe(sequence=SequenceRecipe())


class Demo:
    """One run of the whole chain.

    Args:
        folder: Everything is written below it; an earlier demo there is replaced.
        settings: How large it is.
        board: Shows the stages.
    """

    def __init__(self, folder: Path, settings: DemoSettings, board: Board) -> None:
        self._folder = folder
        self._settings = settings
        self._board = board
        self._conveyor = Conveyor(seed=settings.seed)
        self._frames = self._conveyor.frame_clear_of_line(settings.frames)

    def run(self) -> DemoResult:
        """Run every stage and return what was measured.

        Raises:
            UsageError: The folder holds something else.
            EdgeHaulError: A stage failed.
        """
        self._clear_folder()
        self._make_data()
        detector, gps = self._train()
        self._export()
        self._quantize()
        proofs = self._verify()
        chosen = self._pack_and_flash()
        run = self._run_box()
        return self._result(detector, gps, proofs, chosen, run)

    def _clear_folder(self) -> None:
        folder = self._folder
        if folder.exists() and any(folder.iterdir()):
            if not (folder / MARKER_NAME).exists():
                raise UsageError(
                    "the folder is not empty and holds no earlier demo",
                    where=folder,
                    remedy="name another folder with --out",
                )
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER_NAME).touch()

    def _make_data(self) -> None:
        settings = self._settings
        with self._board.stage("Render pictures of the virtual conveyor") as advance:
            generate_conveyor_dataset(
                self._folder / "data" / "conveyor", settings.images, DATA_SEED, progress=advance
            )
        with self._board.stage("Drive trips of the virtual truck") as advance:
            generate_truck_dataset(
                self._folder / "data" / "truck", settings.trips, DATA_SEED, progress=advance
            )

    def _train(self) -> tuple[TrainingRun, TrainingRun]:
        settings, data, runs = self._settings, self._folder / "data", self._folder / "train"
        with self._board.stage("Train the parcel detector") as advance:
            detector = follow_recipe(
                settings.detector, data / "conveyor", runs / DETECTOR, _by_epoch(advance)
            )
        with self._board.stage("Train the driving model") as advance:
            gps = follow_recipe(
                settings.sequence, data / "truck", runs / GPS_MODEL, _by_epoch(advance)
            )
        return detector, gps

    def _export(self) -> None:
        with self._board.stage("Export both to ONNX, compare with torch"):
            for name in (DETECTOR, GPS_MODEL):
                export_run(self._folder / "train" / name, self._folder / "export" / f"{name}.onnx")

    def _quantize(self) -> None:
        calibration = {
            # Only what the model learnt from: the test pictures stay unseen.
            DETECTOR: self._folder / "train" / DETECTOR / "train.json",
            GPS_MODEL: self._folder / "data" / "truck",
        }
        with self._board.stage("Quantize both to int8"):
            for name, source in calibration.items():
                model = self._folder / "export" / f"{name}.onnx"
                quantize_model(model, self._folder / "model" / name, source, Options(name=name))

    def _verify(self) -> dict[str, Verification]:
        models = self._folder / "model"
        with self._board.stage("Verify int8 against fp32, test split"):
            runs = self._folder / "train"
            test = read_dataset(runs / DETECTOR / "test.json")
            proofs = {
                DETECTOR: verify_directory(models / DETECTOR, data=test, run=runs / DETECTOR),
                GPS_MODEL: verify_directory(
                    models / GPS_MODEL,
                    frames=self._folder / "data" / "truck",
                    run=runs / GPS_MODEL,
                    limit=2000,
                ),
            }
            for name, proof in proofs.items():
                raise_unless_passed(proof, models / name)
        return proofs

    def _pack_and_flash(self) -> dict[str, str]:
        chosen = {}
        with self._board.stage("Pack the bundles and flash them to the box"):
            target = FolderTarget(self._folder / "device")
            for name in (DETECTOR, GPS_MODEL):
                bundle = self._folder / f"{name}-1.0.0{BUNDLE_SUFFIX}"
                label = Label(name, "1.0.0", model_licence=_OUR_LICENCE, data_licence=_OUR_LICENCE)
                pack_directory(self._folder / "model" / name, bundle, label)
                chosen[name] = flash_bundle(bundle, target, FlashOptions()).variant
        return chosen

    def _run_box(self) -> BoxRun:
        settings, config = self._settings, self._folder / "device.yaml"
        expected = self._frames + int(settings.trip_s)
        with (
            self._board.stage("Run the agent on the box, collect over MQTT") as advance,
            EmbeddedBroker() as broker,
        ):
            write_device_config(
                config,
                port=broker.port,
                conveyor=self._conveyor,
                frames=self._frames,
                truck_seed=settings.seed,
                trip_s=settings.trip_s,
            )
            return run_box(
                config,
                self._folder / DATABASE_NAME,
                broker=broker,
                log=self._folder / "agent.log",
                watch=lambda stored: advance(min(stored, expected), expected),
            )

    def _result(
        self,
        detector: TrainingRun,
        gps: TrainingRun,
        proofs: dict[str, Verification],
        chosen: dict[str, str],
        run: BoxRun,
    ) -> DemoResult:
        settings, records = self._settings, Records(self._folder / DATABASE_NAME)
        trip = TruckTrip(seed=settings.seed, duration_s=settings.trip_s)
        with self._board.stage("Compare with the truth, draw the report"):
            camera = camera_result(records, self._conveyor, self._frames)
            truck = truck_result(records, trip)
            messages = message_result(records, run)
        variants = _variants(proofs[DETECTOR])
        return DemoResult(
            seed=settings.seed,
            stages=tuple(self._board.stages),
            images=(detector.counts["train"], detector.counts["val"], variants[0].pictures),
            variants=variants,
            chosen=chosen,
            gps_metrics=gps.metrics,
            camera=camera,
            truck=truck,
            messages=messages,
        )


def _by_epoch(advance: Advance) -> Progress:
    def report(epoch: EpochReport) -> None:
        advance(epoch.epoch, epoch.epochs)

    return report


def _variants(proof: Verification) -> tuple[VariantResult, ...]:
    return tuple(
        VariantResult(
            name=measured.name,
            map50=measured.accuracy.map50,
            map50_95=measured.accuracy.map50_95,
            size_bytes=measured.size_bytes,
            latency_ms=measured.latency_ms,
            pr_curve=(measured.accuracy.recall, measured.accuracy.precision),
            pictures=measured.accuracy.pictures,
        )
        for measured in proof.models.values()
        if measured.accuracy is not None
    )
