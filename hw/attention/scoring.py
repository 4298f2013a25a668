# SPDX-License-Identifier: Apache-2.0
"""ATTEND's softmax side: item after item, scores come back from the array and go there again as numerators."""

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.attention.softmax import Softmax
from hw.attention.turns import item_layout
from hw.rows import gather
from hw.shapes import ACT, code

__all__ = ["Scoring"]

ITEM = 1  # cycles from item to item


def positions(config):
    """Cycles from item to item where the next one is a query tile's first head: its rows' positions."""
    return ITEM + 1 + gather.pointed(config)


class Scoring(wiring.Component):
    """The softmax of each item: its length, head, and original positions of queries and keys; and the trace taps.

    An item takes `Softmax`'s cycles when its scores do not wait for it; `ITEM` more from item to item, `positions` more for a query tile's first head: the gather is asked for the queries' positions when those of the tile before have served, and the row table
    has one port, which afterwards reads the keys' positions one score ahead. Stalled: holds all; takes no score between items.

    Members
    -------
    i : stream of `item_layout()`, taken with its denominators
    align : In, see `Softmax`; quasi-static
    o_point, pointed, positions : asks the gather for a tile's pointers; original positions of its rows
    row_address, row_position : read port of the row table
    scores : stream from `Store`, keys in row order
    o_numerators : stream of {"codes", "last"}; o_denominators : stream to `Store`
    span_write : see `Softmax`
    score, numerator, denominator (with _valid) : trace taps
    """

    def __init__(self, config, scores, point):
        self.softmax = Softmax(config)
        t = config.tokens
        codes = data.ArrayLayout(code(config), config.tokens)
        denominators = self.softmax.o_denominator.payload.shape()
        tap = {"slot": 8, "head": 8, "tile": 16, "live": t}
        super().__init__(
            {
                "i": In(stream.Signature(item_layout(config))),
                "align": In(self.softmax.align.shape()),
                "o_point": Out(stream.Signature(point)),
                "pointed": In(1),
                "positions": In(data.ArrayLayout(16, t)),
                "row_address": Out(16),
                "row_position": In(16),
                "scores": In(stream.Signature(scores)),
                "o_numerators": Out(self.softmax.o.signature),
                "o_denominators": Out(stream.Signature(denominators)),
                "span_write": In(self.softmax.span_write.signature.flip()),
                "score_valid": Out(1),
                "numerator_valid": Out(1),
                "denominator_valid": Out(1),
                "score": Out(
                    data.StructLayout({**tap, "key": 16, "values": data.ArrayLayout(ACT, t)})
                ),
                "numerator": Out(data.StructLayout({**tap, "key": 16, "codes": codes})),
                "denominator": Out(data.StructLayout({**tap, "values": denominators})),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.softmax = softmax = self.softmax
        item = self.i.payload
        works = Signal()  # the item's positions are there
        row = Signal(16)
        given = Signal(16)  # of the next score, of the next numerator
        taken = softmax.i.valid & softmax.i.ready
        emitted = softmax.o.valid & softmax.o.ready
        self._softmax(m, item, works)
        self._taps(m, item, taken, emitted, row, given)
        m.d.comb += self.row_address.eq(row + taken)
        m.d.sync += [
            row.eq(self.row_address),
            given.eq(given + emitted),
        ]
        with m.FSM():
            with m.State("ITEM"):
                m.d.comb += self.row_address.eq(item.start)
                m.d.sync += given.eq(item.start)
                with m.If(self.i.valid):
                    m.next = "WORK"
                    with m.If(item.head == 0):
                        m.next = "POINT"
            with m.State("POINT"):
                m.d.comb += self.o_point.valid.eq(1)
                with m.If(self.o_point.ready):
                    m.next = "POINTED"
            with m.State("POINTED"):
                with m.If(self.pointed):
                    m.next = "WORK"
            with m.State("WORK"):
                m.d.comb += [
                    works.eq(1),
                    self.i.ready.eq(self.o_denominators.valid & self.o_denominators.ready),
                ]
                with m.If(self.i.ready):
                    m.next = "ITEM"
        return m

    def _softmax(self, m, item, works):
        softmax = self.softmax
        for ours, theirs in (
            (self.o_numerators, softmax.o),
            (self.o_denominators, softmax.o_denominator),
            (self.span_write, softmax.span_write),
        ):
            wiring.connect(m, theirs, wiring.flipped(ours))
        m.d.comb += [
            softmax.length.eq(item.count),
            softmax.align.eq(self.align),
            softmax.head.eq(item.head),
            softmax.query_positions.eq(self.positions),
            self.o_point.payload.tile.eq(item.tile),
            softmax.i.valid.eq(self.scores.valid & works),
            self.scores.ready.eq(softmax.i.ready & works),
            softmax.i.payload.scores.eq(self.scores.payload.values),
            softmax.i.payload.position.eq(self.row_position),
        ]

    def _taps(self, m, item, taken, emitted, row, given):
        softmax = self.softmax
        m.d.comb += [
            self.score_valid.eq(taken),
            self.score.key.eq(row),
            self.score.values.eq(softmax.i.payload.scores),
            self.numerator_valid.eq(emitted),
            self.numerator.key.eq(given),
            self.numerator.codes.eq(softmax.o.payload.codes),
            self.denominator_valid.eq(self.i.ready),
            self.denominator.values.eq(self.o_denominators.payload),
            *(
                tap[name].eq(item[name])
                for tap in (self.score, self.numerator, self.denominator)
                for name in ("slot", "head", "tile", "live")
            ),
        ]
