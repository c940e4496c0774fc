import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehaul.errors import DatasetError, UsageError
from edgehaul.geometry import Box
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox
from edgehaul_tools.dataset.split import Splits, near_duplicates, split


def dataset(root: Path, groups: int, each: int) -> DetectionDataset:
    """Pictures of noise; class 1 is in every third group alone."""
    rng = np.random.default_rng(0)
    samples = []
    for group, number in itertools.product(range(groups), range(each)):
        path = root / f"{group:02d}_{number}.png"
        cv2.imwrite(str(path), rng.integers(0, 255, (48, 64, 3)).astype(np.uint8))
        mark = TrueBox(Box(1, 1, 9, 9), int(group % 3 == 0))
        samples.append(Sample(path, f"g{group}", 64, 48, (mark,)))
    return DetectionDataset(root, ("often", "rare"), tuple(samples))


def parts(splits: Splits) -> tuple[DetectionDataset, ...]:
    return splits.train, splits.val, splits.test


def test_groups_stay_together_and_nothing_is_lost(tmp_path: Path) -> None:
    whole = dataset(tmp_path, 20, 3)
    done = parts(split(whole, seed=1))

    assert [len(part) for part in done] == [42, 9, 9]
    groups = [{sample.group for sample in part.samples} for part in done]
    assert all(not a & b for a, b in itertools.combinations(groups, 2))
    assert sorted(s.path for part in done for s in part.samples) == [s.path for s in whole.samples]
    assert all(any(s.boxes[0].class_id == 1 for s in part.samples) for part in done)


def test_the_seed_decides(tmp_path: Path) -> None:
    whole = dataset(tmp_path, 12, 1)
    assert split(whole, seed=1) == split(whole, seed=1)
    assert split(whole, seed=1) != split(whole, seed=2)


def test_near_duplicates_stay_together_across_groups(tmp_path: Path) -> None:
    whole = dataset(tmp_path, 9, 1)
    # Every third picture is the one before it, brighter and a little noisy.
    for index in (2, 5, 8):
        image = cv2.imread(str(whole.samples[index - 1].path)).astype(np.int16) + 9
        image += np.random.default_rng(index).integers(-3, 4, image.shape).astype(np.int16)
        copy = np.clip(image, 0, 255).astype(np.uint8)
        cv2.imwrite(str(whole.samples[index].path), copy)

    assert list(near_duplicates(whole.samples)) == [(1, 2), (4, 5), (7, 8)]
    for seed in range(5):
        for part in parts(split(whole, (0.4, 0.3, 0.3), seed)):
            names = {whole.samples.index(sample) for sample in part.samples}
            assert all((index in names) == (index - 1 in names) for index in (2, 5, 8))


def test_a_part_may_be_empty_but_only_on_purpose(tmp_path: Path) -> None:
    whole = dataset(tmp_path, 3, 2)

    assert [len(part) for part in parts(split(whole))] == [2, 2, 2]
    sizes = [len(part) for part in parts(split(whole, (0.5, 0.5, 0.0)))]
    assert sorted(sizes[:2]) == [2, 4]
    assert sizes[2] == 0
    with pytest.raises(DatasetError, match="2 independent groups of pictures cannot make 3 parts"):
        split(whole.subset(whole.samples[:4]))


@pytest.mark.parametrize(
    "fractions", [(0.5, 0.2, 0.2), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5)]
)
def test_shares_must_sum_to_one(tmp_path: Path, fractions: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError, match="do not sum to 1"):
        split(dataset(tmp_path, 3, 1), fractions)


def test_a_picture_that_is_gone(tmp_path: Path) -> None:
    whole = dataset(tmp_path, 3, 1)
    whole.samples[1].path.write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"01_0\.png: the picture cannot be decoded"):
        split(whole)
