import itertools

import numpy as np
import pytest

from edgehaul.errors import UsageError
from edgehaul.geometry import Point
from edgehaul.virtual.conveyor import PARCEL_LABELS, Conveyor, ConveyorFrame, TrueParcel


def seen(frame: ConveyorFrame) -> dict[int, TrueParcel]:
    return {parcel.parcel_id: parcel for parcel in (*frame.truth, *frame.partial)}


def test_a_frame_depends_on_seed_and_index_alone() -> None:
    forward = list(itertools.islice(Conveyor(seed=5, width=320, height=240), 60))
    jumped = Conveyor(seed=5, width=320, height=240).frame(57)

    assert np.array_equal(forward[57].image, jumped.image)
    assert forward[57].truth == jumped.truth
    assert not np.array_equal(jumped.image, Conveyor(seed=6, width=320, height=240).frame(57).image)


def test_frames_are_pictures_and_the_belt_starts_empty() -> None:
    frame = Conveyor(seed=1).frame(0)

    assert frame.image.shape == (480, 640, 3)
    assert frame.image.dtype == np.uint8
    assert not frame.truth
    assert not frame.partial


def test_boxes_lie_in_the_picture_and_do_not_overlap() -> None:
    conveyor = Conveyor(seed=2, width=320, height=240)
    labels = set()
    for index in range(100, 2500, 60):
        frame = conveyor.frame(index)
        parcels = list(seen(frame).values())
        labels |= {parcel.label for parcel in frame.truth}
        for parcel in parcels:
            assert parcel.box == parcel.box.clipped(320, 240)
            assert parcel.box.area > 0
        assert all(a.box.iou(b.box) < 0.05 for a, b in itertools.combinations(parcels, 2))
    assert labels == set(PARCEL_LABELS)


def test_parcels_move_to_the_right_and_never_back() -> None:
    conveyor = Conveyor(seed=3, width=320, height=240)
    frames = [seen(conveyor.frame(index)) for index in range(200, 320)]
    steps = [
        after[key].box.x1 - before[key].box.x1
        for before, after in itertools.pairwise(frames)
        for key in before.keys() & after.keys()
        if before[key].box.x1 > 0
    ]

    assert min(steps) >= 0
    assert 2 < np.mean(steps) < 4


@pytest.mark.parametrize("seed", [0, 11])
def test_true_crossings_are_what_the_boxes_do(seed: int) -> None:
    conveyor = Conveyor(seed=seed, width=320, height=240)
    line = conveyor.counting_line()
    counts = dict.fromkeys(PARCEL_LABELS, 0)
    before: dict[int, Point] = {}
    for index in range(80, 601):
        truth = conveyor.frame(index).truth
        for parcel in truth:
            if parcel.parcel_id in before:
                step = line.crossed_by(before[parcel.parcel_id], parcel.box.center)
                counts[parcel.label] += step
        before = {parcel.parcel_id: parcel.box.center for parcel in truth}

    assert sum(counts.values()) > 5
    assert conveyor.true_crossings(80, 600) == counts


def test_crossings_of_adjoining_spans_add_up() -> None:
    conveyor = Conveyor(seed=4)
    parts = [conveyor.true_crossings(0, 430), conveyor.true_crossings(430, 900)]
    whole = conveyor.true_crossings(0, 900)

    assert {label: parts[0][label] + parts[1][label] for label in PARCEL_LABELS} == whole
    assert conveyor.true_crossings(500, 500) == dict.fromkeys(PARCEL_LABELS, 0)


def test_a_frame_that_is_clear_of_the_line() -> None:
    conveyor = Conveyor(seed=4)
    found = [conveyor.frame_clear_of_line(index) for index in range(200, 500, 10)]

    assert any(frame > index for frame, index in zip(found, range(200, 500, 10), strict=True))
    for index in found:
        centers = [parcel.box.center.x for parcel in conveyor.frame(index).truth]
        assert all(abs(x - 320) >= 24 for x in centers)


def test_classes_can_be_told_by_what_is_on_the_parcel() -> None:
    white: dict[str, list[float]] = {label: [] for label in PARCEL_LABELS}
    for seed in range(6):
        conveyor = Conveyor(seed=seed, width=320, height=240)
        for index in range(200, 1400, 150):
            frame = conveyor.frame(index)
            for parcel in frame.truth:
                box = parcel.box
                part = frame.image[int(box.y1) : int(box.y2), int(box.x1) : int(box.x2)]
                spread = part.max(axis=2).astype(int) - part.min(axis=2)
                white[parcel.label].append(float(((spread < 40) & (part.min(axis=2) > 120)).mean()))

    assert np.median(white["parcel"]) > 0.08
    assert np.median(white["parcel_unlabelled"]) < 0.02


@pytest.mark.parametrize(
    "given",
    [
        {"seed": 0, "width": 64, "height": 48},
        {"seed": 0, "width": 480, "height": 640},
        {"seed": 0, "fps": 0.0},
        {"seed": -1},
    ],
)
def test_impossible_conveyors_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="no conveyor of"):
        Conveyor(**given)
