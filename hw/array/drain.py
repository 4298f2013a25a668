# SPDX-License-Identifier: Apache-2.0
"""Finished columns of the lanes, one after another, to a stream."""

from functools import reduce
from operator import or_

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.columns import PADDING
from hw.array.mac_lane import group_layout, result_layout
from hw.shapes import COLUMN
from hw.stream import Fifo

__all__ = ["NOWHERE", "Drain", "column_layout", "group_meta"]

# Destination of a padding column: it goes the way of the others, and nobody stores it.
NOWHERE = PADDING
LATENCY = 2  # cycles from a lane to `o`
# Columns that it holds. Three would do for a column a cycle, since a place is free the cycle after
# its column has left.
DEPTH = 4


def group_meta(config, meta):
    """What a group knows of its columns: a dense one's destinations, and what travels with them.

    The column of lane p of a dense group has the destination `base` + p if `lanes` has p, else
    NOWHERE; `meta` is the command's.
    """
    return data.StructLayout({"base": COLUMN, "lanes": config.columns, "meta": meta})


def column_layout(config, meta):
    """A finished column; `last` of its command."""
    return data.StructLayout({**result_layout(config).members, "last": 1, "meta": meta})


class Drain(wiring.Component):
    """o = the results of lanes 0, 1, .. P-1 of one group after another.

    Latency `LATENCY` cycles, one column a cycle. Stalled: the word on `o` is held, and results are
    taken until `DEPTH` columns are inside; then the lanes keep theirs. No ready passes through.

    Parameters
    ----------
    config : HardwareConfig
    meta : shape of what travels with a command to its columns

    Members
    -------
    i : In(P streams of result_layout), the lanes' results
    group : In(group_layout of group_meta), the group whose columns these are
    advance : Out(1), the group's last column is taken: the next group's come
    o : Out(stream of column_layout)
    idle : Out(1), no column is inside
    """

    def __init__(self, config, *, meta=0):
        self.config = config
        self.meta = meta
        super().__init__(
            {
                "i": In(stream.Signature(result_layout(config))).array(config.columns),
                "group": In(group_layout(group_meta(config, meta))),
                "advance": Out(1),
                "o": Out(stream.Signature(column_layout(config, meta))),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        columns = self.config.columns
        turn = Signal(columns, init=1)  # the lane whose result is next
        lane_number = Signal(range(columns))  # the same as a number
        inside = Signal(range(DEPTH + 1))  # columns that were taken and have not left
        take = Signal()  # a result is taken
        chosen = Signal()  # one was a cycle ago
        # What is taken has a place in the queue, so nothing between the lanes and it ever waits.
        m.submodules.queue = queue = Fifo(self.o.payload.shape(), DEPTH)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        m.d.comb += [
            take.eq((turn & Cat(i.valid for i in self.i)).any() & (inside != DEPTH)),
            self.advance.eq(take & turn[-1]),
            self.idle.eq(inside == 0),
            queue.i.valid.eq(chosen),
        ]
        m.d.sync += [
            chosen.eq(take),
            inside.eq(inside + take - (self.o.valid & self.o.ready)),
        ]
        with m.If(take):
            m.d.sync += [
                turn.eq(turn.rotate_left(1)),
                lane_number.eq(Mux(turn[-1], 0, lane_number + 1)),
            ]
        self._column(m, queue.i.payload, turn, lane_number, self._choose(m, turn, inside))
        return m

    def _choose(self, m, turn, inside):
        """The result of the lane whose turn it was, a cycle later."""
        # Each lane has a register, all of which are zero but that of the lane whose turn it is, and
        # the column is their or. Registers that are cleared route better, and take less, than a
        # wide multiplexer.
        gated = [
            Signal(result_layout(self.config), name=f"gated_{index}", reset_less=True)
            for index in range(self.config.columns)
        ]
        for bit, gate, i in zip(turn, gated, self.i, strict=True):
            m.d.comb += i.ready.eq(bit & (inside != DEPTH))
            m.d.sync += gate.eq(Mux(bit, i.payload.as_value(), 0))
        return data.View(
            result_layout(self.config), reduce(or_, (gate.as_value() for gate in gated))
        )

    def _column(self, m, column, turn, lane_number, result):
        """The `column`, of its lane's `result` and of what its group said."""
        end = Signal()
        dense = Signal()
        place = Signal(COLUMN, reset_less=True)
        meta = Signal(self.meta, reset_less=True)
        group = self.group
        m.d.sync += [
            end.eq(group.end & turn[-1]),
            dense.eq(group.dense),
            place.eq(Mux((turn & group.meta.lanes).any(), group.meta.base + lane_number, NOWHERE)),
            meta.eq(group.meta.meta),
        ]
        # Dense weights have no header: their group says where the column goes.
        m.d.comb += [
            column.accumulators.eq(result.accumulators),
            column.bias.eq(Mux(dense, 0, result.bias)),
            column.destination.eq(Mux(dense, place, result.destination)),
            column.last.eq(end),
            column.meta.eq(meta),
        ]
