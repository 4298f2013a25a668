# SPDX-License-Identifier: Apache-2.0
"""Rows of the embedding image by number: each is looked up in the row table, then read.

Look-ups run ahead of the reads.
"""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from firmware.embedding_image import ROW_CHECK_BYTES
from golden_model.bitmask import WORD_ROWS
from golden_model.hardware import ceil_div
from hw.array.bitmask import MASK_BYTES
from hw.bus.headers import embedding_layout
from hw.bus.transfer import bus_word, transfer_layout, word
from hw.bus.words import Words
from hw.shapes import ADDRESS, BYTE, EMBEDDING_ROW, SIZE, WIDE_COUNT, WORD
from hw.stream import Fifo

__all__ = ["RowFetcher", "longest_row", "row_layout"]

OFFSET_BYTES = 4  # of a row table entry, and what rows are padded to
AHEAD = 4  # rows looked up before they are asked for: more than the rows of a token
RUNS = 2 * AHEAD  # requests whose words have not come
CHOSEN = 2  # cycles from the choice of a row, or of a look-up, to its request
FOUND = 2  # from a look-up's last word until its row can be chosen


def longest_row(features):
    """Bytes of a row without a zero: masks, codes, check, padded."""
    size = ceil_div(features, WORD_ROWS) * MASK_BYTES + features + ROW_CHECK_BYTES
    return ceil_div(size, OFFSET_BYTES) * OFFSET_BYTES


def row_layout(config):
    """A row that comes.

    length : its bytes
    number : the low bits of its number, as many as its check has
    bad : its table entry cannot be right, and no byte of it comes
    """
    length = range(longest_row(config.embedding) + 1)
    return data.StructLayout({"bad": 1, "number": BYTE.width * ROW_CHECK_BYTES, "length": length})


class RowFetcher(wiring.Component):
    """Row numbers in, the rows' 32-bit words out, in the same order.

    A row costs one request for its two offsets in the row table and one for its bytes, each
    `CHOSEN` cycles after its choice; a row can be chosen `FOUND` cycles after its offsets came. Up
    to `AHEAD` rows are looked up ahead, so that the port's latency shows once and then hides behind
    the rows before. Words pass in the cycle in which they come. Stalled by `o` or `o_row` it asks
    for no more; what the reader has then stays there.

    A row that lies outside the image, is empty, too long or not aligned is `bad`. When the reader
    fails nothing more happens: it must be reset.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    base : In(ADDRESS), of the embedding image, quasi-static
    size : In(SIZE), of it, quasi-static
    table : In(embedding_layout()), from its header, quasi-static
    i : In(stream of EMBEDDING_ROW), row numbers
    o_request : Out(stream of request()), to a `Reader` of the embedding port
    i_data : In(stream of bus_word(config)), its words
    o_row : Out(stream of row_layout(config)), each before its words
    o : Out(stream of word()), from the row's first byte on; `last` of the bus words that hold it
    idle : Out(1), nothing is under way
    """

    def __init__(self, config):
        self.config = config
        self._shift = ceil_log2(config.bus_bytes)
        # Of a request: it is a look-up, of this row; 32-bit words that come before the first one
        # wanted.
        skip = range(max(2, config.bus_bits // WORD.width))
        number = row_layout(config)["number"].shape
        self._run = data.StructLayout({"table": 1, "number": number, "skip": skip})
        # Of a row looked up; `begin` is its offset in the image.
        self._place = data.StructLayout({"row": row_layout(config), "begin": WORD})
        super().__init__(
            {
                "base": In(ADDRESS),
                "size": In(SIZE),
                "table": In(embedding_layout()),
                "i": In(stream.Signature(EMBEDDING_ROW)),
                "o_request": Out(stream.Signature(transfer_layout())),
                "i_data": In(stream.Signature(bus_word(config))),
                "o_row": Out(stream.Signature(row_layout(config))),
                "o": Out(stream.Signature(word())),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.runs = runs = Fifo(self._run, RUNS)
        m.submodules.places = places = Fifo(self._place, AHEAD)  # rows looked up
        m.submodules.rows = rows = Fifo(row_layout(self.config), AHEAD)
        wiring.connect(m, rows.o, wiring.flipped(self.o_row))
        ahead = Signal(range(AHEAD + 1))  # look-ups whose row has not been asked for
        resting = self._ask(m, runs, places, rows, ahead)
        self._route(m, runs, places)
        m.d.comb += self.idle.eq(
            resting & (ahead == 0) & (runs.level == 0) & (rows.level == 0) & ~self.i.valid
        )
        return m

    def _ask(self, m, runs, places, rows, ahead):
        """Requests, one after the other; returns whether it rests."""
        begin = Signal(ADDRESS)  # of the bytes wanted
        end = Signal(ADDRESS)
        is_table = Signal()
        address = Signal(ADDRESS)
        count = Signal(WIDE_COUNT)
        skip = Signal.like(runs.i.payload.skip)
        row = Signal(row_layout(self.config))
        number = Signal(row.number.shape())
        asked = self.o_request
        resting = Signal()
        step = self.config.bus_bytes
        m.d.comb += [
            asked.payload.address.eq(address),
            asked.payload.words.eq(count),
            asked.payload.base.eq(self.base),
            asked.payload.size.eq(self.size),
            runs.i.payload.table.eq(is_table),
            runs.i.payload.number.eq(number),
            runs.i.payload.skip.eq(skip),
            rows.i.payload.eq(row),
        ]
        with m.FSM():
            # A look-up while a number is there and few are ahead, else the next row.
            with m.State("CHOOSE"):
                m.d.comb += resting.eq(1)
                with m.If(self.i.valid & (ahead != AHEAD)):
                    self._look_up(m, begin, end)
                    m.d.sync += [
                        is_table.eq(1),
                        number.eq(self.i.payload),
                        ahead.eq(ahead + 1),
                    ]
                    m.next = "MEASURE"
                with m.Elif(places.o.valid):
                    self._fetch(m, places, begin, end)
                    m.d.sync += [
                        is_table.eq(0),
                        row.eq(places.o.payload.row),
                        ahead.eq(ahead - 1),
                    ]
                    m.next = "MEASURE"
                    with m.If(places.o.payload.row.bad):
                        m.next = "REFUSE"
            # The bus words that hold these bytes.
            with m.State("MEASURE"):
                first = begin[self._shift :]
                m.d.sync += [
                    address.eq(first << self._shift),
                    skip.eq(begin[ceil_log2(OFFSET_BYTES) : self._shift]),
                    count.eq(((end + step - 1) >> self._shift) - first),
                ]
                m.next = "REQUEST"
            self._request(m, runs, rows, is_table)
        return resting

    def _request(self, m, runs, rows, is_table):
        """Two states: the choice is asked for, or refused."""
        # They are asked for, when there is room to note what comes.
        with m.State("REQUEST"):
            m.d.comb += self.o_request.valid.eq(runs.i.ready & (is_table | rows.i.ready))
            with m.If(self.o_request.valid & self.o_request.ready):
                m.d.comb += [
                    runs.i.valid.eq(1),
                    rows.i.valid.eq(~is_table),
                ]
                m.next = "CHOOSE"
        # A bad row is told of, and nothing is asked for.
        with m.State("REFUSE"):
            m.d.comb += rows.i.valid.eq(1)
            with m.If(rows.i.ready):
                m.next = "CHOOSE"

    def _look_up(self, m, begin, end):
        """The next number is taken: its row's offset and the next row's, which is its end."""
        entry = self.table.table_offset + (self.i.payload << ceil_log2(OFFSET_BYTES))
        m.d.comb += self.i.ready.eq(1)
        m.d.sync += [
            begin.eq(self.base + entry),
            end.eq(self.base + entry + 2 * OFFSET_BYTES),
        ]

    def _fetch(self, m, places, begin, end):
        """The next row that has been looked up is taken: its bytes."""
        place = places.o.payload
        m.d.comb += places.o.ready.eq(1)
        m.d.sync += [
            begin.eq(self.base + place.begin),
            end.eq(self.base + place.begin + place.row.length),
        ]

    def _route(self, m, runs, places):
        """The words of a request: the two offsets of a look-up to the places, a row's to `o`."""
        m.submodules.words = words = Words(self.config)
        wiring.connect(m, words.i, wiring.flipped(self.i_data))
        skip = runs.o.payload.skip
        current = words.o.payload
        row = places.i.payload.row
        # Words of this request before this one; it stays at skip + 2, where nothing depends on it.
        at = Signal(range(self.config.bus_bits // WORD.width + 2))
        begin = Signal(WORD)
        end = Signal(WORD)
        number = Signal(row.number.shape())
        length = Signal(unsigned(WORD.width + 1))  # more than any row's where `end` < `begin`
        m.d.comb += [
            self.o.payload.eq(current),
            length.eq(end - begin),
            places.i.payload.begin.eq(begin),
            row.length.eq(length),
            row.number.eq(number),
            row.bad.eq(
                (length > longest_row(self.config.embedding))
                | (length == 0)
                | ((begin | end)[: ceil_log2(OFFSET_BYTES)] != 0)
                | (end > self.size)
            ),
        ]
        with m.FSM():
            # Words are taken in the order of the requests.
            with m.State("TAKE"):
                with m.If(runs.o.valid & runs.o.payload.table):
                    m.d.comb += words.o.ready.eq(1)
                    m.d.sync += number.eq(runs.o.payload.number)
                    with m.If(words.o.valid & current.last):
                        m.next = "JUDGE"
                # Words before the row, in its first bus word, are dropped.
                with m.Elif(runs.o.valid & (at < skip)):
                    m.d.comb += words.o.ready.eq(1)
                with m.Elif(runs.o.valid):
                    m.d.comb += [
                        self.o.valid.eq(words.o.valid),
                        words.o.ready.eq(self.o.ready),
                    ]
                with m.If(words.o.valid & words.o.ready):
                    m.d.comb += runs.o.ready.eq(current.last)
                    m.d.sync += at.eq(Mux(current.last, 0, Mux(at == skip + 2, at, at + 1)))
                    # Of a row's words too, where nobody looks at them.
                    with m.If(at == skip):
                        m.d.sync += begin.eq(current.data)
                    with m.If(at == skip + 1):
                        m.d.sync += end.eq(current.data)
            # Both offsets are there, and so the row's place.
            with m.State("JUDGE"):
                # There is room: no more than `AHEAD` are looked up.
                m.d.comb += places.i.valid.eq(1)
                m.next = "TAKE"
