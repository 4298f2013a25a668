# SPDX-License-Identifier: Apache-2.0
"""On-chip buffers that are read as streams, and the turn of a block of words."""

from itertools import pairwise

from amaranth import Cat, Module, Mux, Shape, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.checks import check_count, check_shape
from hw.shapes import BANKS, POINTER, WORDS

__all__ = ["Buffer", "Turn", "request_layout", "word_layout"]

LATENCY = 2  # cycles of `Buffer`, from a request to its first word
EARLY = 1  # before a request's last word the next one is taken


def request_layout():
    """A run of words to read: first address and count, at least 1."""
    return data.StructLayout({"address": POINTER, "count": WORDS})


def word_layout(values):
    """A word of a stream of blocks: its values, of the layout `values`, and the block's `last`."""
    return data.StructLayout({"values": values, "last": 1})


class Buffer(wiring.Component):
    """A memory of `depth` words of `lanes` values, written by lane and read as a stream.

    Latency `LATENCY` cycles from request to first word, then one word a cycle; requests of one word
    are taken every cycle. Stalled: the word on `o` is held, and nothing is read ahead beyond it. A
    read sees the writes of earlier cycles; `hold` keeps back the next one until its word is
    written.

    Parameters
    ----------
    shape : of one value
    lanes : values in a word, at least 1
    depth : words, at least 1

    Members
    -------
    write : In(1), write a word
    write_address : In(POINTER), below `depth`
    write_data : In(lanes x shape)
    write_lanes : In(lanes), only values whose bit is set are written
    i : In(stream of request_layout)
    hold : In(1), nothing is read in this cycle
    index : Out(WORDS), words of the request that were read, 0 when the next one comes
    o : Out(stream of word_layout), `last` of its request
    """

    def __init__(self, shape, lanes, depth):
        check_shape("Value", shape)
        check_count("Lanes", lanes)
        check_count("Depth", depth)
        self.lanes = lanes
        self.depth = depth
        self.word = data.ArrayLayout(shape, lanes)
        self._bits = Shape.cast(shape).width
        super().__init__(
            {
                "write": In(1),
                "write_address": In(POINTER),
                "write_data": In(self.word),
                "write_lanes": In(lanes),
                "i": In(stream.Signature(request_layout())),
                "hold": In(1),
                "index": Out(WORDS),
                "o": Out(stream.Signature(word_layout(self.word))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # One wide word rather than a memory for each lane: the port's granularity writes by lane.
        m.submodules.memory = memory = Memory(
            shape=unsigned(self.lanes * self._bits), depth=self.depth, init=[]
        )
        write = memory.write_port(granularity=self._bits)
        # Without a write there is neither address nor lanes: undefined ones would spoil the memory
        # of a simulator with four states.
        m.d.comb += [
            write.addr.eq(Mux(self.write, self.write_address, 0)),
            write.data.eq(self.write_data.as_value()),
            write.en.eq(Mux(self.write, self.write_lanes, 0)),
        ]
        self._read(m, memory.read_port())
        return m

    def _read(self, m, read):
        """Requests to addresses of the port `read`, its words to `o`."""
        remaining = Signal(WORDS)  # of the request, 0 between two of them
        address = Signal(POINTER)
        advance = Signal()  # `o` is empty or taken
        issue = Signal()  # a word is read
        reading = Signal()  # the port holds a word
        read_last = Signal()
        first = remaining == 0
        left = Mux(first, self.i.payload.count, remaining)
        # The first word is read straight from the request: a request of one word takes one cycle.
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
        # A register behind the port's own: a block RAM's data comes late in the cycle.
        with m.If(advance):
            m.d.sync += [
                reading.eq(issue),
                read_last.eq(left == 1),
                self.o.valid.eq(reading),
                self.o.payload.values.eq(read.data),
                self.o.payload.last.eq(read_last),
            ]


class Turn(wiring.Component):
    """Turns blocks: takes `beats` words of `width` values, gives `width` words of `beats` values.

    Output word j of a block holds value j of every input word. Latency `beats` + 1 cycles, one word
    a cycle where width = beats. Stalled: the output word is held; the input stalls when both blocks
    are full.

    Parameters
    ----------
    shape : of one value
    width : values of an input word, words of a turned block; at least 1
    beats : words of a block, values of an output word; at least 1

    Members
    -------
    i : In(stream of width x shape)
    cut : In(1), the block's other words are not wanted: the one on `o` is its `last`
    o : Out(stream of word_layout of beats x shape), `last` of its block
    """

    def __init__(self, shape, width, beats):
        check_shape("Value", shape)
        check_count("Width", width)
        check_count("Beats", beats)
        self.width = width
        self.beats = beats
        self._bits = Shape.cast(shape).width
        super().__init__(
            {
                "i": In(stream.Signature(data.ArrayLayout(shape, width))),
                "cut": In(1),
                "o": Out(stream.Signature(word_layout(data.ArrayLayout(shape, beats)))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Two blocks, so that one fills while the other empties.
        blocks = [
            [Signal(self.beats * self._bits, name=f"block_{b}_{j}") for j in range(self.width)]
            for b in range(2)
        ]
        full = Signal(BANKS)
        self._take(m, blocks, full)
        self._give(m, blocks, full)
        return m

    def _take(self, m, blocks, full):
        """Input words into a block: its value j is shifted into row j, from the top."""
        filling = Signal()  # the block
        filled = Signal(range(self.beats))
        # A block is taken whole before it is given: its first word needs the last word taken.
        take = Signal()
        last = filled == self.beats - 1
        m.d.comb += [
            self.i.ready.eq(~full.bit_select(filling, 1)),
            take.eq(self.i.valid & self.i.ready),
        ]
        # Shifting needs no multiplexer: all words enter in one place and leave from another.
        for number, block in enumerate(blocks):
            with m.If(take & (filling == number)):
                for j, row in enumerate(block):
                    m.d.sync += row.eq(Cat(row[self._bits :], self.i.payload[j]))
        with m.If(take):
            m.d.sync += filled.eq(Mux(last, 0, filled + 1))
            with m.If(last):
                m.d.sync += [
                    filling.eq(~filling),
                    full.bit_select(filling, 1).eq(1),
                ]

    def _give(self, m, blocks, full):
        """Rows out of a block: row 0 is on `o`, the others move up."""
        emptying = Signal()  # the block
        emptied = Signal(range(self.width))
        give = Signal()
        # `cut` ends a block early: rows that nobody reads would cost a cycle each.
        m.d.comb += [
            self.o.valid.eq(full.bit_select(emptying, 1)),
            give.eq(self.o.valid & self.o.ready),
            self.o.payload.last.eq((emptied == self.width - 1) | self.cut),
            self.o.payload.values.as_value().eq(Mux(emptying, blocks[1][0], blocks[0][0])),
        ]
        for number, block in enumerate(blocks):
            with m.If(give & (emptying == number)):
                for row, following in pairwise(block):
                    m.d.sync += row.eq(following)
        with m.If(give):
            m.d.sync += emptied.eq(Mux(self.o.payload.last, 0, emptied + 1))
            with m.If(self.o.payload.last):
                m.d.sync += [
                    emptying.eq(~emptying),
                    full.bit_select(emptying, 1).eq(0),
                ]
