# SPDX-License-Identifier: Apache-2.0
"""What is stored comes back: the ring, the buffer, and columns of which the non-zeros are kept."""

from amaranth import Array, Cat, Const, Module, Mux, ResetSignal, Signal, unsigned
from amaranth.hdl import Assert, Assume
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In

from firmware.columns import BIAS_BITS, COLUMN_HEADER_BYTES
from hw.arith.fixed import count
from sim.prove.machines import tiny_machine
from sim.prove.prover import Mutant, Property

__all__ = ["ARRAYS"]

WORD = unsigned(3)
NUMBER = unsigned(5)  # of words, more than a bounded proof has
DEPTH = 4  # words of a ring, of a buffer
ROWS = 4  # of a column
BYTE = unsigned(8)
CONFIG = tiny_machine()


class Rewound(wiring.Component):
    """`Ring` gives the words from the first one not released on, in order, and again from a rewind.

    Any one of them, `watched`, is that which went in, until it is released: none is written over.
    """

    def __init__(self, ring):
        self.block = ring(WORD, DEPTH)
        super().__init__(
            {
                "i": In(stream.Signature(WORD)),
                "ready": In(1),
                "release": In(1),
                "rewind": In(1),
                "watched": In(NUMBER),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.block = block = self.block
        written = Signal(NUMBER)
        base = Signal(NUMBER)  # the first one that is not released
        place = Signal(NUMBER)  # the next one to be given
        value = Signal(WORD)
        watched = Signal(NUMBER)
        begun = Signal()
        wiring.connect(m, wiring.flipped(self.i), block.i)
        taken = block.o.valid & block.o.ready
        m.d.comb += [
            block.o.ready.eq(self.ready),
            block.release.eq(self.release),
            block.rewind.eq(self.rewind),
            Assume(~(self.release & self.rewind)),
            Assume(~begun | (self.watched == watched)),
            Assert(written - base <= DEPTH),
            Assert(~block.i.ready | (written - base < DEPTH)),
            Assert(~block.o.valid | (place < written)),
            Assert(~block.o.valid | (place != self.watched) | (block.o.payload == value)),
        ]
        m.d.sync += [
            begun.eq(1),
            watched.eq(self.watched),
        ]
        with m.If(block.i.valid & block.i.ready):
            m.d.sync += written.eq(written + 1)
            with m.If(written == self.watched):
                m.d.sync += value.eq(self.i.payload)
        with m.If(taken):
            m.d.sync += place.eq(Mux(self.rewind, base, place + 1))
            with m.If(self.release):
                m.d.sync += base.eq(place + 1)
        return m


class Remembered(wiring.Component):
    """`Buffer` gives of each address what was written there last, in the requests' order.

    Of one word, the `watched`-th that is read, at one address.
    """

    LANES = 2

    def __init__(self, buffer):
        self.block = buffer(WORD, self.LANES, DEPTH)
        members = dict(self.block.signature.members)
        del members["o"], members["index"]
        super().__init__(
            {**members, "ready": In(1), "watched": In(NUMBER), "place": In(range(DEPTH))}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.block = block = self.block
        names = ("write", "write_address", "write_data", "write_lanes", "hold")
        wiring.connect(m, wiring.flipped(self.i), block.i)
        m.d.comb += [
            *(getattr(block, name).eq(getattr(self, name)) for name in names),
            block.o.ready.eq(self.ready),
        ]
        request = self.i.payload
        steady = Signal(len(self.watched) + len(self.place))
        begun = Signal()
        now = Cat(self.watched, self.place)
        # A word is read where the output moves on and there is something to read.
        first = block.index == 0
        left = Signal.like(request.count)
        address = Signal(range(DEPTH))
        issue = (~block.o.valid | self.ready) & (~first | self.i.valid) & ~self.hold
        here = Mux(first, request.address, address)
        ends = Mux(first, request.count, left) == 1
        stored = Signal.like(block.write_data.as_value())  # at `place`
        wanted = Signal.like(stored)
        wanted_last = Signal()
        matters = Signal()  # the watched word is of `place`
        read = Signal(NUMBER)
        given = Signal(NUMBER)
        m.d.comb += [
            Assume(~begun | (steady == now)),
            Assume((request.count != 0) & (request.address + request.count <= DEPTH)),
            Assume(self.write_address < DEPTH),
            Assume(~ResetSignal()),  # it would leave the memory as it is
        ]
        m.d.sync += [
            begun.eq(1),
            steady.eq(now),
            given.eq(given + (block.o.valid & self.ready)),
        ]
        for lane in range(self.LANES):
            with m.If(self.write & self.write_lanes[lane] & (self.write_address == self.place)):
                part = stored.word_select(lane, WORD.width)
                m.d.sync += part.eq(self.write_data[lane])
        with m.If(issue):
            m.d.sync += [
                read.eq(read + 1),
                address.eq(here + 1),
                left.eq(Mux(first, request.count, left) - 1),
            ]
            with m.If(read == self.watched):
                m.d.sync += [
                    matters.eq(here == self.place),
                    wanted.eq(stored),
                    wanted_last.eq(ends),
                ]
        o = block.o
        with m.If(o.valid):
            m.d.comb += Assert(given < read)
            with m.If((given == self.watched) & matters):
                payload = Cat(o.payload.values.as_value(), o.payload.last)
                m.d.comb += Assert(payload == Cat(wanted, wanted_last))
        return m


class Expanded(wiring.Component):
    """`ColumnDecoder` gives of a column (golden_model/bitmask.py) exactly the non-zeros, in order.

    The column is any: its header, its mask of `ROWS` rows, and as many codes.
    """

    def __init__(self, decoder):
        self.block = decoder(CONFIG)
        super().__init__(
            {
                "valid": In(1),
                "ready": In(1),
                "header_ready": In(1),
                "header": In(8 * COLUMN_HEADER_BYTES),
                "mask": In(ROWS),
                "codes": In(8 * ROWS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.block = block = self.block
        string = Cat(self.header, self.mask, Const(0, 16 - ROWS), self.codes)
        words = -(-len(string) // 32)
        word = Signal(range(words + 1))
        number = Signal(range(ROWS + 1))  # weights given
        over = Signal()
        begun = Signal()
        before = Signal(len(string))
        codes = Array(self.codes.word_select(at, 8) for at in range(ROWS))
        weights = count(list(self.mask))
        m.d.sync += [
            begun.eq(1),
            before.eq(string),
        ]
        m.d.comb += [
            Assume(~begun | (before == string)),
            *(Assume(code != 0) for code in codes),
            block.i.valid.eq(self.valid & (word != words)),
            block.i.payload.data.eq((string >> (word << 5))[:32]),
            block.i.payload.first.eq(word == 0),
            block.reduction.eq(ROWS),
            block.groups.eq(1),
            block.o.ready.eq(self.ready),
            block.o_header.ready.eq(self.header_ready),
        ]
        with m.If(block.i.valid & block.i.ready):
            m.d.sync += word.eq(word + 1)
        entry = block.o.payload
        below = count([self.mask[at] & (entry.k > at) for at in range(ROWS)])
        with m.If(block.o.valid):
            m.d.comb += Assert(~over)
            with m.If(self.mask == 0):
                m.d.comb += Assert((entry.k == 0) & (entry.code == 0) & entry.last)
            with m.Else():
                m.d.comb += [
                    Assert(self.mask.bit_select(entry.k, 1) & (below == number)),
                    Assert(entry.code == codes[number]),
                    Assert(entry.last == (number + 1 == weights)),
                ]
            with m.If(self.ready):
                m.d.sync += [
                    number.eq(number + 1),
                    over.eq(entry.last),
                ]
        with m.If(block.o_header.valid):
            payload = block.o_header.payload
            bias = len(payload.bias)
            m.d.comb += [
                Assert(payload.bias.as_unsigned() == self.header[:bias]),
                Assert(payload.destination == self.header[BIAS_BITS:]),
            ]
        return m


ARRAYS = (
    Property(
        "Ring: the words from the first unreleased one on, again after a rewind, none written over",
        "hw.array.ring:Ring",
        Rewound,
        10,
        False,
        (
            Mutant("full.eq((following ^ base) == self._depth)", "full.eq(0)"),
            Mutant("fetched.eq(base)", "fetched.eq(written)"),
            Mutant("base.eq(behind_output)", "base.eq(behind_middle)"),
            Mutant("fetch.eq(~middle | move)", "fetch.eq(1)"),
        ),
        quick=False,
    ),
    Property(
        "Buffer: of each address what was written last, in the order of the requests",
        "hw.buffer:Buffer",
        Remembered,
        8,
        False,
        (
            Mutant(
                "write.en.eq(Mux(self.write, self.write_lanes, 0))",
                "write.en.eq(Mux(self.write, -1, 0))",
            ),
            Mutant("address.eq(read.addr + 1)", "address.eq(read.addr)"),
            Mutant("read_last.eq(left == 1)", "read_last.eq(left == 2)"),
            Mutant("read.en.eq(issue)", "read.en.eq(1)"),
        ),
        quick=False,
    ),
    Property(
        "ColumnDecoder: exactly the non-zeros of a column of 4 rows, in order",
        "hw.array.bitmask:ColumnDecoder",
        Expanded,
        12,
        False,
        (
            Mutant("(before | part[:bit].any())", "before"),
            Mutant("entry.k.eq(k)", "entry.k.eq(k + 1)"),
            Mutant(
                "payload.destination.eq(content[BIAS_BITS:])", "payload.destination.eq(content)"
            ),
            Mutant("Mux(half ^ passed,", "Mux(half,"),
        ),
        quick=False,
    ),
)
