# SPDX-License-Identifier: Apache-2.0
"""On-chip buffers that are read as streams, and the turn of a block of words."""

from itertools import pairwise

from amaranth import Cat, Module, Mux, Shape, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["Buffer", "Turn", "request_layout"]


def request_layout():
    """A run of words to read: first address and count, at least 1."""
    return data.StructLayout({"address": 32, "count": 16})


class Buffer(wiring.Component):
    """A memory of `depth` words of `lanes` values, written by lane and read as a stream.

    Latency 2 cycles from request to first word, then one word a cycle; requests of one word are taken every cycle.
    Stalled: the word on `o` is held, and nothing is read ahead beyond it. A read sees the writes of earlier cycles; `hold` keeps back the next
    one until its word is written.

    Parameters
    ----------
    shape : shape of one value
    lanes : values in a word
    depth : words

    Members
    -------
    write, write_address, write_data, write_lanes : write port; only lanes whose bit is set are written
    i : stream of `request_layout()`
    hold : nothing is read in this cycle; index : words of the request that were read, 0 when the next one comes
    o : stream of {"values": lanes x shape, "last": last word of its request}
    """

    def __init__(self, shape, lanes, depth):
        self.lanes = lanes
        self.depth = depth
        self.word = data.ArrayLayout(shape, lanes)
        self._bits = Shape.cast(shape).width
        super().__init__(
            {
                "write": In(1),
                "write_address": In(32),
                "write_data": In(self.word),
                "write_lanes": In(lanes),
                "i": In(stream.Signature(request_layout())),
                "hold": In(1),
                "index": Out(16),
                "o": Out(stream.Signature(data.StructLayout({"values": self.word, "last": 1}))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=unsigned(self.lanes * self._bits), depth=self.depth, init=[]
        )
        write = memory.write_port(granularity=self._bits)
        read = memory.read_port()
        m.d.comb += [
            write.addr.eq(Mux(self.write, self.write_address, 0)),
            write.data.eq(self.write_data.as_value()),
            write.en.eq(Mux(self.write, self.write_lanes, 0)),
        ]
        advance = Signal()
        remaining = Signal(16)
        address = Signal(32)
        issue = Signal()
        read_last = Signal()
        reading = Signal()
        first = remaining == 0
        left = Mux(first, self.i.payload.count, remaining)
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            issue.eq(advance & (~first | self.i.valid) & ~self.hold),
            self.i.ready.eq(advance & first & ~self.hold),
            read.addr.eq(Mux(first, self.i.payload.address, address)),
            read.en.eq(issue),
        ]
        with m.If(issue):
            m.d.sync += [
                address.eq(read.addr + 1),
                remaining.eq(left - 1),
                self.index.eq(Mux(left == 1, 0, self.index + 1)),
            ]
        with m.If(advance):
            m.d.sync += [
                reading.eq(issue),
                read_last.eq(left == 1),
                self.o.valid.eq(reading),
                self.o.payload.values.eq(read.data),
                self.o.payload.last.eq(read_last),
            ]
        return m


class Turn(wiring.Component):
    """Turns blocks: takes `beats` words of `width` values, gives `width` words of `beats` values.

    Output word j of a block holds value j of every input word. Two blocks are kept, so that one fills while the other empties:
    latency `beats` + 1 cycles, one word a cycle where width = beats. Stalled: the output word is held; the input stalls when both blocks are full.

    Members
    -------
    i : stream of width x shape
    o : stream of {"values": beats x shape, "last": last word of the block}
    cut : nobody wants the words of the block behind this one: it is the `last`
    """

    def __init__(self, shape, width, beats):
        self.width = width
        self.beats = beats
        self._bits = Shape.cast(shape).width
        super().__init__(
            {
                "i": In(stream.Signature(data.ArrayLayout(shape, width))),
                "cut": In(1),
                "o": Out(
                    stream.Signature(
                        data.StructLayout({"values": data.ArrayLayout(shape, beats), "last": 1})
                    )
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        blocks = [
            [Signal(self.beats * self._bits, name=f"block_{b}_{j}") for j in range(self.width)]
            for b in range(2)
        ]
        full = Signal(2)
        filling = Signal()
        emptying = Signal()
        filled = Signal(range(self.beats))
        emptied = Signal(range(self.width))
        take = Signal()
        give = Signal()
        m.d.comb += [
            self.i.ready.eq(~full.bit_select(filling, 1)),
            take.eq(self.i.valid & self.i.ready),
            self.o.valid.eq(full.bit_select(emptying, 1)),
            give.eq(self.o.valid & self.o.ready),
            self.o.payload.last.eq((emptied == self.width - 1) | self.cut),
            self.o.payload.values.as_value().eq(Mux(emptying, blocks[1][0], blocks[0][0])),
        ]
        for b, block in enumerate(blocks):
            with m.If(take & (filling == b)):
                for j, row in enumerate(block):
                    m.d.sync += row.eq(Cat(row[self._bits :], self.i.payload[j]))
            with m.If(give & (emptying == b)):
                for row, following in pairwise(block):
                    m.d.sync += row.eq(following)
        with m.If(take):
            m.d.sync += filled.eq(Mux(filled == self.beats - 1, 0, filled + 1))
            with m.If(filled == self.beats - 1):
                m.d.sync += [
                    filling.eq(~filling),
                    full.bit_select(filling, 1).eq(1),
                ]
        with m.If(give):
            m.d.sync += emptied.eq(Mux(self.o.payload.last, 0, emptied + 1))
            with m.If(self.o.payload.last):
                m.d.sync += [
                    emptying.eq(~emptying),
                    full.bit_select(emptying, 1).eq(0),
                ]
        return m
