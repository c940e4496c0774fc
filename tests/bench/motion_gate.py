"""What the motion gate saves, what it costs, and what is lost by it, on clips whose truth is known.

* ``belt``: the virtual conveyor, full and sparse, running on or standing now and then.
* ``walkers``: boxes of TUD-Campus (MOTChallenge), which has no pictures here: each walker
  is drawn alone, as an upright figure a little brighter or darker than a still wall behind it.
* ``still``: nothing but the sensor's noise, of several strengths; slow and sudden changes of light.
* ``films``: real ones without any truth: what is skipped.

Lost are ``refused`` frames, which show an object that has moved or come since the frame before;
``unseen`` objects, of which no frame at all was let through; and counts at a line, by our tracker
on the true boxes of the frames that were let through. Run::

    python tests/bench/motion_gate.py [--data ../shared/data/tracking] [--films FILE ...]
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from saying import say

sys.path.insert(0, str(Path(__file__).parents[2]))

from edgehaul.bundle.spec import ImageInput
from edgehaul.config.gating import MotionSection
from edgehaul.geometry import Box, Line, Point
from edgehaul.values import Detection
from edgehaul.vision.preprocess import Canvas
from edgehaul_agent.events.lines import LineCounter
from edgehaul_agent.gating.motion import MotionGate
from edgehaul_agent.tracking.tracker import Tracker, TrackerSettings
from tests.fakes.mot import read_mot
from tests.fakes.sparse_belt import SparseBelt

Picture = NDArray[np.uint8]
CANVAS_PX, FPS = 320, 25.0
SETTINGS = TrackerSettings(certain_score=0.5)
MOVED_PX = 0.5
"""So far the middle of a box must have gone since the frame before, on a canvas of 320 pixels."""
THRESHOLDS, PARTS = (8, 12, 16, 20, 30), (0.0005, 0.001)
CONTRASTS = (12.0, 18.0, 24.0, 32.0, -40.0)
CAMPUS_PX = (640, 480)
NOISE_MARGIN_PX = 64
STILL_FRAMES = 1500
EMPTY_FRAMES = 75
NOISES = (0.0, 2.0, 4.0, 8.0, 12.0)
COST_FRAMES = 400


@dataclass(frozen=True)
class Shot:
    """A frame of a clip with its truth: boxes by identity."""

    picture: Picture
    truth: dict[int, tuple[str, Box]]


@dataclass(frozen=True)
class Clip:
    """A clip that can be taken once.

    Attributes:
        group: Clips of one group are judged as one.
        shots: Its frames.
        line: Where is counted; none where nothing is.
        fps: Frames per second.
    """

    group: str
    shots: Iterator[Shot]
    line: Line | None = None
    fps: float = FPS


# ---- clips ----------------------------------------------------------------------------------


def belt(group: str, seed: int, frames: int, **kind: float) -> Clip:
    """Return a conveyor, up to a frame that shows no parcel near the line."""
    conveyor = SparseBelt(seed=seed, **kind)  # type: ignore[arg-type]  # as named there

    def shots() -> Iterator[Shot]:
        for index in range(conveyor.frame_clear_of_line(frames)):
            frame = conveyor.frame(index)
            yield Shot(frame.image, {p.parcel_id: (p.label, p.box) for p in frame.truth})

    return Clip(group, shots(), conveyor.counting_line())


def wall(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """Return a still scene: spots of several sizes around a middle grey."""
    parts = [
        cv2.resize(
            rng.normal(0, strength, (height // cell, width // cell)).astype(np.float32),
            (width, height),
            interpolation=cv2.INTER_CUBIC,
        )
        for cell, strength in ((80, 25), (16, 8), (4, 3))
    ]
    return np.asarray(110 + sum(parts), np.float32)


class Sensor:
    """Makes pictures of scenes: its noise is independent for each pixel and channel.

    Args:
        noise: Its standard deviation.
        rng: Draws it, once for all, and then which part of it a picture has.
    """

    def __init__(self, noise: float, rng: np.random.Generator, width: int, height: int) -> None:
        self._rng = rng
        self._size = (height, width)
        shape = (height + NOISE_MARGIN_PX, width + NOISE_MARGIN_PX, 3)
        self._grain = rng.normal(0, noise, shape).astype(np.float32)

    def __call__(self, scene: NDArray[np.float32]) -> Picture:
        """Return a scene as a camera sees it."""
        (height, width), (y, x) = self._size, self._rng.integers(NOISE_MARGIN_PX, size=2)
        grain = self._grain[y : y + height, x : x + width]
        noisy = cv2.add(cv2.cvtColor(scene, cv2.COLOR_GRAY2BGR), grain)
        return cv2.convertScaleAbs(cv2.max(noisy, 0.0))


def walker(path: Path, identity: int, contrast: float, size: float = 1.0) -> Clip:
    """Return one figure that walks as a person of TUD-Campus does, after three seconds without it.

    Args:
        path: Their boxes.
        identity: Whom it follows.
        contrast: How much brighter it is than the wall on average.
        size: Of the figure and its way, as a part of the original's.
    """
    truth = {
        f: dict(boxes)[identity] for f, boxes in read_mot(path).items() if identity in dict(boxes)
    }
    rng = np.random.default_rng(identity)
    scene, camera = wall(rng, *CAMPUS_PX), Sensor(3.0, rng, *CAMPUS_PX)

    def shots() -> Iterator[Shot]:
        for frame in range(min(truth) - EMPTY_FRAMES, max(truth) + 1):
            drawn, box = scene.copy(), truth.get(frame)
            if box is not None:
                box = Box(*(edge * size for edge in (box.x1, box.y1, box.x2, box.y2)))
                box = box.clipped(*CAMPUS_PX)
                middle = (round(box.center.x), round(box.center.y))
                axes = (max(1, round(box.width * 0.3)), max(1, round(box.height / 2)))
                cv2.ellipse(drawn, middle, axes, 0, 0, 360, 110 + contrast, -1)
            yield Shot(camera(drawn), {} if box is None else {identity: ("person", box)})

    x = CAMPUS_PX[0] * size / 2
    return Clip(
        f"walker {contrast:+g}{'' if size == 1 else f', {size:g} of the size'}",
        shots(),
        Line(Point(x, CAMPUS_PX[1]), Point(x, 0)),
    )


def still(
    group: str, frames: int, noise: float, light: Callable[[float], float] = lambda _at_s: 1.0
) -> Clip:
    """Return a scene in which nothing happens but its light, as a factor by time."""
    rng = np.random.default_rng(round(noise * 10))
    scene, camera = wall(rng, 320, 240), Sensor(noise, rng, 320, 240)
    pictures = (camera(scene * np.float32(light(n / FPS))) for n in range(frames))
    return Clip(group, (Shot(picture, {}) for picture in pictures))


def film(path: Path) -> Clip:
    """Return a film of which nobody has written down what is in it."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)

    def shots() -> Iterator[Shot]:
        while True:
            found, picture = capture.read()
            if not found:
                return
            yield Shot(np.asarray(picture, np.uint8), {})

    return Clip(path.name, shots(), fps=capture.get(cv2.CAP_PROP_FPS))


# ---- judging --------------------------------------------------------------------------------


@dataclass
class Judged:
    """What a gate made of clips.

    Attributes:
        frames: Frames.
        skipped: Of these, those that the gate refused.
        moving: Frames with an object that moved or came.
        refused: Of these, those that the gate refused.
        objects: Objects.
        unseen: Of these, those that were in no frame that the gate let through.
        true: Crossings of the lines by the true boxes of all frames.
        ungated: Crossings counted by the tracker on all frames.
        gated: Crossings counted by the tracker on the frames let through.
        wrong: Clips whose counts with the gate differ, by class and direction, from those without.
    """

    frames: int = 0
    skipped: int = 0
    moving: int = 0
    refused: int = 0
    objects: int = 0
    unseen: int = 0
    true: int = 0
    ungated: int = 0
    gated: int = 0
    wrong: int = 0


@dataclass
class Follower:
    """A tracker and a counter, on true boxes."""

    line: Line
    tracker: Tracker = field(default_factory=lambda: Tracker(SETTINGS))

    def __post_init__(self) -> None:
        """Make the counter."""
        self.counter = LineCounter("line", self.line, confirm_hits=SETTINGS.confirm_hits)

    def see(self, index: int, shot: Shot, fps: float) -> None:
        """Look at a frame."""
        height, width = shot.picture.shape[:2]
        found = [Detection(box, 0, label, 0.9) for label, box in shot.truth.values()]
        tracked = self.tracker.update(
            found, frame=index, captured_at_s=index / fps, width=width, height=height
        )
        self.counter.update(tracked.seen, tracked.ended)


class Trial:
    """One gate on one clip."""

    def __init__(self, section: MotionSection, clip: Clip) -> None:
        self.gate = MotionGate(section)
        self.follower = Follower(clip.line) if clip.line else None
        self.passed: list[bool] = []
        self.ids: set[int] = set()

    def see(self, index: int, shot: Shot, canvas: Picture, fps: float) -> None:
        """Look at a frame, if the gate lets it through."""
        opens = self.gate.opens(canvas, index / fps)
        self.passed.append(opens)
        if opens:
            self.ids |= shot.truth.keys()
            if self.follower:
                self.follower.see(index, shot, fps)


def has_moved(before: Shot, shot: Shot) -> bool:
    """Return whether an object has come or moved since the frame before."""
    least_px = MOVED_PX * max(shot.picture.shape[:2]) / CANVAS_PX
    for identity, (_, box) in shot.truth.items():
        if identity not in before.truth:
            return True
        then, now = before.truth[identity][1].center, box.center
        if np.hypot(now.x - then.x, now.y - then.y) >= least_px:
            return True
    return False


def crossings(shots: Sequence[dict[int, Point]], line: Line) -> int:
    """Return how often true middles cross a line, either way."""
    return sum(
        abs(line.crossed_by(before[i], now[i]))
        for before, now in pairwise(shots)
        for i in before.keys() & now.keys()
    )


def judge(clip: Clip, sections: Sequence[MotionSection], totals: Sequence[Judged]) -> None:
    """Let several gates look at one clip, and add what they made of it to their totals."""
    canvas = Canvas(ImageInput(width=CANVAS_PX, height=CANVAS_PX))
    trials = [Trial(section, clip) for section in sections]
    ungated = Follower(clip.line) if clip.line else None
    moving: list[bool] = []
    middles: list[dict[int, Point]] = []
    before = None
    for index, shot in enumerate(clip.shots):
        canvas.place(shot.picture)
        moving.append(bool(shot.truth) if before is None else has_moved(before, shot))
        middles.append({i: box.center for i, (_, box) in shot.truth.items()})
        before = shot
        if ungated:
            ungated.see(index, shot, clip.fps)
        for trial in trials:
            trial.see(index, shot, canvas.picture, clip.fps)
    ids = {i for truth in middles for i in truth}
    for trial, total in zip(trials, totals, strict=True):
        total.frames += len(moving)
        total.skipped += trial.passed.count(False)
        total.moving += sum(moving)
        total.refused += sum(m and not p for m, p in zip(moving, trial.passed, strict=True))
        total.objects += len(ids)
        total.unseen += len(ids - trial.ids)
        if clip.line and ungated and trial.follower:
            with_gate, without = trial.follower.counter.totals, ungated.counter.totals
            total.true += crossings(middles, clip.line)
            total.ungated += sum(without.values())
            total.gated += sum(with_gate.values())
            total.wrong += with_gate != without


# ---- cost -----------------------------------------------------------------------------------


def cost_us(width: int, height: int) -> tuple[float, float]:
    """Return the gate's processor time for a frame in microseconds: median, least of rounds."""
    rng = np.random.default_rng(0)
    scene = wall(rng, width, height)
    camera = Sensor(4.0, rng, width, height)
    pictures = [camera(scene) for _ in range(8)]
    taken = []
    for _ in range(9):
        gate = MotionGate(MotionSection())
        started_s = time.process_time()
        for number in range(COST_FRAMES):
            gate.opens(pictures[number % 8], number / FPS)
        taken.append((time.process_time() - started_s) / COST_FRAMES * 1e6)
    return float(np.median(taken)), min(taken)


# ---- the tables -----------------------------------------------------------------------------


def moving_clips(seeds: int, frames: int) -> Iterator[Clip]:
    """Yield the clips on which something moves."""
    for seed in range(seeds):
        yield belt("belt, full", seed, frames)
        yield belt("belt, 1 place of 6", seed, frames, every=6)
        yield belt("belt, stands 20 of 28 s", seed, frames, stands_s=20.0)
        yield belt("both", seed, frames, every=6, stands_s=20.0)


def walker_clips(path: Path) -> Iterator[Clip]:
    """Yield single walkers: near and far, and hard to tell from the wall."""
    identities = sorted({i for boxes in read_mot(path).values() for i, _ in boxes})
    for size in (1.0, 0.25):
        for contrast in CONTRASTS:
            for identity in identities:
                yield walker(path, identity, contrast, size)


def still_clips(frames: int) -> Iterator[Clip]:
    """Yield the clips on which nothing moves."""
    for noise in NOISES:
        yield still(f"noise, sigma {noise:g}", frames, noise)
    yield still("light swings by 7 % in 7 s", frames, 2.0, lambda s: 1 + 0.07 * np.sin(0.9 * s))
    yield still("lamp flickers by 1.2 %", frames, 2.0, lambda s: 1 + 0.012 * np.sin(1e4 * s))
    yield still("light switched each 10 s", frames, 2.0, lambda s: 1.0 if s // 10 % 2 else 0.5)


HEAD = "{:32}{:>8}{:>9}{:>15}{:>13}{:>7}{:>9}{:>7}{:>7}"


def row(name: str, total: Judged) -> str:
    """Return a line of the table."""
    return HEAD.format(
        name,
        total.frames,
        f"{total.skipped / total.frames:.1%}",
        f"{total.refused} of {total.moving}",
        f"{total.unseen} of {total.objects}",
        total.true,
        total.ungated,
        total.gated,
        total.wrong,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, help="Folder with TUD-Campus; else belts alone.")
    parser.add_argument("--seeds", type=int, default=4, help="Conveyors of each kind.")
    parser.add_argument("--frames", type=int, default=1400, help="Frames of a conveyor.")
    parser.add_argument("--films", type=Path, nargs="*", default=[], help="Without any truth.")
    options = parser.parse_args()
    for width, height in ((CANVAS_PX, CANVAS_PX), (1280, 720)):
        middle, least = cost_us(width, height)
        say(
            f"canvas {width}x{height}: {middle:.0f} us of processor time a frame, least {least:.0f}"
        )
    default = MotionSection()
    swept = [
        msgspec.structs.replace(default, threshold=threshold, least_part=part)
        for part in PARTS
        for threshold in THRESHOLDS
    ]
    sections = [default, *swept]
    groups: dict[str, list[Judged]] = {}
    ways = [moving_clips(options.seeds, options.frames), still_clips(STILL_FRAMES)]
    if options.data:
        ways.insert(1, walker_clips(options.data / "TUD-Campus/gt.txt"))
    for clip in (*chain.from_iterable(ways), *map(film, options.films)):
        judge(clip, sections, groups.setdefault(clip.group, [Judged() for _ in sections]))
    heads = ("frames", "skipped", "refused", "unseen", "true", "ungated", "gated", "wrong")
    say(f"\ndefaults: threshold {default.threshold}, least_part {default.least_part:g}")
    say(HEAD.format("", *heads))
    for name, totals in groups.items():
        say(row(name, totals[0]))
    say(
        f"\n{'threshold':>9}{'least_part':>12}{'skipped':>9}{'refused':>9}{'unseen':>8}{'wrong':>7}"
    )
    for place, section in enumerate(swept, 1):
        say(swept_row(section, [totals[place] for totals in groups.values()]))


def swept_row(section: MotionSection, totals: Sequence[Judged]) -> str:
    """Return a line on one setting: what it skips of all, and what it loses of what moves."""
    frames, skipped = sum(t.frames for t in totals), sum(t.skipped for t in totals)
    moving, refused = sum(t.moving for t in totals), sum(t.refused for t in totals)
    return (
        f"{section.threshold:9}{section.least_part:12g}{skipped / frames:9.1%}"
        f"{refused / moving:9.2%}{sum(t.unseen for t in totals):8}{sum(t.wrong for t in totals):7}"
    )


if __name__ == "__main__":
    main()
