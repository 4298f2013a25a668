# SPDX-License-Identifier: Apache-2.0
"""Weight streams from memory to the array, in the order of the program and ahead of it."""

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.array.bitmask import string_layout
from hw.bus.transfer import bus_word, request
from hw.stream import Fifo

__all__ = ["Prefetch", "stream_layout"]

LATENCY = 1  # cycles from a stream's description to its request
STREAMS = 4  # that wait or are on their way


def stream_layout():
    """A weight stream: byte offset in the image, bus words, what the array must know of its columns, and whose it is."""
    return data.StructLayout({"address": 32, "beats": 32, **_columns().members})


def _columns():
    return data.StructLayout({"reduction": 16, "groups": 16, "pc": 16})


class Prefetch(wiring.Component):
    """Asks for each stream when it is known and hands its words on, with what the array must know; the array stalls it when its rings are full.

    `LATENCY` cycles from `i` to `o_request`, none from `words` to `o`. The next stream is asked for while words of the one before are on their way.

    Members
    -------
    i : stream of `stream_layout()`
    base, size : the window of the image, quasi-static
    o_request, words : requests to `Reader`, and their words
    o : stream of `string_layout(config)`
    reduction, groups, pc : of the stream whose words are on `o`
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(stream_layout())),
                "base": In(32),
                "size": In(32),
                "o_request": Out(stream.Signature(request())),
                "words": In(stream.Signature(bus_word(config))),
                "o": Out(stream.Signature(string_layout(config))),
                "reduction": Out(16),
                "groups": Out(16),
                "pc": Out(16),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.waiting = waiting = Fifo(stream_layout(), STREAMS)
        m.submodules.arriving = arriving = Fifo(_columns(), STREAMS)
        first = Signal(init=1)
        wiring.connect(m, wiring.flipped(self.i), waiting.i)
        following = waiting.o.payload
        words = self.words
        m.d.comb += [
            self.o_request.payload.address.eq(self.base + following.address),
            self.o_request.payload.words.eq(following.beats),
            self.o_request.payload.base.eq(self.base),
            self.o_request.payload.size.eq(self.size),
            self.o_request.valid.eq(waiting.o.valid & arriving.i.ready),
            waiting.o.ready.eq(self.o_request.ready & arriving.i.ready),
            arriving.i.valid.eq(waiting.o.valid & self.o_request.ready),
            *(arriving.i.payload[name].eq(following[name]) for name in _columns().members),
            *(getattr(self, name).eq(arriving.o.payload[name]) for name in _columns().members),
            self.o.valid.eq(words.valid & arriving.o.valid),
            words.ready.eq(self.o.ready & arriving.o.valid),
            self.o.payload.data.eq(words.payload.data),
            self.o.payload.first.eq(first),
            arriving.o.ready.eq(words.valid & self.o.ready & words.payload.last),
        ]
        with m.If(words.valid & words.ready):
            m.d.sync += first.eq(words.payload.last)
        return m
