# SPDX-License-Identifier: Apache-2.0
"""The dense second operands of attention, streamed from their buffers into the array's column lanes."""
from amaranth import Array, Cat, Const, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.buffer import request_layout
from hw.mac_array import dense_layout
from hw.rows import slot_layout
from hw.shapes import code
from hw.tiles import TileIterator

__all__ = ["KeyFeeder", "ValueFeeder"]


class _Feeder(wiring.Component):
    """The members that both feeders have.

    Members
    -------
    start : pulse; `slot` (its row range), `head` parameters stable until `done`
    first_address : words before this head's in a tile (keys), or its first word group (values)
    length : head dimension
    request, words : read side of the buffer
    o_dense : to the array
    o_group : stream of {"last", "base", "lanes"}: one for each group of P columns fed, with their destinations as in the array's commands
    done : pulse
    """

    def __init__(self, config, lanes):
        self.config = config
        super().__init__({
            "start": In(1), "done": Out(1), "slot": In(slot_layout(config)), "selected": In(config.slots),
            "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
            "first_address": In(32), "stride": In(16), "length": In(16), "destination": In(16),
            "request": Out(stream.Signature(request_layout())),
            "words": In(stream.Signature(data.StructLayout({"values": data.ArrayLayout(code(config), lanes), "last": 1}))),
            "o_dense": Out(stream.Signature(dense_layout(config))),
            "o_group": Out(stream.Signature(data.StructLayout({"last": 1, "base": 16, "lanes": config.columns}))),
        })

    def _announce(self, m, begins, last, base, lanes):
        """Offer a group from the cycle after `begins` on, while its weights are fed."""
        group = self.o_group
        with m.If(begins):
            m.d.sync += [group.valid.eq(1), group.payload.last.eq(last), group.payload.base.eq(base), group.payload.lanes.eq(lanes)]
        with m.Elif(group.ready):
            m.d.sync += group.valid.eq(0)


class KeyFeeder(_Feeder):
    """Keys of one head of one slot: lane p takes the vector of one key, so a group's columns are the scores of P keys.

    Where P >= T a group takes P // T whole tiles; else a tile is cut into ceil(T / P) groups. T (or P) codes a cycle. A column's destination
    is its row number; rows of other slots in the edge tiles have none. Stalled by a full weight buffer.
    """

    def __init__(self, config):
        self.members = max(1, config.columns // config.tokens)            # tiles in a group
        self.parts = -(-config.tokens // config.columns) if config.columns < config.tokens else 1  # groups in a tile
        super().__init__(config, config.tokens)

    def elaborate(self, platform):
        m = Module()
        t, p = self.config.tokens, self.config.columns
        m.submodules.tiles = tiles = TileIterator(self.config)
        tile = Signal(tiles.o.payload.shape())
        member, part, k = Signal(range(self.members + 1)), Signal(range(self.parts + 1)), Signal(16)
        covered, lanes = Signal(p), Signal(p)
        closing = (member == self.members - 1) | tile.last      # the group ends with this tile
        m.d.comb += [
            tiles.slots.eq(self.slots), tiles.i.payload.eq(self.selected),
            lanes.eq(Array(Const(((1 << min(t, p)) - 1) << (i * t), p) for i in range(self.members))[member]),
            self.request.payload.address.eq(self.first_address + tile.tile * self.stride),
            self.request.payload.count.eq(self.length),
        ]
        placed = self._group(m, tile, member, part)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += tiles.i.valid.eq(self.start)
                with m.If(self.start):
                    m.d.sync += [member.eq(0), part.eq(0), covered.eq(0)]
                    m.next = "TILE"
            with m.State("TILE"):
                m.d.comb += tiles.o.ready.eq(1)
                with m.If(tiles.o.valid):
                    m.d.sync += tile.eq(tiles.o.payload)
                    m.next = "PLACE"
            with m.State("PLACE"):
                m.d.sync += k.eq(0)
                with m.If((member != 0) | ~self.o_group.valid):
                    m.d.comb += placed.eq(member == 0)
                    m.d.sync += covered.eq(covered | lanes)
                    m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += self.request.valid.eq(1)
                with m.If(self.request.ready):
                    m.next = "FEED"
            with m.State("FEED"):
                self._feed(m, lanes, part, k)
                with m.If(self.words.valid & self.words.ready):
                    m.d.sync += k.eq(k + 1)
                    with m.If(self.words.payload.last):
                        m.next = "CLOSE"
            with m.State("CLOSE"):  # lanes without a key take one zero, so that their column ends
                m.d.comb += [
                    self.o_dense.payload.lanes.eq(~covered), self.o_dense.payload.last.eq(1),
                    self.o_dense.valid.eq(closing & ~covered.all()),
                ]
                with m.If(~self.o_dense.valid | self.o_dense.ready):
                    self._advance(m, tile, member, part, covered, closing)
        return m

    def _group(self, m, tile, member, part):
        """Announces a group with its first tile; returns what makes it. The slot's rows follow each other, from tile to tile."""
        t, p = self.config.tokens, self.config.columns
        placed, base = Signal(), Signal(16)
        begin, end = Signal(signed(17)), Signal(signed(17))     # lanes from, to
        m.d.comb += [base.eq(tile.tile * t + part * p), begin.eq(self.slot.start - base), end.eq(self.slot.start + self.slot.count - base)]
        limit = self.members * t - part * p     # lanes that the group's tiles have
        inside = Cat((begin <= lane) & (end > lane) & (limit > lane) for lane in range(p))
        rest = self.slot.start + self.slot.count - tile.tile * t    # rows of the slot from this tile's first on
        last = (part == self.parts - 1) & (rest <= self.members * t)
        self._announce(m, placed, last, base, inside)
        return placed

    def _feed(self, m, lanes, part, k):
        t, p = self.config.tokens, self.config.columns
        word = self.words.payload.values
        for lane in range(p):
            if self.parts > 1:
                value = Array(word[i * p + lane] if i * p + lane < t else Const(0) for i in range(self.parts))[part]
            else:
                value = word[lane % t]
            m.d.comb += self.o_dense.payload.codes[lane].eq(value)
        m.d.comb += [
            self.o_dense.payload.k.eq(k), self.o_dense.payload.last.eq(self.words.payload.last),
            self.o_dense.payload.lanes.eq(lanes),
            self.o_dense.valid.eq(self.words.valid), self.words.ready.eq(self.o_dense.ready),
        ]

    def _advance(self, m, tile, member, part, covered, closing):
        with m.If(part != self.parts - 1):
            m.d.sync += part.eq(part + 1)
            m.next = "PLACE"
        with m.Else():
            m.d.sync += part.eq(0)
            with m.If(closing):
                m.d.sync += [member.eq(0), covered.eq(0)]
            with m.Else():
                m.d.sync += member.eq(member + 1)
            m.next = "TILE"
            with m.If(tile.last):
                m.d.comb += self.done.eq(1)
                m.next = "IDLE"


class ValueFeeder(_Feeder):
    """Values of one head of one slot: lane p takes feature p of the group over all keys of the slot. P codes a cycle.

    `first_address` is the number of the head's first word group; a group's words are the rows of the whole table. A column's destination is
    `destination` + its feature in the head; lanes beyond the head's dimension have none. Stalled by a full weight buffer.
    """

    def __init__(self, config):
        super().__init__(config, config.columns)
        self.groups = Signal(16)  # the next head's first word group

    def elaborate(self, platform):
        m = Module()
        p = self.config.columns
        feature, k, group = Signal(16), Signal(16), self.groups
        final = feature + p >= self.length
        placed = Signal()
        self._announce(m, placed, final, self.destination + feature, Cat(feature + lane < self.length for lane in range(p)))
        m.d.comb += [
            self.request.payload.address.eq(group * self.config.rows + self.slot.start),
            self.request.payload.count.eq(self.slot.count),
            self.o_dense.payload.codes.eq(self.words.payload.values), self.o_dense.payload.k.eq(k),
            self.o_dense.payload.last.eq(self.words.payload.last),
            self.o_dense.payload.lanes.eq(Const((1 << p) - 1, p)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [feature.eq(0), group.eq(self.first_address)]
                    m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += self.request.valid.eq(~self.o_group.valid)
                m.d.sync += k.eq(0)
                with m.If(self.request.valid & self.request.ready):
                    m.d.comb += placed.eq(1)
                    m.next = "FEED"
            with m.State("FEED"):
                m.d.comb += [self.o_dense.valid.eq(self.words.valid), self.words.ready.eq(self.o_dense.ready)]
                with m.If(self.words.valid & self.words.ready):
                    m.d.sync += k.eq(k + 1)
                    with m.If(self.words.payload.last):
                        m.d.sync += [feature.eq(feature + p), group.eq(group + 1)]
                        m.next = "REQUEST"
                        with m.If(final):
                            m.d.comb += self.done.eq(1)
                            m.next = "IDLE"
        return m
