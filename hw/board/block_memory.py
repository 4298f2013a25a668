# SPDX-License-Identifier: Apache-2.0
"""Block RAM in the place of a board's memory chip."""

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.board.sdram import memory_run, memory_word
from hw.checks import check_count
from hw.shapes import BYTE, WORD

__all__ = ["BlockMemory"]


class BlockMemory(wiring.Component):
    """`words` words of block RAM that take runs as `Sdram` does; they repeat beyond the last one.

    A run takes a cycle a word, and one around; a word that is read comes two cycles after its
    address. Stalled: a write waits for words; `o` is never stalled, so who reads must have room.

    Parameters
    ----------
    words : a power of two

    Members
    -------
    i : In(stream of memory_run()), done in their order
    i_data : In(stream of memory_word()), of the writes
    o : Out(stream of {data: WORD, last: 1}, always ready), of the reads
    """

    def __init__(self, words):
        check_count("Words", words, 2)
        if words & (words - 1):
            raise ValueError(f"Words must be a power of two, not {words}")
        self._words = words
        answer = data.StructLayout({"data": WORD, "last": 1})
        super().__init__(
            {
                "i": In(stream.Signature(memory_run())),
                "i_data": In(stream.Signature(memory_word())),
                "o": Out(stream.Signature(answer, always_ready=True)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=WORD, depth=self._words, init=[])
        read = memory.read_port()
        write = memory.write_port(granularity=BYTE.width)
        address = Signal(range(self._words))
        left = Signal.like(self.i.payload.length)  # words behind this one
        fetched = Signal()  # the port's register has a word
        fetched_last = Signal()
        # A register behind the port's own: a block RAM's data comes late in the cycle.
        m.d.comb += [
            read.addr.eq(address),
            write.addr.eq(address),
            write.data.eq(self.i_data.payload.data),
        ]
        m.d.sync += [
            fetched.eq(0),
            fetched_last.eq(left == 0),
            self.o.valid.eq(fetched),
            self.o.payload.data.eq(read.data),
            self.o.payload.last.eq(fetched_last),
        ]

        def step():
            m.d.sync += [
                address.eq(address + 1),
                left.eq(left - 1),
            ]
            with m.If(left == 0):
                m.next = "IDLE"

        with m.FSM():
            # A run is taken.
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [
                    address.eq(self.i.payload.address),
                    left.eq(self.i.payload.length),
                ]
                with m.If(self.i.valid):
                    m.next = "READ"
                    with m.If(self.i.payload.write):
                        m.next = "WRITE"
            # A word a cycle.
            with m.State("READ"):
                m.d.sync += fetched.eq(1)
                step()
            # A word whenever there is one.
            with m.State("WRITE"):
                m.d.comb += self.i_data.ready.eq(1)
                with m.If(self.i_data.valid):
                    m.d.comb += write.en.eq(self.i_data.payload.strobe)
                    step()
        return m
