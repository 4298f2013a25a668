# SPDX-License-Identifier: Apache-2.0
"""Who reads a board's flash: an AXI4 manager's bursts, and runs of words."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.board.flash import ADDRESS as PLACE
from hw.board.flash import flash_read_layout
from hw.bus import axi
from hw.shapes import AXI_LEN, WORD

__all__ = ["FlashPort"]

SIZE = 1 << PLACE  # bytes that an address reaches


class FlashPort(wiring.Component):
    """One run after the other; runs that are asked for as words come first.

    A burst beyond the flash is answered with DECERR. Latency: none but the flash's. Stalled: by the
    flash, which waits in its turn for who reads. A burst that waits for the flash may give way to
    words.

    Members
    -------
    bus : In(axi.read_signature(WORD.width))
    i : In(stream of flash_read_layout())
    o : Out(stream of {data: WORD, last: 1}), its words
    run : Out(stream of flash_read_layout()), to the flash; a burst's that waits gives way to one of
        `i`
    words : In(stream of {data: WORD, last: 1}), from it
    """

    def __init__(self):
        words = stream.Signature(data.StructLayout({"data": WORD, "last": 1}))
        super().__init__(
            {
                "bus": In(axi.read_signature(WORD.width)),
                "i": In(stream.Signature(flash_read_layout())),
                "o": Out(words),
                "run": Out(stream.Signature(flash_read_layout())),
                "words": In(words),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bus = self.bus
        words = self.words
        m.d.comb += [
            self.run.payload.address.eq(Mux(self.i.valid, self.i.payload.address, bus.araddr)),
            self.run.payload.length.eq(Mux(self.i.valid, self.i.payload.length, bus.arlen)),
            self.o.payload.eq(words.payload),
            bus.rdata.eq(words.payload.data),
        ]
        with m.FSM():
            self._choose(m)
            self._move(m)
        return m

    def _choose(self, m):
        """Whose run is next."""
        bus = self.bus
        run = self.run
        self._left = Signal(AXI_LEN)  # beats of an answer without words
        # The flash is free.
        with m.State("IDLE"):
            m.d.sync += self._left.eq(bus.arlen)
            with m.If(self.i.valid):
                m.d.comb += [
                    run.valid.eq(1),
                    self.i.ready.eq(run.ready),
                ]
                with m.If(run.ready):
                    m.next = "WORDS"
            with m.Elif(bus.arvalid):
                inside = bus.araddr < SIZE
                m.d.comb += [
                    run.valid.eq(inside),
                    bus.arready.eq(run.ready | ~inside),
                ]
                with m.If(bus.arready):
                    m.next = "REFUSE"
                    with m.If(inside):
                        m.next = "BURST"

    def _move(self, m):
        """The words to who asked for them."""
        bus = self.bus
        words = self.words
        ends = words.valid & words.ready & words.payload.last
        # Words for `o`.
        with m.State("WORDS"):
            m.d.comb += [
                self.o.valid.eq(words.valid),
                words.ready.eq(self.o.ready),
            ]
            with m.If(ends):
                m.next = "IDLE"
        # Beats for the bus.
        with m.State("BURST"):
            m.d.comb += [
                bus.rvalid.eq(words.valid),
                bus.rlast.eq(words.payload.last),
                words.ready.eq(bus.rready),
            ]
            with m.If(ends):
                m.next = "IDLE"
        # As many beats as were asked for, of nothing.
        with m.State("REFUSE"):
            m.d.comb += [
                bus.rvalid.eq(1),
                bus.rresp.eq(axi.Resp.DECERR),
                bus.rlast.eq(self._left == 0),
            ]
            with m.If(bus.rready):
                m.d.sync += self._left.eq(self._left - 1)
                with m.If(self._left == 0):
                    m.next = "IDLE"
