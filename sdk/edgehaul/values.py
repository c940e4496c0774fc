"""The frozen values that cross borders between stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from edgehaul.geometry import Box

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    """A picture of shape (height, width, 3), BGR, uint8, as OpenCV gives it."""
else:
    Image = Any


class Frame(msgspec.Struct, frozen=True):
    """One picture of a stream.

    Attributes:
        stream: Name of the stream.
        index: Number of the frame within its stream, from 0; gaps are dropped frames.
        captured_at_s: UTC seconds since 1970 at which the picture was taken.
        image: The picture, (height, width, 3) uint8 BGR.
    """

    stream: str
    index: int
    captured_at_s: float
    image: Image


class Detection(msgspec.Struct, frozen=True):
    """One object found in a picture.

    Attributes:
        box: Where, in pixels of the original picture.
        class_id: Index into the model's labels.
        label: Name of the class.
        score: Confidence in 0..1.
    """

    box: Box
    class_id: int
    label: str
    score: float


class Track(msgspec.Struct, frozen=True):
    """One object followed over several frames, as it stands after the newest frame.

    Attributes:
        track_id: Identity within its stream, never used twice in one run.
        detection: The newest detection of the object.
        first_seen_at_s: Capture time of the first detection, UTC seconds.
        last_seen_at_s: Capture time of the newest detection, UTC seconds.
        hits: Number of frames in which the object was detected.
        label_scores: Summed score by label over the track's life, views cut by the picture's edge
            counting less; the largest is the best label.
        attributes: What further models say of the object, by name.
    """

    track_id: int
    detection: Detection
    first_seen_at_s: float
    last_seen_at_s: float
    hits: int
    label_scores: dict[str, float] = {}
    attributes: dict[str, str] = {}

    @property
    def label(self) -> str:
        """The label with the largest summed score, so that one bad frame changes nothing."""
        if not self.label_scores:
            return self.detection.label
        return max(self.label_scores, key=self.label_scores.__getitem__)


class Fix(msgspec.Struct, frozen=True, kw_only=True):
    """One position of a receiver.

    Attributes:
        captured_at_s: UTC seconds since 1970 of the fix.
        latitude_deg: WGS 84 latitude, north positive.
        longitude_deg: WGS 84 longitude, east positive.
        speed_mps: Speed over ground, where the receiver gives it.
        heading_deg: Course over ground clockwise from north in 0..360, where given.
        altitude_m: Height above mean sea level, where given.
        accuracy_m: Horizontal accuracy (1 sigma), where given.
    """

    captured_at_s: float
    latitude_deg: float
    longitude_deg: float
    speed_mps: float | None = None
    heading_deg: float | None = None
    altitude_m: float | None = None
    accuracy_m: float | None = None
