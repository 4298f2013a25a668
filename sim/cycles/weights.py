# SPDX-License-Identifier: Apache-2.0
"""Cycles of LINEAR's weight streams (part of sim/cycles/model.py): bus, decoders, rings.

All times are cycles. A column is the unit of work; what happens inside one follows from its first
and last entry, because a lane's decoder gives, and its multipliers take, at most an entry a cycle.
"""

from bisect import bisect_left

import numpy as np

from firmware.columns import COLUMN_HEADER_BYTES, HEADERS, lane_strings
from golden_model.bitmask import WORD_ROWS
from golden_model.hardware import ceil_div
from hw.accelerator import BURST, OUTSTANDING
from hw.array.bitmask import AHEAD, CHUNK, HELD, MASK_BYTES, TAKEN
from hw.array.ring import LATENCY as RING
from hw.bus import dma, transfer
from hw.program import prefetch
from sim.cycles.memory import BEFORE

__all__ = ["LaneCode", "Streams"]

IN_FLIGHT = BURST * OUTSTANDING  # words that are asked for and not yet taken out of the reader


class LaneCode:
    """What the lanes' decoders do with each bus word of a weight stream.

    It is the same for every run, so the caller keeps it.

    By word, then lane:

    steps : (cycles to take the word's bytes, cycles until the next word may come, the column of
        this stream that must have been released before, -1 for none)
    held, begun : entries and columns of the lane until the word's end

    By group, then lane:

    word : the word that completes the column
    part : cycles of that word until then
    entries : of the column

    Parameters
    ----------
    columns : firmware.columns.Columns
    beats : bus words; stacked streams are as long as the longest
    lanes, bus_bytes, depth : column lanes, bytes of a bus word, entries of a lane's ring
    """

    def __init__(self, columns, beats, lanes, bus_bytes, depth):
        data = columns.data.ljust(beats * bus_bytes, b"\0")
        strings = lane_strings(data, lanes, bus_bytes)
        self.columns = columns
        self.words = len(strings[0]) // bus_bytes
        self.entries = np.maximum(columns.nonzeros, 1).tolist()
        # One waits behind the word whose chunks pass on. A word as wide as a chunk passes on at
        # once, so one more is in the decoder.
        self.ahead = AHEAD + (bus_bytes == CHUNK)
        self._depth = depth
        found = [self._lane(lane, string, bus_bytes) for lane, string in enumerate(strings)]
        steps, held, begun, word, part = (
            np.stack(one, 1).tolist() for one in zip(*found, strict=True)
        )
        self.steps = steps
        self.held = held
        self.begun = begun
        self.word = word
        self.part = part

    def _lane(self, lane, string, bus_bytes):
        """(steps, held, begun, word, part) of one lane, whose bytes are `string`."""
        masks = ceil_div(self.columns.rows, WORD_ROWS)
        cycles, entries, ends = _byte_cycles(string, self.columns.groups, masks)
        total = np.concatenate([[0], np.cumsum(cycles)])  # cycles before each byte
        starts = np.arange(self.words) * bus_bytes
        cost = total[starts + bus_bytes] - total[starts]
        # The next word comes when the last two chunks of this one are in the decoder's circle.
        early = total[starts + max(0, bus_bytes - 2 * CHUNK)] - total[starts]
        held = np.cumsum(entries)[starts + bus_bytes - 1]
        begun = np.searchsorted(ends, starts + bus_bytes, side="right")
        needs = self._needs(lane, held, begun)
        word = (ends - 1) // bus_bytes
        part = total[ends] - total[word * bus_bytes]
        return np.stack([cost, early, needs], -1), held, begun, word, part

    def _needs(self, lane, held, begun):
        """For each word the column of this stream that must have left the rings for its bytes."""
        entries = np.cumsum([row[lane] for row in self.entries])
        full = np.searchsorted(entries, held - self._depth, side="left")
        return np.maximum(np.where(held > self._depth, full, -1), begun - HEADERS)


def _byte_cycles(string, groups, masks):
    """What a lane's decoder does with each byte of its `string` (hw/array/bitmask.py's states).

    groups, masks : columns of the string, mask words of a column
    Returns arrays (cycles of each byte, entries of each byte, end of each column).
    """
    cycles = np.ones(len(string), int)
    entries = np.ones(len(string), int)
    ends = []
    at = 0
    for _ in range(groups):
        # A header is taken in parts of `TAKEN` bytes.
        for byte in range(COLUMN_HEADER_BYTES):
            cycles[at + byte] = byte % TAKEN == TAKEN - 1 or byte == COLUMN_HEADER_BYTES - 1
        entries[at : at + COLUMN_HEADER_BYTES] = 0
        at += COLUMN_HEADER_BYTES
        alone = True  # the mask is not taken together with the weight before it
        some = 0  # weights of the column
        for _ in range(masks):
            count = int.from_bytes(string[at : at + MASK_BYTES], "little").bit_count()
            cycles[at : at + MASK_BYTES] = 0
            cycles[at + MASK_BYTES - 1] = alone or not count
            entries[at : at + MASK_BYTES] = 0
            alone = not count
            some += count
            at += MASK_BYTES + count
        # A column without weights gives one entry.
        entries[at - 1] += not some
        ends.append(at)
    # What fills the last bus word is taken as fast as it can be.
    cycles[at:] = np.arange(len(string) - at) % TAKEN == TAKEN - 1
    entries[at:] = 0
    return cycles, entries, np.array(ends, int)


class Streams:
    """The words of one weight stream after another, word i to lane i % P.

    Follows the reader, the lanes' decoders, and what their rings still hold of earlier streams.

    asked : when the last address was asked for
    taken : when the last word was taken from the reader
    released : of each group that has run, when each lane released its column; the array adds to it
    """

    def __init__(self, config, memory):
        lanes = config.columns
        self.lanes = lanes
        self.depth = config.weight_depth
        self.memory = memory
        self.asked = BEFORE
        self.taken = 0
        self._before = 0  # when the word before that one was
        self._end = 0  # words asked for
        self._left = []  # words: when they left the reader's buffer
        # By lane: when its last byte is taken; when its next words may come, one after the other.
        self._done = [0] * lanes
        self._next = []
        # By lane, of all columns of earlier streams: entries up to it; when it was released.
        self._entries = [[0] for _ in range(lanes)]
        self._times = [[0] for _ in range(lanes)]

    def begin(self, code, ask, address, beats):
        """The next stream, which the prefetcher knows at `ask`; the one before is `finished`.

        code : `LaneCode`; address, beats : of its first byte in memory, bus words
        """
        self.code = code
        self.released = []
        # `_burst` adds what is between two bursts.
        self.asked = (
            max(ask, self.asked) + prefetch.LATENCY + transfer.ADDRESS_CYCLES - transfer.NEXT
        )
        self._beats = beats
        self._offset = address // self.memory.width % BURST
        self._first = self._end
        self._round = 0
        self._begins = []  # rounds: when the lanes begin with their words
        self._coming = iter(())  # words of the burst that was asked for last
        self._next = [[done + 1] + [0] * (code.ahead - 1) for done in self._done]

    def until(self, group):
        """When the last entry of each of the group's columns is at its ring's output."""
        words = self.code.word[group]
        while self._round <= max(words):
            self._take_round()
        return [
            self._begins[word][lane] + part + HELD + RING
            for lane, (word, part) in enumerate(zip(words, self.code.part[group], strict=True))
        ]

    def finished(self):
        """All words are taken, all columns released."""
        while self._round < self.code.words:
            self._take_round()
        for lane in range(self.lanes):
            total = self._entries[lane][-1]
            for group, ends in enumerate(self.released):
                total += self.code.entries[group][lane]
                self._entries[lane].append(total)
                self._times[lane].append(ends[lane])

    def _burst(self):
        """Asks for the next words; an iterator over when they come."""
        local = self._end - self._first
        size = min(BURST - (self._offset + local) % BURST, self._beats - local)
        self._end += size
        self.asked += transfer.NEXT
        if self._end > IN_FLIGHT:
            self.asked = max(self.asked, self._left[self._end - IN_FLIGHT - 1] + 1)
        self.asked = self.memory.room(self.asked)
        beats = self.memory.burst(self.asked + self.memory.latency, size)
        self.memory.ends.append(beats[-1])
        return iter(beats)

    def _room(self, number, lane):
        """When enough columns of earlier streams have left the lane's rings for a word."""
        code = self.code
        entries = self._entries[lane]
        full = bisect_left(entries, entries[-1] + code.held[number][lane] - self.depth)
        column = max(full, len(entries) - 1 + code.begun[number][lane] - HEADERS)
        return self._times[lane][column] if column > 0 else 0

    def _take_round(self):
        """One word for each lane. Comparisons in place of `max`: the model's time goes here."""
        number = self._round
        coming = self._coming
        before = self._before
        taken = self.taken
        done = self._done
        begins = []
        for lane, (cost, early, needed) in enumerate(self.code.steps[number]):
            beat = next(coming, 0)
            if not beat:
                coming = self._coming = self._burst()
                beat = next(coming)
            output = beat + dma.BUFFERED
            # Two registers are behind the reader's buffer.
            self._left.append(output - 1 if output > before + 1 else before + 1)
            if output <= taken:
                output = taken + 1
            following = self._next[lane]
            free = following.pop(0)
            before = taken
            taken = output if output > free else free
            room = self.released[needed][lane] if needed >= 0 else self._room(number, lane)
            begin = room + 2 - cost  # the last of the word's bytes waits for room in the rings
            if begin <= taken:
                begin = taken + 1
            if begin < done[lane]:
                begin = done[lane]
            begins.append(begin)
            following.append(begin + early)
            done[lane] = begin + cost
        self._begins.append(begins)
        self._before = before
        self.taken = taken
        self._round = number + 1
