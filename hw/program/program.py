# SPDX-License-Identifier: Apache-2.0
"""The program on the chip: read from memory once for a queue, then instruction by instruction."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from firmware.isa import CAPACITY, WORDS
from hw.instruction import instruction_layout
from hw.shapes import PC, WORD

__all__ = ["Program"]

PARTS = 4  # of an instruction, read one after the other: a memory as wide would waste its depth
LATENCY = PARTS + 1  # cycles from `fetch` to the instruction


class Program(wiring.Component):
    """`CAPACITY` instructions of eight 32-bit words, in block RAM.

    A word a cycle is written, from the first one on. An instruction is there `LATENCY` cycles after
    its `fetch`, and stays until the next one. Nothing can stall it.

    Members
    -------
    i : In(stream of WORD), those beyond the capacity are ignored
    restart : In(1), pulse: the next word is the first one
    written : Out, words so far
    fetch : In(1), pulse: read instruction `pc`, which stays while it is read
    pc : In(PC)
    ready : Out(1), pulse: the instruction is there in the next cycle
    instruction : Out(instruction_layout()), of the last `fetch`

    Attributes
    ----------
    moving : parts of an instruction that are on their way
    """

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(WORD)),
                "restart": In(1),
                "written": Out(range(CAPACITY * WORDS + 1)),
                "fetch": In(1),
                "pc": In(PC),
                "ready": Out(1),
                "instruction": Out(instruction_layout()),
            }
        )
        # A part is in the port's register; all of them follow a fetch.
        self.moving = Signal(PARTS)

    def elaborate(self, platform):
        m = Module()
        together = WORDS // PARTS
        m.submodules.memory = memory = Memory(
            shape=WORD.width * together, depth=CAPACITY * PARTS, init=[]
        )
        write = memory.write_port(granularity=WORD.width)
        word = self.written[: ceil_log2(together)]
        taken = Signal()
        # The loader refuses a longer program, but a length is no reason to write over the
        # beginning.
        m.d.comb += [
            self.i.ready.eq(1),
            taken.eq(self.i.valid & (self.written != CAPACITY * WORDS)),
            write.en.eq(Mux(taken, 1 << word, 0)),
            write.addr.eq(self.written[len(word) :]),
            write.data.eq(self.i.payload.replicate(together)),
        ]
        with m.If(self.restart):
            m.d.sync += self.written.eq(0)
        with m.Elif(taken):
            m.d.sync += self.written.eq(self.written + 1)
        self._read(m, memory.read_port())
        return m

    def _read(self, m, read):
        """Part after part into the instruction, from below: the first one has moved down by then.

        A block RAM's data comes late in the cycle, and much is decoded from an instruction.
        """
        part = Signal(range(PARTS))
        moving = self.moving
        m.d.comb += [
            read.addr.eq(Cat(part, self.pc)),
            self.ready.eq(moving[-1]),
        ]
        m.d.sync += [
            moving.eq(Cat(self.fetch, moving)),
            part.eq(Mux(self.fetch | (part != 0), part + 1, 0)),
        ]
        with m.If(moving.any()):
            m.d.sync += self.instruction.eq(
                Cat(self.instruction.as_value()[len(read.data) :], read.data)
            )
