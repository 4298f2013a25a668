# SPDX-License-Identifier: Apache-2.0
"""The program on the chip: read from memory once for a queue, then instruction by instruction."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from firmware.isa import CAPACITY, WORDS
from hw.instruction import instruction_layout
from hw.shapes import PC, WORD

__all__ = ["Program"]

LATENCY = 2  # cycles from `fetch` to the instruction


class Program(wiring.Component):
    """`CAPACITY` instructions of eight 32-bit words, in block RAM as wide as an instruction.

    A word a cycle is written, from the first one on. An instruction is there `LATENCY` cycles after
    its `fetch`, and stays. Nothing can stall it.

    Members
    -------
    i : In(stream of WORD), those beyond the capacity are ignored
    restart : In(1), pulse: the next word is the first one
    written : Out, words so far
    fetch : In(1), pulse: read instruction `pc`
    pc : In(PC)
    instruction : Out(instruction_layout()), of the last `fetch`
    """

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(WORD)),
                "restart": In(1),
                "written": Out(range(CAPACITY * WORDS + 1)),
                "fetch": In(1),
                "pc": In(PC),
                "instruction": Out(instruction_layout()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # As wide as an instruction, so that one is read at once; written by words, as they come.
        m.submodules.memory = memory = Memory(shape=WORD.width * WORDS, depth=CAPACITY, init=[])
        write = memory.write_port(granularity=WORD.width)
        read = memory.read_port()
        word = self.written[: ceil_log2(WORDS)]
        taken = Signal()
        # The loader refuses a longer program, but a length is no reason to write over the
        # beginning.
        m.d.comb += [
            self.i.ready.eq(1),
            taken.eq(self.i.valid & (self.written != CAPACITY * WORDS)),
            write.en.eq(Mux(taken, 1 << word, 0)),
            write.addr.eq(self.written[len(word) :]),
            write.data.eq(self.i.payload.replicate(WORDS)),
            read.en.eq(self.fetch),
            read.addr.eq(self.pc),
        ]
        # A block RAM's data comes late in the cycle, and much is decoded from an instruction.
        fetched = Signal()
        m.d.sync += fetched.eq(self.fetch)
        with m.If(fetched):
            m.d.sync += self.instruction.eq(read.data)
        with m.If(self.restart):
            m.d.sync += self.written.eq(0)
        with m.Elif(taken):
            m.d.sync += self.written.eq(self.written + 1)
        return m
