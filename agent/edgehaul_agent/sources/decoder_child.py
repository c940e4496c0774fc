"""The process that decodes for the agent: ``python -m edgehaul_agent.sources.decoder_child FD``.

What a stream does to it stays here: it has a limit of memory, writes no files and no core dumps,
and ends with the agent.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import socket
import sys
from pathlib import Path

import cv2
import msgspec
import numpy as np

from edgehaul.values import Image
from edgehaul_agent.sources.decoder_messages import (
    MOST_PACKET_BYTES,
    Decode,
    Grab,
    Open,
    Place,
    Reply,
    Request,
    Retrieve,
    TakeInput,
)
from edgehaul_agent.sources.jpeg import decode_jpeg
from edgehaul_agent.sources.opencv import Capture, open_capture

MEMORY_BYTES = 1 << 30
"""What decoding may take besides the libraries: 4K with sixteen reference frames takes 0.3 GiB."""
_MOST_FILES = 64
_PR_SET_PDEATHSIG = 1
_PROPERTIES = (
    cv2.CAP_PROP_FPS,
    cv2.CAP_PROP_FRAME_COUNT,
    cv2.CAP_PROP_POS_MSEC,
    cv2.CAP_PROP_HW_ACCELERATION,
)


def main(descriptor: int, parent: int) -> None:
    """Serve until the agent closes its end.

    Args:
        descriptor: Our end of the socket pair.
        parent: Number of the agent's process.
    """
    _end_with(parent)
    _limit()
    cv2.setNumThreads(1)
    decoder = Decoder()
    with socket.socket(fileno=descriptor) as link:
        decode = msgspec.msgpack.Decoder(Request).decode
        encode = msgspec.msgpack.Encoder().encode
        while True:
            packet, descriptors, _, _ = socket.recv_fds(link, MOST_PACKET_BYTES, 1)
            if not packet:
                return
            link.sendall(encode(decoder.answer(decode(packet), *descriptors)))


class Decoder:
    """One video, or a row of pictures."""

    def __init__(self) -> None:
        self._capture: Capture | None = None
        self._slots: mmap.mmap | None = None
        self._slot_bytes = 0
        self._input: mmap.mmap | None = None
        self._image: Image | None = None

    def answer(self, request: Request, descriptor: int = -1) -> Reply:
        """Do what is asked."""
        if isinstance(request, Open):
            self._capture = open_capture(request.target, request.backend, request.options)
            return self._reply(ok=self._capture.isOpened())
        if isinstance(request, Grab):
            return self._reply(ok=self._capture is not None and self._capture.grab())
        if isinstance(request, Retrieve):
            self._image = self._retrieved()
            return self._placed(request.slot)
        if isinstance(request, Decode):
            content = b"" if self._input is None else self._input[: request.length]
            self._image = decode_jpeg(content)
            return self._placed(request.slot)
        return self._mapped(request, descriptor)

    def _mapped(self, request: Place | TakeInput, descriptor: int) -> Reply:
        try:
            mapped = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        except OSError:  # beyond our limit of memory: what was mapped before stays
            return Reply(ok=False)
        finally:
            os.close(descriptor)
        if isinstance(request, TakeInput):
            self._input = mapped
            return Reply(ok=True)
        self._slots, self._slot_bytes = mapped, request.size
        return self._placed(request.slot)

    def _retrieved(self) -> Image | None:
        if self._capture is None:
            return None
        try:
            decoded, image = self._capture.retrieve()
        except (cv2.error, MemoryError):  # a header may declare more than our limit
            return None
        return image.astype(np.uint8, copy=False) if decoded and image is not None else None

    def _placed(self, slot: int) -> Reply:
        image = self._image
        if image is None or image.shape[2:] != (3,):
            return Reply(ok=False)
        height, width = image.shape[:2]
        if self._slots is None or image.nbytes > self._slot_bytes:
            return Reply(ok=True, height=height, width=width)
        target = np.frombuffer(self._slots, np.uint8, image.nbytes, slot * self._slot_bytes)
        target.reshape(image.shape)[:] = image
        self._image = None
        return Reply(ok=True, height=height, width=width, is_placed=True)

    def _reply(self, *, ok: bool) -> Reply:
        if self._capture is None or not ok:
            return Reply(ok=ok)
        get = self._capture.get
        return Reply(ok=ok, properties={name: float(get(name)) for name in _PROPERTIES})


def _end_with(parent: int) -> None:
    """Be ended when the agent is, also where it was killed and we hang."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def _limit() -> None:
    used_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most_bytes = used_pages * resource.getpagesize() + MEMORY_BYTES
    for limit, most in (
        (resource.RLIMIT_AS, most_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _MOST_FILES),
    ):
        resource.setrlimit(limit, (most, most))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
