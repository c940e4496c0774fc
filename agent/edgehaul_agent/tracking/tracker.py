"""Following objects from frame to frame, in two stages as ByteTrack does.

All tracks first compete for the certain detections, at a price for those that are long
unseen; then the confirmed tracks still without one are kept alive by uncertain detections,
which an occluded or blurred object gives. (Zhang et al., "ByteTrack: Multi-Object Tracking by
Associating Every Detection Box", 2022.) Other than there, a track may be found again by an
uncertain detection, since those who come out of hiding are seen in part first; and uncertain
boxes move a track less, as in the filter of Du et al., "GIAOTracker", 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgehaul.values import Detection, Track
from edgehaul_agent.tracking.association import (
    ABSENCE_COST,
    LABEL_COST,
    assign,
    motion_costs,
    overlap_costs,
    overlaps,
)
from edgehaul_agent.tracking.kalman import Motion

Array = NDArray[np.float64]


CUT_VIEW_WEIGHT = 0.1
"""Weight of a view cut by the picture's edge when labels are summed: half a parcel may well
look like one without its label, and the whole one is seen soon after."""
UNCERTAIN_SPREAD = 4.0
"""How much less exact the boxes of uncertain detections are, as a factor: whoever is half hidden
is found by the half in view, whose middle must not slow its track down."""
_EDGE_PART = 0.005


class TrackerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How tracks begin and end.

    Attributes:
        certain_score: Detections from this score on may begin a track.
        confirm_hits: Number of detections from which a track is believed.
        keep_frames: Frames for which a confirmed track is kept without a detection.
        keep_young_frames: The same for one that is not confirmed.
        uncertain_overlap: Overlap with its expected box that an uncertain detection needs.
        twin_overlap: Overlap with a tracked object above which a detection begins no track:
            it is the same object under another label.
    """

    certain_score: float = 0.25
    confirm_hits: int = 3
    keep_frames: int = 30
    keep_young_frames: int = 2
    uncertain_overlap: float = 0.4
    twin_overlap: float = 0.6


class TrackedFrame(msgspec.Struct, frozen=True):
    """What one frame did to the tracks.

    Attributes:
        seen: The tracks that were detected in this frame, confirmed or not.
        ended: The tracks that are given up.
        track_ids: For each detection given, its track, or none.
    """

    seen: tuple[Track, ...]
    ended: tuple[Track, ...]
    track_ids: tuple[int | None, ...]


class Tracker:
    """Gives each object of one stream an identity. Not for use by several threads."""

    def __init__(self, settings: TrackerSettings) -> None:
        self._settings = settings
        self._tracks: list[Track] = []
        self._missed: list[int] = []
        self._motion = Motion.started_at(np.zeros((0, 4)))
        self._last_frame: int | None = None
        self._next_id = 1

    def update(
        self,
        detections: Sequence[Detection],
        *,
        frame: int,
        captured_at_s: float,
        width: float,
        height: float,
    ) -> TrackedFrame:
        """Take in the detections of the next frame.

        Args:
            detections: What was found, uncertain detections among it.
            frame: Number of the frame; a gap to the last one moves the expectations on.
            captured_at_s: Capture time, UTC seconds.
            width: Width of the frame in pixels; tracks that leave it end.
            height: Height of the frame in pixels.
        """
        elapsed = 1 if self._last_frame is None else max(1, frame - self._last_frame)
        self._last_frame = frame
        self._motion = self._motion.predicted(elapsed)
        boxes = _boxes_of(detections)
        pairs = self._associate(detections, boxes)
        weights = _view_weights(boxes, width, height)
        self._correct(pairs, detections, boxes, captured_at_s)
        self._vote(pairs, detections, weights)
        track_ids: list[int | None] = [None] * len(detections)
        for row, column in pairs:
            track_ids[column] = self._tracks[row].track_id
        self._count_misses({row for row, _ in pairs}, elapsed)
        ended = self._give_up(width, height)
        for column in self._births(detections, boxes, [column for _, column in pairs]):
            track_ids[column] = self._begin(detections[column], boxes[column], captured_at_s)
            self._vote([(len(self._tracks) - 1, column)], detections, weights)
        seen = tuple(
            track for track, missed in zip(self._tracks, self._missed, strict=True) if not missed
        )
        return TrackedFrame(seen, ended, tuple(track_ids))

    def close(self) -> tuple[Track, ...]:
        """End every track, as at the end of a stream, and return them."""
        ended = tuple(self._tracks)
        self._keep([])
        return ended

    def _associate(self, detections: Sequence[Detection], boxes: Array) -> list[tuple[int, int]]:
        certain = [i for i, d in enumerate(detections) if d.score >= self._settings.certain_score]
        uncertain = sorted(set(range(len(detections))) - set(certain))
        costs = motion_costs(self._motion, boxes[certain])
        costs += LABEL_COST * self._label_differs([detections[i] for i in certain])
        costs += ABSENCE_COST * np.array(self._missed, dtype=np.float64).reshape(-1, 1)
        pairs = [(row, certain[column]) for row, column in assign(costs)]
        paired = {row for row, _ in pairs}
        rows = [
            row
            for row, track in enumerate(self._tracks)
            if row not in paired and self._is_confirmed(track)
        ]
        costs = overlap_costs(
            self._motion.kept(rows), boxes[uncertain], self._settings.uncertain_overlap
        )
        return pairs + [(rows[r], uncertain[c]) for r, c in assign(costs)]

    def _label_differs(self, detections: list[Detection]) -> Array:
        labels = [track.label for track in self._tracks]
        return np.array(
            [[label != d.label for d in detections] for label in labels], dtype=np.float64
        ).reshape(len(labels), len(detections))

    def _correct(
        self,
        pairs: list[tuple[int, int]],
        detections: Sequence[Detection],
        boxes: Array,
        captured_at_s: float,
    ) -> None:
        if not pairs:
            return
        rows, columns = (list(side) for side in zip(*pairs, strict=True))
        certain = [detections[column].score >= self._settings.certain_score for column in columns]
        spread = np.where(certain, 1.0, UNCERTAIN_SPREAD)[:, None]
        self._motion = self._motion.corrected(rows, boxes[columns], spread)
        for row, column in pairs:
            old, detection = self._tracks[row], detections[column]
            self._tracks[row] = msgspec.structs.replace(
                old,
                detection=detection,
                last_seen_at_s=captured_at_s,
                hits=old.hits + 1,
            )

    def _vote(
        self, pairs: list[tuple[int, int]], detections: Sequence[Detection], weights: Array
    ) -> None:
        """Add the detections to the label scores of their tracks."""
        for row, column in pairs:
            label, track = detections[column].label, self._tracks[row]
            vote = detections[column].score * float(weights[column])
            scores = track.label_scores | {label: track.label_scores.get(label, 0.0) + vote}
            self._tracks[row] = msgspec.structs.replace(track, label_scores=scores)

    def _count_misses(self, seen: set[int], elapsed: int) -> None:
        lost = [row for row in range(len(self._tracks)) if row not in seen]
        for row in seen:
            self._missed[row] = 0
        for row in lost:
            self._missed[row] += elapsed
        self._motion = self._motion.without_growth(lost)

    def _give_up(self, width: float, height: float) -> tuple[Track, ...]:
        keep, ended = [], []
        for row, (track, missed) in enumerate(zip(self._tracks, self._missed, strict=True)):
            x, y = self._motion.position[row, :2]
            outside = missed and not (0 <= x <= width and 0 <= y <= height)
            patience = (
                self._settings.keep_frames
                if self._is_confirmed(track)
                else self._settings.keep_young_frames
            )
            if outside or missed > patience:
                ended.append(track)
            else:
                keep.append(row)
        if ended:
            self._keep(keep)
        return tuple(ended)

    def _keep(self, rows: list[int]) -> None:
        self._motion = self._motion.kept(rows)
        self._tracks = [self._tracks[row] for row in rows]
        self._missed = [self._missed[row] for row in rows]

    def _births(
        self, detections: Sequence[Detection], boxes: Array, paired: list[int]
    ) -> list[int]:
        """Return the detections that begin a track, best first, none a twin of another."""
        taken = list(paired)
        born = []
        for column in sorted(range(len(detections)), key=lambda i: -detections[i].score):
            if column in taken or detections[column].score < self._settings.certain_score:
                continue
            others = overlaps(boxes[[column]], boxes[taken])
            if not (others > self._settings.twin_overlap).any():
                born.append(column)
                taken.append(column)
        return born

    def _begin(self, detection: Detection, box: Array, captured_at_s: float) -> int:
        track = Track(self._next_id, detection, captured_at_s, captured_at_s, 1)
        self._next_id += 1
        self._tracks.append(track)
        self._missed.append(0)
        self._motion = self._motion.joined(Motion.started_at(box[None, :]))
        return track.track_id

    def _is_confirmed(self, track: Track) -> bool:
        return track.hits >= self._settings.confirm_hits


def _boxes_of(detections: Sequence[Detection]) -> Array:
    boxes = [(d.box.x1, d.box.y1, d.box.x2, d.box.y2) for d in detections]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _view_weights(boxes: Array, width: float, height: float) -> Array:
    """Return how much each view tells of its object's label, (detections,)."""
    margin = _EDGE_PART * max(width, height)
    low, high = boxes[:, :2] <= margin, boxes[:, 2:] >= np.array([width, height]) - margin
    return np.where((low | high).any(axis=1), CUT_VIEW_WEIGHT, 1.0)
