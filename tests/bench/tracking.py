"""MOTA, IDF1 and cost of the tracker, beside ByteTrack as others have it, on the same detections.

* ``TUD-Campus``: real pedestrians, the detections being what some tracker gave, without its
  ids and without scores; ground truth by people. Nothing in it is uncertain: it tells of motion
  alone, and of little of it (222 boxes, where one decision changes IDF1 by 0.05).
* ``belt``: the virtual conveyor with noise, misses, wrong labels, a post and passers-by
  (``tests/fakes/hidden_belt.py``); parcels hidden in part have low scores.

Peers run in environments of their own under the folder given, which are made there where they are
not: ``supervision`` (0.27; today's version has no ByteTrack any more) and ``trackers``, where its
authors went on with it. They have their own settings but for the rate and the score from which a
detection is certain. Boxes are judged as given in each frame, with no look
ahead: ours also where the track is too young for events, and once more without those.

The cost is that of one frame with twenty objects, one after the other in turns. Run::

    python tests/bench/tracking.py --data ../shared/data/tracking --peers runs/peers
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
from saying import say

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edgehaul.geometry import Box
from edgehaul.values import Detection
from edgehaul_agent.tracking.tracker import Tracker, TrackerSettings
from edgehaul_tools.bench.peers.environment import PeerFaultError, prepared
from edgehaul_tools.bench.peers.table import Peer
from tests.fakes.hidden_belt import CERTAIN_SCORE, HEIGHT, WIDTH, HiddenBelt
from tests.fakes.mot import Judged, Numbered, judge, read_mot

PEER_SCRIPT = Path(__file__).with_name("tracking_peer.py")
PEERS = (
    Peer("supervision", "supervision", "", ("opencv-python-headless", "supervision<0.28")),
    Peer("trackers", "trackers", "", ("opencv-python-headless", "trackers")),
)
CROWD, CROWD_FRAMES, ROUNDS = 20, 300, 7
CONFIRM_HITS = TrackerSettings().confirm_hits


@dataclass(frozen=True)
class Recorded:
    """Detections with the truth about them.

    Attributes:
        group: What it is of; sequences of one group are judged as one.
        frames: The detections.
        truth: The true boxes by frame; none where only the cost counts.
        fps: Frames per second.
        size: Width and height of the picture.
    """

    group: str
    frames: Sequence[Sequence[Detection]]
    truth: Numbered
    fps: float
    size: tuple[int, int]


def pedestrians(folder: Path) -> Recorded:
    """Return TUD-Campus."""
    truth, found = read_mot(folder / "gt.txt"), read_mot(folder / "test.txt")
    frames = [
        [Detection(box, 0, "person", 0.9) for _, box in found.get(frame, [])]
        for frame in range(max(truth) + 1)
    ]
    return Recorded("TUD-Campus", frames, truth, 25.0, (640, 480))


def belt(seed: int) -> Recorded:
    """Return one conveyor."""
    frames = list(HiddenBelt(seed, crossings=15))
    truth = {f.index: [(p.parcel_id, p.box) for p in f.truth] for f in frames}
    return Recorded("belt", [f.found for f in frames], truth, 25.0, (WIDTH, HEIGHT))


def crowd() -> Recorded:
    """Return twenty objects that walk to and fro; a tenth of the detections is missing."""
    random = np.random.default_rng(0)
    place, speed = random.uniform(100, 900, (CROWD, 2)), random.uniform(-6, 6, (CROWD, 2))
    frames = []
    for _ in range(CROWD_FRAMES):
        place += speed
        speed = np.where((place < 50) | (place > 950), -speed, speed)
        boxes = np.hstack([place - 25, place + 25]) + random.normal(0, 1.5, (CROWD, 4))
        seen = random.random(CROWD) > 0.1
        frames.append([Detection(Box(*b), 0, "person", 0.9) for b in boxes[seen].tolist()])
    return Recorded("crowd", frames, {}, 25.0, (1000, 1000))


def ours(sequence: Recorded, least_hits: int) -> Numbered:
    """Return what our tracker makes of a sequence, from some number of detections on."""
    tracker = Tracker(TrackerSettings(certain_score=CERTAIN_SCORE))
    followed: dict[int, list[tuple[int, Box]]] = defaultdict(list)
    for frame, found in enumerate(sequence.frames):
        tracked = tracker.update(
            found,
            frame=frame,
            captured_at_s=frame / sequence.fps,
            width=sequence.size[0],
            height=sequence.size[1],
        )
        hits = {track.track_id: track.hits for track in tracked.seen}
        followed[frame] = [
            (track_id, detection.box)
            for detection, track_id in zip(found, tracked.track_ids, strict=True)
            if track_id is not None and hits[track_id] >= least_hits
        ]
    return followed


def our_seconds(sequence: Recorded) -> float:
    """Return how long our tracker takes for a sequence."""
    tracker, (width, height) = Tracker(TrackerSettings(certain_score=CERTAIN_SCORE)), sequence.size
    started_s = time.perf_counter()
    for frame, found in enumerate(sequence.frames):
        tracker.update(
            found, frame=frame, captured_at_s=frame / sequence.fps, width=width, height=height
        )
    return time.perf_counter() - started_s


class Rival:
    """A peer in its environment, that has followed all sequences and waits to be measured."""

    def __init__(self, peer: Peer, folder: Path, task: Path) -> None:
        python = prepared(peer, folder.resolve())
        self._process = subprocess.Popen(
            [str(python), "-I", str(PEER_SCRIPT), peer.name, str(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        answer = json.loads(self._line() or "{}")
        if not answer:
            raise PeerFaultError("fails")
        self.title = f"{peer.title} {answer['version']}"
        self.found: list[Numbered] = [
            {n: [(int(i), Box(*box)) for i, *box in frame] for n, frame in enumerate(frames)}
            for frames in answer["found"]
        ]

    def seconds(self) -> float:
        """Return how long it takes for the last sequence."""
        assert self._process.stdin is not None
        self._process.stdin.write("again\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def rivals(folder: Path | None, sequences: Sequence[Recorded], task: Path) -> list[Rival]:
    """Let all peers follow the sequences."""
    rows = [
        {
            "fps": s.fps,
            "frames": [
                [[d.box.x1, d.box.y1, d.box.x2, d.box.y2, d.score, d.class_id] for d in frame]
                for frame in s.frames
            ],
        }
        for s in sequences
    ]
    task.write_text(json.dumps({"certain_score": CERTAIN_SCORE, "sequences": rows}))
    found = []
    for peer in PEERS if folder else ():
        try:
            found.append(Rival(peer, folder, task))
        except PeerFaultError as error:
            say(f"{peer.title}: {error}")
    return found


def compare(sequences: Sequence[Recorded], results: dict[str, list[Numbered]]) -> None:
    """Print MOTA and IDF1 by group."""
    for group in dict.fromkeys(s.group for s in sequences if s.truth):
        say(f"\n{group:32} {'MOTA':>6} {'IDF1':>6} {'missed':>7} {'false':>6} {'switches':>9}")
        for title, found in results.items():
            judged: Judged = reduce(
                add,
                (
                    judge(s.truth, f)
                    for s, f in zip(sequences, found, strict=True)
                    if s.group == group
                ),
            )
            say(
                f"  {title:30} {judged.mota:6.3f} {judged.idf1:6.3f}"
                f" {judged.boxes - judged.matched:7} {judged.false:6} {judged.switches:9}"
            )


def measure(crowded: Recorded, others: Sequence[Rival]) -> None:
    """Print the cost of a frame, all trackers in turns."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        seconds["ours"].append(our_seconds(crowded))
        for rival in others:
            seconds[rival.title].append(rival.seconds())
    say(f"\ncost of a frame with {CROWD} objects, {ROUNDS} rounds in turns: median, least")
    for title, taken in seconds.items():
        middle, least = (1e6 * f(taken) / CROWD_FRAMES for f in (statistics.median, min))
        say(f"  {title:30} {middle:7.0f} us {least:7.0f} us")


def main() -> None:
    """Judge and measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, help="Folder with TUD-Campus; else the belt alone.")
    parser.add_argument("--peers", type=Path, help="Folder of their environments; else ours alone.")
    parser.add_argument("--seeds", type=int, default=10, help="Conveyors.")
    options = parser.parse_args()
    sequences = [belt(seed) for seed in range(options.seeds)]
    if options.data:
        sequences.insert(0, pedestrians(options.data / "TUD-Campus"))
    sequences.append(crowd())
    with tempfile.TemporaryDirectory() as folder:
        others = rivals(options.peers, sequences, Path(folder) / "task.json")
        results = {
            "ours": [ours(s, 1) for s in sequences],
            f"ours, from {CONFIRM_HITS} detections on": [ours(s, CONFIRM_HITS) for s in sequences],
        }
        compare(sequences, results | {rival.title: rival.found for rival in others})
        measure(sequences[-1], others)
        for rival in others:
            rival.close()


if __name__ == "__main__":
    main()
