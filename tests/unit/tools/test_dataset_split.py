import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, lists, tuples

from edgehaul.config.recipe_sections import SplitSection
from edgehaul.errors import DatasetError, UsageError
from edgehaul.geometry import Box
from edgehaul_tools.dataset.clusters import clusters
from edgehaul_tools.dataset.hamming import pairs_within
from edgehaul_tools.dataset.perceptual_hash import coarse_picture, looks_of, similar_pairs
from edgehaul_tools.dataset.samples import DetectionDataset, Part, Sample, TrueBox
from edgehaul_tools.dataset.split import Splits, near_duplicates, parts_of, split


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


@settings(max_examples=40, deadline=None)
@given(
    seed=integers(0, 2**32 - 1),
    size=integers(1, 420),
    limit=integers(0, 16),
    telling=integers(1, 256),
)
def test_the_search_finds_the_pairs_that_comparing_all_finds(
    seed: int, size: int, limit: int, telling: int
) -> None:
    rng = np.random.default_rng(seed)
    # Many bits are always zero, as those of pictures with a black margin.
    bits = np.zeros((size, 256), dtype=np.uint8)
    bits[:, rng.permutation(256)[:telling]] = rng.integers(0, 2, (size, telling))
    copies = bits[rng.integers(0, size, size // 2)].copy()
    copies[rng.random(copies.shape) < 0.03] ^= 1
    words = np.packbits(np.unique(np.concatenate([bits, copies]), axis=0), axis=1)
    words = words.view(np.uint64)

    differing = np.bitwise_count(words[:, None] ^ words[None]).sum(axis=2)
    expected = np.argwhere(np.triu(differing <= limit, k=1))
    assert pairs_within(words, limit).tolist() == expected.tolist()


@given(ends=lists(tuples(integers(0, 19), integers(0, 19)), max_size=25))
def test_clusters_are_what_chains_of_pairs_join(ends: list[tuple[int, int]]) -> None:
    expected = [{index} for index in range(20)]
    for a, b in ends:
        joined = next(c for c in expected if a in c) | next(c for c in expected if b in c)
        expected = [*(c for c in expected if not c & joined), joined]

    found = clusters(20, np.array(ends, dtype=np.int64).reshape(-1, 2))

    assert found == sorted(sorted(c) for c in expected)


def test_one_picture_many_times_is_one_group(tmp_path: Path) -> None:
    whole = dataset(tmp_path, 9, 1)
    same = [dataclasses.replace(whole.samples[0], group=f"again{i}") for i in range(300)]
    several = whole.subset([*whole.samples[:5], *same])

    pairs = list(near_duplicates(several.samples))

    assert len(pairs) == 300
    assert {index for pair in pairs for index in pair} == {0, *range(5, 305)}


def test_pictures_of_nothing_look_like_each_other_and_like_nothing_else() -> None:
    dark, light = (np.full((64, 64), grey, dtype=np.uint8) for grey in (3, 4))
    spot = dark.copy()
    spot[20:44, 20:44] = 200
    looks = looks_of([coarse_picture(image) for image in (dark, light, spot)])

    assert similar_pairs(looks).tolist() == [[0, 1]]


def divided(whole: DetectionDataset, names: Sequence[Part]) -> DetectionDataset:
    pairs = zip(whole.samples, names, strict=True)
    return whole.subset(dataclasses.replace(sample, part=name) for sample, name in pairs)


def test_parts_that_were_given_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = dataset(tmp_path, 4, 1)
    section = SplitSection(source="given")

    done = parts_of(divided(whole, ["train", "test", "train", ""]), section)

    assert [len(part) for part in parts(done)] == [2, 0, 1]
    assert "1 of 4 pictures are in no part" in caplog.text
    assert done.test.samples[0].path == whole.samples[1].path


def test_parts_are_made_where_the_recipe_says_so(tmp_path: Path) -> None:
    whole = divided(dataset(tmp_path, 6, 1), ["train"] * 6)
    section = SplitSection(train=0.5, val=0.5, test=0.0, seed=3)
    assert parts_of(whole, section) == split(whole, (0.5, 0.5, 0.0), 3)


@pytest.mark.parametrize(
    ("names", "message"),
    [(["", ""], "does not come in parts"), (["val", "test"], "with val, test, and with no train")],
)
def test_parts_that_were_not_given(tmp_path: Path, names: list[Part], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        parts_of(divided(dataset(tmp_path, 2, 1), names), SplitSection(source="given"))


def test_classes_of_whole_pictures_are_in_every_part(tmp_path: Path) -> None:
    labels = tuple("abc")
    samples = tuple(
        Sample(tmp_path / f"{i}.png", f"{i}", 8, 8, (TrueBox(Box(0, 0, 8, 8), int(i % 20 < 2)),))
        for i in range(200)
    )
    whole = DetectionDataset(tmp_path, labels, samples)
    rng = np.random.default_rng(0)
    for sample in samples:
        cv2.imwrite(str(sample.path), rng.integers(0, 255, (8, 8)).astype(np.uint8))

    done = parts(split(whole, (0.5, 0.25, 0.25)))

    rare = [sum(sample.class_id == 1 for sample in part.samples) for part in done]
    assert rare == [10, 5, 5]
    assert [len(part) for part in done] == [100, 50, 50]
