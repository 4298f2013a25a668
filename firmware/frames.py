# SPDX-License-Identifier: Apache-2.0
"""What crosses a serial line between a host and a board: the one place that knows its bytes.

A request is a header (operation, byte address, count of words, check byte), and to write the words
and a check byte behind them. The answer to a read is the words, a status and a check byte; to all
else a status and a check byte. Numbers are little-endian. A check byte is the CRC-8/I-432-1 of the
bytes from the last check byte on.
"""

import enum
import struct

import numpy as np

__all__ = [
    "REQUEST_BYTES",
    "MOST_WORDS",
    "FrameError",
    "FrameKind",
    "Status",
    "answer_bytes",
    "check_byte",
    "parse_answer",
    "request_bytes",
]

HEADER = struct.Struct("<BIH")
REQUEST_BYTES = HEADER.size + 1  # with its check byte
MOST_WORDS = (1 << 16) - 1
POLYNOMIAL = 0x107
LAST = 0x55  # what the CRC is combined with at its end


class FrameKind(enum.IntEnum):
    """First byte of a request; a letter, capital for registers."""

    READ_REGISTER = ord("R")
    WRITE_REGISTER = ord("W")
    READ_MEMORY = ord("r")
    WRITE_MEMORY = ord("w")

    @property
    def is_write(self):
        return self in (FrameKind.WRITE_REGISTER, FrameKind.WRITE_MEMORY)


class Status(enum.IntEnum):
    """How a request ended; a letter."""

    OK = ord("O")
    BUS = ord("B")  # the bus answered with an error, at least once
    FRAME = ord("F")  # no such operation, or a wrong check byte: nothing, or not all, was done


class FrameError(RuntimeError):
    """An answer that is none, or that says that the request was not carried out."""


def check_byte(data: bytes) -> int:
    """CRC-8/I-432-1: zeros alone do not pass, as they would with a plain CRC."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value << 1 ^ (POLYNOMIAL if value & 0x80 else 0)
    return value ^ LAST


def request_bytes(operation: FrameKind, address: int, words: int | np.ndarray) -> bytes:
    """The bytes of a request; `words` is how many to read, or those to write."""
    count = words if isinstance(words, int) else len(words)
    if not 1 <= count <= MOST_WORDS:
        raise ValueError(f"A request must be of 1..{MOST_WORDS} words, not {count}")
    header = HEADER.pack(operation, address, count)
    frame = header + bytes([check_byte(header)])
    if not isinstance(words, int):
        data = np.asarray(words, "<u4").tobytes()
        frame += data + bytes([check_byte(data)])
    return frame


def answer_bytes(operation: FrameKind, count: int) -> int:
    """Bytes of the answer to a request of so many words."""
    return (0 if operation.is_write else 4 * count) + 2


def parse_answer(operation: FrameKind, count: int, answer: bytes) -> np.ndarray:
    """The words read, none of a write; raises FrameError."""
    if len(answer) == 2 and answer[0] == Status.FRAME:
        raise FrameError("The board found a damaged request")
    if len(answer) != answer_bytes(operation, count):
        raise FrameError(f"{len(answer)} bytes of {answer_bytes(operation, count)} came in time")
    if check_byte(answer[:-1]) != answer[-1]:
        raise FrameError("The answer is damaged")
    if answer[-2] != Status.OK:
        kinds = {
            int(Status.BUS): "the bus answered with an error",
            int(Status.FRAME): "a damaged request",
        }
        raise FrameError(f"The board says: {kinds.get(answer[-2], f'status {answer[-2]}')}")
    return np.frombuffer(answer[:-2], "<u4")
