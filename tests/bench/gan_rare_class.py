"""Whether pictures of a GAN help a classifier with a rare class.

Parcels are cut out of virtual conveyors: 400 intact ones, and 15 damaged ones. For each seed
other 15 are drawn, a GAN learns from these 415 crops, and one small classifier learns from

* ``real``: the 415 crops as they are;
* ``drawn``: the same, the rare class drawn as often as the other (``loss.balance: draw``);
* ``made``: the same and 385 damaged parcels that the GAN made.

All see their pictures varied. The figure is F1 of ``damaged`` on parcels of other conveyors.
Nothing is asserted: whatever the difference is, it is printed, with its 95 % interval over seeds
(Student's t, paired).
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from edgehaul.bundle.spec import ImageInput
from edgehaul.config.recipe import GeneratorRecipe
from edgehaul.config.recipe_sections import AugmentSection, OptimizerSection
from edgehaul.geometry import Box
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox
from edgehaul_tools.dataset.virtual import generate_conveyor_dataset
from edgehaul_tools.train.generator.crops import Crops, cut_crops
from edgehaul_tools.train.generator.synthesis import synthesize
from edgehaul_tools.train.generator.training import train_generator
from edgehaul_tools.train.loop.class_loss import drawn_balanced
from edgehaul_tools.train.loop.optimization import EpochReport

SIDE_PX = 32
LABELS = ("parcel", "parcel_damaged")
COMMON, RARE = 400, 15
RARE_ID = 1
CLASSIFIER_STEPS, CLASSIFIER_BATCH = 250, 32
T_QUANTILE = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 10: 2.262}
"""0.975 quantile of Student's t by the number of seeds."""
CANVAS = ImageInput(width=SIDE_PX, height=SIDE_PX, resize="stretch", color="rgb")
EMPTY = DetectionDataset(Path(), LABELS, ())


def tell(line: str) -> None:
    """Write a line at once: the whole takes minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def parcels(folder: Path, seed: int, images: int) -> Crops:
    """Return crops of intact (0) and damaged (1) parcels of virtual conveyors."""
    dataset = generate_conveyor_dataset(folder, images, seed, width=320, height=240)
    crops = cut_crops(dataset, CANVAS)
    ids = {dataset.labels.index(label): at for at, label in enumerate(LABELS)}
    kept = np.isin(crops.classes, list(ids))
    classes = np.array([ids[int(c)] for c in crops.classes[kept]], np.int64)
    return Crops(crops.images[kept], classes)


def chosen(crops: Crops, seed: int) -> Crops:
    """Return 400 intact and 15 damaged parcels, others for each seed."""
    random = np.random.default_rng(seed)
    numbers = np.concatenate(
        [
            random.choice(np.flatnonzero(crops.classes == class_id), count, replace=False)
            for class_id, count in ((0, COMMON), (RARE_ID, RARE))
        ]
    )
    return Crops(crops.images[numbers], crops.classes[numbers])


def made(crops: Crops, seed: int, epochs: int, channels: int, folder: Path) -> Crops:
    """Return as many damaged parcels, made by a GAN that learnt from ``crops``, as are missing."""
    (folder / "real").mkdir(parents=True)
    samples = []
    whole = Box(0.0, 0.0, float(SIDE_PX), float(SIDE_PX))
    for number, (image, class_id) in enumerate(zip(crops.images, crops.classes, strict=True)):
        path = folder / "real" / f"{number:04d}.png"
        cv2.imwrite(str(path), image[:, :, ::-1])
        marks = (TrueBox(whole, int(class_id)),)
        samples.append(Sample(path, path.stem, SIDE_PX, SIDE_PX, marks))
    recipe = GeneratorRecipe(
        width=SIDE_PX,
        height=SIDE_PX,
        channels=channels,
        seed=seed,
        threads=1,
        generator_rate=1.0,
        optimizer=OptimizerSection(
            epochs=epochs, batch=32, learning_rate=1e-3, weight_decay=0.0, average_decay=0.995
        ),
        augment=AugmentSection(flip=0.5),
    )

    def show(report: EpochReport) -> None:
        if report.epoch % 20 == 0:
            tell(f"  GAN epoch {report.epoch}: {report.elapsed_s:.0f} s")

    dataset = DetectionDataset(folder, LABELS, tuple(samples))
    train_generator(recipe, dataset, EMPTY, folder / "run", show)
    synthesize(folder / "run", LABELS[RARE_ID], COMMON - RARE, folder / "made", seed)
    pictures = [cv2.imread(str(p)) for p in sorted((folder / "made" / LABELS[RARE_ID]).iterdir())]
    images = np.stack([p[:, :, ::-1] for p in pictures if p is not None]).astype(np.uint8)
    return Crops(images, np.full(len(images), RARE_ID, np.int64))


def tensors(images: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def small_classifier() -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 16), (16, 32), (32, 64), (64, 64)):
        conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(256, len(LABELS)))


def varied(images: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Mirror, shift and light each picture."""
    result = []
    for image in images:
        sides = [side for side in (1, 2) if random.random() < 0.5]
        shift = tuple(int(v) for v in random.integers(-2, 3, 2))
        lit = image * random.uniform(0.85, 1.15) + random.uniform(-0.08, 0.08)
        result.append(torch.roll(lit.flip(sides) if sides else lit, shift, (1, 2)))
    return torch.stack(result).clamp(0, 1)


def f1_of_rare(train: Crops, test: Crops, seed: int, *, balanced: bool) -> float:
    """Return F1 of the rare class of a classifier that learnt from ``train``."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    network = small_classifier().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, CLASSIFIER_STEPS)
    images, classes = tensors(train.images), torch.from_numpy(train.classes)
    for _ in range(CLASSIFIER_STEPS):
        numbers = (
            drawn_balanced(train.classes, CLASSIFIER_BATCH, random)
            if balanced
            else random.choice(len(train), CLASSIFIER_BATCH, replace=False)
        )
        logits = network(varied(images[numbers], random))
        loss = functional.cross_entropy(logits, classes[numbers])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        answers = network.eval()(tensors(test.images)).argmax(1).numpy()
    hits = int(((answers == RARE_ID) & (test.classes == RARE_ID)).sum())
    return 2 * hits / max(1, int((answers == RARE_ID).sum() + (test.classes == RARE_ID).sum()))


def interval(values: list[float]) -> str:
    mean = float(np.mean(values))
    if len(values) not in T_QUANTILE:
        return f"{mean:+.3f}"
    half = T_QUANTILE[len(values)] * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return f"{mean:+.3f}, 95 % interval {mean - half:+.3f} .. {mean + half:+.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=40, help="of each GAN")
    parser.add_argument("--channels", type=int, default=16, help="of each GAN")
    parser.add_argument("--keep", type=Path, help="folder that keeps the runs, to look at")
    given = parser.parse_args()
    torch.set_num_threads(1)  # small networks: more threads wait for each other
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        root = given.keep or Path(scratch)
        pool = parcels(root / "train_conveyors", 11, 260)
        test = parcels(root / "test_conveyors", 12, 200)
        tell(f"pool {np.bincount(pool.classes)}, test {np.bincount(test.classes)}")
        figures: dict[str, list[float]] = {"real": [], "drawn": [], "made": []}
        for seed in range(given.seeds):
            few = chosen(pool, seed)
            more = made(few, seed, given.epochs, given.channels, root / f"seed_{seed}")
            both = Crops(
                np.concatenate((few.images, more.images)),
                np.concatenate((few.classes, more.classes)),
            )
            figures["real"].append(f1_of_rare(few, test, seed, balanced=False))
            figures["drawn"].append(f1_of_rare(few, test, seed, balanced=True))
            figures["made"].append(f1_of_rare(both, test, seed, balanced=False))
            line = "  ".join(f"{name} {values[-1]:.3f}" for name, values in figures.items())
            tell(f"seed {seed}: F1 of damaged: {line}")
    for name, values in figures.items():
        tell(f"{name:6} mean {np.mean(values):.3f}, from {min(values):.3f} to {max(values):.3f}")
    for name in ("real", "drawn"):
        pairs = zip(figures["made"], figures[name], strict=True)
        tell(f"made - {name}: {interval([a - b for a, b in pairs])}")
    tell(f"{time.monotonic() - began_s:.0f} s")


if __name__ == "__main__":
    main()
