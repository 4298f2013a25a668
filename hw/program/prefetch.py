# SPDX-License-Identifier: Apache-2.0
"""Weight streams from memory to the array, in the order of the program and ahead of it."""

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.array.bitmask import string_layout
from hw.bus.transfer import bus_word, transfer_layout
from hw.shapes import ADDRESS, FEATURE, GROUPS, PC, SIZE, WIDE_COUNT, WORD
from hw.stream import Fifo

__all__ = ["Prefetch", "stream_layout"]

LATENCY = 1  # cycles from a stream's description to its request
STREAMS = 4  # that wait or are on their way


def stream_layout():
    """A weight stream, and what the array must know of it.

    address, beats : byte offset in the image, and bus words
    reduction : features of a column
    groups : of P columns
    pc : number of the instruction whose weights they are
    """
    return data.StructLayout({"address": WORD, "beats": WIDE_COUNT, **_columns().members})


def _columns():
    """The part of a stream's description that goes with its words."""
    return data.StructLayout({"reduction": FEATURE, "groups": GROUPS, "pc": PC})


class Prefetch(wiring.Component):
    """Asks for each weight stream when it is known and hands its words on, in the program's order.

    `LATENCY` cycles from `i` to `o_request`, none from `words` to `o`; a bus word a cycle. The next
    stream is asked for while words of the one before are on their way. Stalled: by the array, when
    its rings are full; then words wait in the reader.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of stream_layout())
    base : In(ADDRESS), of the window of the image, quasi-static
    size : In(SIZE), of that window, quasi-static
    o_request : Out(stream of request()), to a `Reader`
    words : In(stream of bus_word(config)), the reader's
    o : Out(stream of string_layout(config))
    reduction : Out(FEATURE), of the stream whose words are on `o`
    groups : Out(GROUPS), of the same
    pc : Out(PC), of the same
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(stream_layout())),
                "base": In(ADDRESS),
                "size": In(SIZE),
                "o_request": Out(stream.Signature(transfer_layout())),
                "words": In(stream.Signature(bus_word(config))),
                "o": Out(stream.Signature(string_layout(config))),
                "reduction": Out(FEATURE),
                "groups": Out(GROUPS),
                "pc": Out(PC),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Streams that are not asked for yet, and those whose words are on their way. What the array
        # must know waits with them: the instruction is long past when the words come.
        m.submodules.waiting = waiting = Fifo(stream_layout(), STREAMS)
        m.submodules.arriving = arriving = Fifo(_columns(), STREAMS)
        first = Signal(init=1)
        wiring.connect(m, wiring.flipped(self.i), waiting.i)
        columns = _columns().members
        following = waiting.o.payload
        words = self.words
        m.d.comb += [
            # Both queues must have room: a stream moves from one to the other as it is asked for.
            self.o_request.payload.address.eq(self.base + following.address),
            self.o_request.payload.words.eq(following.beats),
            self.o_request.payload.base.eq(self.base),
            self.o_request.payload.size.eq(self.size),
            self.o_request.valid.eq(waiting.o.valid & arriving.i.ready),
            waiting.o.ready.eq(self.o_request.ready & arriving.i.ready),
            arriving.i.valid.eq(waiting.o.valid & self.o_request.ready),
            *(arriving.i.payload[name].eq(following[name]) for name in columns),
            *(getattr(self, name).eq(arriving.o.payload[name]) for name in columns),
            self.o.valid.eq(words.valid & arriving.o.valid),
            words.ready.eq(self.o.ready & arriving.o.valid),
            self.o.payload.data.eq(words.payload.data),
            self.o.payload.first.eq(first),
            arriving.o.ready.eq(words.valid & self.o.ready & words.payload.last),
        ]
        # A stream is one request, so the word behind its last one is the first of the next.
        with m.If(words.valid & words.ready):
            m.d.sync += first.eq(words.payload.last)
        return m
