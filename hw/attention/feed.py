# SPDX-License-Identifier: Apache-2.0
"""The dense second operands of attention, streamed from their buffers into the array's column lanes."""

from amaranth import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.hardware import ceil_div
from hw.array.column import Kind, column_meta
from hw.array.mac_array import array_command_layout, dense_layout
from hw.attention.turns import item_layout, turn_layout
from hw.buffer import request_layout
from hw.rows.layouts import slot_layout
from hw.rows.tiles import TileIterator
from hw.shapes import code
from hw.stream import Fifo

__all__ = ["Feeder"]

KEYS = 3  # cycles from an item to its first group of keys, besides tiles before the slot's first
RUNS = 2  # asked for and not yet fed: the next one's words follow without a gap
COMMANDS = 4  # that wait for the array, so that words are asked for while their operand is loaded


def members(config):
    """Tiles in a group of keys."""
    return max(1, config.columns // config.tokens)


def parts(config):
    """Groups in which the keys of a tile come."""
    return ceil_div(config.tokens, config.columns)


def run_layout(config):
    """Words that were asked for: values, or a tile of keys at `place` of its group (which of its tiles, or which part of the tile); `closing`:
    the group ends with them."""
    return data.StructLayout(
        {"values": 1, "place": range(max(members(config), parts(config))), "closing": 1}
    )


class _Walker(wiring.Component):
    """What both walkers have: they ask for the words of an item, after the command of their group.

    Members
    -------
    i : stream of `item_layout()`, taken with its last request
    length, stride : head dimension; words of a tile
    o_request, o_run : the buffer's, and what is asked for, both at once
    o_group : stream of {"last" of the item, "base", "lanes"}: one for each group of P columns, with its destinations as in the array's commands
    """

    def __init__(self, config, **ports):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(item_layout(config))),
                "length": In(16),
                **ports,
                "o_request": Out(stream.Signature(request_layout())),
                "o_run": Out(stream.Signature(run_layout(config))),
                "o_group": Out(
                    stream.Signature(
                        data.StructLayout({"last": 1, "base": 16, "lanes": config.columns})
                    )
                ),
            }
        )

    def _announce(self, m):
        """A state that offers the group until it is taken."""
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
    """Keys of one head of one slot: lane p takes the vector of one key, so a group's columns are the scores of P keys.

    Where P >= T a group takes P // T whole tiles; else a tile is cut into ceil(T / P) groups, of which those with a key of the slot are asked for.
    A column's destination is its row number; rows of other slots in the edge groups have none. The first one is announced `KEYS` cycles after
    the item, and one more for each tile before the slot's first; its request comes a cycle later, then
    one every third cycle, every second one inside a group or a tile, as they are taken.
    """

    def __init__(self, config):
        super().__init__(
            config, stride=In(16), slots=In(data.ArrayLayout(slot_layout(config), config.slots))
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.tiles = tiles = TileIterator(self.config)
        tile = Signal(tiles.o.payload.shape())
        run = self.o_run.payload
        member = Signal(range(members(self.config) + 1))
        part = Signal(range(parts(self.config) + 1))
        cut, opening = (
            parts(self.config) > 1,
            Signal(),
        )  # a tile has several groups; the group begins with this tile
        m.d.comb += [
            tiles.slots.eq(self.slots),
            tiles.i.payload.eq(1 << self.i.payload.slot),
            opening.eq(1 if cut else member == 0),
            self.o_request.payload.address.eq(self.i.payload.offset + tile.tile * self.stride),
            self.o_request.payload.count.eq(self.length),
            run.place.eq(part if cut else member),
            run.closing.eq(1 if cut else (member == members(self.config) - 1) | tile.last),
        ]
        self._group(m, tile, part)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += tiles.i.valid.eq(self.i.valid)
                m.d.sync += member.eq(0)
                with m.If(self.i.valid):
                    m.next = "TILE"
            with m.State("TILE"):
                m.d.comb += tiles.o.ready.eq(1)
                m.d.sync += [
                    tile.eq(tiles.o.payload),
                    part.eq(self._first(m, tiles.o.payload.live)),
                ]
                with m.If(tiles.o.valid):
                    m.next = "REQUEST"
                    with m.If(opening):
                        m.next = "ANNOUNCE"
            self._announce(m)
            with m.State("REQUEST"):
                with m.If(self._ask(m)):
                    self._advance(m, tile, member, part)
        return m

    def _first(self, m, live):
        """The first part of a tile that holds one of the slot's keys."""
        part = Signal(range(parts(self.config)))
        p = self.config.columns
        for number in reversed(range(parts(self.config))):
            with m.If(live[number * p : (number + 1) * p].any()):
                m.d.comb += part.eq(number)
        return part

    def _group(self, m, tile, part):
        """The group that begins with this tile: lane l has row base + l, where that is the slot's and the group's."""
        t = self.config.tokens
        p = self.config.columns
        item = self.i.payload
        group = self.o_group.payload
        first = Signal(signed(17))
        rest = Signal(
            signed(17)
        )  # the slot's first lane and the one behind its last, counted from the group's first
        limit = members(self.config) * t - part * p  # lanes that the group's tiles have
        m.d.comb += [
            group.base.eq(tile.tile * t + part * p),
            first.eq(item.start - group.base),
            rest.eq(item.start + item.count - group.base),
            group.lanes.eq(
                Cat((first <= lane) & (rest > lane) & (limit > lane) for lane in range(p))
            ),
            group.last.eq((rest <= p) & (rest <= limit)),
        ]

    def _advance(self, m, tile, member, part):
        with m.If((part != parts(self.config) - 1) & ~self.o_group.payload.last):
            m.d.sync += part.eq(part + 1)
            m.next = "ANNOUNCE"
        with m.Else():
            m.d.sync += member.eq(Mux(self.o_run.payload.closing, 0, member + 1))
            m.next = "TILE"
            with m.If(tile.last):
                m.d.comb += self.i.ready.eq(1)
                m.next = "IDLE"


class ValueWalker(_Walker):
    """Values of one head of one slot: lane p takes feature p of the group over all keys of the slot.

    A group's words are the rows of the whole table; heads come in order, each begins a group. A column's destination is the item's offset and
    its feature in the head; lanes beyond the head's dimension have none. First request 2 cycles after the item, then one every 2 cycles as they
    are taken.
    """

    def elaborate(self, platform):
        m = Module()
        p = self.config.columns
        item = self.i.payload
        announced = self.o_group.payload
        feature = Signal(16)
        group = Signal(16)
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
            with m.State("IDLE"):
                m.d.sync += feature.eq(0)
                with m.If(self.i.valid):
                    m.next = "ANNOUNCE"
                    with m.If(item.head == 0):
                        m.d.sync += group.eq(0)
            self._announce(m)
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


class Feeder(wiring.Component):
    """Feeds the lanes turn by turn, with commands in the same order: the keys of an item's slot, or its values.

    T (P where that is less) key codes, or P value codes, a cycle; where the last group of keys leaves lanes without one, one cycle more. The next
    turn's words are asked for while the present one's are fed: no gap from turn to turn where the last run takes longer than the other walker's
    first request. Stalled by the lanes' queue, or by commands that are not taken.

    Members
    -------
    i : stream of `turn_layout()`, taken when its last words are asked for
    length, stride : head dimension; words of a tile of keys
    slots : the slot table
    o_dense, o_command : to the array
    key_request, key_words, value_request, value_words : read sides of the buffers
    retired : pulse, a context's command was written to its last column; idle : no context is under way behind `i`
    """

    def __init__(self, config):
        self.config = config
        self.keys = KeyWalker(config)
        self.values = ValueWalker(config)
        ports = {}
        for name, lanes in (("key", config.tokens), ("value", config.columns)):
            word = data.StructLayout({"values": data.ArrayLayout(code(config), lanes), "last": 1})
            ports |= {
                f"{name}_request": Out(stream.Signature(request_layout())),
                f"{name}_words": In(stream.Signature(word)),
            }
        super().__init__(
            {
                "i": In(stream.Signature(turn_layout(config))),
                "length": In(16),
                "stride": In(16),
                "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
                "retired": In(1),
                "idle": Out(1),
                **ports,
                "o_dense": Out(stream.Signature(dense_layout(config))),
                "o_command": Out(
                    stream.Signature(array_command_layout(config, column_meta(config)))
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.keys, m.submodules.values = keys, values = self.keys, self.values
        m.submodules.runs = runs = Fifo(run_layout(self.config), RUNS)
        m.submodules.commands = commands = Fifo(self.o_command.payload.shape(), COMMANDS)
        wiring.connect(m, keys.o_request, wiring.flipped(self.key_request))
        wiring.connect(m, values.o_request, wiring.flipped(self.value_request))
        wiring.connect(m, commands.o, wiring.flipped(self.o_command))
        m.d.comb += [
            keys.stride.eq(self.stride),
            keys.slots.eq(self.slots),
        ]
        self._walk(m, runs.i, commands.i)
        self._feed(m, runs.o)
        pending = Signal(8)  # commands of contexts
        given = commands.i.valid & commands.i.ready & self.i.payload.context
        m.d.sync += pending.eq(pending + given - self.retired)
        m.d.comb += self.idle.eq(pending == 0)
        return m

    def _walk(self, m, runs, commands):
        """One walker at a time has a turn, and the array's ear."""
        turn = self.i.payload
        command = commands.payload
        for walker in (self.keys, self.values):
            m.d.comb += [
                walker.i.payload.eq(turn.item),
                walker.length.eq(self.length),
            ]
            with m.If(turn.context == (walker is self.values)):
                m.d.comb += [
                    walker.i.valid.eq(self.i.valid),
                    self.i.ready.eq(walker.i.ready),
                    command.free.eq(walker.o_group.payload.last),
                    *(command[name].eq(walker.o_group.payload[name]) for name in ("base", "lanes")),
                    runs.valid.eq(walker.o_run.valid),
                    runs.payload.eq(walker.o_run.payload),
                    walker.o_run.ready.eq(runs.ready),
                    commands.valid.eq(walker.o_group.valid),
                    walker.o_group.ready.eq(commands.ready),
                ]
        m.d.comb += [
            command.groups.eq(1),
            command.rewind.eq(0),
            command.dense.eq(1),
            command.meta.kind.eq(Mux(turn.context, Kind.CONTEXT, Kind.SCORE)),
            command.meta.turn.eq(0),
            command.meta.final.eq(command.free),
            command.meta.end.eq(0),
            command.meta.offset.eq(turn.item.target),
            *(command.meta[name].eq(turn.item[name]) for name in ("tile", "live", "slot", "head")),
        ]

    def _feed(self, m, runs):
        """The words of the oldest run, then what closes its group: lanes without a key take one zero, so that their column ends."""
        t = self.config.tokens
        p = self.config.columns
        run = runs.payload
        entry = self.o_dense.payload
        keys = self.key_words
        values = self.value_words
        taken = [
            ((1 << min(t, p)) - 1) << (member * t) for member in range(members(self.config))
        ]  # lanes, by place of the tile
        spare = [
            (1 << p) - (1 << min(t, p) + member * t) for member in range(members(self.config))
        ]  # after it
        k = Signal(16)
        lanes = Signal(p, init=-1)
        rest, wants = Signal(), Signal()  # lanes without a key are served; are there
        word = Signal()
        last = Signal()
        moved = self.o_dense.valid & self.o_dense.ready
        m.d.comb += [
            word.eq(Mux(run.values, values.valid, keys.valid)),
            last.eq(Mux(run.values, values.payload.last, keys.payload.last)),
            self.o_dense.valid.eq(runs.valid & (word | rest)),
            entry.last.eq(last | rest),
            entry.k.eq(k),
            entry.lanes.eq(lanes),
            keys.ready.eq(moved & ~run.values & ~rest),
            values.ready.eq(moved & run.values),
        ]
        if parts(self.config) == 1:
            with m.If(~run.values):
                m.d.comb += [
                    wants.eq(run.closing & Array(int(mask != 0) for mask in spare)[run.place]),
                    lanes.eq(Mux(rest, _chosen(spare, p, run.place), _chosen(taken, p, run.place))),
                ]
        m.d.comb += runs.ready.eq(moved & (rest | last & ~wants))
        with m.If(moved):
            m.d.sync += [
                k.eq(Mux(entry.last, 0, k + 1)),
                rest.eq(last & wants & ~rest),
            ]
        for lane in range(p):
            if parts(self.config) > 1:
                key = Array(
                    keys.payload.values[i * p + lane] if i * p + lane < t else Const(0)
                    for i in range(parts(self.config))
                )[run.place]
            else:
                key = keys.payload.values[lane % t]
            m.d.comb += entry.codes[lane].eq(
                Mux(run.values, values.payload.values[lane], Mux(rest, 0, key))
            )


def _chosen(masks, width, place):
    return Array(Const(mask, width) for mask in masks)[place]
