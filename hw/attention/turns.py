# SPDX-License-Identifier: Apache-2.0
"""ATTEND's order of work: its items, and the turns in which they share the array."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.instruction import instruction_layout
from hw.rows.layouts import slot_layout
from hw.rows.slot_walk import SlotWalk
from hw.rows.tiles import TileIterator, tile_layout
from hw.shapes import FEATURE, PLACE, POINTER, index, slot_mask

__all__ = ["Items", "Turns", "item_layout", "turn_layout"]

NEXT_TILE = 3  # cycles from an item to the first one of the next tile
NEXT_SLOT = 6  # to the first one of the next slot; from the start


def item_layout(config):
    """One head of one query tile of one slot.

    start, count : the slot's rows
    tile, live : the query tile, and the lanes that hold rows of the slot
    head : among the live ones, from 0
    offset : features before the head in a row, words before it in a tile
    query, target : first word of the head's query; of the tile's context
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
            "offset": FEATURE,
            "query": POINTER,
            "target": PLACE,
            "last": 1,
        }
    )


def turn_layout(config):
    """An item's scores, or with `context` its context."""
    return data.StructLayout({"context": 1, "item": item_layout(config)})


class Items(wiring.Component):
    """For each selected slot, each of its query tiles and each live head: one item.

    Latency `NEXT_SLOT` cycles from the start to the first item. An item a cycle inside a tile,
    `NEXT_TILE` from tile to tile, `NEXT_SLOT` from slot to slot; a tile before the slot's first
    costs one cycle more. Stalled: its item is held.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    start : In(1), pulse
    instruction : In(instruction_layout()), stable until the last item is taken
    mask : In(slot_mask), the selected slots, at least one of them; stable as the instruction
    slots : In(array of slot_layout), stable as the instruction
    o : Out(stream of item_layout)
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "instruction": In(instruction_layout()),
                "mask": In(slot_mask(config)),
                "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
                "o": Out(stream.Signature(item_layout(config))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.tiles = tiles = TileIterator(self.config)
        m.submodules.walk = walk = SlotWalk(self.config)
        m.d.comb += [
            walk.start.eq(self.start),
            walk.mask.eq(self.mask),
            walk.slots.eq(self.slots),
            tiles.slots.eq(self.slots),
            tiles.i.payload.eq(walk.held.selected),
        ]
        with m.FSM():
            # Nothing to do.
            with m.State("IDLE"):
                with m.If(self.start):
                    m.next = "SLOT"
            # The next selected slot.
            with m.State("SLOT"):
                m.d.comb += walk.o.ready.eq(1)
                m.next = "TILES"
            # The iterator is asked for the slot's tiles.
            with m.State("TILES"):
                m.d.comb += tiles.i.valid.eq(1)
                with m.If(tiles.i.ready):
                    m.next = "TILE"
            self._tile(m, tiles.o, walk.held)
        return m

    def _tile(self, m, tiles, held):
        """Three states: the items of the tiles of the slot in `held`."""
        op = self.instruction
        item = Signal(self.o.payload.shape())  # all but what is the slot's
        final = Signal()  # the slot's last query tile
        end = Signal()  # the query tile's last head
        m.d.comb += [
            end.eq(item.head + 1 == op.groups),
            self.o.payload.eq(item),
            self.o.payload.slot.eq(held.number),
            self.o.payload.start.eq(held.start),
            self.o.payload.count.eq(held.count),
            self.o.payload.last.eq(end & final & held.last),
        ]
        # The slot's next query tile.
        with m.State("TILE"):
            m.d.comb += tiles.ready.eq(1)
            m.d.sync += [
                item.tile.eq(tiles.payload.tile),
                item.live.eq(tiles.payload.live),
                final.eq(tiles.payload.last),
            ]
            with m.If(tiles.valid):
                m.next = "PLACE"
        # Where its first head lies: two products a tile, and none for each head.
        with m.State("PLACE"):
            m.d.sync += [
                item.head.eq(0),
                item.offset.eq(0),
                item.query.eq(op.source_base + item.tile * op.source_stride),
                item.target.eq(op.target_base + item.tile * op.target_stride),
            ]
            m.next = "HEAD"
        # An item is offered.
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


class Turns(wiring.Component):
    """S0 S1 | C0 S2 | C1 S3 | ... | Cn: the scores of item i + 1 come before the context of item i.

    Combinational, a turn a cycle. Stalled: the turn is held, and with it the item on `i`.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of item_layout), until one that is `last`
    o : Out(stream of turn_layout)
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
        # One item ahead, and no more: the softmax has one item while the array has another, and
        # the array's two banks hold the operands of both.
        older = Signal(self.i.payload.shape())  # whose context is next
        newer = Signal(self.i.payload.shape())  # whose scores were last
        filled = Signal()  # `newer` waits for its context
        context = Signal()  # the next turn is a context
        m.d.comb += [
            self.o.payload.context.eq(context),
            self.o.payload.item.eq(Mux(context, older.as_value(), self.i.p)),
            self.o.valid.eq(context | self.i.valid),
            self.i.ready.eq(self.o.ready & ~context),
        ]
        # Contexts and scores take turns from the second scores on; behind the last scores the
        # contexts that are left follow each other.
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
