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
    motion_pairs,
    overlap_pairs,
    overlaps,
    shares_of_smaller,
)
from edgehaul_agent.tracking.kalman import Motion, centers_of

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
        nested_part: Detectors find a part of a large object once more by itself, or two objects
            once more as one. Where so much of the smaller box lies in the other one, an uncertain
            detection within a certain one keeps no track alive, and one around or within a tracked
            object begins a track only with ``nested_margin`` above ``certain_score``, which
            ByteTrack asks of every detection.
        nested_margin: See there.
    """

    certain_score: float = 0.25
    confirm_hits: int = 3
    keep_frames: int = 30
    keep_young_frames: int = 2
    uncertain_overlap: float = 0.4
    twin_overlap: float = 0.6
    nested_part: float = 0.7
    nested_margin: float = 0.1


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
        self.settings = settings
        self._tracks: list[Track] = []
        self._labels: list[str] = []
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
        self._motion.predict(elapsed)
        seen = _Seen(detections, captured_at_s, width, height, self.settings.certain_score)
        pairs = self._associate(seen)
        self._correct(pairs, seen)
        track_ids: list[int | None] = [None] * len(detections)
        for row, column in pairs:
            track_ids[column] = self._tracks[row].track_id
        self._count_misses({row for row, _ in pairs}, elapsed)
        ended = self._give_up(width, height) if any(self._missed) else ()
        for column in self._births(seen, [column for _, column in pairs]):
            track_ids[column] = self._begin(seen, column)
        now = tuple(
            track for track, missed in zip(self._tracks, self._missed, strict=True) if not missed
        )
        return TrackedFrame(now, ended, tuple(track_ids))

    def close(self) -> tuple[Track, ...]:
        """End every track, as at the end of a stream, and return them."""
        ended = tuple(self._tracks)
        self._keep([])
        return ended

    def _associate(self, seen: _Seen) -> list[tuple[int, int]]:
        if not self._tracks:
            return []
        certain = [
            (cost + self._penalty(row, seen.detections[seen.certain[column]]), row, column)
            for cost, row, column in motion_pairs(self._motion, seen.centers[seen.certain])
        ]
        pairs = [(row, seen.certain[column]) for row, column in assign(certain)]
        if not seen.uncertain:
            return pairs
        paired = {row for row, _ in pairs}
        rows = [
            row
            for row, track in enumerate(self._tracks)
            if row not in paired and self._is_confirmed(track)
        ]
        whole = seen.uncertain_by_themselves(self.settings.nested_part)
        uncertain = overlap_pairs(
            self._motion.position[rows], seen.centers[whole], self.settings.uncertain_overlap
        )
        return pairs + [(rows[r], whole[c]) for r, c in assign(uncertain)]

    def _penalty(self, row: int, detection: Detection) -> float:
        """Return what a pair costs beside what their places do."""
        absent = ABSENCE_COST * self._missed[row]
        return absent + (LABEL_COST if self._labels[row] != detection.label else 0.0)

    def _correct(self, pairs: list[tuple[int, int]], seen: _Seen) -> None:
        if not pairs:
            return
        rows, columns = [row for row, _ in pairs], [column for _, column in pairs]
        spread: Array | float = 1.0
        if seen.uncertain:
            doubtful = set(seen.uncertain)
            spread = np.array([[UNCERTAIN_SPREAD if c in doubtful else 1.0] for c in columns])
        self._motion.correct(rows, seen.centers[columns], spread)
        for row, column in pairs:
            old = self._tracks[row]
            self._put(row, seen, column, first_s=old.first_seen_at_s, hits=old.hits + 1)

    def _put(self, row: int, seen: _Seen, column: int, *, first_s: float, hits: int) -> None:
        """Set a track to what it is after a detection, and count the detection's label."""
        old, detection = self._tracks[row], seen.detections[column]
        vote = detection.score * seen.weight(column)
        scores = {**old.label_scores}
        scores[detection.label] = scores.get(detection.label, 0.0) + vote
        track = Track(old.track_id, detection, first_s, seen.captured_at_s, hits, scores)
        self._tracks[row] = track
        self._labels[row] = track.label

    def _count_misses(self, seen: set[int], elapsed: int) -> None:
        lost = [row for row in range(len(self._tracks)) if row not in seen]
        for row in seen:
            self._missed[row] = 0
        for row in lost:
            self._missed[row] += elapsed
        if lost:
            self._motion.stop_growth(lost)

    def _give_up(self, width: float, height: float) -> tuple[Track, ...]:
        keep, ended = [], []
        places = self._motion.position[:, :2].tolist()
        for row, (track, missed) in enumerate(zip(self._tracks, self._missed, strict=True)):
            x, y = places[row]
            outside = missed and not (0 <= x <= width and 0 <= y <= height)
            patience = (
                self.settings.keep_frames
                if self._is_confirmed(track)
                else self.settings.keep_young_frames
            )
            if outside or missed > patience:
                ended.append(track)
            else:
                keep.append(row)
        if ended:
            self._keep(keep)
        return tuple(ended)

    def _keep(self, rows: list[int]) -> None:
        self._motion.keep(rows)
        self._tracks = [self._tracks[row] for row in rows]
        self._labels = [self._labels[row] for row in rows]
        self._missed = [self._missed[row] for row in rows]

    def _births(self, seen: _Seen, paired: list[int]) -> list[int]:
        """Return the detections that begin a track, best first, none a twin of another."""
        taken = list(paired)
        free = set(seen.certain).difference(paired)
        born = []
        for column in sorted(free, key=lambda i: (-seen.detections[i].score, i)):
            if not self._is_double(seen, column, taken):
                born.append(column)
                taken.append(column)
        return born

    def _is_double(self, seen: _Seen, column: int, taken: list[int]) -> bool:
        """Return whether a detection is more likely one of those taken, seen once more."""
        settings, own = self.settings, seen.centers[[column]]
        if (overlaps(own, seen.centers[taken]) > settings.twin_overlap).any():
            return True
        if seen.detections[column].score >= settings.certain_score + settings.nested_margin:
            return False
        shares = shares_of_smaller(own, seen.centers[taken])
        return bool((shares >= settings.nested_part).any())

    def _begin(self, seen: _Seen, column: int) -> int:
        at_s = seen.captured_at_s
        track = Track(self._next_id, seen.detections[column], at_s, at_s, 1)
        self._next_id += 1
        self._tracks.append(track)
        self._labels.append("")
        self._missed.append(0)
        self._motion.add(Motion.started_at(seen.boxes[[column]]))
        self._put(len(self._tracks) - 1, seen, column, first_s=at_s, hits=1)
        return track.track_id

    def _is_confirmed(self, track: Track) -> bool:
        return track.hits >= self.settings.confirm_hits


class _Seen:
    """The detections of one frame, and what is asked about them more than once.

    Attributes:
        boxes: (detections, 4) x1 y1 x2 y2.
        centers: (detections, 4) centre x, centre y, width, height.
        certain: Numbers of those that may begin a track.
        uncertain: Numbers of the others.
    """

    def __init__(
        self,
        detections: Sequence[Detection],
        captured_at_s: float,
        width: float,
        height: float,
        certain_score: float,
    ) -> None:
        self.detections = detections
        self.captured_at_s = captured_at_s
        boxes = [(d.box.x1, d.box.y1, d.box.x2, d.box.y2) for d in detections]
        self.boxes: Array = np.array(boxes, dtype=np.float64).reshape(-1, 4)
        self.centers = centers_of(self.boxes)
        self.certain = [i for i, d in enumerate(detections) if d.score >= certain_score]
        self.uncertain = [i for i, d in enumerate(detections) if d.score < certain_score]
        self._width, self._height = width, height
        self._margin = _EDGE_PART * max(width, height)

    def uncertain_by_themselves(self, nested_part: float) -> list[int]:
        """Return the uncertain ones that are no part of a larger certain one."""
        if not self.certain:
            return self.uncertain
        own, certain = self.centers[self.uncertain], self.centers[self.certain]
        is_larger = (certain[:, 2] * certain[:, 3])[None] > (own[:, 2] * own[:, 3])[:, None]
        is_part = is_larger & (shares_of_smaller(own, certain) >= nested_part)
        return [self.uncertain[i] for i in np.flatnonzero(~is_part.any(axis=1)).tolist()]

    def weight(self, column: int) -> float:
        """Return how much a view tells of its object's label: less where the edge cuts it."""
        box, margin = self.detections[column].box, self._margin
        cut = min(box.x1, box.y1) <= margin
        cut = cut or box.x2 >= self._width - margin or box.y2 >= self._height - margin
        return CUT_VIEW_WEIGHT if cut else 1.0
