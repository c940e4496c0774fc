"""What a detector makes of the virtual conveyor with noise, misses, and people in the way.

A post hides a part of the belt all the time, and people pass in front of it. A parcel that is
half hidden is not detected, and one that is hidden in part is found uncertainly, with a box
around what is in view.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgehaul.geometry import Box
from edgehaul.values import Detection
from edgehaul.virtual.conveyor import PARCEL_LABELS, Conveyor, TrueParcel

WIDTH, HEIGHT, FPS = 160, 120, 25.0
CERTAIN_SCORE = 0.5
"""Between the scores of parcels in full view and of those hidden in part."""
POST = (0.60, 0.66)
"""Where the post stands: from and to this part of the width, close behind the line."""
HIDDEN_PART, CUT_PART = 0.5, 0.15
"""Parts of a box from which on it is not detected, or uncertainly."""
DRAIN_FRAMES = 40
"""Those that have crossed the line are followed for so long, until none is hidden close to it."""

Span = tuple[float, float]


@dataclass(frozen=True)
class BeltFrame:
    """One frame: the parcels that are there and what is detected of them."""

    index: int
    truth: tuple[TrueParcel, ...]
    found: tuple[Detection, ...]


class HiddenBelt:
    """The conveyor of one seed, up to some number of true crossings of its line.

    Attributes:
        conveyor: The conveyor.
        last: The last frame in which new parcels are seen.
    """

    def __init__(self, seed: int, crossings: int) -> None:
        self.conveyor = Conveyor(seed=seed, width=WIDTH, height=HEIGHT, fps=FPS)
        enough = next(
            frame
            for frame in itertools.count(400, 5)
            if sum(self.conveyor.true_crossings(0, frame).values()) >= crossings
        )
        self.last = self.conveyor.frame_clear_of_line(enough)

    @property
    def true_totals(self) -> dict[str, int]:
        """The crossings as ``CountEvent.totals`` has them."""
        crossings = self.conveyor.true_crossings(0, self.last)
        return {f"forward/{label}": number for label, number in crossings.items() if number}

    def __iter__(self) -> Iterator[BeltFrame]:
        """Yield the frames; at the end only parcels that have crossed the line are left."""
        random = np.random.default_rng(self.conveyor.seed)
        post = (POST[0] * WIDTH, POST[1] * WIDTH)
        parcels = self.conveyor.frame(self.last).truth
        beyond = {p.parcel_id for p in parcels if p.box.center.x >= WIDTH / 2}
        for index, passer in zip(range(self.last + DRAIN_FRAMES), _passers(random), strict=False):
            truth = self.conveyor.frame(index).truth
            if index > self.last:
                truth = tuple(parcel for parcel in truth if parcel.parcel_id in beyond)
            spans = [post] if passer is None else [post, passer]
            yield BeltFrame(index, truth, _detected(truth, spans, random))


def _passers(random: np.random.Generator) -> Iterator[Span | None]:
    """Yield for each frame the part of the belt that somebody hides who passes before it."""
    while True:
        yield from itertools.repeat(None, int(random.integers(60, 140)))
        middle, width = random.uniform(0.3, 0.7), random.uniform(0.15, 0.35)
        span = ((middle - width / 2) * WIDTH, (middle + width / 2) * WIDTH)
        yield from itertools.repeat(span, int(random.integers(6, 16)))


def _in_view(box: Box, spans: list[Span]) -> tuple[Box, float]:
    """Return the larger part of a box that is left in view, and how much of it is hidden."""
    left, right = box.x1, box.x2
    for first, last in spans:
        if last <= left or first >= right:
            continue
        if first - left >= right - last:
            right = max(left, first)
        else:
            left = min(right, last)
    return Box(left, box.y1, right, box.y2), 1 - (right - left) / box.width


def _detected(
    truth: tuple[TrueParcel, ...], spans: list[Span], random: np.random.Generator
) -> tuple[Detection, ...]:
    found = []
    for parcel in truth:
        box, hidden = _in_view(parcel.box, spans)
        if hidden > HIDDEN_PART or random.random() < 0.1:
            continue
        label = parcel.label if random.random() > 0.1 else str(random.choice(PARCEL_LABELS))
        edges = np.array([box.x1, box.y1, box.x2, box.y2]) + random.normal(0, 0.5, 4)
        score = 0.3 if hidden > CUT_PART else 0.9
        found.append(Detection(Box(*edges.tolist()), PARCEL_LABELS.index(label), label, score))
    return tuple(found)
