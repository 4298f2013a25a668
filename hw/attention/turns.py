# SPDX-License-Identifier: Apache-2.0
"""ATTEND's order of work: its items, and the turns in which their scores and their contexts share the array."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.instruction import instruction_layout
from hw.rows.layouts import slot_layout
from hw.rows.tiles import TileIterator, tile_layout
from hw.shapes import index

__all__ = ["Items", "Turns", "item_layout", "turn_layout"]

TILE = 3  # cycles from an item to the first one of the next tile
SLOT = 6  # to the first one of the next slot; from the start


def item_layout(config):
    """One head of one query tile of one slot.

    start, count : the slot's rows; tile, live : the query tile and the lanes that hold rows of the slot
    offset : words before the head in a tile; query, target : first word of the head's query, of the tile's context
    last : of the operation
    """
    slot = slot_layout(config).members
    tile = tile_layout(config).members
    return data.StructLayout(
        {
            "slot": index(config.slots),
            "start": slot["start"],
            "count": slot["count"],
            "tile": tile["tile"],
            "live": tile["live"],
            "head": index(config.heads),
            "offset": 16,
            "query": 32,
            "target": 24,
            "last": 1,
        }
    )


def turn_layout(config):
    """An item's scores, or its context."""
    return data.StructLayout({"context": 1, "item": item_layout(config)})


class Items(wiring.Component):
    """For each selected slot, each of its query tiles and each live head: one item.

    An item a cycle inside a tile; `TILE` from tile to tile, `SLOT` from slot to slot; a tile before the slot's first costs one cycle more. Stalled:
    holds its item.

    Members
    -------
    start, mask, instruction : pulse; selected slots (not zero), instruction, stable until the last item is taken
    slots : the slot table, stable likewise
    o : stream of `item_layout()`
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "mask": In(config.slots),
                "instruction": In(instruction_layout()),
                "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
                "o": Out(stream.Signature(item_layout(config))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.tiles = tiles = TileIterator(self.config)
        op = self.instruction
        item = Signal(self.o.payload.shape())
        pending = Signal(self.config.slots)
        selected = Signal(self.config.slots)
        end, final = Signal(), Signal()  # the query tile's last head; the slot's last query tile
        lowest = pending & (~pending + 1)
        m.d.comb += [
            tiles.slots.eq(self.slots),
            tiles.i.payload.eq(selected),
            end.eq(item.head + 1 == op.groups),
            self.o.payload.eq(item),
            self.o.payload.last.eq(end & final & (pending == 0)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += pending.eq(self.mask)
                with m.If(self.start):
                    m.next = "SLOT"
            with m.State("SLOT"):
                m.d.sync += [
                    selected.eq(lowest),
                    pending.eq(pending & ~lowest),
                ]
                for number, slot in enumerate(self.slots):
                    with m.If(lowest[number]):
                        m.d.sync += [
                            item.slot.eq(number),
                            item.start.eq(slot.start),
                            item.count.eq(slot.count),
                        ]
                m.next = "TILES"
            with m.State("TILES"):
                m.d.comb += tiles.i.valid.eq(1)
                with m.If(tiles.i.ready):
                    m.next = "TILE"
            with m.State("TILE"):
                m.d.comb += tiles.o.ready.eq(1)
                m.d.sync += [
                    item.tile.eq(tiles.o.payload.tile),
                    item.live.eq(tiles.o.payload.live),
                    final.eq(tiles.o.payload.last),
                ]
                with m.If(tiles.o.valid):
                    m.next = "PLACE"
            with m.State("PLACE"):
                m.d.sync += [
                    item.head.eq(0),
                    item.offset.eq(0),
                    item.query.eq(op.source_base + item.tile * op.source_stride),
                    item.target.eq(op.target_base + item.tile * op.target_stride),
                ]
                m.next = "HEAD"
            with m.State("HEAD"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += [
                        item.head.eq(item.head + 1),
                        item.offset.eq(item.offset + op.reduction),
                        item.query.eq(item.query + op.reduction),
                    ]
                    with m.If(end):
                        m.next = "TILE"
                        with m.If(final):
                            m.next = "SLOT"
                        with m.If(self.o.payload.last):
                            m.next = "IDLE"
        return m


class Turns(wiring.Component):
    """Scores run ahead of contexts by one item: S0 S1 | C0 S2 | C1 S3 | ... | Cn, so that the softmax has an item while the array has another.

    Combinational, a turn a cycle.

    Members
    -------
    i : stream of `item_layout()`, until one that is `last`
    o : stream of `turn_layout()`
    """

    def __init__(self, config):
        super().__init__(
            {
                "i": In(stream.Signature(item_layout(config))),
                "o": Out(stream.Signature(turn_layout(config))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        older, newer = (
            Signal(self.i.payload.shape(), name=name) for name in ("older", "newer")
        )  # whose context is next; whose scores were last
        filled, context = (
            Signal(),
            Signal(),
        )  # `newer` waits for its context; the next turn is a context
        m.d.comb += [
            self.o.payload.context.eq(context),
            self.o.payload.item.eq(Mux(context, older.as_value(), self.i.p)),
            self.o.valid.eq(context | self.i.valid),
            self.i.ready.eq(self.o.ready & ~context),
        ]
        with m.If(self.o.valid & self.o.ready):
            with m.If(context):
                m.d.sync += [
                    older.eq(newer),
                    context.eq(newer.last & ~older.last),
                    filled.eq(~older.last),
                ]
            with m.Else():
                m.d.sync += [
                    older.eq(Mux(filled, newer.as_value(), self.i.p)),
                    newer.eq(self.i.payload),
                    context.eq(filled | self.i.payload.last),
                    filled.eq(1),
                ]
        return m
