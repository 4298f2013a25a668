# SPDX-License-Identifier: Apache-2.0
"""The machine on Linux: registers through UIO, memory through a buffer that the bus reaches too.

UIO gives a device's registers to user space (Documentation/driver-api/uio-howto.rst of Linux). The
buffer is u-dma-buf's, or anything with a file to map and a known bus address.
"""

import mmap
import os
import pathlib
import time

from firmware.registers import SPAN

__all__ = ["UioLink"]

SYSTEM = pathlib.Path("/sys/class/u-dma-buf")
PAUSE = 50e-6  # seconds between two reads of STATUS


class UioLink:
    """Registers of map 0 of a UIO device, and a DMA buffer as memory.

    Parameters
    ----------
    device : such as /dev/uio0
    buffer : such as /dev/udmabuf0
    base, size : the buffer's first bus address and its bytes; by default what the kernel says
    system : folder where it says so

    Raises OSError when a device is missing, and ValueError for memory outside the buffer.
    """

    def __init__(
        self,
        device: str | os.PathLike,
        buffer: str | os.PathLike,
        base: int | None = None,
        size: int | None = None,
        system: pathlib.Path = SYSTEM,
    ):
        known = system / pathlib.Path(buffer).name
        self.base = int((known / "phys_addr").read_text(), 16) if base is None else base
        size = int((known / "size").read_text()) if size is None else size
        self._registers = _map(device, max(SPAN, mmap.PAGESIZE))
        # One store for one register: slices of a memoryview would go byte by byte.
        self._words = memoryview(self._registers).cast("I")
        self._memory = _map(buffer, size)

    def read(self, offset: int) -> int:
        return self._words[offset // 4]

    def write(self, offset: int, value: int) -> None:
        self._words[offset // 4] = value

    def pause(self) -> None:
        time.sleep(PAUSE)

    def get(self, address: int, size: int) -> bytes:
        start = self._inside(address, size)
        return self._memory[start : start + size]

    def put(self, address: int, data: bytes) -> None:
        start = self._inside(address, len(data))
        self._memory[start : start + len(data)] = data

    def _inside(self, address, size):
        start = address - self.base
        if not 0 <= start <= start + size <= len(self._memory):
            raise ValueError(
                f"Memory must be in {self.base:#x}..{self.base + len(self._memory):#x}, "
                f"not {address:#x}..{address + size:#x}"
            )
        return start


def _map(path, size):
    descriptor = os.open(path, os.O_RDWR | os.O_SYNC)
    try:
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)
