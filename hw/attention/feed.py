# SPDX-License-Identifier: Apache-2.0
"""The dense second operands of attention, streamed from their buffers into the array's lanes."""

from amaranth import Array, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.array.column import Kind, column_meta
from hw.array.mac_array import array_command_layout, dense_layout
from hw.attention.turns import turn_layout
from hw.attention.walkers import (
    KeyWalker,
    ValueWalker,
    groups_in_tile,
    run_layout,
    tiles_in_group,
)
from hw.buffer import request_layout, word_layout
from hw.rows.layouts import slot_layout
from hw.shapes import FEATURE, STRIDE, UNDER_WAY, code, tile_codes
from hw.stream import Fifo

__all__ = ["Feeder"]

# Runs asked for and not yet fed: the next one's words follow without a gap.
RUNS = 2
# Commands that wait for the array, so that words are asked for while their operand is loaded.
COMMANDS = 4


class Feeder(wiring.Component):
    """Feeds the lanes turn by turn, with commands in the same order: keys of a slot, or its values.

    T (P where that is less) key codes, or P value codes, a cycle; where the last group of keys
    leaves lanes without one, one cycle more. The next turn's words are asked for while the present
    one's are fed: no gap from turn to turn where the last run takes longer than the other walker's
    first request. Latency: that of the walker, and of the buffer. Stalled by the lanes' queue, or
    by commands that are not taken: words wait in their buffer.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of turn_layout), taken when its last words are asked for
    length : In(FEATURE), features of a head
    stride : In(STRIDE), words of a tile of keys
    slots : In(array of slot_layout), stable while turns come
    retired : In(1), pulse: a context's command was written to its last column
    idle : Out(1), no context is under way behind `i`
    key_request : Out(stream of request_layout)
    key_words : In(stream of word_layout of T codes), one feature of a tile's keys
    value_request : Out(stream of request_layout)
    value_words : In(stream of word_layout of P codes), P features of a row's value
    o_dense : Out(stream of dense_layout), to the array
    o_command : Out(stream of array_command_layout with column_meta), to the array
    """

    def __init__(self, config):
        self.config = config
        self.keys = KeyWalker(config)
        self.values = ValueWalker(config)
        value_codes = data.ArrayLayout(code(config), config.columns)
        commands = array_command_layout(config, column_meta(config))
        super().__init__(
            {
                "i": In(stream.Signature(turn_layout(config))),
                "length": In(FEATURE),
                "stride": In(STRIDE),
                "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
                "retired": In(1),
                "idle": Out(1),
                "key_request": Out(stream.Signature(request_layout())),
                "key_words": In(stream.Signature(word_layout(tile_codes(config)))),
                "value_request": Out(stream.Signature(request_layout())),
                "value_words": In(stream.Signature(word_layout(value_codes))),
                "o_dense": Out(stream.Signature(dense_layout(config))),
                "o_command": Out(stream.Signature(commands)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.keys = keys = self.keys
        m.submodules.values = values = self.values
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
        self._command(m, commands.i.payload)
        self._feed(m, runs.o)
        # Commands of contexts whose columns are not all written: ATTEND ends with the last one.
        pending = Signal(UNDER_WAY)
        given = commands.i.valid & commands.i.ready & self.i.payload.context
        m.d.sync += pending.eq(pending + given - self.retired)
        m.d.comb += self.idle.eq(pending == 0)
        return m

    def _walk(self, m, runs, commands):
        """One walker at a time has a turn, and the array's ear."""
        # Both share the queues, so words are fed in the order of the commands.
        turn = self.i.payload
        command = commands.payload
        for walker in (self.keys, self.values):
            group = walker.o_group.payload
            m.d.comb += [
                walker.i.payload.eq(turn.item),
                walker.length.eq(self.length),
            ]
            with m.If(turn.context == (walker is self.values)):
                m.d.comb += [
                    walker.i.valid.eq(self.i.valid),
                    self.i.ready.eq(walker.i.ready),
                    command.free.eq(group.last),
                    command.base.eq(group.base),
                    command.lanes.eq(group.lanes),
                    runs.valid.eq(walker.o_run.valid),
                    runs.payload.eq(walker.o_run.payload),
                    walker.o_run.ready.eq(runs.ready),
                    commands.valid.eq(walker.o_group.valid),
                    walker.o_group.ready.eq(commands.ready),
                ]

    def _command(self, m, command):
        """What all commands have in common, and what goes with their columns."""
        turn = self.i.payload
        m.d.comb += [
            # A command for each group: each has destinations of its own.
            command.groups.eq(1),
            command.rewind.eq(0),
            command.dense.eq(1),
            command.meta.kind.eq(Mux(turn.context, Kind.CONTEXT, Kind.SCORE)),
            # `turn` and `end` tell LINEARs apart that overlap; ATTEND begins when they have ended.
            command.meta.turn.eq(0),
            command.meta.final.eq(command.free),
            command.meta.end.eq(0),
            command.meta.offset.eq(turn.item.target),
            *(command.meta[name].eq(turn.item[name]) for name in ("tile", "live", "slot", "head")),
        ]

    def _feed(self, m, runs):
        """The words of the oldest run, then what closes its group."""
        run = runs.payload
        entry = self.o_dense.payload
        keys = self.key_words
        values = self.value_words
        # The operand's row of an entry: the feature of a query, or the number of a key.
        k = Signal(FEATURE)
        rest = Signal()  # lanes without a key are served
        wants = Signal()  # there are such lanes
        word = Signal()
        last = Signal()
        moved = self.o_dense.valid & self.o_dense.ready
        m.d.comb += [
            word.eq(Mux(run.values, values.valid, keys.valid)),
            last.eq(Mux(run.values, values.payload.last, keys.payload.last)),
            self.o_dense.valid.eq(runs.valid & (word | rest)),
            entry.last.eq(last | rest),
            entry.k.eq(k),
            keys.ready.eq(moved & ~run.values & ~rest),
            values.ready.eq(moved & run.values),
            runs.ready.eq(moved & (rest | last & ~wants)),
        ]
        with m.If(moved):
            m.d.sync += [
                k.eq(Mux(entry.last, 0, k + 1)),
                rest.eq(last & wants & ~rest),
            ]
        self._lanes(m, run, rest, wants)
        self._codes(m, run, rest)

    def _lanes(self, m, run, rest, wants):
        """The lanes that take the entry: all, or for keys those of the tile's place in its group.

        Lanes without a key take one zero behind the group's last tile.
        """
        # The array waits for every lane of a group, so a lane without a column ends at once.
        t = self.config.tokens
        p = self.config.columns
        lanes = Signal(p, init=-1)
        m.d.comb += self.o_dense.payload.lanes.eq(lanes)
        # Where P < T no lane is without a column: one beyond the tile takes zeros with the others.
        if groups_in_tile(self.config) > 1:
            return
        places = range(tiles_in_group(self.config))
        taken = [((1 << t) - 1) << (place * t) for place in places]  # by a tile at this place
        spare = [(1 << p) - (1 << t + place * t) for place in places]  # behind it
        with m.If(~run.values):
            m.d.comb += [
                wants.eq(run.closing & Array(int(mask != 0) for mask in spare)[run.place]),
                lanes.eq(Mux(rest, _chosen(spare, p, run.place), _chosen(taken, p, run.place))),
            ]

    def _codes(self, m, run, rest):
        """Each lane's code: its value, its key of the tile, or zero."""
        t = self.config.tokens
        p = self.config.columns
        keys = self.key_words.payload.values
        values = self.value_words.payload.values
        for lane in range(p):
            # A word has T keys: where P < T it is read for each group, P of its keys at a time.
            if groups_in_tile(self.config) > 1:
                numbers = [place * p + lane for place in range(groups_in_tile(self.config))]
                key = Array(keys[n] if n < t else Const(0) for n in numbers)[run.place]
            else:
                key = keys[lane % t]
            m.d.comb += self.o_dense.payload.codes[lane].eq(
                Mux(run.values, values[lane], Mux(rest, 0, key))
            )


def _chosen(masks, width, place):
    """The mask of a place, as a constant table."""
    return Array(Const(mask, width) for mask in masks)[place]
