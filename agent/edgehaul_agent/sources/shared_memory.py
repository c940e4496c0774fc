"""Memory that the agent shares with a process that decodes for it."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import weakref
from collections import deque

import numpy as np

from edgehaul.values import Image


class SharedMemory:
    """Anonymous memory with a descriptor, sealed: nobody can make it smaller under the other.

    Args:
        size: Bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.descriptor = os.memfd_create("edgehaul-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.descriptor, size)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)
        self.map = mmap.mmap(self.descriptor, size)
        self._close = weakref.finalize(self, os.close, self.descriptor)

    def close(self) -> None:
        """Close the descriptor; the memory lives as long as somebody has it mapped."""
        self._close()


class Slots:
    """Places for pictures of at most ``size`` bytes each.

    A picture is lent without a copy, and its slot is free again when nobody refers to the picture,
    or to a part of it, any more.

    Args:
        count: Number of slots.
        size: Bytes of each.
    """

    def __init__(self, count: int, size: int) -> None:
        self.size = size
        self.memory = SharedMemory(count * size)
        # Slots are given back by whichever thread drops a picture; a deque bears that.
        self._free = deque(range(count))

    def take(self) -> int:
        """Return a slot that is free; there always is one between two calls of :meth:`lend`."""
        return self._free[0]

    def lend(self, slot: int, height: int, width: int) -> Image:
        """Return the picture in the slot that :meth:`take` named.

        Where all other slots are in use the picture is copied, so that this one stays free.

        Args:
            slot: The slot.
            height: Of the picture.
            width: Of the picture.
        """
        shape, length = (height, width, 3), height * width * 3
        if len(self._free) == 1:
            view = np.frombuffer(self.memory.map, np.uint8, length, slot * self.size)
            return view.reshape(shape).copy()
        self._free.remove(slot)
        buffer = (ctypes.c_uint8 * length).from_buffer(self.memory.map, slot * self.size)
        weakref.finalize(buffer, self._free.append, slot).atexit = False
        return np.frombuffer(memoryview(buffer), np.uint8).reshape(shape)
