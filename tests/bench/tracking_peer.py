"""A tracker of others on given detections: ``python -I tracking_peer.py NAME FILE``.

Runs in the peer's own environment; nothing of EdgeHaul is there. The file holds sequences of
detections, ``[[[x1, y1, x2, y2, score, class], ...], ...]`` with their rate. What is
followed is printed as one line of JSON; then, for each line read, the seconds that the last
sequence takes.
"""

import json
import sys
import time
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np


def made(name: str, fps: float, certain_score: float) -> Any:  # noqa: ANN401 - whatever it is
    """Return a new tracker, with its own settings but for rate and certain score."""
    if name == "supervision":
        import supervision  # noqa: PLC0415 - only one of them is installed

        tracker = supervision.ByteTrack(
            track_activation_threshold=certain_score, frame_rate=round(fps)
        )
        return tracker.update_with_detections
    from trackers import ByteTrackTracker  # noqa: PLC0415 - as above

    tracker = ByteTrackTracker(
        frame_rate=fps,
        track_activation_threshold=certain_score,
        high_conf_det_threshold=certain_score,
    )
    return tracker.update


def inputs(frames: list[list[list[float]]]) -> list[Any]:
    """Return the detections of each frame as the peers take them."""
    from supervision import Detections  # noqa: PLC0415 - as above

    tables = [np.array(rows, dtype=np.float32).reshape(-1, 6) for rows in frames]
    return [Detections(t[:, :4], None, t[:, 4], t[:, 5].astype(int)) for t in tables]


def followed(update: Any, frames: list[Any]) -> list[list[list[float]]]:  # noqa: ANN401 - as above
    """Return identity and box of what it follows in each frame."""
    found = []
    for detections in frames:
        given = update(detections)
        pairs = zip(given.tracker_id.tolist(), given.xyxy.tolist(), strict=True)
        found.append([[track_id, *box] for track_id, box in pairs if track_id >= 0])
    return found


def main(name: str, file: str) -> None:
    """Follow, print, then measure as often as asked."""
    warnings.simplefilter("ignore")
    task = json.loads(Path(file).read_text(encoding="utf-8"))
    found, frames, fps = [], [], 25.0
    for sequence in task["sequences"]:
        frames, fps = inputs(sequence["frames"]), sequence["fps"]
        found.append(followed(made(name, fps, task["certain_score"]), frames))
    answer = {"version": metadata.version(name), "found": found}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        update = made(name, fps, task["certain_score"])
        started_s = time.perf_counter()
        for detections in frames:
            update(detections)
        sys.stdout.write(f"{time.perf_counter() - started_s}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
