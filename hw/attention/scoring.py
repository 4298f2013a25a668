# SPDX-License-Identifier: Apache-2.0
"""ATTEND's softmax side: an item's scores come from the array and go back as numerators."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.attention.softmax import Softmax
from hw.attention.turns import item_layout
from hw.checks import check_shape
from hw.rows import gather
from hw.rows.gather import gather_request_layout
from hw.shapes import HEAD, POSITION, ROW, SLOT, TILE, tile_codes, tile_mask, tile_values

__all__ = ["Scoring", "positions"]

ITEM = 1  # cycles from item to item


def positions(config):
    """Cycles from item to item before a query tile's first head: its rows' positions are asked."""
    return ITEM + 1 + gather.pointed(config)


class Scoring(wiring.Component):
    """The softmax of each item: its length, its head, the positions of its queries and keys.

    An item takes `Softmax`'s cycles when its scores do not wait for it; `ITEM` more from item to
    item, `positions` more for a query tile's first head. Stalled: all is held; no score is taken
    between items.

    Parameters
    ----------
    config : HardwareConfig
    scores : layout of a score column, whose field `values` is T x ACT

    Members
    -------
    i : In(stream of item_layout), taken with its denominators
    align : In(ALIGN), see `Softmax`; quasi-static
    o_point : Out(stream of gather_request_layout), for the query tile's positions
    pointed : In(1), pulse or level: they are there
    positions : In(T x POSITION), original positions of the query tile's rows
    row_address : Out(ROW), of the row table's read port
    row_position : In(POSITION), the row's original position one cycle later
    scores : In(stream of `scores`), keys in row order
    o_numerators : Out(stream of {codes: code x T, last})
    o_denominators : Out(stream of denominator x T)
    span_write : In(stream of span_write_layout), see `SpanMask`
    score, score_valid : trace tap
    numerator, numerator_valid : trace tap
    denominator, denominator_valid : trace tap
    """

    def __init__(self, config, scores):
        check_shape("Scores", scores)
        self.softmax = Softmax(config)
        denominators = self.softmax.o_denominator.payload.shape()
        tap = {"slot": SLOT, "head": HEAD, "tile": TILE, "live": tile_mask(config)}
        key = {**tap, "key": ROW}
        super().__init__(
            {
                "i": In(stream.Signature(item_layout(config))),
                "align": In(self.softmax.align.shape()),
                "o_point": Out(stream.Signature(gather_request_layout())),
                "pointed": In(1),
                "positions": In(data.ArrayLayout(POSITION, config.tokens)),
                "row_address": Out(ROW),
                "row_position": In(POSITION),
                "scores": In(stream.Signature(scores)),
                "o_numerators": Out(self.softmax.o.signature),
                "o_denominators": Out(stream.Signature(denominators)),
                "span_write": In(self.softmax.span_write.signature.flip()),
                "score_valid": Out(1),
                "numerator_valid": Out(1),
                "denominator_valid": Out(1),
                "score": Out(data.StructLayout({**key, "values": tile_values(config)})),
                "numerator": Out(data.StructLayout({**key, "codes": tile_codes(config)})),
                "denominator": Out(data.StructLayout({**tap, "values": denominators})),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.softmax = softmax = self.softmax
        item = self.i.payload
        works = Signal()  # the item's positions are there
        row = Signal(ROW)  # of the next score
        behind = Signal(ROW)  # the one after it: an adder in front of the row table would be late
        given = Signal(ROW)  # of the next numerator
        taken = softmax.i.valid & softmax.i.ready
        emitted = softmax.o.valid & softmax.o.ready
        self._softmax(m, item, works)
        self._taps(m, item, taken, emitted, row, given)
        # The row table's port is read one score ahead, because an entry follows its address by a
        # cycle.
        m.d.comb += self.row_address.eq(Mux(taken, behind, row))
        m.d.sync += [
            row.eq(self.row_address),
            behind.eq(self.row_address + 1),
            given.eq(given + emitted),
        ]
        with m.FSM():
            # The next item; a query tile's first head has other queries than the item before.
            with m.State("ITEM"):
                m.d.comb += self.row_address.eq(item.start)
                m.d.sync += given.eq(item.start)
                with m.If(self.i.valid):
                    m.next = "WORK"
                    with m.If(item.head == 0):
                        m.next = "POINT"
            # The gather is asked for their positions. Not sooner: the item before used its
            # positions until now, and the row table has one port, which gave the keys'.
            with m.State("POINT"):
                m.d.comb += self.o_point.valid.eq(1)
                with m.If(self.o_point.ready):
                    m.next = "POINTED"
            # Until they are there.
            with m.State("POINTED"):
                with m.If(self.pointed):
                    m.next = "WORK"
            # The softmax works on the item, until its denominators are taken.
            with m.State("WORK"):
                m.d.comb += [
                    works.eq(1),
                    self.i.ready.eq(self.o_denominators.valid & self.o_denominators.ready),
                ]
                with m.If(self.i.ready):
                    m.next = "ITEM"
        return m

    def _softmax(self, m, item, works):
        """The softmax's ports: scores come while the item `works`."""
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
        """The trace taps: a score that is taken, a numerator that leaves, the denominators."""
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
