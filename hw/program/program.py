# SPDX-License-Identifier: Apache-2.0
"""The program on the chip: read from memory once for each queue, then instruction by instruction."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from firmware.isa import CAPACITY, WORDS
from hw.instruction import instruction_layout

__all__ = ["Program"]


class Program(wiring.Component):
    """`CAPACITY` instructions of eight 32-bit words, in block RAM as wide as an instruction.

    A word a cycle is written, from the first one on; an instruction is there in the cycle after its `fetch`, until the next one.

    Members
    -------
    i : stream of 32-bit words; those beyond the capacity are ignored
    restart : pulse: the next word is the first one
    written : words so far
    fetch, pc : pulse: read instruction `pc`
    instruction : of the last `fetch`
    """

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(32)),
                "restart": In(1),
                "written": Out(range(CAPACITY * WORDS + 1)),
                "fetch": In(1),
                "pc": In(16),
                "instruction": Out(instruction_layout()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=32 * WORDS, depth=CAPACITY, init=[])
        write = memory.write_port(granularity=32)
        read = memory.read_port()
        word = self.written[: ceil_log2(WORDS)]
        taken = Signal()
        m.d.comb += [
            self.i.ready.eq(1),
            taken.eq(self.i.valid & (self.written != CAPACITY * WORDS)),
            write.en.eq(Mux(taken, 1 << word, 0)),
            write.addr.eq(self.written[len(word) :]),
            write.data.eq(self.i.payload.replicate(WORDS)),
            read.en.eq(self.fetch),
            read.addr.eq(self.pc),
            self.instruction.eq(read.data),
        ]
        with m.If(self.restart):
            m.d.sync += self.written.eq(0)
        with m.Elif(taken):
            m.d.sync += self.written.eq(self.written + 1)
        return m
