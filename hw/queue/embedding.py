# SPDX-License-Identifier: Apache-2.0
"""Embedding: word + position + segment rows, read through the read-only port.

golden_model/embedding.py specifies the sum.
"""

from amaranth import Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.error_codes import Error
from firmware.record import TOKEN
from hw.bus import axi
from hw.bus.dma import Reader
from hw.bus.headers import embedding_layout
from hw.bus.transfer import bus_word, transfer_layout
from hw.queue.embedding_row import RowDecoder
from hw.queue.embedding_sum import TABLES, EmbeddingSum, feature_layout
from hw.queue.embedding_table import RowFetcher
from hw.shapes import (
    ADDRESS,
    EMBEDDING_SHIFT,
    ERROR,
    POSITION,
    ROW,
    SIZE,
    WORD,
    fields_layout,
)
from hw.stream import Fifo

__all__ = ["Embedder", "token_layout"]

SUMMED = 5  # cycles from a token's last check byte, at least, to its last feature and `o_done`
REST = 2  # from `o_done` until the next token's row, or a token in its place, can be taken
TOKENS = 4  # that may be inside: enough for the rows that are looked up ahead


def token_layout():
    """A token.

    token : a word TOKEN of firmware/record.py
    row : passes along: the physical row that its embedding is for
    """
    return data.StructLayout({"token": WORD, "position": POSITION, "row": ROW})


class Embedder(wiring.Component):
    """value = saturate(sum over the tables of round_shift(decode(code), shift), 16).

    For each feature of a token. Three rows a token, about 3.4 cycles a feature and 30 for the
    token; the port's latency shows once for the tokens that follow each other (`RowFetcher`).

    Features leave while the third row arrives, so a token whose third row fails has given some.
    `o_done` follows its last feature, `SUMMED` cycles or more after its last check byte, and
    the next token begins `REST` cycles behind it. Stalled: features cannot be; a stalled `o_done`
    holds the next token's.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of token_layout()), may be withdrawn
    feature_valid : Out(1), pulse
    feature : Out(feature_layout())
    o_done : Out(stream of {row: ROW, status: ERROR}): 0, SENTENCE_TOKEN (nothing was read),
        SENTENCE_CHECK or EMBEDDING_BUS (of all tokens that were inside; the core stops the queue
        then)
    base : In(ADDRESS), of the embedding image, quasi-static
    size : In(SIZE), of it, quasi-static
    table : In(embedding_layout()), from its header, quasi-static
    word_shift : In(EMBEDDING_SHIFT), -8..31, stable while a token is inside
    position_shift : In(EMBEDDING_SHIFT), likewise
    segment_shift : In(EMBEDDING_SHIFT), likewise
    loading : In(1), quasi-static, while idle: the reader serves `i_request`, `o_data` and `error`
        (for `Loader`) instead
    i_request : In(stream of request()), see `Reader`
    o_data : Out(stream of bus_word(config)), see `Reader`
    error : Out(ERROR), see `Reader`
    abort : In(1), pulse or level: forget tokens and errors, drain the port, withdraw `o_done` and
        `o_data`
    idle : Out(1), no token, nothing in flight
    saturated : Out(1), the feature that leaves in this cycle was clamped
    failed : Out(1), pulse: a token fails by a row's check
    bus : Out(axi.read), AXI4 read manager
    """

    def __init__(self, config):
        self.config = config
        shift = In(EMBEDDING_SHIFT)
        done = data.StructLayout({"row": ROW, "status": ERROR})
        super().__init__(
            {
                "i": In(stream.Signature(token_layout())),
                "feature_valid": Out(1),
                "feature": Out(feature_layout()),
                "o_done": Out(stream.Signature(done)),
                "base": In(ADDRESS),
                "size": In(SIZE),
                "table": In(embedding_layout()),
                "word_shift": shift,
                "position_shift": shift,
                "segment_shift": shift,
                "loading": In(1),
                "i_request": In(stream.Signature(transfer_layout())),
                "o_data": Out(stream.Signature(bus_word(config))),
                "error": Out(ERROR),
                "abort": In(1),
                "idle": Out(1),
                "saturated": Out(1),
                "failed": Out(1),
                "bus": Out(axi.read_signature(config.bus_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        core = Module()
        m.submodules.reader = self._reader = reader = Reader(self.config)
        m.submodules.core = ResetInserter(self.abort)(core)
        # After an error of the port fetcher and decoder hold a part of a row: they begin anew, as
        # with `abort`, but the tokens stay, because each must be told of.
        self._recover = Signal()
        self._fetcher = RowFetcher(self.config)
        self._decoder = RowDecoder(self.config)
        for name, block in (("fetcher", self._fetcher), ("decoder", self._decoder)):
            core.submodules[name] = ResetInserter(self._recover)(block)
        core.submodules.sums = self._sums = EmbeddingSum(self.config)
        core.submodules.tokens = self._tokens = Fifo(self.o_done.payload.shape(), TOKENS)
        self._index = Signal(range(TABLES))  # table of the row that arrives
        self._status = Signal(ERROR)  # first error of its token
        self._error = Signal(ERROR)  # of the port
        self._open = Signal()  # a row may be decoded
        asking = self._number(core)
        self._join(core)
        sitting = self._sequence(core, self._sums.busy)
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
        """The reader serves the rows or, while `loading`, the loader."""
        row = self._fetcher
        reader = self._reader
        # A cycle late, which nobody can tell: between load and run there is no word on its way.
        loading = Signal()
        m.d.sync += loading.eq(self.loading)
        # A failure of the loader's is its own to tell: no token fails by it.
        m.d.comb += [
            reader.i_request.valid.eq(Mux(loading, self.i_request.valid, row.o_request.valid)),
            reader.i_request.payload.eq(
                Mux(
                    loading,
                    self.i_request.payload.as_value(),
                    row.o_request.payload.as_value(),
                )
            ),
            self.i_request.ready.eq(reader.i_request.ready & loading),
            row.o_request.ready.eq(reader.i_request.ready & ~loading),
            self.o_data.payload.eq(reader.o.payload),
            row.i_data.payload.eq(reader.o.payload),
            self.o_data.valid.eq(reader.o.valid & loading),
            row.i_data.valid.eq(reader.o.valid & ~loading),
            reader.o.ready.eq(Mux(loading, self.o_data.ready, row.i_data.ready)),
            row.base.eq(self.base),
            row.size.eq(self.size),
            row.table.eq(self.table),
            self._error.eq(Mux(loading, 0, reader.error)),
        ]

    def _number(self, m):
        """Tokens to the numbers of their rows; returns whether some are still to be asked for."""
        table = self.table
        token = Signal(token_layout())
        index = Signal(range(TABLES))  # table of the next one
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
        # The image has the rows of words, then those of positions, then those of segments.
        rows = (
            word.id,
            table.vocabulary + token.position,
            table.vocabulary + table.positions + word.segment,
        )
        with m.Switch(index):
            for number, row in enumerate(rows):
                with m.Case(number):
                    m.d.comb += numbers.payload.eq(row)
        # Nothing is read for an unknown token: its number has no row, or another table's.
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
        """A token's three rows, then its end; returns whether it rests.

        When the port has failed, the end of all tokens that are inside.
        """
        tokens = self._tokens.o
        decoder = self._decoder
        error = self._error
        sitting = Signal()
        # A place outside the image is the image's fault, not the bus's.
        broken = Mux(error == Error.WINDOW, Error.SENTENCE_CHECK, Error.EMBEDDING_BUS)
        m.d.comb += [
            self.o_done.payload.row.eq(tokens.payload.row),
            self.o_done.payload.status.eq(self._status),
        ]
        with m.FSM():
            # Waits for a token. The port begins anew when all have been told of its failure.
            with m.State("IDLE"):
                m.d.comb += sitting.eq(1)
                m.d.sync += [
                    self._index.eq(0),
                    self._status.eq(tokens.payload.status),
                ]
                with m.If(tokens.valid):
                    m.next = "ROW"
                    with m.If(tokens.payload.status != Error.NONE):
                        m.next = "DONE"
                with m.Elif(error != 0):
                    m.next = "RECOVER"
            # One of the token's rows comes.
            with m.State("ROW"):
                m.d.comb += self._open.eq(1)
                with m.If(error != 0):
                    m.d.sync += self._status.eq(broken)
                    m.next = "DONE"
                with m.Elif(decoder.done):
                    m.d.sync += self._status.eq(
                        Mux(self._status == Error.NONE, decoder.status, self._status)
                    )
                    m.next = "SETTLE"
            # Its last codes reach the sums, which the next table's are added to.
            with m.State("SETTLE"):
                with m.If(~busy):
                    m.d.sync += self._index.eq(self._index + 1)
                    m.next = "ROW"
                    with m.If(self._index == TABLES - 1):
                        m.next = "DONE"
            # The token's end is told.
            with m.State("DONE"):
                m.d.comb += self.o_done.valid.eq(1)
                with m.If(self.o_done.ready):
                    m.d.comb += [
                        tokens.ready.eq(1),
                        self.failed.eq(self._status == Error.SENTENCE_CHECK),
                    ]
                    m.next = "IDLE"
            # Fetcher, decoder and reader forget what they do.
            with m.State("RECOVER"):
                m.d.comb += self._recover.eq(1)
                m.next = "RECOVERING"
            # What is in flight arrives, and is dropped.
            with m.State("RECOVERING"):
                with m.If(self._reader.idle):
                    m.next = "IDLE"
        return sitting

    def _join(self, m):
        """The fetcher's rows into the decoder, while one may be decoded; codes into the sums."""
        rows = self._fetcher.o_row
        decoder = self._decoder
        sums = self._sums
        wiring.connect(m, self._fetcher.o, decoder.i)
        m.d.comb += [
            decoder.width.eq(self.table.width),
            decoder.i_row.payload.eq(rows.payload),
            decoder.i_row.valid.eq(rows.valid & self._open),
            rows.ready.eq(decoder.i_row.ready & self._open),
            sums.code_valid.eq(decoder.code_valid),
            sums.feature.eq(decoder.feature),
            sums.code.eq(decoder.code),
            sums.table.eq(self._index),
            sums.width.eq(self.table.width),
            sums.row.eq(self._tokens.o.payload.row),
            # A token that has failed gives no more: ADMIT will not have it.
            sums.wanted.eq(self._status == Error.NONE),
            sums.word_shift.eq(self.word_shift),
            sums.position_shift.eq(self.position_shift),
            sums.segment_shift.eq(self.segment_shift),
            self.feature_valid.eq(sums.sum_valid),
            self.feature.eq(sums.sum),
            self.saturated.eq(sums.saturated),
        ]
