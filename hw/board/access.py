# SPDX-License-Identifier: Apache-2.0
"""Where a host's accesses go: to the registers, to the memory, or to the flash."""

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.registers import ADDRESS_BITS
from hw.board.bridge import access_layout
from hw.board.flash import flash_read_layout
from hw.board.memory_port import word_access, word_done
from hw.bus import axi
from hw.shapes import WORD

__all__ = ["Access"]


class Access(wiring.Component):
    """One access at a time, each answered.

    Memory addresses with the highest bit are the flash's, which is only read: a write there, and a
    register access that the bus answers with an error, ends with an error.

    Latency: three cycles and the target's. Stalled: by the target, and by `o`.

    Members
    -------
    i : In(stream of access_layout())
    o : Out(stream of word_done())
    bus : Out(axi.lite), to the registers
    memory : Out(stream of word_access()), answered by `memory_done`, which comes when it is taken
    memory_done : In(stream of word_done())
    flash : Out(stream of flash_read_layout()), a single word
    flash_word : In(stream of {data: WORD, last: 1})
    """

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(access_layout())),
                "o": Out(stream.Signature(word_done())),
                "bus": Out(axi.lite(ADDRESS_BITS)),
                "memory": Out(stream.Signature(word_access())),
                "memory_done": In(stream.Signature(word_done())),
                "flash": Out(stream.Signature(flash_read_layout())),
                "flash_word": In(stream.Signature(data.StructLayout({"data": WORD, "last": 1}))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bus = self.bus
        wanted = Signal(access_layout())
        m.d.comb += [
            bus.awaddr.eq(wanted.address),
            bus.araddr.eq(wanted.address),
            bus.wdata.eq(wanted.data),
            bus.wstrb.eq(-1),
            self.memory.payload.write.eq(wanted.write),
            self.memory.payload.address.eq(wanted.address),
            self.memory.payload.data.eq(wanted.data),
            self.flash.payload.address.eq(wanted.address),
        ]
        answer = Signal(self.o.payload.shape())
        m.d.comb += self.o.payload.eq(answer)
        with m.FSM():
            # An access is taken over.
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += wanted.eq(self.i.payload)
                with m.If(self.i.valid):
                    m.next = "TARGET"
            # Whose it is.
            with m.State("TARGET"):
                with m.If(~wanted.memory):
                    m.d.sync += [
                        bus.awvalid.eq(wanted.write),
                        bus.wvalid.eq(wanted.write),
                        bus.arvalid.eq(~wanted.write),
                    ]
                    m.next = "REGISTER"
                with m.Elif(wanted.address[-1]):
                    m.next = "FLASH"
                    with m.If(wanted.write):
                        m.next = "WRONG"
                with m.Else():
                    m.next = "MEMORY"
            self._register(m, answer)
            self._memory(m, answer)
            # It waits in a register, because it has come from another clock's domain.
            with m.State("ANSWER"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "IDLE"
        return m

    def _register(self, m, answer):
        """An access of AXI4-Lite; each of its channels is offered until it is taken."""
        bus = self.bus
        # The answer of either kind.
        with m.State("REGISTER"):
            for channel in ("aw", "w", "ar"):
                valid = getattr(bus, f"{channel}valid")
                with m.If(getattr(bus, f"{channel}ready")):
                    m.d.sync += valid.eq(0)
            answered = bus.bvalid | bus.rvalid
            m.d.comb += [
                bus.bready.eq(1),
                bus.rready.eq(1),
            ]
            failed = (bus.bvalid & bus.bresp.any()) | (bus.rvalid & bus.rresp.any())
            self._end(m, answer, answered, bus.rdata, failed)

    def _memory(self, m, answer):
        """A word of the memory, or of the flash."""
        done = self.memory_done
        word = self.flash_word
        # The memory takes the access when it answers it.
        with m.State("MEMORY"):
            m.d.comb += [
                self.memory.valid.eq(1),
                done.ready.eq(1),
            ]
            self._end(m, answer, done.valid, done.payload.data, done.payload.error)
        # The flash takes the run of one word.
        with m.State("FLASH"):
            m.d.comb += self.flash.valid.eq(1)
            with m.If(self.flash.ready):
                m.next = "FLASH_WORD"
        # Its word.
        with m.State("FLASH_WORD"):
            m.d.comb += word.ready.eq(1)
            self._end(m, answer, word.valid, word.payload.data, 0)
        # Nobody writes the flash here.
        with m.State("WRONG"):
            self._end(m, answer, 1, 0, 1)

    def _end(self, m, answer, valid, word, failed):
        """The access ends with this answer."""
        m.d.sync += [
            answer.data.eq(word),
            answer.error.eq(failed),
        ]
        with m.If(valid):
            m.next = "ANSWER"
