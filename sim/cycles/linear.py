# SPDX-License-Identifier: Apache-2.0
"""Cycles of LINEAR's weight streams (part of sim/cycles/model.py): the bus, the lanes' decoders and rings.

All times are cycles. A column is the unit of work; what happens inside one follows from its first and last entry, because a lane's decoder gives, and
its multipliers take, at most an entry a cycle.
"""

from bisect import bisect_left

import numpy as np

from firmware.columns import HEADER_BYTES, HEADERS, lane_strings
from golden_model.bitmask import WORD_ROWS
from golden_model.hardware import ceil_div

__all__ = ["BURST", "BURSTS", "LaneCode", "Memory", "Streams"]

BURST, IN_FLIGHT, BURSTS = (
    64,
    512,
    8,
)  # words of a burst; words, bursts on their way (hw/accelerator.py's reader; the memory model's queue)
CHUNK, TAKEN = 4, 3  # bytes that come to a decoder at once; that leave
REQUEST = (
    4  # from a decoded instruction, or the last address of the stream before, to its first address
)
BUFFERED = 3  # from the bus to the reader's output
DECODED = 4  # from a column's last byte to its last entry at the ring's output


class Memory:
    """The memory model of the co-simulation (sim/cosim/axi.h): latency to the first beat, credit for each."""

    def __init__(self, latency, bytes_per_cycle, width):
        self.latency = latency
        self.rate = bytes_per_cycle
        self.width = width
        self._last = -1
        self._credit = width + bytes_per_cycle
        self._known = {}

    def beat(self, ready):
        """The cycle of the next beat, of a burst whose first one may come at `ready`."""
        wait, self._credit = self._next(self._credit, ready - self._last)
        self._last += wait
        return self._last

    def burst(self, ready, size):
        """The cycles of the beats of a burst whose first one may come at `ready`."""
        first, known = self.beat(ready), (self._credit, size)
        if known not in self._known:
            self._known[known] = self._behind(*known)
        cycles, self._credit = self._known[known]
        self._last = first + cycles[-1]
        return [first + cycle for cycle in cycles]

    def _next(self, credit, least=1):
        """(cycles to the next beat, credit after it)."""
        wait = int(max(1, least, ceil_div(self.width - credit, self.rate)))
        return wait, min(credit + (wait - 1) * self.rate, self.width) + self.rate - self.width

    def _behind(self, credit, size):
        """(cycles of a burst's beats from its first one on, credit after them)."""
        cycles = [0]
        while len(cycles) < size:
            wait, credit = self._next(credit)
            cycles.append(cycles[-1] + wait)
        return cycles, credit


class LaneCode:
    """What the lanes' decoders do with each bus word of a weight stream; the same for every run, so kept by the caller.

    By word and lane: `steps`, cycles to take its bytes, those until the next word may come, and the column that must have been released
    before, -1 for none; `held`, `begun`, entries and columns until its end. By group and lane: `word`, the one that
    completes the column; `part`, cycles of it until then; `entries`.
    """

    def __init__(self, columns, beats, lanes, bus_bytes, depth):
        strings = lane_strings(
            columns.data.ljust(beats * bus_bytes, b"\0"), lanes, bus_bytes
        )  # stacked streams are as long as the longest
        self.words, groups = len(strings[0]) // bus_bytes, columns.groups
        self.entries = np.maximum(columns.nonzeros, 1).tolist()
        self.columns, self.ahead = columns, 2 if bus_bytes == CHUNK else 1
        shape, last = (self.words, lanes), (max(0, bus_bytes // CHUNK - 2)) * CHUNK
        cost, early, needs, begun, until = (np.zeros(shape, int) for _ in range(5))
        word, part = (np.zeros((groups, lanes), int) for _ in range(2))
        for lane, string in enumerate(strings):
            cycles, held, ends = _byte_cycles(string, groups, ceil_div(columns.rows, WORD_ROWS))
            total = np.concatenate([[0], np.cumsum(cycles)])
            starts = np.arange(self.words) * bus_bytes
            cost[:, lane], early[:, lane] = (
                total[starts + bus_bytes] - total[starts],
                total[starts + last] - total[starts],
            )
            ends = np.array(ends)
            word[:, lane] = (ends - 1) // bus_bytes
            part[:, lane] = total[ends] - total[word[:, lane] * bus_bytes]
            until[:, lane] = np.cumsum(held)[starts + bus_bytes - 1]
            begun[:, lane] = np.searchsorted(ends, starts + bus_bytes, side="right")
            needs[:, lane] = self._needs(lane, until[:, lane], begun[:, lane], depth)
        self.steps, self.word, self.part = (
            x.tolist() for x in (np.stack([cost, early, needs], -1), word, part)
        )
        self.held, self.begun = until.tolist(), begun.tolist()

    def _needs(self, lane, held, begun, depth):
        """For each word the column of this stream that must have left the lane's rings for its bytes to fit."""
        entries = np.cumsum([row[lane] for row in self.entries])
        full = np.searchsorted(entries, held - depth, side="left")
        return np.maximum(np.where(held > depth, full, -1), begun - HEADERS)


def _byte_cycles(string, groups, masks):
    """(cycles of each byte, entries of each byte, end of each column) of a lane's string: hw/array/bitmask.py's states."""
    cycles = np.ones(len(string), int)
    entries = np.ones(len(string), int)
    ends = []
    at = 0
    for _ in range(groups):
        cycles[at : at + HEADER_BYTES] = 0, 0, 1, 0, 0, 1, 1  # three parts
        entries[at : at + HEADER_BYTES] = 0
        at += HEADER_BYTES
        alone, some = True, 0  # the mask is not taken with the weight before
        for _ in range(masks):
            count = (string[at] | string[at + 1] << 8).bit_count()
            cycles[at], cycles[at + 1] = 0, alone or not count
            entries[at : at + 2] = 0
            alone, some = not count, some + count
            at += 2 + count
        entries[at - 1] += not some
        ends.append(at)
    cycles[at:] = np.arange(len(string) - at) % TAKEN == TAKEN - 1
    entries[at:] = 0
    return cycles, entries, ends


class Streams:
    """The words of one weight stream after another, to lane i % P: reader, decoders, and what the rings hold of earlier streams."""

    def __init__(self, config, memory):
        lanes = self.lanes = config.columns
        self.depth, self.memory = config.weight_depth, memory
        self.left, self.finish, self.asked, self.end = (
            [],
            [],
            -9,
            0,
        )  # words out of the buffer; bursts' ends; the last address; words asked for
        self.taken = 0
        self.done, self.before, self.later = (
            [0] * lanes for _ in range(3)
        )  # each lane's last byte taken; when its next words may come
        self.entries = [[0] for _ in range(lanes)]  # of all columns of earlier streams, cumulated
        self.times = [[0] for _ in range(lanes)]  # when each of those columns was released

    def begin(self, code, ask, address, beats):
        """The next stream, known to the prefetcher at `ask`; the one before is `finished`."""
        self.code = code
        self.beats = beats
        self.released = []
        self.asked = max(ask, self.asked) + REQUEST - 2
        self.offset, self.first = address // self.memory.width % BURST, self.end
        self.round = 0
        self.before, self.later = [done + 1 for done in self.done], [0] * self.lanes
        self.coming, self.begins = (
            iter(()),
            [],
        )  # words of a burst that was asked for; when the lanes begin with the words of each round

    def until(self, group):
        """The last entries of the group's columns at their rings' outputs."""
        words = self.code.word[group]
        while self.round <= max(words):
            self._round()
        return [
            self.begins[word][lane] + part + DECODED
            for lane, (word, part) in enumerate(zip(words, self.code.part[group], strict=True))
        ]

    def finished(self):
        """All words are taken, all columns released."""
        while self.round < self.code.words:
            self._round()
        for lane in range(self.lanes):
            total = self.entries[lane][-1]
            for group, ends in enumerate(self.released):
                total += self.code.entries[group][lane]
                self.entries[lane].append(total)
                self.times[lane].append(ends[lane])

    def _burst(self):
        """Asks for the next words -> when they come."""
        if self.end > self.first:
            self.finish.append(self.memory._last)
        local = self.end - self.first
        size = min(BURST - (self.offset + local) % BURST, self.beats - local)
        self.end += size
        self.asked += 2
        if self.end > IN_FLIGHT:
            self.asked = max(self.asked, self.left[self.end - IN_FLIGHT - 1] + 1)
        if len(self.finish) >= BURSTS:
            self.asked = max(self.asked, self.finish[-BURSTS] + 1)
        return iter(self.memory.burst(self.asked + self.memory.latency, size))

    def _room(self, number, lane):
        """When the columns of earlier streams have left the lane's rings as far as a word needs it."""
        code, entries = self.code, self.entries[lane]
        full = bisect_left(entries, entries[-1] + code.held[number][lane] - self.depth)
        column = max(full, len(entries) - 1 + code.begun[number][lane] - HEADERS)
        return self.times[lane][column] if column > 0 else 0

    def _round(self):
        """One word for each lane; comparisons in place of `max`, because the cycle model's time goes here."""
        number = self.round
        coming = self.coming
        taken = self.taken
        begins = []
        left = self.left
        done = self.done
        before = self.before
        later = self.later
        ahead = self.code.ahead
        for lane, (cost, early, needed) in enumerate(self.code.steps[number]):
            beat = next(coming, 0)
            if not beat:
                coming = self.coming = self._burst()
                beat = next(coming)
            at = beat + BUFFERED if beat + BUFFERED > taken else taken + 1  # at the reader's output
            left.append(at - 1)
            taken = at if at > before[lane] else before[lane]
            begin = (
                (self.released[needed][lane] if needed >= 0 else self._room(number, lane))
                + 2
                - cost
            )
            if begin <= taken:
                begin = taken + 1
            if begin < done[lane]:
                begin = done[lane]
            begins.append(begin)
            before[lane], later[lane] = (
                (begin + early, 0) if ahead == 1 else (later[lane], begin + early)
            )
            done[lane] = begin + cost
        self.begins.append(begins)
        self.taken, self.round = taken, number + 1
