# SPDX-License-Identifier: Apache-2.0
"""Who uses a board's memory: an AXI4 manager's bursts and single words become runs of words."""

from amaranth import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.board.sdram import PLACE, memory_run, memory_word
from hw.bus import axi
from hw.shapes import ADDRESS, AXI_LEN, BYTE, WORD
from hw.stream import Fifo

__all__ = ["MemoryPort", "word_access", "word_done"]

STEP = WORD.width // BYTE.width
ALIGN = (STEP - 1).bit_length()  # bits of a byte's number in its word
SIZE = STEP << PLACE  # bytes that there are
ON_THE_WAY = 8  # reads whose words have not come


def word_access():
    """A word to read or to write at a byte address that is a multiple of its size."""
    return data.StructLayout({"write": 1, "address": ADDRESS, "data": WORD})


def word_done():
    """What came of it; `data` of a read."""
    return data.StructLayout({"data": WORD, "error": 1})


class MemoryPort(wiring.Component):
    """Takes one access after the other; reads go on while words of earlier ones are on their way.

    Single words come first, then writes of the bus, then its reads. A burst must stay in one row of
    the memory (1 KiB), as all of ours do, and its words are never stalled (`rready` is high). What
    lies beyond the memory is answered with DECERR, and nothing is done.

    Latency: none but the memory's; a write's beats follow its run. Stalled: by the memory. A run
    that waits for the memory may give way to one that comes before it.

    Members
    -------
    bus : In(axi.master(WORD.width))
    i : In(stream of word_access()), one at a time
    o : Out(stream of word_done()), of each
    run, data : Out(stream of memory_run() and memory_word()), to the memory; a run that waits gives
        way to what comes first
    words : In(stream of {data: WORD, last: 1}), from it
    """

    def __init__(self):
        super().__init__(
            {
                "bus": In(axi.master(WORD.width)),
                "i": In(stream.Signature(word_access())),
                "o": Out(stream.Signature(word_done())),
                "run": Out(stream.Signature(memory_run())),
                "data": Out(stream.Signature(memory_word())),
                "words": In(stream.Signature(data.StructLayout({"data": WORD, "last": 1}))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Whose words come next: the bus's, or the single access's.
        m.submodules.owners = self._owners = Fifo(1, ON_THE_WAY)
        self._free = Signal()  # the memory takes a run, and its owner can be noted
        self._left = Signal(AXI_LEN)  # beats of an answer without words
        m.d.comb += self._free.eq(self.run.ready & self._owners.i.ready)
        with m.FSM():
            self._choose(m)
            self._write(m)
            self._single(m)
            self._refuse(m)
        self._answer(m)
        return m

    def _ask(self, m, write, address, length, owner):
        """A run, and who waits for its words."""
        m.d.comb += [
            self.run.valid.eq(self._owners.i.ready),
            self.run.payload.write.eq(write),
            self.run.payload.address.eq(address[ALIGN:]),
            self.run.payload.length.eq(length),
            self._owners.i.valid.eq(self.run.ready & ~write),
            self._owners.i.payload.eq(owner),
        ]

    def _choose(self, m):
        """Whose access is next."""
        bus = self.bus
        word = self.i.payload
        # Single words are rare and short, and a host waits for each; so they go first.
        # An access is taken when the memory takes its run.
        with m.State("IDLE"):
            with m.If(self.i.valid):
                with m.If(word.address >= SIZE):
                    m.next = "SINGLE_WRONG"
                with m.Else():
                    self._ask(m, word.write, word.address, 0, owner=1)
                    with m.If(self._free):
                        m.next = "SINGLE_READ"
                        with m.If(word.write):
                            m.next = "SINGLE_WRITE"
            with m.Elif(bus.awvalid):
                with m.If(bus.awaddr >= SIZE):
                    m.d.comb += bus.awready.eq(1)
                    m.next = "REFUSE_WRITE"
                with m.Else():
                    self._ask(m, 1, bus.awaddr, bus.awlen, owner=0)
                    m.d.comb += bus.awready.eq(self._free)
                    with m.If(self._free):
                        m.next = "WRITE"
            with m.Elif(bus.arvalid):
                with m.If(bus.araddr >= SIZE):
                    m.d.comb += bus.arready.eq(1)
                    m.d.sync += self._left.eq(bus.arlen)
                    m.next = "DRAIN"
                with m.Else():
                    self._ask(m, 0, bus.araddr, bus.arlen, owner=0)
                    m.d.comb += bus.arready.eq(self._free)

    def _write(self, m):
        """The beats of a burst; it is over when the memory has them in its order."""
        bus = self.bus
        # Beats go to the memory as they come.
        with m.State("WRITE"):
            m.d.comb += [
                self.data.valid.eq(bus.wvalid),
                self.data.payload.data.eq(bus.wdata),
                self.data.payload.strobe.eq(bus.wstrb),
                bus.wready.eq(self.data.ready),
            ]
            with m.If(bus.wvalid & self.data.ready & bus.wlast):
                m.next = "RESPOND"
        # Later reads come behind the write, so its end needs no waiting.
        with m.State("RESPOND"):
            m.d.comb += [
                bus.bvalid.eq(1),
                bus.bresp.eq(axi.Resp.OKAY),
            ]
            with m.If(bus.bready):
                m.next = "IDLE"

    def _single(self, m):
        """The one word of an access."""
        taken = self.words.valid & self._owners.o.valid & (self._owners.o.payload == 1)
        # Its word to the memory; then it is done.
        with m.State("SINGLE_WRITE"):
            m.d.comb += [
                self.data.valid.eq(1),
                self.data.payload.data.eq(self.i.payload.data),
                self.data.payload.strobe.eq(-1),
            ]
            with m.If(self.data.ready):
                m.next = "SINGLE_DONE"
        # The word was taken over.
        with m.State("SINGLE_DONE"):
            self._done(m, valid=1)
        # Its word from the memory, behind those of earlier bursts.
        with m.State("SINGLE_READ"):
            self._done(m, valid=taken)
        # There is no such word.
        with m.State("SINGLE_WRONG"):
            m.d.comb += self.o.payload.error.eq(1)
            self._done(m, valid=1)

    def _done(self, m, valid):
        """The access ends with what `o` says of it."""
        m.d.comb += [
            self.o.valid.eq(valid),
            self.o.payload.data.eq(self.words.payload.data),
            self.i.ready.eq(valid & self.o.ready),
        ]
        with m.If(valid & self.o.ready):
            m.next = "IDLE"

    def _refuse(self, m):
        """Bursts beyond the memory come to their end as AXI demands."""
        # An address that wrapped around would be a wrong answer instead of an error.
        bus = self.bus
        # Beats that nobody wants.
        with m.State("REFUSE_WRITE"):
            m.d.comb += bus.wready.eq(1)
            with m.If(bus.wvalid & bus.wlast):
                m.next = "RESPOND_WRONG"
        # Nothing was written.
        with m.State("RESPOND_WRONG"):
            m.d.comb += [
                bus.bvalid.eq(1),
                bus.bresp.eq(axi.Resp.DECERR),
            ]
            with m.If(bus.bready):
                m.next = "IDLE"
        # Words of earlier bursts go first.
        with m.State("DRAIN"):
            with m.If(~self._owners.o.valid):
                m.next = "REFUSE_READ"
        # As many beats as were asked for.
        with m.State("REFUSE_READ"):
            m.d.comb += [
                bus.rvalid.eq(1),
                bus.rresp.eq(axi.Resp.DECERR),
                bus.rlast.eq(self._left == 0),
            ]
            with m.If(bus.rready):
                m.d.sync += self._left.eq(self._left - 1)
                with m.If(self._left == 0):
                    m.next = "IDLE"

    def _answer(self, m):
        """Words of the memory to who asked for them."""
        bus = self.bus
        owner = self._owners.o
        # An owner stays until the last word of its run has gone.
        for_bus = owner.valid & (owner.payload == 0)
        with m.If(for_bus):
            m.d.comb += [
                bus.rvalid.eq(self.words.valid),
                bus.rdata.eq(self.words.payload.data),
                bus.rlast.eq(self.words.payload.last),
                self.words.ready.eq(bus.rready),
            ]
        with m.Elif(owner.valid):
            m.d.comb += self.words.ready.eq(self.o.ready)
        m.d.comb += owner.ready.eq(
            Cat(self.words.valid, self.words.ready, self.words.payload.last).all()
        )
