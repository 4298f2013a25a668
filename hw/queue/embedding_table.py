# SPDX-License-Identifier: Apache-2.0
"""Rows of the embedding image by number: each is looked up in the row table, then read; look-ups run ahead of the reads."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from golden_model.bitmask import WORD_ROWS
from hw.bus.headers import embedding_layout
from hw.bus.transfer import bus_word, request, word
from hw.bus.words import Words
from hw.stream import Fifo

__all__ = ["RowFetcher", "longest_row", "row_layout"]

OFFSET_BYTES = 4  # of a row table entry, and what rows are padded to
AHEAD = 4  # rows looked up before they are asked for: more than the rows of a token
RUNS = 2 * AHEAD  # requests whose words have not come
CHOSEN = 2  # cycles from the choice of a row, or of a look-up, to its request
FOUND = 2  # from a look-up's last word until its row can be chosen


def longest_row(features):
    """Bytes of a row without a zero: masks, codes, check byte, padded."""
    size = -(-features // WORD_ROWS) * 2 + features + 1
    return -(-size // OFFSET_BYTES) * OFFSET_BYTES


def row_layout(config):
    """A row that comes: its bytes; `bad`: its table entry cannot be right, and no byte of it comes."""
    return data.StructLayout({"bad": 1, "length": range(longest_row(config.embedding) + 1)})


class RowFetcher(wiring.Component):
    """Row numbers in, the rows' 32-bit words out, in the same order.

    A row costs one request for its two offsets and one for its bytes. Up to `AHEAD` rows are looked up ahead, so that the port's latency shows once and
    then hides behind the rows before. A row that lies outside the image, is empty, too long or not aligned is `bad`. Stalled by `o` or `o_row` it
    asks for no more; what the reader has then stays there. Does nothing of itself when the reader fails: it must be reset.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    base, size, table : the embedding image and its `embedding_layout()`, quasi-static
    i : stream of row numbers
    o_request, i_data : to a `Reader` of the embedding port
    o_row : stream of `row_layout(config)`, each before its words
    o : stream of `word()`, from the row's first byte on; `last` of the bus words that hold it
    idle : nothing is under way
    """

    def __init__(self, config):
        self._config = config
        self._shift = ceil_log2(config.bus_bytes)
        self._run = data.StructLayout(
            {"table": 1, "skip": range(max(2, config.bus_bytes // 4))}
        )  # 32-bit words before the first one wanted
        self._place = data.StructLayout({"row": row_layout(config), "begin": 32})
        super().__init__(
            {
                "base": In(32),
                "size": In(32),
                "table": In(embedding_layout()),
                "i": In(stream.Signature(32)),
                "o_request": Out(stream.Signature(request())),
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
        m.submodules.rows = rows = Fifo(row_layout(self._config), AHEAD)
        wiring.connect(m, rows.o, wiring.flipped(self.o_row))
        ahead = Signal(range(AHEAD + 1))  # look-ups whose row has not been asked for
        resting = self._ask(m, runs, places, rows, ahead)
        self._route(m, runs, places)
        m.d.comb += self.idle.eq(
            resting & (ahead == 0) & (runs.level == 0) & (rows.level == 0) & ~self.i.valid
        )
        return m

    def _ask(self, m, runs, places, rows, ahead):
        """Requests: a look-up while a number is there and few are ahead, else the next row; returns whether it rests."""
        begin = Signal(32)
        end = Signal(32)
        is_table = Signal()
        address = Signal(32)
        count = Signal(32)
        skip = Signal.like(runs.i.payload.skip)
        row = Signal(row_layout(self._config))
        place = places.o.payload
        asked = self.o_request
        resting = Signal()
        step = self._config.bus_bytes
        m.d.comb += [
            asked.payload.address.eq(address),
            asked.payload.words.eq(count),
            asked.payload.base.eq(self.base),
            asked.payload.size.eq(self.size),
            runs.i.payload.table.eq(is_table),
            runs.i.payload.skip.eq(skip),
            rows.i.payload.eq(row),
        ]
        with m.FSM():
            with m.State("Choose"):
                m.d.comb += resting.eq(1)
                with m.If(self.i.valid & (ahead != AHEAD)):
                    entry = self.table.table_offset + (self.i.payload << 2)
                    m.d.comb += self.i.ready.eq(1)
                    m.d.sync += [
                        begin.eq(self.base + entry),
                        end.eq(self.base + entry + 2 * OFFSET_BYTES),
                        is_table.eq(1),
                        ahead.eq(ahead + 1),
                    ]
                    m.next = "Measure"
                with m.Elif(places.o.valid):
                    m.d.comb += places.o.ready.eq(1)
                    m.d.sync += [
                        begin.eq(self.base + place.begin),
                        end.eq(self.base + place.begin + place.row.length),
                        is_table.eq(0),
                        row.eq(place.row),
                        ahead.eq(ahead - 1),
                    ]
                    m.next = "Measure"
                    with m.If(place.row.bad):
                        m.next = "Refuse"
            with m.State("Measure"):
                first = begin[self._shift :]
                m.d.sync += [
                    address.eq(first << self._shift),
                    skip.eq(begin[2 : self._shift]),
                    count.eq(((end + step - 1) >> self._shift) - first),
                ]
                m.next = "Request"
            with m.State("Request"):
                m.d.comb += asked.valid.eq(runs.i.ready & (is_table | rows.i.ready))
                with m.If(asked.valid & asked.ready):
                    m.d.comb += [
                        runs.i.valid.eq(1),
                        rows.i.valid.eq(~is_table),
                    ]
                    m.next = "Choose"
            with m.State("Refuse"):
                m.d.comb += rows.i.valid.eq(1)
                with m.If(rows.i.ready):
                    m.next = "Choose"
        return resting

    def _route(self, m, runs, places):
        """The words of a request: the two offsets of a look-up to the places, a row's to `o`."""
        m.submodules.words = words = Words(self._config)
        wiring.connect(m, words.i, wiring.flipped(self.i_data))
        skip = runs.o.payload.skip
        current = words.o.payload
        row = places.i.payload.row
        at = Signal(
            range(self._config.bus_bytes // 4 + 2)
        )  # words of this request before this one, at most skip + 2
        begin = Signal(32)
        end = Signal(32)
        length = Signal(33)
        m.d.comb += [
            self.o.payload.eq(current),
            length.eq(end - begin),
            places.i.payload.begin.eq(begin),
            row.length.eq(length),
            row.bad.eq(
                (length > longest_row(self._config.embedding))
                | (length == 0)
                | ((begin | end)[:2] != 0)
                | (end > self.size)
            ),
        ]
        with m.FSM():
            with m.State("Take"):
                with m.If(runs.o.valid & runs.o.payload.table):
                    m.d.comb += words.o.ready.eq(1)
                    with m.If(words.o.valid & current.last):
                        m.next = "Judge"
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
                    with m.If(at == skip):
                        m.d.sync += begin.eq(current.data)
                    with m.If(at == skip + 1):
                        m.d.sync += end.eq(current.data)
            with m.State("Judge"):
                m.d.comb += places.i.valid.eq(1)
                m.next = "Take"
