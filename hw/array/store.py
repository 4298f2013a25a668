# SPDX-License-Identifier: Apache-2.0
"""From the array's drained columns to the buffers: requantize, function, encode, write."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.columns import PORTION
from firmware.isa import Target
from hw.arith import adaptivfloat, gelu, requantize
from hw.arith.adaptivfloat import Encoder
from hw.arith.gelu import Activation
from hw.arith.requantize import Requantize
from hw.array import normalize
from hw.array.column import Kind, column_meta, is_end
from hw.array.drain import NOWHERE, column_layout
from hw.array.normalize import Normalize
from hw.buffer import Turn
from hw.progress import progress_layout
from hw.shapes import (
    ALIGN,
    COLUMN,
    CONTEXT_SHIFT,
    FUNCTION,
    OFFSET,
    PLACE,
    SHIFT,
    TARGET,
    TILE,
    code,
    denominator,
    tile_codes,
    tile_mask,
    tile_values,
)
from hw.stream import Fifo

__all__ = ["Store"]

BLOCKS = 4  # of VALUES that the queue beside the turn holds: more than the turn does


def latency(coded, context=False):
    """Cycles from a column to its write, or where it is turned to the queue in front of the turn.

    coded : with that of the encoder
    """
    first = normalize.LATENCY if context else requantize.LATENCY
    return first + gelu.LATENCY + (adaptivfloat.LATENCY if coded else 0)


# Columns of VALUES that are inside and not yet in the turn: as many as the way there is long, and
# two for the cycles until a place that is free is known to be.
PLACES = latency(coded=True) + 2


class Store(wiring.Component):
    """A column of T accumulators becomes T values in a buffer, or T scores of the softmax.

    Latency: see `latency`. One column a cycle. Stalled: by the score stream, and while `PLACES`
    columns of VALUES wait for their turn; a stalled column is held in the array's drain. Columns
    with destination 0xFFFF are dropped; of VALUES they keep their lane in the turned word. A
    LINEAR's columns whose turn is another wait.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    columns : In(stream of column_layout), the array's `o`
    turn : In(1), of the LINEAR that the next six members are of
    shift : In(SHIFT), field of its instruction, as the next four
    align : In(ALIGN)
    function : In(FUNCTION)
    encode : In(OFFSET)
    target : In(TARGET)
    context_shift : In(CONTEXT_SHIFT), see `Normalize`
    denominators : In(stream of denominator x T), see `Normalize`
    scores : Out(stream of {values: ACT x T, meta}), columns of `Kind.SCORE` without padding
    write_valid : Out(1)
    write : Out({address, lanes, values, codes}), to the target's buffer
    value_write_valid : Out(1)
    value_write : Out({address, codes}), a word of VALUES: P features of a row
    retired : Out(1), pulse: a command's last column has been written
    ended : Out(1), pulse: a LINEAR's last column has been written
    progress : Out(progress_layout), how far the LINEAR is: of SUM (and SCORES) by whole portions of
        the features, otherwise word by word
    saturated : Out(range(3 T + 1)), live values that saturated in this cycle
    stored_valid : Out(1), trace tap
    stored : Out({meta, values: ACT x T}), trace tap
    """

    def __init__(self, config):
        self.config = config
        self.meta = data.StructLayout(
            {"column": column_meta(config), "destination": COLUMN, "padding": 1, "last": 1}
        )
        values = tile_values(config)
        scores = data.StructLayout({"values": values, "meta": self.meta})
        denominators = data.ArrayLayout(denominator(config), config.tokens)
        write = {"address": PLACE, "lanes": tile_mask(config)}
        written = {"values": values, "codes": tile_codes(config)}
        row = {"address": PLACE, "codes": data.ArrayLayout(code(config), config.columns)}
        super().__init__(
            {
                "columns": In(stream.Signature(column_layout(config, column_meta(config)))),
                "turn": In(1),
                "shift": In(SHIFT),
                "align": In(ALIGN),
                "function": In(FUNCTION),
                "encode": In(OFFSET),
                "target": In(TARGET),
                "context_shift": In(CONTEXT_SHIFT),
                "denominators": In(stream.Signature(denominators)),
                "scores": Out(stream.Signature(scores)),
                "write_valid": Out(1),
                "write": Out(data.StructLayout({**write, **written})),
                "value_write_valid": Out(1),
                "value_write": Out(data.StructLayout(row)),
                "retired": Out(1),
                "ended": Out(1),
                "progress": Out(progress_layout()),
                "saturated": Out(range(3 * config.tokens + 1)),
                "stored_valid": Out(1),
                "stored": Out(data.StructLayout({"meta": self.meta, "values": values})),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits = self.meta.size
        m.submodules.requantize = requantize = Requantize(self.config, meta=bits)
        # What is let in always finds its way on, so nothing behind the two waits.
        m.submodules.normalize = normalize = Normalize(self.config, meta=bits, stalls=False)
        m.submodules.activation = activation = Activation(self.config, meta=bits, stalls=False)
        m.submodules.encoder = encoder = Encoder(self.config, meta=bits, stalls=False)
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
        full = Signal()  # there is no place for another column of VALUES
        self._split(m, requantize, normalize, full)
        self._merge(m, requantize, normalize, activation)
        self._write(m, activation, encoder, full)
        return m

    def _split(self, m, requantize, normalize, full):
        """Columns to `requantize` or, contexts, to `normalize`."""
        # Two ways from here on, so that scores overtake the contexts before them, which wait in
        # `normalize` for their denominators: the softmax would stand still otherwise.
        column = self.columns.payload
        meta = Signal(self.meta)
        live = Signal(self.config.tokens)
        m.d.comb += [
            meta.column.eq(column.meta),
            meta.destination.eq(column.destination),
            meta.last.eq(column.last),
            meta.padding.eq(column.destination == NOWHERE),
            live.eq(Mux(meta.padding, 0, column.meta.live)),
            requantize.i.payload.bias.eq(column.bias),
            normalize.i.payload.last.eq(column.last & column.meta.final),
        ]
        # The fields of the instruction are one operation's: the columns of the next one wait until
        # all of this one's have left.
        context = column.meta.kind == Kind.CONTEXT
        wait = (column.meta.kind == Kind.LINEAR) & ((column.meta.turn != self.turn) | full)
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
        """Scores to the softmax; a LINEAR's columns and contexts to the activation."""
        meta = data.View(self.meta, requantize.o.payload.meta)
        score = meta.column.kind == Kind.SCORE
        padding = meta.padding
        m.d.comb += [
            self.scores.valid.eq(requantize.o.valid & score & ~padding),
            self.scores.payload.values.eq(requantize.o.payload.values),
            self.scores.payload.meta.eq(meta),
            # A LINEAR's never comes at the same time as a context: there is nothing to arbitrate.
            activation.i.payload.eq(
                Mux(
                    normalize.o.valid,
                    normalize.o.payload.as_value(),
                    requantize.o.payload.as_value(),
                )
            ),
            activation.i.valid.eq(normalize.o.valid | requantize.o.valid & ~score),
            requantize.o.ready.eq(~score | self.scores.ready | padding),
        ]

    def _write(self, m, activation, encoder, full):
        """Values as they are, or their codes, to the buffer that is the target."""
        plain = (self.target == Target.SUM) | (self.target == Target.SCORES)
        portion = PORTION * self.config.columns
        # The trace tap is in front of the encoder: it shows values, also where codes are stored.
        act = data.View(self.meta, activation.o.payload.meta)
        coded = data.View(self.meta, encoder.o.payload.meta)
        moved = activation.o.valid
        turned = self._queue(m, encoder, full)
        m.d.comb += [
            encoder.i.payload.values.eq(activation.o.payload.values),
            encoder.i.payload.meta.eq(act),
            encoder.i.valid.eq(activation.o.valid & ~plain),
            self.stored_valid.eq(moved & ~act.padding),
            self.stored.meta.eq(act),
            self.stored.values.eq(activation.o.payload.values),
            self.write.values.eq(activation.o.payload.values),
            self.write.codes.eq(encoder.o.payload.codes),
        ]
        # SUM's columns are sorted inside a portion, so one is written when all of it is.
        with m.If(plain):
            self._address(m, act, moved, act.destination // portion * portion)
        with m.Elif(self.target == Target.VALUES):
            self._turn(m, turned, data.View(self.meta, turned.payload.meta))
        with m.Else():
            self._address(m, coded, encoder.o.valid, coded.destination + 1)

    def _address(self, m, meta, valid, words):
        """A word of a tile buffer; then the first `words` of the tile are written."""
        m.d.comb += [
            self.write_valid.eq(valid),
            self.write.address.eq(meta.column.offset + meta.destination),
            self.write.lanes.eq(Mux(meta.padding, 0, meta.column.live)),
            self.retired.eq(valid & meta.last),
            self.ended.eq(self.retired & is_end(meta.column)),
        ]
        # Progress goes back to nothing with the operation: the next one is another's source.
        with m.If(self.ended):
            m.d.sync += self.progress.eq(0)
        with m.Elif(valid & ~meta.padding & (meta.column.kind == Kind.LINEAR)):
            m.d.sync += [
                self.progress.tile.eq(meta.column.tile),
                self.progress.words.eq(words),
                self.progress.final.eq(meta.column.final),
                self.progress.last.eq(meta.column.end),
            ]

    def _queue(self, m, encoder, full):
        """The stream of VALUES' columns; `full` while as many are inside as may be."""
        m.submodules.queue = queue = Fifo(encoder.o.payload.shape(), PLACES)
        inside = Signal(range(PLACES + 1))
        columns = self.columns
        values = self.target == Target.VALUES
        enters = columns.valid & columns.ready & values & (columns.payload.meta.kind == Kind.LINEAR)
        m.d.comb += [
            queue.i.valid.eq(encoder.o.valid & values),
            queue.i.payload.eq(encoder.o.payload),
        ]
        m.d.sync += inside.eq(inside + enters - (queue.o.valid & queue.o.ready))
        m.d.comb += full.eq(values & (inside == PLACES))
        return queue.o

    def _turn(self, m, coded, meta):
        """VALUES: P columns of T tokens become T rows of P features, up to the last live row."""
        # Turned because the context's operand is a row at a time: its weights are a key's values.
        turn = Turn(code(self.config), self.config.tokens, self.config.columns)
        m.submodules.turn = turn
        m.submodules.blocks = blocks = Fifo(self._block_layout(), BLOCKS)
        self._fill(m, coded, meta, turn, blocks)
        self._empty(m, turn, blocks)

    def _block_layout(self):
        """What is known of a turned block: the number of its words, and what its columns said."""
        return data.StructLayout(
            {
                "word": COLUMN,
                "tile": TILE,
                "live": tile_mask(self.config),
                "offset": PLACE,
                "last": 1,
                "end": 1,
            }
        )

    def _fill(self, m, coded, meta, turn, blocks):
        """Columns into the turn, and with a group's last one what is known of the block."""
        beat = Signal(range(self.config.columns))
        # What is known of a block goes beside the turn, which holds codes alone.
        word = Signal(COLUMN)
        real = ~meta.padding
        final = beat == self.config.columns - 1
        # The destination of VALUES is the word's number, the same in all columns of a group. The
        # last column may be padding, which has none: then it is that of the one before.
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
            blocks.i.payload.end.eq(is_end(meta.column)),
        ]
        with m.If(coded.valid & coded.ready):
            m.d.sync += beat.eq(Mux(final, 0, beat + 1))
            with m.If(real):
                m.d.sync += word.eq(meta.destination)

    def _empty(self, m, turn, blocks):
        """Rows out of the turn into VALUES, where the rows of a word's number are side by side."""
        t = self.config.tokens
        row = Signal(range(t))
        # A block's last row is the last live one: rows behind it are not waited for.
        live = Signal(tile_mask(self.config))  # this row, and those behind it
        done = turn.o.valid & blocks.o.valid
        current = blocks.o.payload
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
