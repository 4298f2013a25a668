# SPDX-License-Identifier: Apache-2.0
"""Cycles of embeddings (part of sim/cycles/model.py): rows of their image over their port.

All times are cycles.
"""

import struct

from firmware.embedding_image import EMBEDDING_HEADER, ROW_CHECK_BYTES
from golden_model.bitmask import WORD_ROWS
from golden_model.hardware import ceil_div
from hw.array.bitmask import MASK_BYTES
from hw.queue import embedding, embedding_row, embedding_sum, embedding_table
from hw.queue.embedding_table import OFFSET_BYTES
from sim.cycles.memory import WORD_BYTES

__all__ = ["EmbedderTimes", "RowImage"]


class RowImage:
    """Where the rows of an embedding image lie, and what lies in them.

    table : byte offset of the row table
    """

    def __init__(self, image):
        values = struct.unpack_from(f"<{len(EMBEDDING_HEADER)}I", image)
        header = dict(zip(EMBEDDING_HEADER, values, strict=True))
        self.table = header["table_offset"]
        self._image = image
        self._vocabulary = header["vocabulary"]
        self._positions = header["positions"]
        self._features = header["width"]

    def numbers(self, token, position, segment):
        """The rows of a token: of its word, its position and its segment."""
        return token, self._vocabulary + position, self._vocabulary + self._positions + segment

    def entry(self, number):
        """(byte offset, bytes) of what a look-up of a row reads: its offset and the next one's."""
        return self.table + OFFSET_BYTES * number, 2 * OFFSET_BYTES

    def place(self, number):
        """(byte offset, bytes) of a row."""
        begin, end = struct.unpack_from("<2I", self._image, self.entry(number)[0])
        return begin, end - begin

    def steps(self, begin):
        """For each cycle of the decoder whether it takes a byte: masks, features, check."""
        at = begin
        left = self._features
        while left > 0:
            mask = int.from_bytes(self._image[at : at + MASK_BYTES], "little")
            yield from [True] * MASK_BYTES
            at += MASK_BYTES + mask.bit_count()
            yield from (bool(mask >> bit & 1) for bit in range(min(left, WORD_ROWS)))
            left -= WORD_ROWS
        yield from [True] * ROW_CHECK_BYTES


class EmbedderTimes:
    """hw/queue/embedding.py with its row fetcher and decoder.

    Look-ups go before reads while few rows are ahead; everything else is in order.
    """

    def __init__(self, rows, port):
        self._rows = rows
        self._port = port
        # When the fetcher can choose again, and the decoder take a row.
        self._choice = 0
        self._resting = 0
        # Rows that wait: (when its number is there, number); (when it may be chosen, byte offset,
        # bytes) of those looked up.
        self._numbers = []
        self._places = []
        self._taken = 0  # when the last number was taken
        self._begun = []  # rows: when the decoder took them
        self._ended = []  # requests: when their last words came
        self._table = 0  # of the row that comes
        self._accepted = 0  # tokens
        self._done = []  # tokens: when they were

    def accept(self, at, numbers):
        """A token with these rows comes at `at`; when it is taken."""
        taken = max(at, self._taken + 1)
        left = self._accepted - embedding.TOKENS  # the token that must have been done
        while left >= len(self._done):
            self._serve(None)
        if left >= 0:
            taken = max(taken, self._done[left] + embedding.REST)
        self._serve(taken)
        self._accepted += 1
        for index, row in enumerate(numbers):
            self._numbers.append((taken + 1 + index, row))
            while self._numbers:
                self._serve(None)
        return taken

    def finish(self):
        """When the last token is done."""
        while self._places:
            self._serve(None)
        return self._done[-1]

    def _serve(self, until):
        """The fetcher's next request; with `until` those that are made before that cycle."""
        while True:
            look = read = float("inf")
            if self._numbers and len(self._places) < embedding_table.AHEAD:
                look = max(self._choice, self._numbers[0][0])
            if self._places:
                read = max(self._choice, self._places[0][0])
            at = min(look, read)
            if at == float("inf") or until is not None and at >= until:
                return
            if look == at:
                self._look(at)
            else:
                self._read(at)
            if until is None:
                return

    def _request(self, at, address, count, room=0):
        """The port's `request` for what was chosen at `at`; `room`: when a queue has some."""
        runs = _room(self._ended, embedding_table.RUNS)
        ready = max(at + embedding_table.CHOSEN, runs, room)
        taken, beats = self._port.request(ready, address, count)
        self._choice = taken + 1
        return taken, beats

    def _look(self, at):
        """A row is looked up."""
        number = self._numbers.pop(0)[1]
        _, beats = self._request(at, *self._rows.entry(number))
        self._taken = at
        self._ended.append(self._port.words(beats)[-1])
        found = self._ended[-1] + embedding_table.FOUND
        self._places.append((found, *self._rows.place(number)))
        self._port.taken += 1  # the offsets are judged

    def _read(self, at):
        """A row is read and decoded."""
        _, begin, size = self._places.pop(0)
        taken, beats = self._request(at, begin, size, _room(self._begun, embedding_table.AHEAD))
        start = max(self._resting, taken + 1)
        self._begun.append(start)
        checked, byte = self._decode(begin, beats, start)
        # Words behind the row come before the next one's.
        width = self._port.memory.width
        last = (begin // width + len(beats)) * width
        rest = ceil_div(last - byte, WORD_BYTES)
        ended = max(checked + max(1, rest), beats[-1])
        self._port.taken = ended
        self._ended.append(ended)
        self._resting = ended + embedding_row.NEXT
        self._table = (self._table + 1) % embedding_sum.TABLES
        if not self._table:
            self._done.append(max(self._resting, checked + embedding.SUMMED))
            self._resting = self._done[-1] + embedding.REST

    def _decode(self, begin, beats, start):
        """(when the last byte of the row at `begin` is taken, the byte behind it)."""
        width = self._port.memory.width
        first = word = begin // width
        # Words before the row, in its first bus word, come before it.
        free = max(beats[0], self._port.taken + 1) + begin % width // WORD_BYTES
        time = start
        byte = begin
        for takes in self._rows.steps(begin):
            time += 1
            if takes:
                if byte // width != word:
                    word = byte // width
                    free = beats[word - first]
                time = max(time, free)
                byte += 1
        return time, byte


def _room(times, depth):
    """When a queue of `depth` words takes one more, of which those before left at `times`."""
    return times[-depth] + 1 if len(times) >= depth else 0
