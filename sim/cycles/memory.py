# SPDX-License-Identifier: Apache-2.0
"""Cycles of the buses (part of sim/cycles/model.py): a memory's beats, a reader's runs of words.

All times are cycles.
"""

from golden_model.hardware import ceil_div
from hw.bus import dma, transfer
from hw.shapes import BYTE, WORD
from sim.cosim.memory import READ_BURSTS

__all__ = ["BEFORE", "WORD_BYTES", "BusTimes", "RunReader"]

BEFORE = -99  # long before a run: nothing waits for what has never been
WORD_BYTES = WORD.width // BYTE.width


class BusTimes:
    """One port of the co-simulation's memory (sim/cosim/axi.h): latency, then beats by credit.

    Every cycle gives `rate` bytes of credit, of which a port keeps at most a bus word; a beat takes
    one bus word.

    latency : from an address to its first beat; rate : bytes a cycle; width : bytes of a bus word
    last : when the last beat came
    ends : of each burst, when its last beat came; whoever asks for one adds to it
    """

    def __init__(self, latency, rate, width):
        self.latency = latency
        self.rate = rate
        self.width = width
        self.last = -1
        self.ends = []
        self._credit = width + rate
        self._behind_first = {}  # (credit, beats): see `_behind`

    def room(self, at):
        """When the memory takes an address that is there at `at`: it holds only so many bursts."""
        if len(self.ends) < READ_BURSTS:
            return at
        return max(at, self.ends[-READ_BURSTS] + 1)

    def beat(self, ready):
        """The cycle of the next beat, of a burst whose first one may come at `ready`."""
        wait, self._credit = self._next(self._credit, ready - self.last)
        self.last += wait
        return self.last

    def burst(self, ready, size):
        """The cycles of the `size` beats of a burst whose first one may come at `ready`."""
        first = self.beat(ready)
        key = self._credit, size
        if key not in self._behind_first:
            self._behind_first[key] = self._behind(*key)
        cycles, self._credit = self._behind_first[key]
        self.last = first + cycles[-1]
        return [first + cycle for cycle in cycles]

    def _next(self, credit, least=1):
        """(cycles to the next beat, at least `least`; credit after it)."""
        wait = int(max(1, least, ceil_div(self.width - credit, self.rate)))
        saved = min(credit + (wait - 1) * self.rate, self.width)
        return wait, saved + self.rate - self.width

    def _behind(self, credit, size):
        """(cycles of a burst's beats from its first one on, credit after them)."""
        cycles = [0]
        while len(cycles) < size:
            wait, credit = self._next(credit)
            cycles.append(cycles[-1] + wait)
        return cycles, credit


class RunReader:
    """Runs of 32-bit words through a reader of bus words (hw/bus/dma.py), one after the other.

    burst : the reader's
    free : when it takes the next request
    taken : when the last word was taken
    behind : until then go the words of others, which were asked for before
    """

    def __init__(self, memory, burst):
        self.memory = memory
        self.burst = burst
        self.free = 0
        self.taken = 0
        self.behind = 0

    def request(self, at, address, count):
        """Ask at `at` for the bus words that hold `count` bytes from `address` on.

        Returns (when the request was taken, when each bus word is at the reader's output).
        """
        width = self.memory.width
        taken = max(at, self.free)
        first = address // width
        end = ceil_div(address + count, width)
        asked = self.memory.room(taken + transfer.ADDRESS_CYCLES)
        beats = []
        for number in range(first, end):
            if beats and number % self.burst == 0:
                self.memory.ends.append(self.memory.last)
                asked = self.memory.room(asked + transfer.NEXT)
            beats.append(self.memory.beat(asked + self.memory.latency) + dma.BUFFERED)
        self.memory.ends.append(self.memory.last)
        self.free = asked + 1
        return taken, beats

    def words(self, beats):
        """When each 32-bit word of these bus words is taken, one a cycle."""
        found = []
        for beat in beats:
            start = max(beat, self.taken + 1, self.behind + 1)
            found += range(start, start + self.memory.width // WORD_BYTES)
            self.taken = found[-1]
        return found
