"""Decoding in a process of its own: what a stream does to the decoder does not reach the agent.

A decoder that crashes, fills its memory or hangs is a fault of its source, and no more. Frames
come in shared memory, three slots of it, and are not copied on this side. Linux alone has what
this takes.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from edgehaul.errors import SourceError
from edgehaul.values import Image
from edgehaul_agent.sources.decoder_messages import (
    MOST_PACKET_BYTES,
    MOST_PICTURE_BYTES,
    SLOTS,
    Decode,
    Grab,
    Open,
    Place,
    Reply,
    Request,
    Retrieve,
    TakeInput,
)
from edgehaul_agent.sources.shared_memory import SharedMemory, Slots

_MODULE = "edgehaul_agent.sources.decoder_child"
_START_S = 20.0
_PICTURE_S = 10.0
_END_S = 2.0
_LEAST_BYTES = 1 << 16


class DecoderProcess:
    """A process that decodes; it is started at the first request.

    Args:
        where: The source as errors may show it.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self._slots = Slots(SLOTS, _LEAST_BYTES)

    def ask(self, request: Request, *, within_s: float, descriptor: int | None = None) -> Reply:
        """Return the answer to a request.

        Args:
            request: What to do.
            within_s: Longest wait for the answer.
            descriptor: Memory to hand over.

        Raises:
            SourceError: The process has crashed, or does not answer in time; it is ended.
        """
        if self._link is None:
            self._link = self._start()
            within_s += _START_S
        descriptors = [] if descriptor is None else [descriptor]
        try:
            self._link.settimeout(within_s)
            socket.send_fds(self._link, [msgspec.msgpack.encode(request)], descriptors)
            packet = self._link.recv(MOST_PACKET_BYTES)
            if packet:
                return msgspec.msgpack.decode(packet, type=Reply)
        except TimeoutError:
            self._end(0)
            raise SourceError(
                f"the decoder hung for {within_s:.0f} s and was ended", where=self._where
            ) from None
        except (OSError, msgspec.DecodeError):
            pass  # a process that dies resets the link, or leaves half a word
        raise self._death()

    def picture(self, request: Retrieve | Decode) -> Image | None:
        """Return the picture that a request makes; none where it cannot be decoded.

        Raises:
            SourceError: The process has crashed, or does not answer in time.
        """
        reply = self.ask(request, within_s=_PICTURE_S)
        if not reply.ok:
            return None
        length = reply.height * reply.width * 3
        if not 0 < length <= MOST_PICTURE_BYTES or min(reply.height, reply.width) < 1:
            return None
        slot = request.slot if reply.is_placed else self._enlarge(reply, length)
        if slot is None or length > self._slots.size:
            return None
        return self._slots.lend(slot, reply.height, reply.width)

    def _enlarge(self, reply: Reply, length: int) -> int | None:
        """Take larger slots; return where the picture is now, none where memory was short."""
        slots = Slots(SLOTS, length)
        slot = slots.take()
        place, memory = Place(length, slot), slots.memory
        placed = self.ask(place, within_s=_PICTURE_S, descriptor=memory.descriptor)
        if not placed.ok:
            memory.close()
            return None
        self._slots.memory.close()
        self._slots = slots
        same = (placed.height, placed.width) == (reply.height, reply.width)
        return slot if placed.is_placed and same else None

    def free_slot(self) -> int:
        """Return where the next picture goes."""
        return self._slots.take()

    def close(self) -> None:
        """End the process."""
        self._end(_END_S)
        self._slots.memory.close()

    def _start(self) -> socket.socket:
        # Packets keep their borders, and their end is noticed.
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-P", "-m", _MODULE, str(theirs.fileno()), str(os.getpid())]
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": _import_path()},
                start_new_session=True,  # Ctrl-C is for the agent, which ends it
            )
        return ours

    def _death(self) -> SourceError:
        status = self._end(_END_S)
        if status is not None and status < 0:
            with suppress(ValueError):
                how = f"crashed ({signal.Signals(-status).name})"
                return SourceError(f"the decoder {how}", where=self._where)
        return SourceError(f"the decoder ended with status {status}", where=self._where)

    def _end(self, patience_s: float) -> int | None:
        """Let it end, or end it; return its exit status."""
        link, self._link = self._link, None
        process, self._process = self._process, None
        if link is not None:
            link.close()
        if process is None:
            return None
        try:
            # It has no more to do than to notice; one that hangs does not.
            return process.wait(patience_s if process.poll() is None else 0)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


class IsolatedCapture:
    """A ``cv2.VideoCapture`` in a process of its own.

    Args:
        target: Address or path.
        backend: One of ``cv2.CAP_...``.
        options: Properties, each followed by its value.
        where: The source as errors may show it.
        open_s: Longest wait until it is open.
        grab_s: Longest wait for a frame.
    """

    def __init__(
        self,
        target: str,
        backend: int,
        options: Sequence[int] = (),
        *,
        where: str,
        open_s: float,
        grab_s: float,
    ) -> None:
        self._grab_s = grab_s
        self._decoder = DecoderProcess(where)
        try:
            self._last = self._decoder.ask(Open(target, backend, list(options)), within_s=open_s)
        except SourceError:
            self._decoder.close()
            raise
        self._is_open = self._last.ok

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        """Return whether there is something to read."""
        return self._is_open

    def get(self, propId: int, /) -> float:  # noqa: N803 - OpenCV's name
        """Return one of the properties that are asked for here; 0 where it is unknown."""
        return self._last.properties.get(propId, 0.0)

    def set(self, propId: int, value: float, /) -> bool:  # noqa: N803, ARG002 - OpenCV's name
        """Return False: what is to be set is given at the opening."""
        return False

    def grab(self) -> bool:
        """Take the next frame.

        Raises:
            SourceError: The decoder has crashed or hangs.
        """
        reply = self._decoder.ask(Grab(), within_s=self._grab_s)
        if reply.ok:
            self._last = reply
        return reply.ok

    def retrieve(self) -> tuple[bool, Image | None]:
        """Return the frame taken last as a picture.

        Raises:
            SourceError: The decoder has crashed or hangs.
        """
        image = self._decoder.picture(Retrieve(self._decoder.free_slot()))
        return image is not None, image

    def release(self) -> None:
        """End the process."""
        self._is_open = False
        self._decoder.close()


class IsolatedJpegs:
    """Makes pictures of JPEG files in a process of its own.

    Args:
        where: The source as errors may show it.
    """

    def __init__(self, where: str) -> None:
        self._decoder = DecoderProcess(where)
        self._input: SharedMemory | None = None

    def decode(self, content: bytes) -> Image | None:
        """Return a picture; none where this is no picture.

        Raises:
            SourceError: The decoder has crashed or hangs.
        """
        if not content:
            return None
        if self._input is None or self._input.size < len(content):
            if self._input is not None:
                self._input.close()
            self._input = SharedMemory(2 * len(content))
            request = TakeInput(self._input.size)
            self._decoder.ask(request, within_s=_PICTURE_S, descriptor=self._input.descriptor)
        self._input.map[: len(content)] = content
        return self._decoder.picture(Decode(len(content), self._decoder.free_slot()))

    def close(self) -> None:
        """End the process."""
        self._decoder.close()
        if self._input is not None:
            self._input.close()
            self._input = None


def _import_path() -> str:
    """Return where the child finds what this process has imported, also in a bare checkout."""
    return os.pathsep.join(path for path in sys.path if path)
