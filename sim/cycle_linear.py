# SPDX-License-Identifier: Apache-2.0
"""Cycles of LINEAR's weight streams (part of sim/cycle_model.py): the bus, the lanes' decoders and rings.

All times are cycles. A column is the unit of work; what happens inside one follows from its first and last entry, because a lane's decoder gives, and
its multipliers take, at most an entry a cycle.
"""
from bisect import bisect_left

import numpy as np

from firmware.columns import HEADER_BYTES, HEADERS, lane_strings
from golden_model.bitmask import WORD_ROWS
from golden_model.hardware import ceil_div

__all__ = ["BURST", "BURSTS", "LaneCode", "Memory", "Streams"]

BURST, IN_FLIGHT, BURSTS = 64, 512, 8   # words of a burst; words, bursts on their way (hw/accelerator.py's reader; the memory model's queue)
CHUNK, TAKEN = 4, 3     # bytes that come to a decoder at once; that leave
REQUEST = 4         # from a decoded instruction, or the last address of the stream before, to its first address
BUFFERED = 3        # from the bus to the reader's output
DECODED = 4         # from a column's last byte to its last entry at the ring's output


class Memory:
    """The memory model of the co-simulation (sim/cosim_axi.h): latency to the first beat, credit for each."""

    def __init__(self, latency, bytes_per_cycle, width):
        self.latency, self.rate, self.width = latency, bytes_per_cycle, width
        self._last, self._credit = -1, width + bytes_per_cycle

    def beat(self, ready):
        """The cycle of the next beat, of a burst whose first one may come at `ready`."""
        wait = max(1, ceil_div(self.width - self._credit, self.rate), ready - self._last) if self.rate < self.width else max(1, ready - self._last)
        wait = int(wait)
        self._credit = min(self._credit + (wait - 1) * self.rate, self.width) + self.rate - self.width
        self._last += wait
        return self._last


class LaneCode:
    """What the lanes' decoders do with each bus word of a weight stream; the same for every run, so kept by the caller.

    By word and lane: `cost`, cycles to take its bytes; `early`, those until the next word may come; `needs`, the column that must have been released
    before, -1 for none; `held`, `begun`, entries and columns until its end. By group and lane: `word`, the one that
    completes the column; `part`, cycles of it until then; `entries`.
    """

    def __init__(self, columns, lanes, bus_bytes, depth):
        strings = lane_strings(columns.data, lanes, bus_bytes)
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
            cost[:, lane], early[:, lane] = total[starts + bus_bytes] - total[starts], total[starts + last] - total[starts]
            ends = np.array(ends)
            word[:, lane] = (ends - 1) // bus_bytes
            part[:, lane] = total[ends] - total[word[:, lane] * bus_bytes]
            until[:, lane] = np.cumsum(held)[starts + bus_bytes - 1]
            begun[:, lane] = np.searchsorted(ends, starts + bus_bytes, side="right")
            needs[:, lane] = self._needs(lane, until[:, lane], begun[:, lane], depth)
        self.cost, self.early, self.needs, self.word, self.part = (x.tolist() for x in (cost, early, needs, word, part))
        self.held, self.begun = until.tolist(), begun.tolist()

    def _needs(self, lane, held, begun, depth):
        """For each word the column of this stream that must have left the lane's rings for its bytes to fit."""
        entries = np.cumsum([row[lane] for row in self.entries])
        full = np.searchsorted(entries, held - depth, side="left")
        return np.maximum(np.where(held > depth, full, -1), begun - HEADERS)


def _byte_cycles(string, groups, masks):
    """(cycles of each byte, entries of each byte, end of each column) of a lane's string: hw/bitmask.py's states."""
    cycles, entries, ends, at = np.ones(len(string), int), np.ones(len(string), int), [], 0
    for _ in range(groups):
        cycles[at:at + HEADER_BYTES] = 0, 0, 1, 0, 0, 1, 1      # three parts
        entries[at:at + HEADER_BYTES] = 0
        at += HEADER_BYTES
        alone, some = True, 0       # the mask is not taken with the weight before
        for _ in range(masks):
            count = (string[at] | string[at + 1] << 8).bit_count()
            cycles[at], cycles[at + 1] = 0, alone or not count
            entries[at:at + 2] = 0
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
        self.left, self.finish, self.asked, self.end = [], [], -9, 0     # words out of the buffer; bursts' ends; the last address; words asked for
        self.taken = 0
        self.done, self.before, self.later = ([0] * lanes for _ in range(3))    # each lane's last byte taken; when its next words may come
        self.entries = [[0] for _ in range(lanes)]      # of all columns of earlier streams, cumulated
        self.times = [[0] for _ in range(lanes)]        # when each of those columns was released

    def begin(self, code, ask, address, beats):
        """The next stream, known to the prefetcher at `ask`; the one before is `finished`."""
        self.code, self.beats, self.released = code, beats, []
        self.asked = max(ask, self.asked) + REQUEST - 2
        self.offset, self.first = address // self.memory.width % BURST, self.end
        self.round, self.burst = 0, self.end
        self.before, self.later = [done + 1 for done in self.done], [0] * self.lanes
        self.arrival = [[None] * self.lanes for _ in code.entries]
        self._next = [0] * self.lanes                   # each lane's next column

    def until(self, group):
        """The last entries of the group's columns at their rings' outputs."""
        while self.round < self.code.words and any(following <= group for following in self._next):
            self._round()
        return self.arrival[group]

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

    def _word(self):
        """The next word at the reader's output."""
        number = len(self.left)
        if number == self.end:
            if self.end > self.first:
                self.finish.append(self.memory._last)
            local = number - self.first
            size = min(BURST - (self.offset + local) % BURST, self.beats - local)
            self.end += size
            self.asked += 2
            if self.end > IN_FLIGHT:
                self.asked = max(self.asked, self.left[self.end - IN_FLIGHT - 1] + 1)
            if len(self.finish) >= BURSTS:
                self.asked = max(self.asked, self.finish[-BURSTS] + 1)
        beat = self.memory.beat(self.asked + self.memory.latency)
        self.left.append(max(beat + BUFFERED, self.taken + 1) - 1)
        return self.left[-1] + 1

    def _room(self, number, lane):
        """When the lane's rings have room for a word."""
        code, entries = self.code, self.entries[lane]
        time, needed = 0, code.needs[number][lane]
        if needed >= 0:
            time = self.released[needed][lane]
        else:       # columns of earlier streams must have gone
            full = bisect_left(entries, entries[-1] + code.held[number][lane] - self.depth)
            column = max(full, len(entries) - 1 + code.begun[number][lane] - HEADERS)
            if column > 0:
                time = self.times[lane][column]
        return time

    def _round(self):
        """One word for each lane."""
        code, number = self.code, self.round
        for lane in range(self.lanes):
            start = max(self._word(), self.before[lane])
            self.taken = start
            begin = max(start + 1, self.done[lane], self._room(number, lane) + 2 - code.cost[number][lane])
            following = begin + code.early[number][lane]
            self.before[lane], self.later[lane] = (following, 0) if code.ahead == 1 else (self.later[lane], following)
            self.done[lane] = begin + code.cost[number][lane]
            while self._next[lane] < len(code.word) and code.word[self._next[lane]][lane] == number:
                self.arrival[self._next[lane]][lane] = begin + code.part[self._next[lane]][lane] + DECODED
                self._next[lane] += 1
        self.round += 1
