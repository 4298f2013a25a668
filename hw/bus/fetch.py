# SPDX-License-Identifier: Apache-2.0
"""Runs of 32-bit words at any multiple of four, from a reader of whole bus words."""

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.bus.dma import Words, bus_word, request

__all__ = ["Fetch", "words_layout"]


def words_layout():
    """A run of 32-bit words: byte address (a multiple of four), count, and the window that it must lie in."""
    return data.StructLayout({"address": 32, "words": 16, "base": 32, "size": 32})


class Fetch(wiring.Component):
    """Reads the bus words around a run and gives its words, those before and after dropped.

    Latency: the reader's and one cycle; one 32-bit word a cycle. Stalled: holds its bus word. One run at a time; a run of no words gives nothing.

    Members
    -------
    i : stream of `words_layout()`
    o : stream of 32-bit words
    o_request, data : to and from `Reader`
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(words_layout())),
                "o": Out(stream.Signature(32)),
                "o_request": Out(stream.Signature(request())),
                "data": In(stream.Signature(bus_word(config))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = Words(self.config)
        bus = self.config.bus_bytes
        shift = ceil_log2(bus)
        run = Signal(words_layout())
        index = Signal(18)
        skip = run.address[2:shift] if shift > 2 else 0
        end = skip + run.words
        wanted = (index >= skip) & (index < end)
        wiring.connect(m, words.i, wiring.flipped(self.data))
        m.d.comb += [
            self.o_request.payload.address.eq(run.address & ~(bus - 1)),
            self.o_request.payload.words.eq((end + bus // 4 - 1) >> (shift - 2)),
            self.o_request.payload.base.eq(run.base),
            self.o_request.payload.size.eq(run.size),
            self.o.payload.eq(words.o.payload.data),
            self.o.valid.eq(words.o.valid & wanted),
            words.o.ready.eq(self.o.ready | ~wanted),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [
                    run.eq(self.i.payload),
                    index.eq(0),
                ]
                with m.If(self.i.valid & (self.i.payload.words != 0)):
                    m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += self.o_request.valid.eq(1)
                with m.If(self.o_request.ready):
                    m.next = "WORDS"
            with m.State("WORDS"):
                with m.If(words.o.valid & words.o.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(words.o.payload.last):
                        m.next = "IDLE"
        return m
