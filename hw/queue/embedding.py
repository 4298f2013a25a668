# SPDX-License-Identifier: Apache-2.0
"""Embedding: word + position + segment rows, read through the read-only port. golden_model/embedding.py specifies the sum."""

from amaranth import Module, Mux, ResetInserter, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from firmware.error_codes import Error
from firmware.record import TOKEN
from hw.arith.adaptivfloat import decode
from hw.arith.fixed import round_shift, saturate
from hw.bus import axi
from hw.bus.dma import Reader
from hw.bus.headers import embedding_layout
from hw.bus.transfer import bus_word, request
from hw.queue.embedding_row import RowDecoder
from hw.queue.embedding_table import RowFetcher
from hw.shapes import ACT, ERROR, fields_layout
from hw.stream import Fifo

__all__ = ["Embedder", "feature_layout", "token_layout"]

SHIFT_LOW = -8
SHIFT_HIGH = 31  # of the program's shifts
TABLES = 3
SUMMED = 6  # cycles from a token's last check byte, at least, to its last feature and `o_done`
REST = 2  # from `o_done` until the next token's row, or a token in its place, can be taken
TOKENS = 4  # that may be inside: enough for the rows that are looked up ahead


def token_layout():
    """A word TOKEN of firmware/record.py, its position, and a row number that passes along."""
    return data.StructLayout({"token": 32, "position": 16, "row": 16})


def feature_layout():
    """One feature of embed_sum."""
    return data.StructLayout({"row": 16, "feature": 16, "value": ACT, "last": 1})


class Embedder(wiring.Component):
    """value = saturate(sum over the tables of round_shift(decode(code), shift), 16) for each feature of a token.

    Three rows a token, about 3.4 cycles a feature and 30 for the token; the port's latency shows once for the tokens that follow each other
    (`RowFetcher`). Features leave while the third row arrives, so a token whose third row fails has given some. `o_done` follows the token's last
    feature. Features cannot be stalled; a stalled `o_done` holds the next token's.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : stream of `token_layout()`
    feature_valid, feature : `feature_layout()`
    o_done : stream of {"row", "status"}: 0, SENTENCE_TOKEN (nothing was read), SENTENCE_CHECK or EMBEDDING_BUS (of all tokens that were
        inside; the core stops the queue then)
    base, size, table : window of the embedding image and its `embedding_layout()`, quasi-static
    word_shift, position_shift, segment_shift : -8..31, stable while a token is inside
    loading : quasi-static, while idle: the reader serves `i_request`, `o_data` and `error` (for `Loader`) instead
    abort : forget tokens and errors, drain the port; pulse or level
    idle : no token, nothing in flight
    saturated : the feature that leaves in this cycle was clamped
    failed : pulse: a token fails by a row's check
    bus : AXI4 read manager
    """

    def __init__(self, config):
        self._config = config
        shift = In(signed(6))
        super().__init__(
            {
                "i": In(stream.Signature(token_layout())),
                "feature_valid": Out(1),
                "feature": Out(feature_layout()),
                "o_done": Out(stream.Signature(data.StructLayout({"row": 16, "status": 8}))),
                "base": In(32),
                "size": In(32),
                "table": In(embedding_layout()),
                "word_shift": shift,
                "position_shift": shift,
                "segment_shift": shift,
                "loading": In(1),
                "i_request": In(stream.Signature(request())),
                "o_data": Out(stream.Signature(bus_word(config))),
                "error": Out(ERROR),
                "abort": In(1),
                "idle": Out(1),
                "saturated": Out(1),
                "failed": Out(1),
                "bus": Out(axi.read(config.bus_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        core = Module()
        m.submodules.reader = self._reader = reader = Reader(self._config)
        m.submodules.core = ResetInserter(self.abort)(core)
        self._recover = Signal()
        self._fetcher = RowFetcher(self._config)
        self._decoder = RowDecoder(self._config)
        for name, block in (("fetcher", self._fetcher), ("decoder", self._decoder)):
            core.submodules[name] = ResetInserter(self._recover)(block)
        core.submodules.tokens = self._tokens = Fifo(
            data.StructLayout({"row": 16, "status": ERROR}), TOKENS
        )
        self._index, self._status = (
            Signal(range(TABLES)),
            Signal(ERROR),
        )  # table of the row that arrives; first error of its token
        self._error, self._open = (
            Signal(ERROR),
            Signal(),
        )  # the port's failure; a row may be decoded
        asking = self._number(core)
        sitting = self._sequence(core, self._accumulate(core))
        self._share(m)
        m.d.comb += [
            reader.abort.eq(self.abort | self._recover),
            self.error.eq(reader.error),
            self.idle.eq(
                reader.idle & self._fetcher.idle & ~asking & sitting & (self._tokens.level == 0)
            ),
        ]
        wiring.connect(m, reader.bus, wiring.flipped(self.bus))
        return m

    def _share(self, m):
        """The reader between the rows and the loader."""
        row = self._fetcher
        reader = self._reader
        m.d.comb += [
            reader.i_request.valid.eq(Mux(self.loading, self.i_request.valid, row.o_request.valid)),
            reader.i_request.payload.eq(
                Mux(
                    self.loading,
                    self.i_request.payload.as_value(),
                    row.o_request.payload.as_value(),
                )
            ),
            self.i_request.ready.eq(reader.i_request.ready & self.loading),
            row.o_request.ready.eq(reader.i_request.ready & ~self.loading),
            self.o_data.payload.eq(reader.o.payload),
            row.i_data.payload.eq(reader.o.payload),
            self.o_data.valid.eq(reader.o.valid & self.loading),
            row.i_data.valid.eq(reader.o.valid & ~self.loading),
            reader.o.ready.eq(Mux(self.loading, self.o_data.ready, row.i_data.ready)),
            row.base.eq(self.base),
            row.size.eq(self.size),
            row.table.eq(self.table),
            self._error.eq(Mux(self.loading, 0, reader.error)),
        ]

    def _number(self, m):
        """Tokens to the numbers of their rows; returns whether a token's are still wanted."""
        table = self.table
        token = Signal(token_layout())
        index = Signal(range(TABLES))
        asking = Signal()
        stopped = self._error != 0
        unknown = data.View(fields_layout(TOKEN), self.i.payload.token).id >= table.vocabulary
        numbers = self._fetcher.i
        m.d.comb += [
            self._tokens.i.payload.row.eq(self.i.payload.row),
            self._tokens.i.payload.status.eq(Mux(unknown, Error.SENTENCE_TOKEN, Error.NONE)),
            self._tokens.i.valid.eq(self.i.valid & self.i.ready),
            self.i.ready.eq(self._tokens.i.ready & ~asking & ~stopped & ~self.loading),
            numbers.valid.eq(asking),
        ]
        word = data.View(fields_layout(TOKEN), token.token)
        with m.Switch(index):
            for number, row in enumerate(
                (
                    word.id,
                    table.vocabulary + token.position,
                    table.vocabulary + table.positions + word.segment,
                )
            ):
                with m.Case(number):
                    m.d.comb += numbers.payload.eq(row)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                token.eq(self.i.payload),
                index.eq(0),
                asking.eq(~unknown),
            ]
        with m.Elif(numbers.valid & numbers.ready):
            m.d.sync += [
                index.eq(index + 1),
                asking.eq(index != TABLES - 1),
            ]
        with m.If(stopped):
            m.d.sync += asking.eq(0)
        return asking

    def _sequence(self, m, busy):
        """A token's three rows, then its end; when the port has failed, the end of all tokens. Returns whether it rests."""
        tokens = self._tokens.o
        decoder = self._decoder
        error = self._error
        sitting = Signal()
        broken = Mux(error == Error.WINDOW, Error.SENTENCE_CHECK, Error.EMBEDDING_BUS)
        m.d.comb += [
            self.o_done.payload.row.eq(tokens.payload.row),
            self.o_done.payload.status.eq(self._status),
        ]
        with m.FSM():
            with m.State("Idle"):
                m.d.comb += sitting.eq(1)
                m.d.sync += [
                    self._index.eq(0),
                    self._status.eq(tokens.payload.status),
                ]
                with m.If(tokens.valid):
                    m.next = "Row"
                    with m.If(tokens.payload.status != Error.NONE):
                        m.next = "Done"
                with m.Elif(error != 0):
                    m.next = "Recover"
            with m.State("Row"):
                m.d.comb += self._open.eq(1)
                with m.If(error != 0):
                    m.d.sync += self._status.eq(broken)
                    m.next = "Done"
                with m.Elif(decoder.done):
                    m.d.sync += self._status.eq(
                        Mux(self._status == Error.NONE, decoder.status, self._status)
                    )
                    m.next = "Settle"
            with m.State("Settle"):
                with m.If(~busy):
                    m.d.sync += self._index.eq(self._index + 1)
                    m.next = "Row"
                    with m.If(self._index == TABLES - 1):
                        m.next = "Done"
            with m.State("Done"):
                m.d.comb += self.o_done.valid.eq(1)
                with m.If(self.o_done.ready):
                    m.d.comb += [
                        tokens.ready.eq(1),
                        self.failed.eq(self._status == Error.SENTENCE_CHECK),
                    ]
                    m.next = "Idle"
            with m.State("Recover"):
                m.d.comb += self._recover.eq(1)
                m.next = "Recovering"
            with m.State("Recovering"):
                with m.If(self._reader.idle):
                    m.next = "Idle"
        return sitting

    def _accumulate(self, m):
        """Codes into the sums, those of the third row out; returns whether codes are still on their way."""
        config = self._config
        decoder = self._decoder
        width = config.format.decoded_bits - SHIFT_LOW + 2  # three shifted rows
        m.submodules.sums = sums = Memory(shape=signed(width), depth=config.embedding, init=[])
        read = sums.read_port()
        write = sums.write_port()
        shift = Signal(signed(6))
        decoded = Signal(signed(config.format.decoded_bits))
        shifted = Signal(signed(width))
        valid = Signal(2)
        feature = (Signal(16), Signal(16))
        total = Signal(signed(width))
        first = self._index == 0
        last = self._index == TABLES - 1
        with m.Switch(self._index):
            for index, amount in enumerate(
                (self.word_shift, self.position_shift, self.segment_shift)
            ):
                with m.Case(index):
                    m.d.comb += shift.eq(amount)
        value, changed = saturate(m, total, ACT.width)
        leaves = valid[1] & last & (self._status == Error.NONE)
        m.d.sync += [
            valid.eq(decoder.code_valid | valid << 1),
            feature[0].eq(decoder.feature),
            feature[1].eq(feature[0]),
            decoded.eq(decode(decoder.code, config.format)),
            shifted.eq(round_shift(m, decoded, shift, SHIFT_LOW, SHIFT_HIGH)),
            self.feature_valid.eq(leaves),
            self.saturated.eq(leaves & changed),
            self.feature.row.eq(self._tokens.o.payload.row),
            self.feature.feature.eq(feature[1]),
            self.feature.value.eq(value),
            self.feature.last.eq(feature[1] == self.table.width - 1),
        ]
        m.d.comb += [
            decoder.width.eq(self.table.width),
            total.eq(shifted + Mux(first, 0, read.data)),
            read.en.eq(valid[0]),
            read.addr.eq(feature[0]),
            write.en.eq(valid[1]),
            write.addr.eq(feature[1]),
            write.data.eq(total),
        ]
        wiring.connect(m, self._fetcher.o, decoder.i)
        m.d.comb += [
            decoder.i_row.payload.eq(self._fetcher.o_row.payload),
            decoder.i_row.valid.eq(self._fetcher.o_row.valid & self._open),
            self._fetcher.o_row.ready.eq(decoder.i_row.ready & self._open),
        ]
        return decoder.code_valid | valid.any() | self.feature_valid
