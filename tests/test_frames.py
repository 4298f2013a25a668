# SPDX-License-Identifier: Apache-2.0
"""Requests and answers of the serial line, and the link that asks again."""

import numpy as np
import pytest

from firmware.driver import SerialLink
from firmware.frames import (
    REQUEST_BYTES,
    FrameError,
    FrameKind,
    Status,
    answer_bytes,
    check_byte,
    parse_answer,
    request_bytes,
)


def test_check_byte_is_the_catalogued_one():
    """The check value of CRC-8/I-432-1; and zeros alone do not pass."""
    assert check_byte(b"123456789") == 0xA1
    assert check_byte(bytes(7)) != 0


def test_requests():
    frame = request_bytes(FrameKind.READ_MEMORY, 0x12345678, 3)
    assert frame[:-1] == b"r\x78\x56\x34\x12\x03\x00" and len(frame) == REQUEST_BYTES
    assert frame[-1] == check_byte(frame[:-1])
    frame = request_bytes(FrameKind.WRITE_REGISTER, 0x20, np.array([0x01020304], "<u4"))
    assert frame[REQUEST_BYTES:] == b"\x04\x03\x02\x01" + bytes([check_byte(b"\x04\x03\x02\x01")])
    for words in (0, 1 << 16):
        with pytest.raises(ValueError, match="1..65535 words"):
            request_bytes(FrameKind.READ_MEMORY, 0, words)


def answer(status=Status.OK, words=()):
    data = np.array(words, "<u4").tobytes() + bytes([status])
    return data + bytes([check_byte(data)])


@pytest.mark.parametrize(
    ("got", "text"),
    [
        (answer(Status.FRAME), "The board found a damaged request"),
        (answer(Status.BUS, [5]), "the bus answered with an error"),
        (answer(words=[5])[:-1], "5 bytes of 6 came in time"),
        (answer(words=[5])[:-1] + b"\0", "The answer is damaged"),
        (b"", "0 bytes of 6"),
    ],
)
def test_bad_answers(got, text):
    with pytest.raises(FrameError, match=text):
        parse_answer(FrameKind.READ_REGISTER, 1, got)


class Board:
    """A board in Python; `spoiled` answers of each kind come back damaged."""

    def __init__(self):
        self.memory, self.spoiled, self.requests, self._answer = {}, 0, [], b""

    def write(self, data):
        operation = FrameKind(data[0])
        address = int.from_bytes(data[1:5], "little")
        count = int.from_bytes(data[5:7], "little")
        self.requests.append((operation, address, count))
        if operation.is_write:
            for i, word in enumerate(np.frombuffer(data[REQUEST_BYTES:-1], "<u4")):
                self.memory[address + 4 * i] = int(word)
            self._answer = answer()
        else:
            words = [self.memory.get(address + 4 * i, 0) for i in range(count)]
            self._answer = answer(words=words)
        if self.spoiled:
            self.spoiled -= 1
            self._answer = self._answer[:-1] + bytes([self._answer[-1] ^ 1])

    def read(self, size):
        assert size == len(self._answer)
        return self._answer


def test_link():
    board = Board()
    link = SerialLink(board)
    link.write(0x20, 7)
    assert link.read(0x20) == 7
    text = bytes(range(256)) * 9 + b"tail"
    link.put(0x1000, text)
    assert link.get(0x1000, len(text)) == text
    assert max(count for *_, count in board.requests) == 256
    assert answer_bytes(FrameKind.WRITE_MEMORY, 256) == 2


def test_link_asks_again():
    """But for the write of a register, which may be a command."""
    board = Board()
    link = SerialLink(board)
    board.spoiled = 2
    link.put(0, b"abcd")
    assert len(board.requests) == 3
    board.spoiled = 3
    with pytest.raises(FrameError):
        link.get(0, 4)
    board.spoiled = 1
    with pytest.raises(FrameError):
        link.write(0x20, 1)
    assert len(board.requests) == 7
