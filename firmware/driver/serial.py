# SPDX-License-Identifier: Apache-2.0
"""A board at the end of a serial line: requests of firmware/frames.py over any stream of bytes."""

import time
from typing import Protocol

import numpy as np

from firmware.frames import FrameError, FrameKind, answer_bytes, parse_answer, request_bytes

__all__ = ["SerialLink"]

PAUSE = 1e-3  # seconds between two reads of STATUS
TRIES = 3  # of a request that a damaged byte spoiled
WORDS = 256  # of a request: a damaged byte costs no more than these


class Line(Protocol):
    """What pyserial's `Serial` does: `read` returns fewer bytes when its time is over."""

    def read(self, size: int) -> bytes: ...

    def write(self, data: bytes) -> int | None: ...


class SerialLink:
    """Registers and memory of a board behind a serial line.

    A request whose bytes were damaged is sent again, unless it may have been carried out and would
    do harm twice: a write of a register. Raises FrameError then, and after `TRIES`.
    """

    def __init__(self, line: Line):
        self._line = line

    def read(self, offset: int) -> int:
        return int(self._ask(FrameKind.READ_REGISTER, offset, 1)[0])

    def write(self, offset: int, value: int) -> None:
        self._ask(FrameKind.WRITE_REGISTER, offset, np.array([value], "<u4"), tries=1)

    def pause(self) -> None:
        time.sleep(PAUSE)

    def get(self, address: int, size: int) -> bytes:
        """`address` and `size` are multiples of four."""
        words = [
            self._ask(FrameKind.READ_MEMORY, at, min(WORDS, (address + size - at) // 4))
            for at in range(address, address + size, 4 * WORDS)
        ]
        return b"".join(part.tobytes() for part in words)

    def put(self, address: int, data: bytes) -> None:
        """`address` is a multiple of four; the last word is filled with zeros."""
        words = np.frombuffer(data + bytes(-len(data) % 4), "<u4")
        for start in range(0, len(words), WORDS):
            part = words[start : start + WORDS]
            self._ask(FrameKind.WRITE_MEMORY, address + 4 * start, part)

    def _ask(self, operation, address, words, tries=TRIES):
        count = len(words) if operation.is_write else words
        self._line.write(request_bytes(operation, address, words))
        answer = self._line.read(answer_bytes(operation, count))
        try:
            return parse_answer(operation, count, answer)
        except FrameError:
            if tries == 1:
                raise
        return self._ask(operation, address, words, tries - 1)
