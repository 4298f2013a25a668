# SPDX-License-Identifier: Apache-2.0
"""Which tiles of T rows an operation on some slots has to visit."""

from amaranth import C, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.rows.layouts import slot_layout
from hw.shapes import index

__all__ = ["TileIterator", "tile_layout"]


def tile_layout(config):
    """A tile, the lanes whose rows are selected, and whether it is the last one."""
    return data.StructLayout({"tile": index(config.tiles), "live": config.tokens, "last": 1})


class TileIterator(wiring.Component):
    """Tiles with rows of the selected slots, in order.

    Logical row tile * T + lane is live iff start_s <= row < start_s + count_s for a selected slot s.

    Two stages: subtract the tile's first row from every slot's bounds, then turn the clamped bounds into lanes. First
    tile 2 cycles after the mask, then one tile per cycle; tiles without a live lane cost one cycle each. Holds its
    output when stalled. A mask without rows gives nothing. The slot table must not change meanwhile.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of slot mask), taken when the last tile of the mask before has gone
    slots : In(array of slot_layout)
    o : Out(stream of tile_layout)
    """

    def __init__(self, config):
        self._config = config
        super().__init__(
            {
                "i": In(stream.Signature(config.slots)),
                "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
                "o": Out(stream.Signature(tile_layout(config))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes = self._config.tokens
        busy, pending = Signal(), Signal()  # a mask is in progress; stage 2 holds a tile
        mask = Signal(self._config.slots)
        first = Signal(self._config.rows.bit_length() + 1)
        tile = Signal(index(self._config.tiles))  # stage 1
        bounds = Signal(
            data.ArrayLayout(
                data.StructLayout({"low": lanes, "high": lanes, "later": 1}), self._config.slots
            )
        )
        below = Signal(index(self._config.tiles))  # stage 2's tile

        m.d.comb += [
            self.o.payload.tile.eq(below),
            self.o.payload.live.eq(_any(bound.high & ~bound.low for bound in bounds)),
            self.o.payload.last.eq(~_any(bound.later for bound in bounds)),
            self.o.valid.eq(pending & self.o.payload.live.any()),
            self.i.ready.eq(~busy),
        ]
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [
                pending.eq(busy),
                below.eq(tile),
                tile.eq(tile + 1),
                first.eq(first + lanes),
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
        """Stage 1 for one slot: lanes below its start, lanes below its end, rows left after this tile."""
        start = slot.start - first
        end = start + slot.count
        m.d.sync += [
            bound.low.eq(self._lanes_below(start)),
            bound.high.eq(Mux(selected, self._lanes_below(end), 0)),
            bound.later.eq(selected & (slot.count != 0) & (end > self._config.tokens)),
        ]

    def _lanes_below(self, bound):
        """A one for every lane below the signed number `bound`."""
        lanes = self._config.tokens
        ones = C(-1, lanes)
        below = ~(ones << bound[: lanes.bit_length()])[:lanes]
        return Mux(bound < 0, 0, Mux(bound < lanes, below, ones))


def _any(values):
    """Bitwise or of all values."""
    result = C(0)
    for value in values:
        result = result | value
    return result
