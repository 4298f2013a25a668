# SPDX-License-Identifier: Apache-2.0
"""Sparse columns to non-zeros: the RTL of golden_model/bitmask.py with the column headers of a weight stream."""

from amaranth import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from firmware.columns import BIAS_BITS, HEADER_BYTES
from golden_model.bitmask import WORD_ROWS
from hw.shapes import accumulator, code

__all__ = ["ColumnDecoder", "weight_layout", "header_layout", "string_layout"]

CHUNK = 4  # bytes that come to the decoder at once, the narrowest bus word
HELD = 1  # cycles from a weight's byte to its entry, at least: the next one shows whether it is the last
TAKEN = 3  # most bytes that leave at once: a weight and the next mask word
MASK_BYTES = WORD_ROWS // 8


def weight_layout(config):
    """One weight of a column: its row, its code, and whether it is the column's last."""
    return data.StructLayout({"k": ceil_log2(config.reduction), "code": code(config), "last": 1})


def header_layout(config):
    """What a column carries besides weights."""
    return data.StructLayout({"bias": accumulator(config), "destination": 16})


def string_layout(config):
    """A bus word of a lane's byte string; `first` of its string."""
    return data.StructLayout({"data": config.bus_bits, "first": 1})


class ColumnDecoder(wiring.Component):
    """One lane's byte string (docs/design.md, Weight stream) to column headers and non-zero weights.

    A weight a cycle, also from one mask word to the next; a mask word without weights takes a cycle, and the mask behind it one more. A column
    of z weights costs z + 4 cycles where no mask word is empty. A weight is offered when the next one, or the column's end, shows whether it is
    the last: one cycle after its byte at the earliest. A column without weights gives one entry, code 0 at row 0. Stalls as a whole when an output
    is not taken; headers run ahead of the weights by at most one column. After `groups` columns the string's other bytes are taken and ignored; the
    next string's first word is taken when none of them is left, two cycles after the last one.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of string_layout)
    reduction, groups : In(range(config.reduction + 1)), In(16), K and number of columns, read with a string's first word
    o : Out(stream of weight_layout)
    o_header : Out(stream of header_layout)
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(string_layout(config))),
                "reduction": In(range(config.reduction + 1)),
                "groups": In(16),
                "o": Out(stream.Signature(weight_layout(config))),
                "o_header": Out(stream.Signature(header_layout(config))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self._left, self._take = (
            Signal(range(2 * CHUNK + 1)),
            Signal(range(TAKEN + 1)),
        )  # bytes that are there; that leave
        self._columns, self._flush = (
            Signal(16),
            Signal(),
        )  # columns that are left of the string; the column has ended
        self._mask = Signal(WORD_ROWS)
        self._index = Signal(max(1, ceil_log2(self.config.reduction) - 4))  # mask word, its number
        last_index = Signal.like(self._index)
        self._bytes = self._fill(m, last_index)
        self._ends = self._index == last_index
        header = self._header(m)
        walk = self._walk(m)
        with m.FSM():
            header()
            walk()
        return m

    def _fill(self, m, last_index):
        """Bus words to chunks to a circle of two chunks, from which `_take` bytes leave; returns the next bytes, `TAKEN` of them."""
        chunks = self.config.bus_bytes // CHUNK
        word = Signal(self.config.bus_bits, reset_less=True)
        full = Signal(range(chunks + 1))  # chunks that are left of a word
        circle = [
            [Signal(8, name=f"byte_{half}_{at}", reset_less=True) for at in range(CHUNK)]
            for half in range(2)
        ]
        head, half, rest, fill = (
            Signal(range(2 * CHUNK)),
            Signal(),
            Signal.like(self._left),
            Signal(),
        )  # next byte; chunk to be filled
        begins = self.i.payload.first & self.i.valid
        over = (self._columns == 0) & (self._left == 0) & (full == 0)
        m.d.comb += [
            rest.eq(self._left - self._take),
            fill.eq((rest <= CHUNK) & (full != 0)),
            self.i.ready.eq(Mux(begins, over, (full == 0) | ((full == 1) & fill))),
        ]
        with m.If(begins & over):
            m.d.sync += [
                self._columns.eq(self.groups),
                last_index.eq((self.reduction - 1) >> 4),
            ]
        with m.If(fill):
            m.d.sync += [
                word.eq(word >> 8 * CHUNK),
                full.eq(full - 1),
                half.eq(~half),
            ]
        for number, chunk in enumerate(circle):
            with m.If(fill & (half == number)):
                m.d.sync += Cat(chunk).eq(word)
        with m.If(self.i.ready):
            m.d.sync += [
                word.eq(self.i.payload.data),
                full.eq(Mux(self.i.valid, chunks, 0)),
            ]
        m.d.sync += [
            self._left.eq(rest + Mux(fill, CHUNK, 0)),
            head.eq(head + self._take),
        ]
        return self._next_bytes(m, circle, head)

    def _next_bytes(self, m, circle, head):
        """The bytes from `head` on: of each place in a chunk that of the one chunk or the other, then turned."""
        offset = head[:2]
        chosen = Array(Signal(8, name=f"chosen_{at}") for at in range(CHUNK))
        for at, byte in enumerate(chosen):
            passed = (
                offset > at if at < CHUNK - 1 else Const(0)
            )  # this place of the first chunk has left
            m.d.comb += byte.eq(Mux(head[2] ^ passed, circle[1][at], circle[0][at]))
        return Cat(chosen[(offset + ahead)[:2]] for ahead in range(TAKEN))

    def _header(self, m):
        """A column's header in three parts; returns what makes the states."""
        content = Signal(8 * HEADER_BYTES)
        pending = Signal()
        payload = self.o_header.payload
        past = self._columns == 0
        m.d.comb += [
            self.o_header.valid.eq(pending),
            payload.bias.eq(content[:BIAS_BITS].as_signed()),
            payload.destination.eq(content[BIAS_BITS:]),
        ]
        with m.If(self.o_header.ready):
            m.d.sync += pending.eq(0)

        def take(begin):
            size = min(TAKEN, HEADER_BYTES - begin)
            m.d.comb += self._take.eq(size)
            m.d.sync += content[8 * begin : 8 * (begin + size)].eq(self._bytes)

        def states():
            with m.State("HEADER"):  # also past the last column
                with m.If(past):
                    m.d.comb += self._take.eq(Mux(self._left > TAKEN, TAKEN, self._left))
                with m.Elif((self._left >= TAKEN) & ~pending):
                    take(0)
                    m.next = "HEADER_MIDDLE"
            with m.State("HEADER_MIDDLE"):
                with m.If(self._left >= TAKEN):
                    take(TAKEN)
                    m.next = "HEADER_END"
            with m.State("HEADER_END"):
                with m.If(self._left != 0):
                    take(2 * TAKEN)
                    m.d.sync += pending.eq(1)
                    m.next = "MASK"

        return states

    def _walk(self, m):
        """A mask word and its weights; the next word's mask is taken with the last weight. Returns what makes the states."""
        mask = self._mask
        lone = Signal()
        following = Signal(WORD_ROWS)
        weight = Signal()  # a weight's byte is here
        position, rest = _lowest(m, mask)
        take_weight = self._weights(m, weight, self._flush, Cat(position, self._index))
        m.d.comb += [
            lone.eq(rest == 0),
            following.eq(self._bytes[8:]),
        ]

        def word_ends():
            m.d.sync += self._index.eq(self._index + 1)
            m.next = "MASK"
            with m.If(self._ends):
                m.d.sync += [
                    self._index.eq(0),
                    self._columns.eq(self._columns - 1),
                    self._flush.eq(1),
                ]
                m.next = "HEADER"

        def states():
            with m.State("MASK"):
                with m.If((self._left >= MASK_BYTES) & ~self._flush):
                    m.d.comb += self._take.eq(MASK_BYTES)
                    m.d.sync += mask.eq(self._bytes)
                    m.next = "CODES"
                    with m.If(self._bytes[:WORD_ROWS] == 0):
                        word_ends()
            with m.State("CODES"):
                m.d.comb += weight.eq((self._left != 0) & ~self._flush)
                with m.If(weight & take_weight):
                    m.d.comb += self._take.eq(1)
                    m.d.sync += mask.eq(rest)
                    with m.If(lone):
                        word_ends()
                    with m.If(lone & ~self._ends & (self._left > MASK_BYTES) & (following != 0)):
                        m.d.comb += self._take.eq(1 + MASK_BYTES)
                        m.d.sync += mask.eq(following)
                        m.next = "CODES"

        return states

    def _weights(self, m, weight, flush, k):
        """Hold each weight until its successor or the column's end is known; returns whether a weight's byte is taken."""
        held = Signal()
        entry = Signal(data.StructLayout({"k": len(self.o.payload.k), "code": code(self.config)}))
        m.d.comb += [
            self.o.valid.eq(flush | (weight & held)),
            self.o.payload.last.eq(flush),
            self.o.payload.k.eq(entry.k),
            self.o.payload.code.eq(entry.code),
        ]
        take = ~flush & (~held | self.o.ready)
        with m.If(weight & take):
            m.d.sync += [
                held.eq(1),
                entry.k.eq(k),
                entry.code.eq(self._bytes),
            ]
        with m.If(flush & self.o.ready):
            m.d.sync += [
                flush.eq(0),
                held.eq(0),
                entry.eq(0),
            ]
        return take


def _lowest(m, mask):
    """(position of the lowest set bit, the mask without it), four bits at a time."""
    parts = [mask[at : at + 4] for at in range(0, len(mask), 4)]
    some = [part.any() for part in parts]
    chosen = Signal(4)
    high = Signal(2)
    low = Signal(2)
    rest = Signal(len(mask))
    m.d.comb += [
        high.eq(_first(some)),
        chosen.eq(Array(parts)[high]),
        low.eq(_first(list(chosen))),
    ]
    for number, part in enumerate(parts):
        before = Cat(some[:number]).any() if number else Const(0)
        m.d.comb += rest[4 * number : 4 * number + 4].eq(
            Cat(part[bit] & (before | part[:bit].any()) for bit in range(4))
        )
    return Cat(low, high), rest


def _first(bits):
    """Number of the first of four bits that is set; 3 if none of the others is."""
    return Mux(bits[0], 0, Mux(bits[1], 1, Mux(bits[2], 2, 3)))
