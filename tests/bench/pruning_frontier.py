"""What pruning and int8 together cost, and what they win: the whole frontier.

Two models are trained, pruned by 30, 50 and 70 % of their channels, and trained again; beside
them a dense control is trained on for as long, with the same rates, seed and distillation.

* ``digits``: ResNet-18 on scikit-learn's handwritten digits, learnt from the first half and
  measured on the second, at 32 pixels. Its time is taken at 224 pixels, where ResNet-18 is at home:
  the weights are the same, for it takes any size.
* ``parcels``: the detector of size small on virtual conveyors, 320x240, measured on its test part.

Every model is quantized as ``edgehaul quantize`` does. Printed are the accuracy on the test part,
the control's minus the pruned int8 model's (in points, with its 95 % interval: paired bootstrap),
and the processor time on one thread, interleaved, beside the dense model in float.

Nothing is asserted: whatever it is, it is printed. ``--quick`` takes few epochs and pictures: it
shows that all of it runs, and its accuracies are those of models that have hardly learnt.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # no stubs

from edgehaul.bundle.spec import ImageInput
from edgehaul.config.recipe import ClassifierRecipe, DetectorRecipe, Recipe
from edgehaul.config.recipe_sections import AugmentSection, OptimizerSection, SplitSection
from edgehaul_tools.dataset.virtual import generate_conveyor_dataset
from edgehaul_tools.evaluate.candidates import open_candidates
from edgehaul_tools.evaluate.evaluate import Options as EvaluateOptions
from edgehaul_tools.evaluate.evaluate import evaluate_models
from edgehaul_tools.export.run import export_run
from edgehaul_tools.export.runtime import interleaved_medians_ms, runner
from edgehaul_tools.prune.options import PruneOptions
from edgehaul_tools.prune.prune import prune_run, train_control
from edgehaul_tools.prune.removal import Ranking
from edgehaul_tools.quantize.quantize import Options as QuantizeOptions
from edgehaul_tools.quantize.quantize import quantize_model
from edgehaul_tools.train.follow import follow_recipe
from edgehaul_tools.train.run_directory import RUN_FILE, WEIGHTS_FILE, TrainingRun, read_run

SHARES = (0.3, 0.5, 0.7)
TIMED_SIDE_PX = 224
ROUNDS = 15


@dataclass(frozen=True)
class Case:
    """A model to prune.

    Attributes:
        name: Of the case.
        run: The dense run.
        options: How it is pruned; the share is filled in.
        timed_side_px: Side at which times are taken; 0 takes the canvas.
        calibration: Pictures that int8 is calibrated on.
    """

    name: str
    run: Path
    options: PruneOptions
    timed_side_px: int = 0
    calibration: int = 200


@dataclass(frozen=True)
class Made:
    """One model in float and int8.

    Attributes:
        name: Of it.
        measured: Model directory at the size that it was trained at.
        timed: Model directory at the size that times are taken at.
        macs: Multiplications for one picture, beside the dense model's.
        channels: Share of the channels that was removed.
    """

    name: str
    measured: Path
    timed: Path
    macs: float = 1.0
    channels: float = 0.0


def tell(line: str) -> None:
    """Write a line at once: the whole takes minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def digits(folder: Path, *, quick: bool) -> Case:
    """Train ResNet-18 on the first half of the digits, in their published order."""
    found = load_digits()
    half = len(found.images) // 2
    every = enumerate(zip(found.images, found.target, strict=True))
    for number, (image, label) in list(every)[:: 3 if quick else 1]:
        part = folder / "data" / ("train" if number < half else "test") / str(label)
        part.mkdir(parents=True, exist_ok=True)
        picture = cv2.resize((image * 15.9).astype(np.uint8), (32, 32))
        cv2.imwrite(str(part / f"{number:04d}.png"), picture)
    recipe = ClassifierRecipe(
        network="resnet18",
        width=32,
        height=32,
        threads=1,
        split=SplitSection("given"),
        augment=AugmentSection(flip=0, rotate_deg=8, color=0),
        optimizer=OptimizerSection(epochs=3 if quick else 15, batch=32, learning_rate=2e-3),
    )
    follow_recipe(Recipe(classifier=recipe), folder / "data", folder / "dense")
    return Case("digits", folder / "dense", PruneOptions(share=0.5), TIMED_SIDE_PX)


def parcels(folder: Path, *, quick: bool) -> Case:
    """Train the small detector on virtual conveyors."""
    generate_conveyor_dataset(folder / "data", 48 if quick else 600, 0, width=320, height=240)
    recipe = DetectorRecipe(
        size="small",
        threads=1,
        split=SplitSection("made", 0.7, 0.05, 0.25) if quick else SplitSection(),
        augment=AugmentSection(flip_vertical=0.5),
        optimizer=OptimizerSection(epochs=6 if quick else 16),
    )
    follow_recipe(Recipe(detector=recipe), folder / "data", folder / "dense")
    return Case("parcels", folder / "dense", PruneOptions(share=0.5))


def at_side(run: Path, out: Path, side_px: int) -> Path:
    """Return a copy of a classifier's run that takes larger pictures, with the same weights."""
    found = read_run(run)
    if not isinstance(found.spec.input, ImageInput):
        raise TypeError(found.spec.input)
    canvas = msgspec.structs.replace(found.spec.input, width=side_px, height=side_px)
    spec = msgspec.structs.replace(found.spec, input=canvas)
    larger: TrainingRun = msgspec.structs.replace(found, spec=spec)
    out.mkdir(parents=True)
    (out / RUN_FILE).write_bytes(msgspec.json.encode(larger))
    (out / WEIGHTS_FILE).write_bytes((run / WEIGHTS_FILE).read_bytes())
    return out


def quantized(case: Case, run: Path, name: str) -> Path:
    """Export and quantize a run; return its model directory."""
    folder, data = case.run.parent / "models", case.run.parent / "data"
    pictures = data / "train" if (data / "train").is_dir() else data / "images"
    export_run(run, folder / f"{name}.onnx")
    options = QuantizeOptions(name=name, limit=case.calibration)
    quantize_model(folder / f"{name}.onnx", folder / name, pictures, options)
    return folder / name


def made(case: Case, run: Path, name: str, macs: float = 1.0, channels: float = 0.0) -> Made:
    """Quantize a run at both sizes."""
    measured = quantized(case, run, name)
    if not case.timed_side_px:
        return Made(name, measured, measured, macs, channels)
    larger = at_side(run, case.run.parent / f"{name}-{case.timed_side_px}", case.timed_side_px)
    timed = quantized(case, larger, f"{name}-timed")
    return Made(name, measured, timed, macs, channels)


def frontier(case: Case) -> None:
    """Prune by every share and print one line for each model."""
    folder = case.run.parent
    control = train_control(case.run, folder / "control", case.options)
    tell(f"{case.name}: control trained on {len(control.history)} epochs")
    models = [made(case, folder / "control", "control")]
    for share in SHARES:
        options = msgspec.structs.replace(case.options, share=share)
        run, name = folder / f"pruned{share:.0%}".replace("%", ""), f"pruned{share * 100:.0f}"
        report = prune_run(case.run, run, options)
        tell(f"  {name}: {report.before.macs / report.after.macs:.2f}x fewer multiplications")
        models.append(made(case, run, name, report.after.macs / report.before.macs, report.share))
    show(case, models)


def show(case: Case, models: list[Made]) -> None:
    """Measure all models together and print the table."""
    with tempfile.TemporaryDirectory() as scratch:
        found = open_candidates([one.measured for one in models], Path(scratch))
        test = case.run / "test.json"
        measured = evaluate_models(found, test, EvaluateOptions(compare=True, slices=frozenset()))
    evaluation = measured.evaluation
    figures = {m.name: m.figures[m.main].value for m in evaluation.models}
    main = evaluation.models[0].main
    against = {c.second: c.difference for c in evaluation.comparisons if c.first == "control fp32"}
    files = [one.timed / f"{form}.onnx" for one in models for form in ("fp32", "int8")]
    side = case.timed_side_px
    shape = (1, side, side, 3) if side else (1, 240, 320, 3)
    tensor = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    times = iter(interleaved_medians_ms([runner(file) for file in files], tensor, ROUNDS))
    tell(f"\n{case.name}: {main} on {evaluation.samples} pictures of the test part; ms at {shape}")
    heads = ("model", "channels", "MACs", main, "points below control", "ms", "x")
    tell("{:<22}{:>9}{:>7}{:>9}{:>26}{:>8}{:>7}".format(*heads))
    dense_ms = 0.0
    for one in models:
        for form in sorted(n for n in figures if n.startswith(f"{one.name} ")):
            taken_ms = next(times)
            dense_ms = dense_ms or taken_ms
            value = figures[form]
            drop = against.get(form)
            told = "" if drop is None else _points(drop.value, drop.low, drop.high)
            tell(
                f"{form:<22}{1 - one.channels:>9.2f}{one.macs:>7.3f}{value or 0.0:>9.4f}{told:>26}"
                f"{taken_ms:>8.2f}{dense_ms / taken_ms:>7.2f}"
            )


def _points(value: float | None, low: float | None, high: float | None) -> str:
    ends = "" if low is None or high is None else f" ({low * 100:+.2f} to {high * 100:+.2f})"
    return f"{(value or 0.0) * 100:+.2f}{ends}"


def main() -> None:
    """Print the frontier of each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few epochs: only whether it runs")
    parser.add_argument("--only", choices=["digits", "parcels"], help="one of the two")
    parser.add_argument("--importance", choices=["l1", "l2", "bn-scale", "taylor"], default="l1")
    parser.add_argument("--scope", choices=["uniform", "global"], default="uniform")
    parser.add_argument("--epochs", type=int, default=0, help="of learning again")
    parser.add_argument("--steps", type=int, default=1)
    given = parser.parse_args()
    ranking = msgspec.convert({"importance": given.importance, "scope": given.scope}, Ranking)
    for prepare in (digits, parcels):
        if given.only not in {None, prepare.__name__}:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            case = prepare(Path(scratch), quick=given.quick)
            epochs = given.epochs or (2 if given.quick else 0)
            options = msgspec.structs.replace(
                case.options, ranking=ranking, steps=given.steps, epochs=epochs
            )
            calibration = 40 if given.quick else case.calibration
            frontier(replace(case, options=options, calibration=calibration))


if __name__ == "__main__":
    main()
