# SPDX-License-Identifier: Apache-2.0
"""The program on the chip: read from memory once for each queue, then instruction by instruction."""
from amaranth import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from firmware.isa import CAPACITY, WORDS

__all__ = ["Program"]


class Program(wiring.Component):
    """`CAPACITY` instructions of eight 32-bit words, in one block RAM.

    A word a cycle is written, from the first one on; an instruction is read in `WORDS` + 2 cycles and held until the next is asked for.

    Members
    -------
    i : stream of 32-bit words; those beyond the capacity are ignored
    restart : pulse: the next word is the first one
    written : words so far
    fetch, pc : pulse: read instruction `pc`, stable until `valid`
    valid, instruction : `instruction` is that of the last `fetch`
    """

    def __init__(self):
        super().__init__({
            "i": In(stream.Signature(32)), "restart": In(1), "written": Out(range(CAPACITY * WORDS + 1)),
            "fetch": In(1), "pc": In(16), "valid": Out(1), "instruction": Out(32 * WORDS),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=32, depth=CAPACITY * WORDS, init=[])
        write, read = memory.write_port(), memory.read_port()
        word, arrives, taken = Signal(range(WORDS)), Signal(2), Signal(range(WORDS + 1), init=WORDS)
        full = self.written == CAPACITY * WORDS
        m.d.comb += [
            self.i.ready.eq(1), write.en.eq(self.i.valid & ~full), write.addr.eq(self.written), write.data.eq(self.i.payload),
            read.addr.eq(Cat(word, self.pc)), self.valid.eq(taken == WORDS),
        ]
        with m.If(self.restart):
            m.d.sync += self.written.eq(0)
        with m.Elif(write.en):
            m.d.sync += self.written.eq(self.written + 1)
        with m.If(self.fetch):
            m.d.sync += [word.eq(0), arrives.eq(1), taken.eq(0)]
        with m.Elif(arrives[0]):
            m.d.sync += [word.eq(word + 1), arrives[0].eq(word != WORDS - 1)]
        m.d.sync += arrives[1].eq(arrives[0])
        with m.If(arrives[1]):
            m.d.sync += [self.instruction.eq(Cat(self.instruction[32:], read.data)), taken.eq(taken + 1)]
        return m
