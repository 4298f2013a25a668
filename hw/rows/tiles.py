# SPDX-License-Identifier: Apache-2.0
"""Which tiles of T rows an operation on some slots has to visit."""

from functools import reduce
from operator import or_

from amaranth import C, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.rows.layouts import slot_layout
from hw.shapes import index, slot_mask, tile_mask

__all__ = ["TileIterator", "tile_layout"]


def tile_layout(config):
    """A tile, the lanes whose rows are selected, and whether it is the last one."""
    return data.StructLayout({"tile": index(config.tiles), "live": tile_mask(config), "last": 1})


class TileIterator(wiring.Component):
    """Tiles with rows of the selected slots, in order.

    Logical row tile * T + lane is live iff start_s <= row < start_s + count_s for a selected slot
    s. A mask without rows gives nothing.

    Latency 2 cycles from the mask to the first tile, then one tile a cycle; tiles without a live
    lane cost one cycle each. Stalled: the tile on `o` is held.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of slot_mask), taken when the last tile of the mask before has gone
    slots : In(array of slot_layout), stable while tiles are to come
    o : Out(stream of tile_layout)
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(slot_mask(config))),
                "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
                "o": Out(stream.Signature(tile_layout(config))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        live = tile_mask(config)
        # Two stages, because both are long: subtract the tile's first row from the bounds of every
        # slot, then turn the clamped bounds into lanes and join the slots.
        busy = Signal()  # a mask is in progress
        pending = Signal()  # stage 2 holds a tile
        mask = Signal(slot_mask(config))
        first = Signal(config.rows.bit_length() + 1)  # row of stage 1's tile
        tile = Signal(index(config.tiles))  # stage 1's
        below = Signal(index(config.tiles))  # stage 2's
        bound_layout = data.StructLayout({"low": live, "high": live, "later": 1})
        bounds = Signal(data.ArrayLayout(bound_layout, config.slots))
        m.d.comb += [
            self.o.payload.tile.eq(below),
            self.o.payload.live.eq(_any(bound.high & ~bound.low for bound in bounds)),
            self.o.payload.last.eq(~_any(bound.later for bound in bounds)),
            # A tile without a live lane is passed over.
            self.o.valid.eq(pending & self.o.payload.live.any()),
            self.i.ready.eq(~busy),
        ]
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [
                pending.eq(busy),
                below.eq(tile),
                tile.eq(tile + 1),
                first.eq(first + config.tokens),
            ]
            for bound, slot, selected in zip(bounds, self.slots, mask, strict=True):
                self._clamp(m, bound, slot, selected, first)
            with m.If(pending & self.o.payload.last):
                m.d.sync += [
                    busy.eq(0),
                    pending.eq(0),
                ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                mask.eq(self.i.payload),
                busy.eq(1),
                tile.eq(0),
                first.eq(0),
            ]
        return m

    def _clamp(self, m, bound, slot, selected, first):
        """Stage 1 for one slot: its lanes in the tile that begins with row `first`.

        low, high : a one for each lane below its start, below its end
        later : it has rows after this tile
        """
        start = slot.start - first
        end = start + slot.count
        # The end alone is gated: below the end of a slot that is not selected there is no lane.
        m.d.sync += [
            bound.low.eq(self._lanes_below(start)),
            bound.high.eq(Mux(selected, self._lanes_below(end), 0)),
            bound.later.eq(selected & (slot.count != 0) & (end > self.config.tokens)),
        ]

    def _lanes_below(self, bound):
        """A one for every lane below the signed number `bound`."""
        # A shifted row of ones instead of a comparison for each lane.
        lanes = self.config.tokens
        ones = C(-1, lanes)
        below = ~(ones << bound[: lanes.bit_length()])[:lanes]
        return Mux(bound < 0, 0, Mux(bound < lanes, below, ones))


def _any(values):
    """Bitwise or of all values."""
    return reduce(or_, values, C(0))
