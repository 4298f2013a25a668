# SPDX-License-Identifier: Apache-2.0
"""Cycles of embeddings (part of sim/cycles/model.py): runs of words over a port, rows of the embedding image over the embedding port."""

import struct

from golden_model.bitmask import WORD_ROWS
from sim.cycles.linear import BURSTS

__all__ = ["Embedder", "Port", "Rows"]

AHEAD = 4  # rows looked up ahead (hw/queue/embedding_table.py)
RUNS = 8  # requests whose words have not come
INSIDE = 4  # tokens in the embedder
REQUEST = 4  # cycles of the reader for a request, its first address in the last one
BUFFERED = 3  # from the bus to the reader's output


class Port:
    """Runs of 32-bit words through a reader of bus words; `free` is when the reader takes the next request; `behind`: words of others that were
    asked for before go until then."""

    def __init__(self, memory, burst):
        self.memory = memory
        self.burst = burst
        self.free = 0
        self.taken = 0
        self.behind = 0
        self.finish = []

    def request(self, at, address, count):
        """Asks for the bus words of `count` bytes -> (when it was taken, when each is at the output)."""
        width = self.memory.width
        taken = max(at, self.free)
        first, last = address // width, (address + count - 1) // width
        ask, beats = self._ask(taken + REQUEST - 1), []
        for number in range(first, last + 1):
            if number > first and number % self.burst == 0:
                self.finish.append(beats[-1] - BUFFERED)
                ask = self._ask(ask + 2)
            beats.append(self.memory.beat(ask + self.memory.latency) + BUFFERED)
        self.finish.append(beats[-1] - BUFFERED)
        self.free = ask + 1
        return taken, beats

    def _ask(self, at):
        """When the memory takes the address of a burst."""
        return max(at, self.finish[-BURSTS] + 1) if len(self.finish) >= BURSTS else at

    def words(self, beats):
        """When each 32-bit word of the bus words is taken, one a cycle; the last is the end of the run."""
        found = []
        for beat in beats:
            start = max(beat, self.taken + 1, self.behind + 1)
            found += range(start, start + self.memory.width // 4)
            self.taken = found[-1]
        return found


class Rows:
    """Where the rows of the embedding image lie and what lies in them."""

    def __init__(self, image):
        words = struct.unpack("<16I", image[:64])
        self.image = image
        self.vocabulary = words[5]
        self.positions = words[6]
        self.features = words[7]
        self.table = words[8]

    def numbers(self, token, position, segment):
        return token, self.vocabulary + position, self.vocabulary + self.positions + segment

    def place(self, number):
        """(byte offset, bytes) of a row."""
        begin, end = struct.unpack(
            "<2I", self.image[self.table + 4 * number : self.table + 4 * number + 8]
        )
        return begin, end - begin

    def steps(self, begin):
        """For each cycle of the decoder whether it takes a byte: masks, features, check byte."""
        at, left = begin, self.features
        while left > 0:
            mask = self.image[at] | self.image[at + 1] << 8
            yield from (True, True)
            at += 2 + mask.bit_count()
            yield from (bool(mask >> bit & 1) for bit in range(min(left, WORD_ROWS)))
            left -= WORD_ROWS
        yield True


class Embedder:
    """hw/queue/embedding.py with its row fetcher: look-ups go before reads while few are ahead; everything else is in order."""

    def __init__(self, rows, port):
        self.rows, self.port = rows, port
        self.choose = self.resting = 0  # when the fetcher can ask again; the decoder take a row
        self.numbers, self.places = (
            [],
            [],
        )  # (when known, number), (when looked up, byte offset, bytes)
        self.asked, self.done, self.third = (
            0,
            [],
            0,
        )  # when the last number was taken; tokens' ends; rows of this token
        self.begun, self.ended = (
            [],
            [],
        )  # when rows were taken by the decoder; when requests' last words came
        self.accepted = 0

    def accept(self, at, numbers):
        """A token that comes at `at` -> when it is taken."""
        taken, number = max(at, self.asked + 1), self.accepted
        while number - len(self.done) >= INSIDE:
            self._serve(None)
        if number >= INSIDE:
            taken = max(taken, self.done[number - INSIDE] + 2)
        self._serve(taken)
        self.accepted += 1
        for index, row in enumerate(numbers):
            self.numbers.append((taken + 1 + index, row))
            while self.numbers:
                self._serve(None)
        return taken

    def finish(self):
        """When the last token is done."""
        while self.places:
            self._serve(None)
        return self.done[-1]

    def _serve(self, until):
        """The fetcher's next request; with `until` those that are made before that cycle."""
        while True:
            look = (
                max(self.choose, self.numbers[0][0])
                if self.numbers and len(self.places) < AHEAD
                else None
            )
            read = max(self.choose, self.places[0][0]) if self.places else None
            at = min(x for x in (look, read, float("inf")) if x is not None)
            if at == float("inf") or until is not None and at >= until:
                return
            if look is not None and look == at:
                self._look(at)
            else:
                self._read(at)
            if until is None:
                return

    @staticmethod
    def _room(leave, depth):
        """When a queue takes one more word, of which those before left at `leave`."""
        return leave[-depth] + 1 if len(leave) >= depth else 0

    def _look(self, at):
        number = self.numbers.pop(0)[1]
        address = self.rows.table + 4 * number
        taken, beats = self.port.request(max(at + 2, self._room(self.ended, RUNS)), address, 8)
        self.choose, self.asked = taken + 1, at
        self.ended.append(self.port.words(beats)[-1])
        self.places.append((self.ended[-1] + 2, *self.rows.place(number)))
        self.port.taken += 1  # the offsets are judged

    def _read(self, at):
        _, begin, size = self.places.pop(0)
        taken, beats = self.port.request(
            max(at + 2, self._room(self.ended, RUNS), self._room(self.begun, AHEAD)), begin, size
        )
        self.choose = taken + 1
        time = max(self.resting, taken + 1)  # the decoder takes the row
        self.begun.append(time)
        width = self.port.memory.width
        byte = begin
        word = begin // width
        free = max(beats[0], self.port.taken + 1)
        free += begin % width // 4  # words before the row
        for takes in self.rows.steps(begin):
            time += 1
            if takes:
                if byte // width != word:
                    word = byte // width
                    free = beats[word - begin // width]
                time = max(time, free)
                byte += 1
        last = begin // width + len(beats)
        rest = (last * width - byte + 3) // 4  # words after it
        checked, time = time, max(time + max(1, rest), beats[-1])
        self.port.taken = time
        self.ended.append(time)
        self.third = (self.third + 1) % 3
        self.resting = time + 3
        if not self.third:
            self.done.append(max(time + 3, checked + 6))  # its last word has been written
            self.resting = self.done[-1] + 2
