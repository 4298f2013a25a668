# SPDX-License-Identifier: Apache-2.0
"""Sparse columns to non-zeros: golden_model/bitmask.py, with a weight stream's column headers."""

from amaranth import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from firmware.columns import BIAS_BITS, COLUMN_HEADER_BYTES
from golden_model.bitmask import WORD_ROWS
from golden_model.hardware import ceil_div
from hw.shapes import BYTE, COLUMN, GROUPS, accumulator, code, index

__all__ = ["ColumnDecoder", "header_layout", "string_layout", "weight_layout"]

# Bytes that come to the decoder at once. As many as the narrowest bus word has, so a machine's
# decoder does not grow with its bus: a wide word waits and is given away in chunks.
CHUNK = 4
AHEAD = 2  # bus words that are taken before the one in front has passed its chunks on
# Cycles from a weight's byte to its entry, at least: the next byte shows whether it is the last.
HELD = 1
# Most bytes that leave at once: a weight and the mask word behind it. Both in one cycle, or a
# column would cost a cycle more for every 16 rows.
TAKEN = 3
MASK_BYTES = WORD_ROWS // BYTE.width
PART = 4  # bits of a mask word that are looked at together


def weight_layout(config):
    """One weight of a column: its row, its code, and whether it is the column's last."""
    return data.StructLayout({"k": ceil_log2(config.reduction), "code": code(config), "last": 1})


def header_layout(config):
    """What a column carries besides weights."""
    return data.StructLayout({"bias": accumulator(config), "destination": COLUMN})


def string_layout(config):
    """A bus word of a lane's byte string; `first` of its string."""
    return data.StructLayout({"data": config.bus_bits, "first": 1})


class ColumnDecoder(wiring.Component):
    """One lane's byte string (docs/design.md, Weight stream) to column headers and weights.

    The weights are those that are not 0. One a cycle, also from one mask word to the next; a mask
    word without weights takes a cycle, and the mask behind it one more. A column of z weights costs
    z + 4 cycles where no mask word is empty. Latency one cycle from a weight's byte at the
    earliest, since a weight is offered when the next one, or the column's end, shows whether it is
    the last. A column without weights gives one entry, code 0 at row 0.

    Stalled: stops as a whole when an output is not taken; headers run ahead of the weights by at
    most one column. After `groups` columns the string's other bytes are taken and ignored; the next
    string's first word is taken when none of them is left, three cycles after the last one.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of string_layout)
    reduction : In(range(config.reduction + 1)), rows K, read with a string's first word
    groups : In(GROUPS), columns of the string, read likewise
    o : Out(stream of weight_layout)
    o_header : Out(stream of header_layout), one for each column
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(string_layout(config))),
                "reduction": In(range(config.reduction + 1)),
                "groups": In(GROUPS),
                "o": Out(stream.Signature(weight_layout(config))),
                "o_header": Out(stream.Signature(header_layout(config))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self._left = Signal(range(2 * CHUNK + 1))  # bytes that are there
        self._take = Signal(range(TAKEN + 1))  # bytes that leave
        self._columns = Signal(GROUPS)  # that are left of the string
        self._flush = Signal()  # the column has ended
        self._mask = Signal(WORD_ROWS)  # what is left of the mask word
        self._index = Signal(index(ceil_div(self.config.reduction, WORD_ROWS)))  # its number
        last_index = Signal.like(self._index)
        self._bytes = self._fill(m, last_index)
        self._ends = self._index == last_index
        header = self._header(m)
        walk = self._walk(m)
        # One machine of two halves, each written beside its own logic.
        with m.FSM():
            header()
            walk()
        return m

    def _fill(self, m, last_index):
        """Bus words to chunks to a circle of two chunks; returns its next `TAKEN` bytes.

        `_take` bytes leave. With a string's first word `last_index` and `_columns` are set.
        """
        chunks = self.config.bus_bytes // CHUNK
        word = Signal(self.config.bus_bits, reset_less=True)
        behind = Signal(self.config.bus_bits, reset_less=True)  # the word behind it
        waits = Signal()  # that is there
        full = Signal(range(chunks + 1))  # chunks that are left of a word
        circle = [
            [Signal(BYTE, name=f"byte_{half}_{at}", reset_less=True) for at in range(CHUNK)]
            for half in range(2)
        ]
        head = Signal(range(2 * CHUNK))  # the next byte
        half = Signal()  # the chunk to be filled
        rest = Signal.like(self._left)
        fill = Signal()
        taken = Signal()  # a word is
        free = Signal()  # the next one has a place in `word`
        # A string may begin when all columns and padding bytes of the one before are gone.
        over = Signal()
        m.d.sync += over.eq((self._columns == 0) & (self._left == 0) & (full == 0) & ~taken)
        # What decides on `i.ready` are registers: all lanes' readies lead to the bus's reader.
        m.d.comb += [
            rest.eq(self._left - self._take),
            fill.eq((rest <= CHUNK) & (full != 0)),
            free.eq((full == 0) | ((full == 1) & fill)),
            self.i.ready.eq(~waits & (~self.i.payload.first | over)),
            taken.eq(self.i.valid & self.i.ready),
        ]
        with m.If(taken & self.i.payload.first):
            m.d.sync += [
                self._columns.eq(self.groups),
                last_index.eq((self.reduction - 1) >> ceil_log2(WORD_ROWS)),
            ]
        with m.If(fill):
            m.d.sync += [
                word.eq(word >> BYTE.width * CHUNK),
                full.eq(full - 1),
                half.eq(~half),
            ]
        for number, chunk in enumerate(circle):
            with m.If(fill & (half == number)):
                m.d.sync += Cat(chunk).eq(word)
        with m.If(free):
            m.d.sync += [
                word.eq(Mux(waits, behind, self.i.payload.data)),
                full.eq(Mux(waits | taken, chunks, 0)),
                waits.eq(0),
            ]
        with m.Elif(taken):
            m.d.sync += [
                behind.eq(self.i.payload.data),
                waits.eq(1),
            ]
        m.d.sync += [
            self._left.eq(rest + Mux(fill, CHUNK, 0)),
            head.eq(head + self._take),
        ]
        return self._next_bytes(m, circle, head)

    def _next_bytes(self, m, circle, head):
        """The bytes from `head` on, `TAKEN` of them."""
        # In two steps, of which each is a small multiplexer: for every place in a chunk the byte of
        # the one chunk or the other, then those turned by the head's offset.
        offset = head[: ceil_log2(CHUNK)]
        half = head[-1]
        chosen = Array(Signal(BYTE, name=f"chosen_{at}") for at in range(CHUNK))
        for at, byte in enumerate(chosen):
            passed = offset > at if at < CHUNK - 1 else Const(0)  # here the first chunk's has left
            m.d.comb += byte.eq(Mux(half ^ passed, circle[1][at], circle[0][at]))
        return Cat(chosen[(offset + ahead)[: len(offset)]] for ahead in range(TAKEN))

    def _header(self, m):
        """A column's header, in three parts of `TAKEN` bytes; returns what makes the states."""
        content = Signal(BYTE.width * COLUMN_HEADER_BYTES)
        pending = Signal()  # the header before has not been taken
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
            size = min(TAKEN, COLUMN_HEADER_BYTES - begin)
            end = begin + size
            m.d.comb += self._take.eq(size)
            m.d.sync += content[BYTE.width * begin : BYTE.width * end].eq(self._bytes)

        def states():
            """The header's states, inside an FSM."""
            # The first bytes of a header; past the last column the string's padding, thrown away.
            with m.State("HEADER"):
                with m.If(past):
                    m.d.comb += self._take.eq(Mux(self._left > TAKEN, TAKEN, self._left))
                with m.Elif((self._left >= TAKEN) & ~pending):
                    take(0)
                    m.next = "HEADER_MIDDLE"
            # The next ones.
            with m.State("HEADER_MIDDLE"):
                with m.If(self._left >= TAKEN):
                    take(TAKEN)
                    m.next = "HEADER_END"
            # The last ones: the header is offered.
            with m.State("HEADER_END"):
                with m.If(self._left != 0):
                    take(2 * TAKEN)
                    m.d.sync += pending.eq(1)
                    m.next = "MASK"

        return states

    def _walk(self, m):
        """Mask words and their weights; returns what makes the states."""
        mask = self._mask
        lone = Signal()  # the next weight is the mask word's last one
        following = Signal(WORD_ROWS)  # the mask word behind that weight
        weight = Signal()  # a weight's byte is here
        position, rest = _lowest(m, mask)
        take_weight = self._weights(m, weight, self._flush, Cat(position, self._index))
        m.d.comb += [
            lone.eq(rest == 0),
            following.eq(self._bytes[BYTE.width :]),
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
            """The mask words' states, inside an FSM."""
            # A mask word on its own: a column's first one, and one behind an empty one or one that
            # was not there in time.
            with m.State("MASK"):
                with m.If((self._left >= MASK_BYTES) & ~self._flush):
                    m.d.comb += self._take.eq(MASK_BYTES)
                    m.d.sync += mask.eq(self._bytes)
                    m.next = "CODES"
                    with m.If(self._bytes[:WORD_ROWS] == 0):
                        word_ends()
            # The weights of a mask word, lowest row first.
            with m.State("CODES"):
                m.d.comb += weight.eq((self._left != 0) & ~self._flush)
                with m.If(weight & take_weight):
                    m.d.comb += self._take.eq(1)
                    m.d.sync += mask.eq(rest)
                    with m.If(lone):
                        word_ends()
                    # With the last weight the next mask word, if it is there and not empty: no
                    # cycle is lost between two words.
                    with m.If(lone & ~self._ends & (self._left > MASK_BYTES) & (following != 0)):
                        m.d.comb += self._take.eq(1 + MASK_BYTES)
                        m.d.sync += mask.eq(following)
                        m.next = "CODES"

        return states

    def _weights(self, m, weight, flush, k):
        """Weights to `o`, from the bytes at rows `k`; returns whether a weight's byte is taken."""
        # Each is held until its successor or the column's end is known, because the string does not
        # say which is the last. A column without weights ends with the held entry 0, at row 0.
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
    """(position of the lowest set bit, the mask without it)."""
    # Four parts of four bits: two small choices, one after the other, are faster than one of 16.
    parts = [mask[at : at + PART] for at in range(0, len(mask), PART)]
    some = [part.any() for part in parts]
    chosen = Signal(PART)
    high = Signal(range(PART))
    low = Signal(range(PART))
    rest = Signal(len(mask))
    m.d.comb += [
        high.eq(_first(some)),
        chosen.eq(Array(parts)[high]),
        low.eq(_first(list(chosen))),
    ]
    # A bit stays when another one is set below it, in its part or before.
    for number, part in enumerate(parts):
        before = Cat(some[:number]).any() if number else Const(0)
        m.d.comb += rest[PART * number : PART * (number + 1)].eq(
            Cat(part[bit] & (before | part[:bit].any()) for bit in range(PART))
        )
    return Cat(low, high), rest


def _first(bits):
    """Number of the first of four bits that is set; 3 if none of the others is."""
    return Mux(bits[0], 0, Mux(bits[1], 1, Mux(bits[2], 2, 3)))
