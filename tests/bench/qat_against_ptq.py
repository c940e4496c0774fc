"""Whether training with int8 in the loop wins back what quantization after the training loses.

A MobileNetV2 learns scikit-learn's handwritten digits (the first half of them, made 32 pixels
wide) and is measured on the second half, each form with one step for all weights of a layer:

* ``float``: as it was trained;
* ``ptq``: quantized after the training (MinMax and least-squares ranges);
* ``control``: trained on as float for as long as the next one, then quantized;
* ``qat``: trained on with the rounding of int8 in the loop, then quantized by learnt ranges;
* ``taught``: the same, and half of the loss is how far it is from the float network's answers.

Trained from scratch on digits, the network loses nothing by one step a layer. So the case is made:
with ``--imbalance F`` each channel that a depthwise layer reads is divided by a random number up
to F, and the layer's weights for it are multiplied by it: the float answers stay the same, and the
channels differ as they do in networks whose int8 forms are known to collapse. (ReLU6 keeps
cross-layer equalisation from taking it back.) Channels that reach 6 are left alone.

The integer kernels are counted in the graph that ONNX Runtime makes. Nothing is asserted.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # no stubs
from torch import Tensor, nn

from edgehaul.config.recipe import ClassifierRecipe, Recipe
from edgehaul.config.recipe_sections import AugmentSection, OptimizerSection, SplitSection
from edgehaul_tools.export.run import export_run
from edgehaul_tools.export.runtime import interleaved_medians_ms, runner
from edgehaul_tools.prune.distillation import DistilledTask, class_difference
from edgehaul_tools.quantize.calibrate import Histograms, Method, activation_tensors
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.fusion import fusion_of
from edgehaul_tools.quantize.graph import clean, divide, float_region
from edgehaul_tools.quantize.learnt_ranges import learnt_ranges
from edgehaul_tools.quantize.loading import load_model
from edgehaul_tools.quantize.saturation import weight_bits_here
from edgehaul_tools.quantize.static import quantize_static
from edgehaul_tools.train.architectures.mobilenet import InvertedResidual
from edgehaul_tools.train.architectures.table import build_classifier
from edgehaul_tools.train.classifier.deployed import Normalisation
from edgehaul_tools.train.continued import open_run_recipe
from edgehaul_tools.train.follow import follow_recipe
from edgehaul_tools.train.loop.optimization import EpochReport
from edgehaul_tools.train.loop.task import Task
from edgehaul_tools.train.qat.training import Course, Int8, learn_rounded
from edgehaul_tools.train.run_directory import load_weights, read_run, write_run
from edgehaul_tools.train.start import Start, origin_of

SIDE_PX = 32
CLIP = 6.0
CALIBRATION = 200
FORM = Form(per_channel=False, weight_bits=weight_bits_here())
CLASSES = 10
Digits = tuple[NDArray[np.uint8], NDArray[np.int64]]


def tell(line: str) -> None:
    """Write a line at once: the whole takes minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def show(report: EpochReport) -> None:
    tell(
        f"  epoch {report.epoch}/{report.epochs}: loss {report.loss:.4f}, {report.elapsed_s:.0f} s"
    )


def written_digits(folder: Path) -> dict[str, Digits]:
    """Write the digits as pictures and return those of each part (n, H, W, 3)."""
    given = load_digits()
    half = len(given.images) // 2
    found: dict[str, Digits] = {}
    for part, numbers in (("train", range(half)), ("test", range(half, len(given.images)))):
        images = []
        for number in numbers:
            gray = (given.images[number] * (255 / 16)).astype(np.uint8)
            large = cv2.resize(gray, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR)
            images.append(np.repeat(large[:, :, None], 3, 2).astype(np.uint8))
            path = folder / part / str(given.target[number]) / f"{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), images[-1])
        found[part] = np.stack(images), given.target[numbers.start : numbers.stop].astype(np.int64)
    return found


def recipe_of(epochs: int) -> Recipe:
    return Recipe(
        classifier=ClassifierRecipe(
            network="mobilenet_v2",
            width=SIDE_PX,
            height=SIDE_PX,
            threads=1,
            split=SplitSection(source="given"),
            augment=AugmentSection(flip=0, shift=0.06, brightness=0.1, contrast=0.1, color=0),
            optimizer=OptimizerSection(
                epochs=epochs, batch=32, learning_rate=2e-3, average_decay=0.99
            ),
        )
    )


def network_of(run: Path) -> nn.Module:
    network = build_classifier("mobilenet_v2", CLASSES, width=SIDE_PX, height=SIDE_PX)
    load_weights(run, network)
    return network.eval()


@torch.no_grad()
def imbalance(run: Path, factor: float, images: NDArray[np.uint8]) -> None:
    """Make the channels that depthwise layers read differ in size, with the same answers."""
    network = network_of(run)
    given = Normalisation("rgb")(torch.from_numpy(images).permute(0, 3, 1, 2).float())
    blocks: dict[str, Any] = {  # torch knows no layers by number
        name: block.conv
        for name, block in network.named_modules()
        if isinstance(block, InvertedResidual) and len(block.conv) == 4
    }
    peaks: dict[str, Tensor] = {}
    for name, block in blocks.items():
        block[0].register_forward_hook(
            lambda _block, _given, made, name=name: peaks.update({name: made.amax((0, 2, 3))})
        )
    before = network(given)
    random = np.random.default_rng(0)
    for name, block in blocks.items():
        scale = np.exp(random.uniform(-np.log(factor), 0, len(peaks[name])))
        kept = torch.where(peaks[name] < CLIP, torch.tensor(scale, dtype=torch.float32), 1.0)
        block[0][1].weight *= kept
        block[0][1].bias *= kept
        block[1][0].weight /= kept.view(-1, 1, 1, 1)
    moved = float((network(given) - before).abs().max())
    tell(f"channels made up to {factor:g} times smaller; logits moved by {moved:.1e} at most")
    write_run(run, read_run(run), network)


def trained_on(run: Path, out: Path, epochs: int, rate: float) -> None:
    """Train a run on as float, with the rate and the steps of the training with int8."""
    given = open_run_recipe(run)
    training = given.recipe.training
    optimizer = msgspec.structs.replace(training.optimizer, epochs=epochs, learning_rate=rate)

    def network(fresh: nn.Module) -> nn.Module:
        load_weights(run, fresh)
        return fresh

    follow_recipe(
        given.recipe.with_training(msgspec.structs.replace(training, optimizer=optimizer)),
        given.dataset,
        out,
        show,
        start=Start(network, origin=origin_of(run, given.run, "retrained")),
        split_from=run,
    )


def learnt(run: Path, out: Path, course: Course, share: float) -> None:
    """Train a run on with int8 in the loop, with a share of the float network's answers."""
    given = open_run_recipe(run)

    def taught(task: Task[Any], teacher: nn.Module) -> Task[Any]:
        return DistilledTask(task, teacher, share, class_difference) if share else task

    form = Int8(weight_bits=FORM.weight_bits, per_channel=False)
    learn_rounded(given, out, form, course, progress=show, taught=taught)


class Judge:
    """Measures runs in their forms.

    Args:
        digits: Of the parts.
    """

    def __init__(self, digits: dict[str, Digits]) -> None:
        self._digits = digits

    def judge(self, name: str, run: Path) -> None:
        """Tell the accuracy of a run, as float and in int8 by each choice of ranges."""
        path = run.with_suffix(".onnx")
        export_run(run, path)
        model = clean(load_model(path), where=path)
        region = float_region(model.graph, divide(model.graph), ())
        train = self._digits["train"][0]
        picked = train[:: max(1, len(train) // CALIBRATION)]
        measured = Histograms(
            model, activation_tensors(model), lambda: iter(picked[:, None]), total=len(picked)
        )
        learnt = learnt_ranges(model)
        methods: tuple[Method, ...] = ("minmax", "mse")
        ranges = {str(method): measured.ranges(method) for method in methods}
        if learnt:
            ranges["learnt"] = {**ranges["minmax"], **learnt}
        tell(f"{name:8} float           {self._accuracy(model)}")
        for how, chosen in ranges.items():
            int8 = quantize_static(model, chosen, float_nodes=region, form=FORM)
            tell(f"{name:8} int8 {how:<10} {self._accuracy(int8)}")
        fusion = fusion_of(int8, region)
        kept = {kind: n for kind, n in fusion.operators.items() if kind.startswith("Q")}
        kept["Conv"] = sum(n for kind, n in fusion.operators.items() if kind.endswith("dConv"))
        kept["Conv"] += fusion.operators.get("Conv", 0)
        one = self._digits["test"][0][:1]
        float_ms, int8_ms = interleaved_medians_ms([runner(model), runner(int8)], one, 41)
        tell(f"{name:8} runs {kept}; faults: {', '.join(fusion.failures) or 'none'}")
        tell(f"{name:8} int8 time / float time {int8_ms / float_ms:.2f}")

    def _accuracy(self, model: onnx.ModelProto) -> str:
        images, classes = self._digits["test"]
        run = runner(model)
        answers = [run(images[i : i + 64])[0].argmax(1) for i in range(0, len(images), 64)]
        hits = int((np.concatenate(answers) == classes).sum())
        return f"{hits / len(classes):.4f} ({hits} of {len(classes)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=16, help="of the float training")
    parser.add_argument("--more-epochs", type=int, default=4, help="with int8, and of the control")
    parser.add_argument("--rate", type=float, default=2e-4, help="of these epochs")
    parser.add_argument("--imbalance", type=float, default=64.0, help="1 leaves the network alone")
    parser.add_argument("--quick", action="store_true", help="2 epochs each: does it run at all?")
    parser.add_argument("--keep", type=Path, help="folder that keeps the runs; goes on with them")
    given = parser.parse_args()
    if given.quick:
        given.epochs = given.more_epochs = 2
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        root = given.keep or Path(scratch)
        digits = written_digits(root / "digits")
        if not (root / "float").exists():
            tell("float training")
            follow_recipe(recipe_of(given.epochs), root / "digits", root / "float", show)
            imbalance(root / "float", given.imbalance, digits["train"][0])
        tell(f"the control: {given.more_epochs} more epochs as float")
        trained_on(root / "float", root / "control", given.more_epochs, given.rate)
        for name, share in (("qat", 0.0), ("taught", 0.5)):
            tell(f"{name}: with int8 in the loop")
            learnt(root / "float", root / name, Course(given.more_epochs, given.rate), share)
        tell(f"test part, {FORM.name}, {FORM.weight_bits}-bit weights:")
        judge = Judge(digits)
        for name in ("float", "control", "qat", "taught"):
            judge.judge(name, root / name)
    tell(f"{time.monotonic() - began_s:.0f} s")


if __name__ == "__main__":
    main()
