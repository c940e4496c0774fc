"""Line counts of tracker and rules beside the truth, on given detections.

* ``TUD-Campus``: upright lines through the picture. ``true`` are the annotated walkers, ``counted``
  what the tracker makes of the detections, and ``perfect`` what a tracker without any fault would:
  each detection under the identity of the walker that it overlaps. What ``perfect`` lacks is the
  detections' fault (they miss 42 % of the true boxes), what ``counted`` lacks beyond it is ours.
* ``belt``: the virtual conveyor with noise, misses, wrong labels, a post and passers-by, by label.

There is no truth for the video clips in the shared data: nobody has counted there. Run::

    python tests/bench/counting.py --data ../shared/data/tracking
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from saying import say

from edgehaul.geometry import Line, Point
from edgehaul.values import Detection, Track
from edgehaul_agent.events.lines import LineCounter
from edgehaul_agent.tracking.tracker import Tracker, TrackerSettings
from tests.fakes.hidden_belt import CERTAIN_SCORE, HEIGHT, WIDTH, HiddenBelt
from tests.fakes.mot import LEAST_IOU, Numbered, read_mot

SETTINGS = TrackerSettings(certain_score=CERTAIN_SCORE)
CAMPUS_SIZE = (640, 480)
CAMPUS_LINES = range(80, 600, 40)
FORWARD, BACKWARD = "forward/person", "backward/person"


def upright(x: float) -> LineCounter:
    """Return the counter of a line from bottom to top: to the right is forward."""
    line = Line(Point(x, CAMPUS_SIZE[1]), Point(x, 0))
    return LineCounter(f"x={x:g}", line, confirm_hits=SETTINGS.confirm_hits)


def true_tracks(truth: Numbered) -> Iterator[tuple[tuple[Track, ...], tuple[Track, ...]]]:
    """Yield the annotated walkers of each frame as a perfect tracker would."""
    for boxes in (truth[frame] for frame in sorted(truth)):
        yield tuple(Track(i, Detection(b, 0, "person", 1.0), 0.0, 0.0, 99) for i, b in boxes), ()


def perfect_tracks(
    truth: Numbered, found: Numbered
) -> Iterator[tuple[tuple[Track, ...], tuple[Track, ...]]]:
    """Yield the detections of each frame under the identities of the annotated walkers."""
    hits: Counter[int] = Counter()
    for frame in sorted(truth):
        seen = []
        for identity, box in truth[frame]:
            nearest = max((other for _, other in found.get(frame, [])), key=box.iou, default=box)
            if found.get(frame) and box.iou(nearest) >= LEAST_IOU:
                hits[identity] += 1
                detection = Detection(nearest, 0, "person", 0.9)
                seen.append(Track(identity, detection, 0.0, 0.0, hits[identity]))
        yield tuple(seen), ()


def our_tracks(
    found: Numbered, frames: int
) -> Iterator[tuple[tuple[Track, ...], tuple[Track, ...]]]:
    """Yield what our tracker makes of the detections of each frame."""
    tracker, (width, height) = Tracker(SETTINGS), CAMPUS_SIZE
    for frame in range(1, frames + 1):
        detections = [Detection(box, 0, "person", 0.9) for _, box in found.get(frame, [])]
        tracked = tracker.update(
            detections, frame=frame, captured_at_s=frame / 25, width=width, height=height
        )
        yield tracked.seen, tracked.ended


def count_campus(folder: Path) -> None:
    """Print the counts at each line."""
    truth, found = read_mot(folder / "gt.txt"), read_mot(folder / "test.txt")
    ways = {
        "true": true_tracks(truth),
        "perfect": perfect_tracks(truth, found),
        "counted": our_tracks(found, max(truth)),
    }
    totals: dict[str, list[Counter[str]]] = {}
    for name, frames in ways.items():
        counters = [upright(x) for x in CAMPUS_LINES]
        for seen, ended in frames:
            for counter in counters:
                counter.update(seen, ended)
        totals[name] = [Counter(counter.totals) for counter in counters]
    say("TUD-Campus, 71 frames, forward + backward")
    say("  line   " + "".join(f"{name:>10}" for name in ways))
    for x, *row in zip(CAMPUS_LINES, *totals.values(), strict=True):
        say(f"  x = {x:3}" + "".join(f"{c[FORWARD]:6} + {c[BACKWARD]}" for c in row))
    for name in ("perfect", "counted"):
        pairs = zip(totals["true"], totals[name], strict=True)
        wrong = sum(abs(a[k] - b[k]) for a, b in pairs for k in (FORWARD, BACKWARD))
        say(f"  {name} differs from the {sum(c.total() for c in totals['true'])} true by {wrong}")


def count_belts(seeds: int) -> None:
    """Print the counts of the conveyors, by seed."""
    say("\nbelt      true   counted")
    exact = 0
    for seed in range(seeds):
        belt, tracker = HiddenBelt(seed, crossings=28 + seed % 5), Tracker(SETTINGS)
        counter = LineCounter(
            "out", belt.conveyor.counting_line(), confirm_hits=SETTINGS.confirm_hits
        )
        for frame in belt:
            tracked = tracker.update(
                frame.found,
                frame=frame.index,
                captured_at_s=frame.index / 25,
                width=WIDTH,
                height=HEIGHT,
            )
            counter.update(tracked.seen, tracked.ended)
        right = counter.totals == belt.true_totals
        exact += right
        true, counted = (sum(t.values()) for t in (belt.true_totals, counter.totals))
        say(f"  seed {seed:2} {true:5} {counted:9}{'' if right else '   differs'}")
    say(f"  {exact} of {seeds} exact, by label and direction")


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, help="Folder with TUD-Campus; else the belt alone.")
    parser.add_argument("--seeds", type=int, default=20, help="Conveyors.")
    options = parser.parse_args()
    if options.data:
        count_campus(options.data / "TUD-Campus")
    count_belts(options.seeds)


if __name__ == "__main__":
    main()
