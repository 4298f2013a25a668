# SPDX-License-Identifier: Apache-2.0
"""Streams of a bench, played by Python: a source, a sink, and a counter of pulses."""

import functools
import operator
import random
from collections import deque

import cocotb
from cocotb.triggers import ClockCycles, Event, RisingEdge

from sim.bench.values import pack, unpack

__all__ = ["PAUSES", "Counter", "Sink", "Source", "pauses"]

PAUSES = ("none", "idle", "stall", "both")


def pauses(kind, seed=1):
    """(pause of the source, pause of the sink) for a `kind` of PAUSES."""
    idle = _pause(seed) if kind in ("idle", "both") else None
    stall = _pause(seed + 1) if kind in ("stall", "both") else None
    return idle, stall


def _pause(seed):
    """Yields for each cycle whether to pause: short pauses between short runs."""
    generator = random.Random(seed)
    while True:
        quiet = generator.choice([1, 1, 2, 5])
        busy = generator.choice([1, 2, 3, 8])
        yield from [True] * quiet + [False] * busy


class _Player:
    """One end of the stream `name`, which cocotb runs from its creation on.

    cycles : when each word was transferred, in cycles since the start of the simulation
    """

    def __init__(self, dut, name, layout, pause):
        self.cycles = []
        self._clock = dut.clk
        self._reset = dut.rst
        self._name = name
        self._layout = layout
        self._pause = pause
        self._payload = getattr(dut, f"{name}__payload", None)  # absent when it is 0 bits wide
        self._valid = getattr(dut, f"{name}__valid")
        self._ready = getattr(dut, f"{name}__ready")
        self._queue = deque()
        self._changed = Event()  # the source: all is sent; the sink: a word has arrived
        cocotb.start_soon(self._run())

    @property
    def level(self):
        """Words that are queued: to be sent, or received."""
        return len(self._queue)

    def _pauses(self):
        return self._pause is not None and next(self._pause)


class Source(_Player):
    """Drives the stream `name`: what is queued goes out in order.

    A word goes out in every cycle except where `pause` yields True. What is on the payload without
    `valid` is the word before, with an eighth of its bits flipped: nobody may look at it.
    """

    def __init__(self, dut, name, layout, pause=None):
        super().__init__(dut, name, layout, pause)
        self._noise = random.Random(name)
        self._withdraw(0)

    def _withdraw(self, word):
        self._valid.value = 0
        if self._payload is not None:
            draws = (self._noise.getrandbits(len(self._payload)) for _ in range(3))
            self._payload.value = word ^ functools.reduce(operator.and_, draws)

    def send(self, words):
        """Queue a list of payloads."""
        self._queue.extend(pack(self._layout, word) for word in words)
        self._changed.clear()

    async def wait(self):
        """Until all that was queued has been accepted."""
        if self._queue:
            await self._changed.wait()

    async def _run(self):
        """Offer the head of the queue, between pauses, until it is accepted; note the cycle."""
        valid = False
        cycle = 0
        while True:
            await RisingEdge(self._clock)
            cycle += 1
            if self._reset.value != 0:
                continue
            taken = valid and self._ready.value == 1
            if taken:
                word = self._queue.popleft()
                self.cycles.append(cycle)
                if not self._queue:
                    self._changed.set()
            if taken or not valid:
                valid = bool(self._queue) and not self._pauses()
                if valid:
                    self._payload.value = self._queue[0]
                    self._valid.value = 1
                elif taken:
                    self._withdraw(word)


class Sink(_Player):
    """Takes the stream `name`; a word that was offered must stay until it is taken.

    steady : False where another one may take its place before
    hold : takes nothing while it is True
    """

    def __init__(self, dut, name, layout, pause=None, steady=True):
        super().__init__(dut, name, layout, pause)
        self.hold = False
        self._steady = steady
        self._ready.value = 0

    def empty(self):
        """Nothing has arrived that was not received."""
        return not self._queue

    async def receive(self, count):
        """The next `count` payloads."""
        while len(self._queue) < count:
            self._changed.clear()
            await self._changed.wait()
        return [unpack(self._layout, self._queue.popleft()) for _ in range(count)]

    async def _run(self):
        """Take what is offered, between pauses; an offer stays as it is until it is taken."""
        ready = False
        held = None
        cycle = 0
        while True:
            await RisingEdge(self._clock)
            cycle += 1
            if self._reset.value != 0:
                held = None
                continue
            offered = self._payload.value if self._valid.value == 1 else None
            if self._steady and held is not None and offered != held:
                raise AssertionError(
                    f"{self._name}: offered {held}, changed before it was taken to {offered}"
                )
            held = offered
            if offered is not None and ready:
                assert offered.is_resolvable, f"{self._name}: offered {offered}"
                self._queue.append(offered.to_unsigned())
                self.cycles.append(cycle)
                self._changed.set()
                held = None
            ready = not self._pauses() and not self.hold
            self._ready.value = int(ready)


class Counter:
    """Adds up the output port `name` over all cycles, as the accelerator's counters do."""

    def __init__(self, dut, name):
        self._dut = dut
        self._port = getattr(dut, name)
        self._total = 0
        cocotb.start_soon(self._run())

    async def _run(self):
        while True:
            await RisingEdge(self._dut.clk)
            if self._dut.rst.value == 0:
                self._total += self._port.value.to_unsigned()

    async def total(self):
        """The sum, when the last word has had time to be counted."""
        await ClockCycles(self._dut.clk, 4)
        return self._total
