# SPDX-License-Identifier: Apache-2.0
"""Embedding: word + position + segment rows, read through the read-only port. golden_model/embedding.py specifies the sum."""
from amaranth import Module, Mux, ResetInserter, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from firmware.registers import Error
from hw import axi
from hw.adaptivfloat import decode
from hw.dma import Reader, bus_word, request
from hw.embedding_row import RowReader
from hw.fixed import round_shift, saturate
from hw.loader import embedding_layout
from hw.shapes import ACT
from hw.stream import Pipeline
from hw.transfer import ERROR

__all__ = ["Embedder", "feature_layout", "token_layout"]

SHIFT_LOW, SHIFT_HIGH = -8, 31  # of the program's shifts
TABLES = 3


def token_layout():
    """id | segment << 31, position in the sentence, and a row number that passes along."""
    return data.StructLayout({"token": 32, "position": 16, "row": 16})


def feature_layout():
    """One feature of embed_sum."""
    return data.StructLayout({"row": 16, "feature": 16, "value": ACT, "last": 1})


class Embedder(wiring.Component):
    """value = saturate(sum over the tables of round_shift(decode(code), shift), 16) for each feature of a token.

    One token at a time: three rows (`RowReader`), about 3.4 cycles a feature and six latencies of the port, then one feature per cycle.
    Features leave only when all three rows have passed their checks, so a token that fails gives none. Stalled by `o` or `o_done` it
    holds the word. `o_done` follows the token's last feature.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : stream of `token_layout()`
    o : stream of `feature_layout()`
    o_done : stream of {"row", "status"}: 0, SENTENCE_TOKEN (nothing was read), SENTENCE_CHECK or EMBEDDING_BUS
        (the last of them stops the queue)
    base, size, table : window of the embedding image and its `embedding_layout()`, quasi-static
    word_shift, position_shift, segment_shift : -8..31, stable while a token is inside
    loading : quasi-static, while idle: the reader serves `i_request`, `o_data` and `error` (for `Loader`) instead
    abort : forget token and errors, drain the port; pulse or level
    idle : no token, nothing in flight
    saturated : the feature that leaves in this cycle was clamped
    failed : pulse: a row failed its check
    bus : AXI4 read manager
    """

    def __init__(self, config):
        self._config = config
        shift = In(signed(6))
        super().__init__({
            "i": In(stream.Signature(token_layout())), "o": Out(stream.Signature(feature_layout())),
            "o_done": Out(stream.Signature(data.StructLayout({"row": 16, "status": 8}))),
            "base": In(32), "size": In(32), "table": In(embedding_layout()),
            "word_shift": shift, "position_shift": shift, "segment_shift": shift,
            "loading": In(1), "i_request": In(stream.Signature(request())), "o_data": Out(stream.Signature(bus_word(config))),
            "error": Out(ERROR), "abort": In(1), "idle": Out(1), "saturated": Out(1), "failed": Out(1),
            "bus": Out(axi.read(config.bus_bits)),
        })

    def elaborate(self, platform):
        m, core = Module(), Module()
        m.submodules.reader = self._reader = reader = Reader(self._config)
        m.submodules.core = ResetInserter(self.abort)(core)
        core.submodules.row = self._row = RowReader(self._config)
        self._token, self._index = Signal(token_layout()), Signal(range(TABLES))
        self._recover, resting, emitting, emitted = Signal(), Signal(), Signal(), Signal()
        busy = self._accumulate(core, emitting, emitted)
        self._share(m)
        self._sequence(core, busy, resting, emitting, emitted)
        m.d.comb += [reader.abort.eq(self.abort | self._recover), self.error.eq(reader.error), self.idle.eq(reader.idle & resting)]
        wiring.connect(m, reader.bus, wiring.flipped(self.bus))
        return m

    def _share(self, m):
        """The reader between the rows and the loader."""
        row, reader = self._row, self._reader
        m.d.comb += [
            reader.i_request.valid.eq(Mux(self.loading, self.i_request.valid, row.o_request.valid)),
            reader.i_request.payload.eq(Mux(self.loading, self.i_request.payload.as_value(), row.o_request.payload.as_value())),
            self.i_request.ready.eq(reader.i_request.ready & self.loading), row.o_request.ready.eq(reader.i_request.ready & ~self.loading),
            self.o_data.payload.eq(reader.o.payload), row.i_data.payload.eq(reader.o.payload),
            self.o_data.valid.eq(reader.o.valid & self.loading), row.i_data.valid.eq(reader.o.valid & ~self.loading),
            reader.o.ready.eq(Mux(self.loading, self.o_data.ready, row.i_data.ready)),
            row.i_error.eq(Mux(self.loading, 0, reader.error)), row.base.eq(self.base), row.size.eq(self.size), row.table.eq(self.table),
        ]

    def _sequence(self, m, busy, resting, emitting, emitted):
        """A token: its three rows, then its features; or its failure."""
        row, token, table, status = self._row, self._token, self.table, Signal(ERROR)
        number = Signal(32)
        with m.Switch(self._index):
            for index, value in enumerate((token.token[:31], table.vocabulary + token.position,
                                           table.vocabulary + table.positions + token.token[31])):
                with m.Case(index):
                    m.d.comb += number.eq(value)
        m.d.comb += [row.number.eq(number), self.o_done.payload.row.eq(token.row), self.o_done.payload.status.eq(status)]
        with m.FSM():
            with m.State("Idle"):
                m.d.comb += [resting.eq(1), self.i.ready.eq(~self.loading & self._reader.idle)]
                m.d.sync += [token.eq(self.i.payload), self._index.eq(0), status.eq(Error.NONE)]
                with m.If(self.i.valid & self.i.ready):
                    m.next = "Check"
            with m.State("Check"):
                m.next = "Row"
                with m.If(token.token[:31] >= table.vocabulary):
                    m.d.sync += status.eq(Error.SENTENCE_TOKEN)
                    m.next = "Done"
            with m.State("Row"):
                m.d.comb += row.start.eq(1)
                m.next = "Wait"
            with m.State("Wait"):
                with m.If(row.done):
                    m.d.sync += [status.eq(row.status), self._index.eq(self._index + 1)]
                    m.next = "Row"
                    with m.If(row.status != Error.NONE):
                        m.next = "Recover"
                    with m.Elif(self._index == TABLES - 1):
                        m.next = "Emit"
            with m.State("Emit"):
                m.d.comb += emitting.eq(~busy)
                with m.If(emitted):
                    m.next = "Done"
            with m.State("Recover"):
                m.d.comb += [self._recover.eq(1), self.failed.eq(status == Error.SENTENCE_CHECK)]
                m.next = "Recovering"
            with m.State("Recovering"):
                with m.If(self._reader.idle):
                    m.next = "Done"
            with m.State("Done"):
                m.d.comb += self.o_done.valid.eq(1)
                with m.If(self.o_done.ready):
                    m.next = "Idle"

    def _accumulate(self, m, emitting, emitted):
        """Codes into the sums, and the sums out; returns whether codes are still on their way."""
        config, row = self._config, self._row
        width = config.format.decoded_bits - SHIFT_LOW + 2  # three shifted rows
        m.submodules.sums = sums = Memory(shape=signed(width), depth=config.embedding, init=[])
        read, write = sums.read_port(), sums.write_port()
        shift, decoded, shifted = Signal(signed(6)), Signal(signed(config.format.decoded_bits)), Signal(signed(width))
        valid, feature, first = Signal(2), (Signal(16), Signal(16)), Signal()
        with m.Switch(self._index):
            for index, amount in enumerate((self.word_shift, self.position_shift, self.segment_shift)):
                with m.Case(index):
                    m.d.comb += shift.eq(amount)
        m.d.sync += [
            valid.eq(row.code_valid | valid << 1), feature[0].eq(row.feature), feature[1].eq(feature[0]),
            decoded.eq(decode(row.code, config.format)), shifted.eq(round_shift(m, decoded, shift, SHIFT_LOW, SHIFT_HIGH)),
            first.eq(self._index == 0),
        ]
        advance, address = self._emit(m, read, emitting, emitted)
        m.d.comb += [
            read.en.eq(Mux(emitting, advance, valid[0])), read.addr.eq(Mux(emitting, address, feature[0])),
            write.en.eq(valid[1]), write.addr.eq(feature[1]), write.data.eq(shifted + Mux(first, 0, read.data)),
        ]
        return row.code_valid | valid.any()

    def _emit(self, m, read, emitting, emitted):
        """All features through a pipeline: the memory's register, then saturation; returns its enable and the address to read."""
        ask = stream.Signature(data.StructLayout({"feature": 16, "last": 1})).create()
        counter, finished = Signal(16), Signal()
        last = counter == self.table.width - 1
        pipeline = Pipeline(m, ask, self.o)
        m.d.comb += [ask.valid.eq(emitting & ~finished), ask.payload.feature.eq(counter), ask.payload.last.eq(last),
                     emitted.eq(self.o.valid & self.o.ready & self.o.payload.last)]
        with m.If(ask.valid & ask.ready):
            m.d.sync += [counter.eq(counter + 1), finished.eq(last)]
        with m.If(emitted):
            m.d.sync += [counter.eq(0), finished.eq(0)]
        word = pipeline.stage(feature=ask.payload.feature, last=ask.payload.last)
        value, changed = saturate(m, read.data, ACT.width)
        word = pipeline.stage(feature=word.feature, last=word.last, value=value, changed=changed)
        pipeline.output(self.o.payload.row.eq(self._token.row), self.o.payload.feature.eq(word.feature),
                        self.o.payload.value.eq(word.value), self.o.payload.last.eq(word.last),
                        self.saturated.eq(self.o.valid & self.o.ready & word.changed))
        return pipeline.enable, ask.payload.feature
