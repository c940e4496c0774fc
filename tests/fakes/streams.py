"""Sources, models and an outbox of the agent that follow a script, for tests of what joins them."""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Self

import msgspec
import numpy as np

from edgehaul.bundle.spec import ImageInput
from edgehaul.errors import DataError
from edgehaul.messages.envelope import Payload
from edgehaul.messages.payloads import Lane
from edgehaul.values import Detection, Fix, Frame, Image
from edgehaul.vision.placement import Placement
from edgehaul.vision.preprocess import Canvas
from edgehaul_agent.sources.base import PLAYING, Condition


class FakeClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now_s(self) -> float:
        """Return the UTC time in seconds since 1970."""
        return 1_700_000_000.0 + self.passed_s

    def monotonic_s(self) -> float:
        """Return the time since the test began."""
        return self.passed_s

    def sleep(self, duration_s: float) -> None:
        """Let time pass."""
        self.passed_s += duration_s


class ListFrames:
    """A source of frames of the same size, 25 a second.

    Args:
        count: Number of frames.
        skip: Numbers of frames that are missing.
        before: Called with the number of each frame before it is given.
    """

    def __init__(
        self,
        count: int,
        *,
        skip: Sequence[int] = (),
        before: Callable[[int], None] = lambda _index: None,
    ) -> None:
        self.bad = len(skip)
        self.skipped = self.strided = 0
        self.given = 0
        self.is_open = False
        self._indices = [index for index in range(count) if index not in skip]
        self._before = before

    def __enter__(self) -> Self:
        """Open."""
        self.is_open = True
        return self

    def __exit__(self, *exception: object) -> None:
        """Close."""
        self.is_open = False

    def condition(self) -> Condition:
        """Return that it plays."""
        return PLAYING

    def frames(self, wants: Callable[[], bool] = lambda: True) -> Iterator[Frame]:
        """Yield the frames that are wanted."""
        assert self.is_open
        for index in self._indices:
            self._before(index)
            if not wants():
                self.skipped += 1
                continue
            self.given += 1
            # The first pixel tells a scripted model which frame it sees.
            image = np.zeros((480, 640, 3), np.uint8)
            image[0, 0] = [index % 256, index // 256, 0]
            yield Frame("dock", index, 1_000.0 + index / 25, image)


class ListFixes:
    """A source of fixes.

    Args:
        fixes: They.
        clock: Where it is given the source is live: each fix comes when a second has passed.
    """

    def __init__(self, fixes: Sequence[Fix], *, clock: FakeClock | None = None) -> None:
        self.is_live = clock is not None
        self._clock = clock
        self._fixes = fixes

    def __enter__(self) -> Self:
        """Open."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close."""

    def condition(self) -> Condition:
        """Return that it plays."""
        return PLAYING

    def fixes(self) -> Iterator[Fix]:
        """Yield the fixes."""
        for fix in self._fixes:
            yield fix
            if self._clock is not None:
                self._clock.sleep(1.0)

    def bad(self) -> int:
        """Return 0."""
        return 0


class ScriptedModel:
    """A picture model that answers by the number of the frame in :class:`ListFrames`."""

    certain_score = 0.5
    gives_objects = True

    def __init__(
        self,
        script: Callable[[int], Sequence[Detection]],
        *,
        unusable: Collection[int] = (),
    ) -> None:
        self._script = script
        self._unusable = unusable

    def canvas(self) -> Canvas:
        """Return a canvas that holds the first pixel, and refuses frames that are unusable."""
        return FirstPixel(self._unusable)

    def judge(self, canvas: Canvas, placement: Placement) -> tuple[Detection, ...]:
        """Return what the script says of this frame."""
        del placement
        return tuple(self._script(_number(canvas.pixels)))

    def look(self, image: Image) -> tuple[Detection, ...]:
        """Return what the script says of this frame."""
        canvas = self.canvas()
        return self.judge(canvas, canvas.place(image))


class FirstPixel(Canvas):
    """A canvas that holds the number of a frame; refuses those that are unusable."""

    def __init__(self, unusable: Collection[int]) -> None:
        super().__init__(ImageInput(width=1, height=1))
        self._unusable = unusable

    def place(self, image: Image) -> Placement:
        if _number(image) in self._unusable:
            raise DataError("this is no picture")
        super().place(image[:1, :1])
        height, width = image.shape[:2]
        return Placement(1, 1, 0, 0, width, height)


def _number(image: Image) -> int:
    return int(image[0, 0, 0]) + 256 * int(image[0, 0, 1])


class SentMessage(msgspec.Struct, frozen=True):
    """A message as it was put into the outbox."""

    payload: Payload
    topic: str
    lane: Lane
    captured_at_s: float
    subject: str


class MemoryOutbox:
    """An outbox that keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[SentMessage] = []
        self._lock = threading.Lock()

    def put(
        self,
        payload: Payload,
        *,
        topic: str,
        lane: Lane,
        captured_at_s: float,
        subject: str = "",
    ) -> None:
        """Keep a message."""
        with self._lock:
            self.messages.append(SentMessage(payload, topic, lane, captured_at_s, subject))

    def payloads(self, topic_end: str) -> list[Payload]:
        """Return the payloads whose topic ends like this, in order."""
        return [m.payload for m in self.messages if m.topic.endswith(topic_end)]
