# SPDX-License-Identifier: Apache-2.0
"""ATTEND: for each selected slot, each of its query tiles and each live head: scores, softmax with span mask, context."""
from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.feed import KeyFeeder, ValueFeeder
from hw.instruction import fields
from hw.linear import load_layout
from hw.mac_array import command_layout
from hw.rows import slot_layout
from hw.shapes import ACT, code
from hw.softmax import Softmax
from hw.store import Kind, column_meta
from hw.tiles import TileIterator

__all__ = ["Attention"]


class Attention(wiring.Component):
    """Heads one after another: the query tile is loaded, the keys stream through the lanes, the scores come back through the
    softmax as the next operand, the values stream through the lanes, the normalised context is stored.

    A head of a query tile takes about head * keys / P + 2 keys + keys * head / P cycles and the units' latencies; its phases depend on each
    other and do not overlap. Queries, keys and context have the word layout address = base + tile * stride + head * dimension + feature.

    Members
    -------
    start, mask, instruction, slots, done : as `Linear`
    o_point, pointed, positions : asks the gather for a tile's pointers; original positions of its rows
    row_address, row_position : read port of the row table
    o_load : stream of `load_layout()`, the query tile
    o_command, o_dense : to the array
    key_request, key_words, value_request, value_words : read sides of the buffers
    scores : stream from `Store`; o_numerators : stream of {"codes", "last"}; o_denominators : stream to `Store`
    span_write : see `Softmax`
    retired : a command's last column was written
    score, numerator, denominator (with _valid) : trace taps
    """

    def __init__(self, config, scores, point):
        self.config = config
        self.softmax = Softmax(config)
        self.keys, self.values = KeyFeeder(config), ValueFeeder(config)
        t = config.tokens
        codes = data.ArrayLayout(code(config), t)
        denominators = self.softmax.o_denominator.payload.shape()
        tap = {"slot": 8, "head": 8, "tile": 16, "live": t}
        super().__init__({
            "start": In(1), "mask": In(config.slots), "instruction": In(256), "done": Out(1), "retired": In(1),
            "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
            "o_point": Out(stream.Signature(point)), "pointed": In(1), "positions": In(data.ArrayLayout(16, t)),
            "row_address": Out(16), "row_position": In(16),
            "o_load": Out(stream.Signature(load_layout())),
            "o_command": Out(stream.Signature(command_layout(config, column_meta(config)))),
            "o_dense": Out(self.keys.o_dense.signature),
            "key_request": Out(self.keys.request.signature), "key_words": In(self.keys.words.signature.flip()),
            "value_request": Out(self.values.request.signature), "value_words": In(self.values.words.signature.flip()),
            "scores": In(stream.Signature(scores)),
            "o_numerators": Out(stream.Signature(data.StructLayout({"codes": codes, "last": 1}))),
            "o_denominators": Out(stream.Signature(denominators)),
            "span_write": In(self.softmax.span_write.signature.flip()),
            "score_valid": Out(1), "numerator_valid": Out(1), "denominator_valid": Out(1),
            "score": Out(data.StructLayout({**tap, "key": 16, "values": data.ArrayLayout(ACT, t)})),
            "numerator": Out(data.StructLayout({**tap, "key": 16, "codes": codes})),
            "denominator": Out(data.StructLayout({**tap, "values": denominators})),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.softmax, m.submodules.keys, m.submodules.values = self.softmax, self.keys, self.values
        m.submodules.tiles = tiles = TileIterator(self.config)
        op = fields(self.instruction)
        self.pending, self.slot_number = Signal(self.config.slots), Signal(8)
        self.slot, self.selected = Signal(slot_layout(self.config)), Signal(self.config.slots)
        self.tile, self.head = Signal(tiles.o.payload.shape()), Signal(16)
        self.offset, self.base = Signal(16), Signal(32)   # words before this head in a tile; first query word
        self.target = Signal(24)
        m.d.comb += [
            tiles.slots.eq(self.slots), tiles.i.payload.eq(self.selected),
            self.o_point.payload.tile.eq(self.tile.tile),
            self.o_load.payload.tile.eq(self.tile.tile), self.o_load.payload.address.eq(self.base + self.offset),
        ]
        self._feeders(m, op)
        self._softmax(m, op)
        self._sequence(m, op, tiles)
        return m

    def _sequence(self, m, op, tiles):
        pending, fed = Signal(8), Signal()  # groups of values under way; all have been given to the array
        given = self.o_command.valid & self.o_command.ready & (self.o_command.payload.meta.kind == Kind.CONTEXT)
        m.d.sync += [pending.eq(pending + given - self.retired), fed.eq(fed | self.values.done)]
        scored = self._scored(m)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += self.pending.eq(self.mask)
                    m.next = "SLOT"
            with m.State("SLOT"):
                lowest = self.pending & (~self.pending + 1)
                m.d.sync += [self.selected.eq(lowest), self.pending.eq(self.pending & ~lowest)]
                for i in range(self.config.slots):
                    with m.If(lowest[i]):
                        m.d.sync += [self.slot.eq(self.slots[i]), self.slot_number.eq(i)]
                m.next = "TILES"
                with m.If(self.pending == 0):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
            with m.State("TILES"):
                m.d.comb += tiles.i.valid.eq(1)
                with m.If(tiles.i.ready):
                    m.next = "TILE"
            with m.State("TILE"):
                m.d.comb += tiles.o.ready.eq(1)
                m.d.sync += [self.head.eq(0), self.offset.eq(0), self.values.first_address.eq(0)]
                with m.If(tiles.o.valid):
                    m.d.sync += self.tile.eq(tiles.o.payload)
                    m.next = "POINT"
            with m.State("POINT"):
                m.d.comb += self.o_point.valid.eq(1)
                m.d.sync += [self.base.eq(op.source_base + self.tile.tile * op.source_stride),
                             self.target.eq(op.target_base + self.tile.tile * op.target_stride)]
                with m.If(self.o_point.ready):
                    m.next = "POINTED"
            with m.State("POINTED"):
                with m.If(self.pointed):
                    m.next = "QUERY"
            with m.State("QUERY"):
                m.d.comb += self.o_load.valid.eq(1)
                m.d.sync += fed.eq(0)
                with m.If(self.o_load.ready):
                    m.d.comb += self.keys.start.eq(1)
                    m.next = "SCORES"
            with m.State("SCORES"):
                with m.If(scored):
                    m.d.comb += self.values.start.eq(1)
                    m.next = "CONTEXT"
            with m.State("CONTEXT"):
                with m.If(fed & (pending == 0) & ~self.values.o_group.valid):
                    self._next_head(m, op)

    def _scored(self, m):
        """All keys are fed and the denominators taken. Where P < T the last groups may have no key of the slot: scores do not wait for them."""
        keyed, summed = Signal(), Signal()
        fed, taken = keyed | self.keys.done, summed | (self.o_denominators.valid & self.o_denominators.ready)
        m.d.sync += [keyed.eq(fed & ~self.keys.start), summed.eq(taken & ~self.keys.start)]
        return fed & taken

    def _next_head(self, m, op):
        groups = self.values.groups
        m.d.sync += [self.head.eq(self.head + 1), self.offset.eq(self.offset + op.reduction),
                     self.values.first_address.eq(groups)]
        m.next = "QUERY"
        with m.If(self.head + 1 == op.groups):
            m.next = "TILE"
            with m.If(self.tile.last):
                m.next = "SLOT"

    def _feeders(self, m, op):
        keys, values = self.keys, self.values
        wiring.connect(m, keys.request, wiring.flipped(self.key_request))
        wiring.connect(m, keys.words, wiring.flipped(self.key_words))
        wiring.connect(m, values.request, wiring.flipped(self.value_request))
        wiring.connect(m, values.words, wiring.flipped(self.value_words))
        meta = self.o_command.payload.meta
        context = Signal()
        with m.If(keys.start):
            m.d.sync += context.eq(0)
        with m.If(values.start):
            m.d.sync += context.eq(1)
        for feeder in (keys, values):
            m.d.comb += [
                feeder.slot.eq(self.slot), feeder.selected.eq(self.selected), feeder.slots.eq(self.slots),
                feeder.length.eq(op.reduction), feeder.stride.eq(op.source_stride), feeder.destination.eq(self.offset),
            ]
            with m.If(context == (feeder is values)):
                m.d.comb += [
                    self.o_dense.valid.eq(feeder.o_dense.valid), self.o_dense.payload.eq(feeder.o_dense.payload),
                    feeder.o_dense.ready.eq(self.o_dense.ready),
                    self.o_command.valid.eq(feeder.o_group.valid), feeder.o_group.ready.eq(self.o_command.ready),
                    self.o_command.payload.free.eq(feeder.o_group.payload.last),
                    self.o_command.payload.base.eq(feeder.o_group.payload.base), self.o_command.payload.lanes.eq(feeder.o_group.payload.lanes),
                ]
        m.d.comb += [
            keys.first_address.eq(self.offset), self.o_command.payload.groups.eq(1), self.o_command.payload.rewind.eq(0), self.o_command.payload.dense.eq(1),
            meta.kind.eq(Mux(context, Kind.CONTEXT, Kind.SCORE)), meta.tile.eq(self.tile.tile), meta.live.eq(self.tile.live),
            meta.offset.eq(self.target), meta.slot.eq(self.slot_number), meta.head.eq(self.head),
        ]

    def _softmax(self, m, op):
        """Scores come in row order; the key's position is read from the row table one score ahead."""
        softmax = self.softmax
        row, given = Signal(16), Signal(16)
        taken, emitted = softmax.i.valid & softmax.i.ready, softmax.o.valid & softmax.o.ready
        following = Mux(self.keys.start, self.slot.start, row + taken)
        m.d.sync += [row.eq(following), given.eq(Mux(self.keys.start, self.slot.start, given + emitted))]
        wiring.connect(m, softmax.o_denominator, wiring.flipped(self.o_denominators))
        wiring.connect(m, softmax.span_write, wiring.flipped(self.span_write))
        m.d.comb += [
            self.row_address.eq(following), softmax.length.eq(self.slot.count), softmax.align.eq(op.score_align),
            softmax.head.eq(self.head), softmax.query_positions.eq(self.positions),
            softmax.i.valid.eq(self.scores.valid), self.scores.ready.eq(softmax.i.ready),
            softmax.i.payload.scores.eq(self.scores.payload.values), softmax.i.payload.position.eq(self.row_position),
            self.o_numerators.valid.eq(softmax.o.valid), softmax.o.ready.eq(self.o_numerators.ready),
            self.o_numerators.payload.codes.eq(softmax.o.payload.codes),
            self.o_numerators.payload.last.eq(softmax.o.payload.last),
            self.score_valid.eq(taken), self.score.key.eq(row), self.score.values.eq(softmax.i.payload.scores),
            self.numerator_valid.eq(emitted), self.numerator.key.eq(given),
            self.numerator.codes.eq(softmax.o.payload.codes),
            self.denominator_valid.eq(self.o_denominators.valid & self.o_denominators.ready),
            self.denominator.values.eq(self.o_denominators.payload),
        ]
        for tap in (self.score, self.numerator, self.denominator):
            m.d.comb += [tap.slot.eq(self.slot_number), tap.head.eq(self.head), tap.tile.eq(self.tile.tile),
                         tap.live.eq(self.tile.live)]
