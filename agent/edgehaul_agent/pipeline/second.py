"""A second look at single objects: classifiers on what the stream's own model has found.

One crop is judged now and then over the life of a track, and all that was ever answered votes, by
its score: one bad view changes nothing. A picture is kept for it only where an object is due.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from edgehaul.config.second import SecondStage
from edgehaul.values import Image, Track
from edgehaul.vision.crop import crop
from edgehaul_agent.inference.pictures import PictureModel
from edgehaul_agent.tracking.tracker import TrackedFrame, TrackerSettings

_NEVER_S = float("inf")
_AT_ONCE_S = float("-inf")


class SecondLook:
    """All classifiers of one stream. The workers call, but for :meth:`wants`.

    Args:
        settings: Which tracks are believed.
    """

    def __init__(self, settings: TrackerSettings) -> None:
        self._settings = settings
        self._stages: list[_Stage] = []
        self._dues_s: dict[int, float] = {}
        # Written by the workers and read by the thread that decodes.
        self._due_s = _NEVER_S
        self._newest_s = _AT_ONCE_S

    def add(self, stage: SecondStage, model: PictureModel) -> None:
        """Let one more classifier look; before the first frame."""
        self._stages.append(_Stage(stage, model, self._settings))

    def wants(self, captured_at_s: float) -> bool:
        """Return whether the picture of a frame that has just come may be needed.

        It is answered by the objects of the frames that are done: one that appears in between is
        looked at a frame later.
        """
        return captured_at_s >= self._due_s or captured_at_s < self._newest_s

    def look(
        self, picture: Image | None, frame: TrackedFrame, captured_at_s: float
    ) -> TrackedFrame:
        """Look at the objects that are due, and return the frame with all attributes.

        Args:
            picture: The whole picture, (height, width, 3) uint8 BGR; none where it was not kept.
            frame: The tracks after this frame.
            captured_at_s: Its capture time, UTC seconds.

        Raises:
            ModelError: A classifier failed.
        """
        if not self._stages:
            return frame
        for stage in self._stages:
            if picture is not None:
                stage.look(picture, frame.seen, captured_at_s)
        for track in frame.seen:
            self._dues_s[track.track_id] = min(
                stage.due_s(track, captured_at_s) for stage in self._stages
            )
        seen = tuple(self._named(track) for track in frame.seen)
        ended = self.end(frame.ended)
        # Also of those that are out of sight for some frames.
        self._due_s = min(self._dues_s.values(), default=_NEVER_S)
        self._newest_s = captured_at_s
        return TrackedFrame(seen, ended, frame.track_ids)

    def end(self, tracks: Iterable[Track]) -> tuple[Track, ...]:
        """Return tracks that have ended, with their attributes, and forget them."""
        named = tuple(self._named(track) for track in tracks)
        for track in named:
            self._dues_s.pop(track.track_id, None)
            for stage in self._stages:
                stage.forget(track.track_id)
        return named

    def _named(self, track: Track) -> Track:
        answers = ((stage.name, stage.answer(track.track_id)) for stage in self._stages)
        attributes = {name: answer for name, answer in answers if answer}
        return msgspec.structs.replace(track, attributes=attributes) if attributes else track


class _Stage:
    """One classifier, and what it has said of each track."""

    def __init__(self, config: SecondStage, model: PictureModel, settings: TrackerSettings) -> None:
        self.name = config.name
        self._config = config
        self._model = model
        self._settings = settings
        self._votes: dict[int, dict[str, float]] = {}
        self._looked_s: dict[int, float] = {}

    def look(self, picture: Image, tracks: Sequence[Track], now_s: float) -> None:
        """Judge the objects that are due, those that wait longest first."""
        due = [track for track in tracks if self._is_due(track, now_s)]
        due.sort(key=lambda track: self._looked_s.get(track.track_id, _AT_ONCE_S))
        for track in due[: self._config.at_most]:
            self._looked_s[track.track_id] = now_s
            votes = self._votes.setdefault(track.track_id, {})
            for answer in self._model.look(crop(picture, track.detection.box, self._config.margin)):
                votes[answer.label] = votes.get(answer.label, 0.0) + answer.score

    def due_s(self, track: Track, now_s: float) -> float:
        """Return from which capture time on a picture of a track is wanted."""
        # One that may be believed with its next detection is waited for with a picture.
        if track.hits < self._settings.confirm_hits - 1 or not self._suits(track):
            return _NEVER_S
        last_s = self._looked_s.get(track.track_id, _AT_ONCE_S)
        # Where the clock was set back, the last look says nothing.
        return _AT_ONCE_S if last_s > now_s else last_s + self._config.every_s

    def answer(self, track_id: int) -> str:
        """Return the label with the most votes; empty while there is none."""
        votes = self._votes.get(track_id)
        return max(votes, key=votes.__getitem__) if votes else ""

    def forget(self, track_id: int) -> None:
        """Let go of a track."""
        self._votes.pop(track_id, None)
        self._looked_s.pop(track_id, None)

    def _is_due(self, track: Track, now_s: float) -> bool:
        is_believed = track.hits >= self._settings.confirm_hits
        return is_believed and now_s >= self.due_s(track, now_s)

    def _suits(self, track: Track) -> bool:
        """Return whether a track is one to look at, and in good view."""
        config, detection = self._config, track.detection
        box = detection.box
        return (
            detection.score >= self._settings.certain_score
            and min(box.x2 - box.x1, box.y2 - box.y1) >= config.least_side_px
            and (not config.labels or track.label in config.labels)
        )
