# SPDX-License-Identifier: Apache-2.0
"""Which words of KEYS and VALUES an item needs, and which column of the array each makes."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.hardware import ceil_div
from hw.attention.turns import item_layout
from hw.buffer import request_layout
from hw.rows.layouts import slot_layout
from hw.rows.tiles import TileIterator
from hw.shapes import COLUMN, FEATURE, PLACE, ROW, STRIDE

__all__ = ["KeyWalker", "ValueWalker", "groups_in_tile", "run_layout", "tiles_in_group"]

KEYS = 3  # cycles from an item to its first group of keys, besides tiles before the slot's first


def tiles_in_group(config):
    """Tiles whose keys are the columns of one group, where P >= T; else 1."""
    return max(1, config.columns // config.tokens)


def groups_in_tile(config):
    """Groups in which the keys of a tile come, where P < T; else 1."""
    return ceil_div(config.tokens, config.columns)


def run_layout(config):
    """Words that were asked for: values, or a tile of keys.

    place : of the tile in its group, or of the group in its tile
    closing : the group ends with them
    """
    places = range(max(tiles_in_group(config), groups_in_tile(config)))
    return data.StructLayout({"values": 1, "place": places, "closing": 1})


def destinations_layout(config):
    """Where the columns of a group go: lane l to `base` + l, where `lanes` has its bit.

    last : of the item
    """
    return data.StructLayout({"last": 1, "base": COLUMN, "lanes": config.columns})


class _Walker(wiring.Component):
    """What both walkers have: a group is announced, then its words are asked for.

    Parameters
    ----------
    config : HardwareConfig
    ports : further members, by name

    Members
    -------
    i : In(stream of item_layout), taken with its last request
    length : In(FEATURE), features of a head
    o_request : Out(stream of request_layout), to the buffer
    o_run : Out(stream of run_layout), what is asked for; both are given at once
    o_group : Out(stream of destinations_layout), one for each group of P columns
    """

    def __init__(self, config, **ports):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(item_layout(config))),
                "length": In(FEATURE),
                **ports,
                "o_request": Out(stream.Signature(request_layout())),
                "o_run": Out(stream.Signature(run_layout(config))),
                "o_group": Out(stream.Signature(destinations_layout(config))),
            }
        )

    def _announce(self, m):
        """A state that offers the group until it is taken."""
        # Before its words: the array must know where the columns go when the first one ends.
        with m.State("ANNOUNCE"):
            m.d.comb += self.o_group.valid.eq(1)
            with m.If(self.o_group.ready):
                m.next = "REQUEST"

    def _ask(self, m):
        """The request is made when there is room for its run; returns whether it was taken."""
        m.d.comb += [
            self.o_request.valid.eq(self.o_run.ready),
            self.o_run.valid.eq(self.o_request.ready),
        ]
        return self.o_request.ready & self.o_run.ready


class KeyWalker(_Walker):
    """Keys of one head of one slot: lane p takes one key, so a group's columns are P keys' scores.

    Where P >= T a group takes P // T whole tiles; else a tile is cut into ceil(T / P) groups, of
    which those with a key of the slot are asked for. A column's destination is its row number;
    rows of other slots in the edge groups have none.

    Latency `KEYS` cycles from the item to its first group (for each tile before the slot's first
    one more), its request a cycle later; then a request every third cycle, every second
    one inside a group or a tile.
    Stalled: the group, or the request with its run, is held.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i, length, o_request, o_run, o_group : as `_Walker`
    stride : In(STRIDE), words of a tile of keys
    slots : In(array of slot_layout), stable while an item is on `i`
    """

    def __init__(self, config):
        slots = data.ArrayLayout(slot_layout(config), config.slots)
        super().__init__(config, stride=In(STRIDE), slots=In(slots))

    def elaborate(self, platform):
        m = Module()
        m.submodules.tiles = tiles = TileIterator(self.config)
        tile = Signal(tiles.o.payload.shape())
        run = self.o_run.payload
        nth_tile = Signal(range(tiles_in_group(self.config) + 1))  # of its group
        nth_group = Signal(range(groups_in_tile(self.config) + 1))  # of its tile
        cut = groups_in_tile(self.config) > 1
        opening = Signal()  # the group begins with this tile
        place = Signal(PLACE)  # of the tile's first word, behind the slot's
        last_tile = nth_tile == tiles_in_group(self.config) - 1
        m.d.comb += [
            tiles.slots.eq(self.slots),
            tiles.i.payload.eq(1 << self.i.payload.slot),
            opening.eq(1 if cut else nth_tile == 0),
            self.o_request.payload.address.eq(self.i.payload.offset + place),
            self.o_request.payload.count.eq(self.length),
            run.place.eq(nth_group if cut else nth_tile),
            run.closing.eq(1 if cut else last_tile | tile.last),
        ]
        self._group(m, tile, nth_group)
        with m.FSM():
            # The next item; the iterator is asked for the tiles of its slot.
            with m.State("IDLE"):
                m.d.comb += tiles.i.valid.eq(self.i.valid)
                m.d.sync += nth_tile.eq(0)
                with m.If(self.i.valid):
                    m.next = "TILE"
            # The slot's next tile; where it begins a group that is announced.
            with m.State("TILE"):
                m.d.comb += tiles.o.ready.eq(1)
                # A product and an adder in one cycle would be a long way.
                m.d.sync += [
                    tile.eq(tiles.o.payload),
                    place.eq(tiles.o.payload.tile * self.stride),
                    nth_group.eq(self._first(m, tiles.o.payload.live)),
                ]
                with m.If(tiles.o.valid):
                    m.next = "REQUEST"
                    with m.If(opening):
                        m.next = "ANNOUNCE"
            self._announce(m)
            # The tile's words, or for a group inside a tile: the tile's words once more.
            with m.State("REQUEST"):
                with m.If(self._ask(m)):
                    self._advance(m, tile, nth_tile, nth_group)
        return m

    def _first(self, m, live):
        """The first group of a tile that holds one of the slot's keys."""
        # Groups before it, and behind the last one, would be columns that nobody wants.
        first = Signal(range(groups_in_tile(self.config)))
        p = self.config.columns
        for number in reversed(range(groups_in_tile(self.config))):
            with m.If(live[number * p : (number + 1) * p].any()):
                m.d.comb += first.eq(number)
        return first

    def _group(self, m, tile, nth_group):
        """The destinations of the group that begins with this tile, or is its `nth_group`.

        Lane l has row base + l, where that is the slot's and the group's.
        """
        t = self.config.tokens
        p = self.config.columns
        item = self.i.payload
        group = self.o_group.payload
        # The slot's first lane and the one behind its last, counted from the group's first: both
        # may lie before it.
        first = Signal(signed(ROW.width + 1))
        rest = Signal(signed(ROW.width + 1))
        limit = tiles_in_group(self.config) * t - nth_group * p  # lanes that the group's tiles have
        m.d.comb += [
            group.base.eq(tile.tile * t + nth_group * p),
            first.eq(item.start - group.base),
            rest.eq(item.start + item.count - group.base),
            group.lanes.eq(
                Cat((first <= lane) & (rest > lane) & (limit > lane) for lane in range(p))
            ),
            group.last.eq((rest <= p) & (rest <= limit)),
        ]

    def _advance(self, m, tile, nth_tile, nth_group):
        """Behind a request: the tile's next group, the slot's next tile, or the next item."""
        more = nth_group != groups_in_tile(self.config) - 1
        with m.If(more & ~self.o_group.payload.last):
            m.d.sync += nth_group.eq(nth_group + 1)
            m.next = "ANNOUNCE"
        with m.Else():
            m.d.sync += nth_tile.eq(Mux(self.o_run.payload.closing, 0, nth_tile + 1))
            m.next = "TILE"
            with m.If(tile.last):
                m.d.comb += self.i.ready.eq(1)
                m.next = "IDLE"


class ValueWalker(_Walker):
    """Values of one head of one slot: lane p takes feature p of the group over all keys.

    A group's words are the rows of the whole table; heads come in order, each begins a group. A
    column's destination is the item's offset and its feature in the head; lanes beyond the head's
    features have none.

    Latency 1 cycle from the item to its first group, its request a cycle later; then a request
    every 2 cycles. Stalled: the group, or the request with its run, is held.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i, length, o_request, o_run, o_group : as `_Walker`
    """

    def elaborate(self, platform):
        m = Module()
        p = self.config.columns
        item = self.i.payload
        announced = self.o_group.payload
        feature = Signal(FEATURE)  # the group's first one
        # Groups before this one, of all heads. Counted from the first head on, because items come
        # in the order of the heads: no product, and no division where P does not divide a head.
        group = Signal(FEATURE)
        final = feature + p >= self.length
        m.d.comb += [
            self.o_request.payload.address.eq(group * self.config.rows + item.start),
            self.o_request.payload.count.eq(item.count),
            self.o_run.payload.values.eq(1),
            announced.last.eq(final),
            announced.base.eq(item.offset + feature),
            announced.lanes.eq(Cat(feature + lane < self.length for lane in range(p))),
        ]
        with m.FSM():
            # The next item.
            with m.State("IDLE"):
                m.d.sync += feature.eq(0)
                with m.If(self.i.valid):
                    m.next = "ANNOUNCE"
                    with m.If(item.head == 0):
                        m.d.sync += group.eq(0)
            self._announce(m)
            # The group's words: P features of all rows of the slot.
            with m.State("REQUEST"):
                with m.If(self._ask(m)):
                    m.d.sync += [
                        feature.eq(feature + p),
                        group.eq(group + 1),
                    ]
                    m.next = "ANNOUNCE"
                    with m.If(final):
                        m.d.comb += self.i.ready.eq(1)
                        m.next = "IDLE"
        return m
