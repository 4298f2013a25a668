# SPDX-License-Identifier: Apache-2.0
"""From the array's drained columns to the buffers: requantize, function, encode, write."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.columns import PORTION
from firmware.isa import Target
from hw.arith import adaptivfloat, gelu, requantize
from hw.arith.adaptivfloat import Encoder
from hw.arith.gelu import Activation
from hw.arith.requantize import Requantize
from hw.array import normalize
from hw.array.drain import NOWHERE, column_layout
from hw.array.normalize import Normalize
from hw.buffer import Turn
from hw.progress import progress_layout
from hw.shapes import ACT, code, denominator
from hw.stream import Fifo

__all__ = ["Kind", "Store", "column_meta"]


def latency(coded, context=False):
    """Cycles from a column to its write; where codes are written with that of the encoder."""
    first = normalize.LATENCY if context else requantize.LATENCY
    return first + gelu.LATENCY + (adaptivfloat.LATENCY if coded else 0)


class Kind(enum.Enum, shape=2):
    """What a drained column is, and so which way it goes."""

    LINEAR = 0  # requantize, function, buffer
    SCORE = 1  # requantize, to the softmax
    CONTEXT = 2  # normalize, buffer


def column_meta(config):
    """What travels with a command through the array: `offset` = first word of the tile in the target buffer; `turn` of LINEAR: 0 and 1 alternate;
    `final` of LINEAR's last block, with `end` of its last tile; of an item's contexts: the next ones have other denominators."""
    return data.StructLayout(
        {
            "kind": Kind,
            "tile": 16,
            "live": config.tokens,
            "offset": 24,
            "slot": 8,
            "head": 8,
            "turn": 1,
            "final": 1,
            "end": 1,
        }
    )


class Store(wiring.Component):
    """Takes the array's columns, one of T accumulators a cycle, and writes T values a cycle to a buffer, or streams scores.

    Latency: see `latency`. Only the turn of VALUES and the score
    stream can stall it; a stalled column is held in the array's drain chain. Columns with destination 0xFFFF are dropped;
    of VALUES they keep their lane in the turned word. LINEAR's columns whose turn is another wait.

    Members
    -------
    columns : stream of the array's `o`
    turn : of the operation that the fields below are of, which all its columns have left when it ends
    shift, align, function, encode, target : fields of its instruction
    context_shift, denominators : see `Normalize`
    scores : stream of {"values", "destination", "meta"} of `Kind.SCORE` columns, padding dropped
    write : {"target", "address", "lanes", "values", "codes"} with `write_valid`
    value_write : {"address", "codes"} of a VALUES row, with `value_write_valid`
    retired : pulse, a command's last column has been written; ended : a LINEAR's
    progress : how far the LINEAR is: of SUM (and SCORES) by whole portions of the features, else word by word
    saturated : live values that saturated in this cycle
    stored, stored_valid : trace tap
    """

    def __init__(self, config):
        self.config = config
        t = config.tokens
        p = config.columns
        act = data.ArrayLayout(ACT, t)
        codes = data.ArrayLayout(code(config), t)
        self.meta = data.StructLayout({"column": column_meta(config), "destination": 16, "last": 1})
        super().__init__(
            {
                "columns": In(stream.Signature(column_layout(config, column_meta(config)))),
                "turn": In(1),
                "shift": In(6),
                "align": In(signed(6)),
                "function": In(4),
                "encode": In(signed(8)),
                "target": In(4),
                "context_shift": In(8),
                "denominators": In(stream.Signature(data.ArrayLayout(denominator(config), t))),
                "scores": Out(
                    stream.Signature(data.StructLayout({"values": act, "meta": self.meta}))
                ),
                "write_valid": Out(1),
                "write": Out(
                    data.StructLayout({"address": 24, "lanes": t, "values": act, "codes": codes})
                ),
                "value_write_valid": Out(1),
                "value_write": Out(
                    data.StructLayout({"address": 24, "codes": data.ArrayLayout(code(config), p)})
                ),
                "retired": Out(1),
                "ended": Out(1),
                "progress": Out(progress_layout()),
                "saturated": Out(range(3 * t + 1)),
                "stored_valid": Out(1),
                "stored": Out(data.StructLayout({"meta": self.meta, "values": act})),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits = self.meta.size
        m.submodules.requantize = requantize = Requantize(self.config, meta=bits)
        m.submodules.normalize = normalize = Normalize(self.config, meta=bits)
        m.submodules.activation = activation = Activation(self.config, meta=bits)
        m.submodules.encoder = encoder = Encoder(self.config, meta=bits)
        m.d.comb += [
            requantize.shift.eq(self.shift),
            normalize.shift.eq(self.context_shift),
            activation.function.eq(self.function),
            activation.align.eq(self.align),
            encoder.offset.eq(self.encode),
            normalize.i_denominators.payload.eq(self.denominators.payload),
            normalize.i_denominators.valid.eq(self.denominators.valid),
            self.denominators.ready.eq(normalize.i_denominators.ready),
            self.saturated.eq(requantize.saturated + normalize.saturated + activation.saturated),
        ]
        self._split(m, requantize, normalize)
        self._merge(m, requantize, normalize, activation)
        self._write(m, activation, encoder)
        return m

    def _split(self, m, requantize, normalize):
        """Scores overtake the contexts before them, as far as those wait in `Normalize`."""
        column = self.columns.payload
        meta = Signal(self.meta)
        live = Signal(self.config.tokens)
        m.d.comb += [
            meta.column.eq(column.meta),
            meta.destination.eq(column.destination),
            meta.last.eq(column.last),
            live.eq(Mux(column.destination == NOWHERE, 0, column.meta.live)),
            requantize.i.payload.bias.eq(column.bias),
            normalize.i.payload.last.eq(column.last & column.meta.final),
        ]
        context = column.meta.kind == Kind.CONTEXT
        wait = (column.meta.kind == Kind.LINEAR) & (column.meta.turn != self.turn)
        for block, chosen in ((requantize, ~context), (normalize, context)):
            m.d.comb += [
                block.i.payload.accumulators.eq(column.accumulators),
                block.i.payload.live.eq(live),
                block.i.payload.meta.eq(meta),
                block.i.valid.eq(self.columns.valid & chosen & ~wait),
            ]
        m.d.comb += self.columns.ready.eq(
            Mux(context, normalize.i.ready, requantize.i.ready & ~wait)
        )

    def _merge(self, m, requantize, normalize, activation):
        meta = data.View(self.meta, requantize.o.payload.meta)
        score = meta.column.kind == Kind.SCORE
        padding = meta.destination == NOWHERE
        m.d.comb += [
            self.scores.valid.eq(requantize.o.valid & score & ~padding),
            self.scores.payload.values.eq(requantize.o.payload.values),
            self.scores.payload.meta.eq(meta),
            activation.i.payload.eq(normalize.o.payload),
            activation.i.valid.eq(normalize.o.valid),
            normalize.o.ready.eq(activation.i.ready),
            requantize.o.ready.eq(self.scores.ready | padding),
        ]
        with m.If(requantize.o.valid & ~score):  # LINEAR's, never at the same time as a context
            m.d.comb += [
                activation.i.payload.eq(requantize.o.payload),
                activation.i.valid.eq(1),
                requantize.o.ready.eq(activation.i.ready),
                normalize.o.ready.eq(0),
            ]

    def _write(self, m, activation, encoder):
        plain = (self.target == Target.SUM) | (self.target == Target.SCORES)
        portion = PORTION * self.config.columns
        act = data.View(self.meta, activation.o.payload.meta)
        coded = data.View(self.meta, encoder.o.payload.meta)
        moved = activation.o.valid & activation.o.ready
        m.d.comb += [
            encoder.i.payload.values.eq(activation.o.payload.values),
            encoder.i.payload.meta.eq(act),
            encoder.i.valid.eq(activation.o.valid & ~plain),
            activation.o.ready.eq(plain | encoder.i.ready),
            self.stored_valid.eq(moved & (act.destination != NOWHERE)),
            self.stored.meta.eq(act),
            self.stored.values.eq(activation.o.payload.values),
            self.write.values.eq(activation.o.payload.values),
            self.write.codes.eq(encoder.o.payload.codes),
        ]
        with m.If(plain):
            self._address(m, act, moved, act.destination // portion * portion)
        with m.Elif(self.target == Target.VALUES):
            self._turn(m, encoder.o, coded)
        with m.Else():
            m.d.comb += encoder.o.ready.eq(1)
            self._address(m, coded, encoder.o.valid, coded.destination + 1)

    def _address(self, m, meta, valid, words):
        m.d.comb += [
            self.write_valid.eq(valid),
            self.write.address.eq(meta.column.offset + meta.destination),
            self.write.lanes.eq(Mux(meta.destination == NOWHERE, 0, meta.column.live)),
            self.retired.eq(valid & meta.last),
            self.ended.eq(self.retired & _ends(meta.column)),
        ]
        with m.If(self.ended):
            m.d.sync += self.progress.eq(0)
        with m.Elif(valid & (meta.destination != NOWHERE) & (meta.column.kind == Kind.LINEAR)):
            m.d.sync += [
                self.progress.tile.eq(meta.column.tile),
                self.progress.words.eq(words),
                self.progress.final.eq(meta.column.final),
                self.progress.last.eq(meta.column.end),
            ]

    def _turn(self, m, coded, meta):
        """VALUES: P columns of T tokens become T rows of P features, up to the last live one; the word's number is the destination of its columns."""
        t = self.config.tokens
        p = self.config.columns
        block = data.StructLayout(
            {"word": 16, "tile": 16, "live": t, "offset": 24, "last": 1, "end": 1}
        )
        m.submodules.turn = turn = Turn(code(self.config), t, p)
        m.submodules.blocks = blocks = Fifo(block, 4)
        beat = Signal(range(p))
        row = Signal(range(t))
        word = Signal(16)
        real = meta.destination != NOWHERE
        final = beat == p - 1
        m.d.comb += [
            turn.i.payload.eq(coded.payload.codes),
            turn.i.valid.eq(coded.valid & blocks.i.ready),
            coded.ready.eq(turn.i.ready & blocks.i.ready),
            blocks.i.valid.eq(coded.valid & turn.i.ready & final),
            blocks.i.payload.word.eq(Mux(real, meta.destination, word)),
            blocks.i.payload.tile.eq(meta.column.tile),
            blocks.i.payload.live.eq(meta.column.live),
            blocks.i.payload.offset.eq(meta.column.offset),
            blocks.i.payload.last.eq(meta.last),
            blocks.i.payload.end.eq(_ends(meta.column)),
        ]
        with m.If(coded.valid & coded.ready):
            m.d.sync += beat.eq(Mux(final, 0, beat + 1))
            with m.If(real):
                m.d.sync += word.eq(meta.destination)
        done = turn.o.valid & blocks.o.valid
        current = blocks.o.payload
        live = Signal(t)  # this row, and those behind it
        m.d.comb += [
            turn.o.ready.eq(blocks.o.valid),
            blocks.o.ready.eq(turn.o.valid & turn.o.payload.last),
            live.eq(current.live >> row),
            turn.cut.eq(~live[1:].any()),
            self.value_write_valid.eq(done & live[0]),
            self.value_write.codes.eq(turn.o.payload.values),
            self.value_write.address.eq(
                current.offset + current.word * self.config.rows + current.tile * t + row
            ),
            self.retired.eq(done & turn.o.payload.last & current.last),
            self.ended.eq(self.retired & current.end),
        ]
        with m.If(done):
            m.d.sync += row.eq(Mux(turn.o.payload.last, 0, row + 1))


def _ends(column):
    """Whether the command with this column meta is its LINEAR's last one."""
    return (column.kind == Kind.LINEAR) & column.final & column.end
