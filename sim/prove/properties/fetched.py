# SPDX-License-Identifier: Apache-2.0
"""Runs of words from a memory: what is given is what lies there, in order, once."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Assert, Assume, Fragment
from amaranth.lib import wiring

from golden_model.hardware import HardwareConfig
from hw.shapes import ADDRESS, BYTE, WIDE_COUNT, WORD, WORDS
from sim.prove.held import moves
from sim.prove.prover import Mutant, Property

__all__ = ["FETCHED"]

STEP = WORD.width // BYTE.width


class Fetched(wiring.Component):
    """`Fetch` on a memory in which each word is its own number, and a reader that may fail.

    The reader gives the bus words that were asked for, in order, with `last` on the last one; or,
    where it fails, no more of them, and then `Fetch` gives no more either.
    """

    def __init__(self, fetch, bus_bits):
        self.block = fetch(HardwareConfig(tokens=2, columns=2, bus_bits=bus_bits))
        super().__init__(dict(self.block.signature.members))

    def elaborate(self, platform):
        m = Module()
        block = self.block
        m.submodules.block = Fragment.get(block, platform)
        wiring.connect(m, wiring.flipped(self), block)
        place = Signal(WIDE_COUNT)  # bus words so far
        count = Signal(WIDE_COUNT)  # bus words that were asked for
        first = Signal(ADDRESS)  # the number of the first one's lowest word
        self._reader(m, place, count, first)
        begin = Signal(ADDRESS)  # the number of the run's first word
        words = Signal(WORDS)
        given = Signal(WORDS)
        number = Signal(ADDRESS)  # of the next word
        m.d.comb += [
            Assume(block.i.payload.address % STEP == 0),
            number.eq(begin + given),
            Assert(~block.o.valid | (block.data.valid & (given < words))),
            Assert(~block.o.valid | (block.o.payload == number)),
            Assert(~block.i.ready | (given == words)),
        ]
        with m.If(moves(block.o)):
            m.d.sync += given.eq(given + 1)
        with m.If(moves(block.i)):
            m.d.sync += [
                begin.eq(block.i.payload.address // STEP),
                words.eq(block.i.payload.words),
                given.eq(0),
            ]
        self._run(m, (begin, words, given), (place, count, first))
        return m

    def _reader(self, m, place, count, first):
        """What was asked for, as long as it comes."""
        block = self.block
        data = block.data
        request = block.o_request
        parts = block.config.bus_bytes // STEP
        low = Signal(ADDRESS)
        with m.If(moves(request)):
            m.d.sync += [
                place.eq(0),
                count.eq(request.payload.words),
                first.eq(request.payload.address // STEP),
            ]
        with m.Elif(moves(data)):
            m.d.sync += place.eq(place + 1)
        numbers = Cat((low + n)[: WORD.width] for n in range(parts))
        m.d.comb += [
            low.eq(first + place * parts),
            Assume(~data.valid | (place != count)),
            Assume(data.payload.data == numbers),
            Assume(data.payload.last == (place + 1 == count)),
        ]

    def _run(self, m, run, asked):
        """What the block's registers say of all this, for the induction."""
        block = self.block
        begin, words, given = run
        place, count, first = asked
        parts = block.config.bus_bytes // STEP
        part = block.words.part if parts > 1 else Const(0)
        index = block.index
        skip = Signal(range(max(2, parts)))
        end = Signal(WORDS.width + 1)
        lowest = Signal(ADDRESS)
        done = Mux(index <= skip, 0, Mux(index >= end, words, index - skip))
        m.d.comb += [
            skip.eq(begin % parts),
            end.eq(skip + words),
            lowest.eq(begin - skip),
        ]
        idle, request, taking = (block.fsm.ongoing(state) for state in ("IDLE", "REQUEST", "WORDS"))
        m.d.comb += Assert(idle | request | taking)
        with m.If(idle):
            m.d.comb += Assert((place == count) & (part == 0))
        with m.Else():
            m.d.comb += Assert(
                (block.run.address == begin * STEP) & (block.run.words == words) & (words != 0)
            )
        with m.If(request):
            m.d.comb += Assert((place == count) & (part == 0) & (index == 0) & (given == 0))
        with m.If(taking):
            m.d.comb += [
                Assert((place < count) & (first == lowest) & (given == done)),
                Assert(index == place * parts + part),
                Assert(count == (end + parts - 1) // parts),
            ]


FETCHED = tuple(
    Property(
        f"Fetch from a bus of {bus_bits} bits: the words of the run, in order, each once",
        "hw.bus.fetch:Fetch",
        lambda block, bus_bits=bus_bits: Fetched(block, bus_bits),
        1,
        True,
        (
            Mutant("wanted = (index >= skip) & (index < end)", "wanted = index < end"),
            Mutant("end = skip + run.words", "end = run.words"),
            Mutant("(end + bus // STEP - 1) >> parts", "end >> parts"),
            Mutant("words.o.ready.eq(self.o.ready | ~wanted)", "words.o.ready.eq(1)"),
        )[0 if bus_bits > WORD.width else 3 :],
    )
    for bus_bits in (32, 64)
)
