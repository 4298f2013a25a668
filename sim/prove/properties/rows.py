# SPDX-License-Identifier: Apache-2.0
"""Rows and slots: each physical row is in one place, and who walks over them misses none."""

from amaranth import Array, Cat, Const, Module, Mux, Signal
from amaranth.hdl import Assert, Assume, Fragment
from amaranth.lib import wiring

from hw.arith.fixed import count
from hw.rows.layouts import RowCommand
from sim.prove.machines import tiny_machine
from sim.prove.prover import Mutant, Property

__all__ = ["ROWS_AND_SLOTS"]


class Conserved(wiring.Component):
    """`Rows`: a physical row is free, taken or live, in one place of the table; none is lost.

    Of users who append each row that they have taken once, while there is room in the table.
    """

    CONFIG = tiny_machine(2, slots=2)

    def __init__(self, rows):
        self.block = rows(self.CONFIG)
        super().__init__(dict(self.block.signature.members))

    def elaborate(self, platform):
        m = Module()
        m.submodules.block = block = self.block
        wiring.connect(m, wiring.flipped(self), block)
        every = self.CONFIG.physical_rows
        free = Signal(every)
        taken = Signal(every)
        live = Signal(every)
        pushed = Signal(every)
        popped = Signal(every)
        appended = Signal(every)
        running = Signal(init=1)
        command = block.i_command.payload
        accepted = block.i_command.valid & block.i_command.ready
        append = accepted & (command.command == RowCommand.APPEND)
        one = Const(1, every)
        m.d.comb += [
            pushed.eq(Mux(block._freed.enable, one << block._freed.row, 0)),
            popped.eq(Mux(block.o_free.valid & block.o_free.ready, one << block.o_free.payload, 0)),
            appended.eq(Mux(append, one << command.physical, 0)),
            Assume(~append | ((block.total < self.CONFIG.rows) & (taken & appended).any())),
            # A row goes into the list from the table alone (or at reset), and out of it once.
            Assert((pushed & (free | taken)) == 0),
            Assert((popped & ~free) == 0),
            Assert((block._freed.row < every) | ~block._freed.enable),
        ]
        m.d.sync += [
            running.eq(accepted | (running & ~block.done)),
            free.eq((free | pushed) & ~popped),
            taken.eq((taken | popped) & ~appended),
            live.eq((live | appended) & ~pushed),
        ]
        with m.If(~running | block.done):
            m.d.comb += [
                Assert((free | taken | live) == (1 << every) - 1),
                Assert(((free & taken) | (free & live) | (taken & live)) == 0),
                Assert(block.total == count(list(live))),
                Assert(block.free == count(list(free))),
            ]
        self._table(m, live, accepted, running)
        return m

    def _table(self, m, live, accepted, running):
        """Of the logical rows each has a live physical row, and no two the same."""
        block = self.block
        # Two rows that are read one after the other while no command runs.
        idle = ~running & ~accepted
        row = Signal.like(block.read_row)
        before = Signal.like(block.read_row)
        physical = Signal.like(block.read_data.physical)
        fetched = Signal()
        compared = Signal()
        m.d.sync += [
            row.eq(block.read_row),
            before.eq(row),
            fetched.eq(idle),
            compared.eq(fetched & idle),
            physical.eq(block.read_data.physical),
        ]
        inside = fetched & idle & (row < block.total)
        with m.If(inside):
            m.d.comb += Assert(live.bit_select(block.read_data.physical, 1))
        with m.If(inside & compared & (before < block.total) & (before != row)):
            m.d.comb += Assert(physical != block.read_data.physical)


class Walked(wiring.Component):
    """`SlotWalk` gives the slots of the mask that it was started with, each once, lowest first."""

    CONFIG = tiny_machine(4, slots=4)

    def __init__(self, slot_walk):
        self.block = slot_walk(self.CONFIG)
        super().__init__(dict(self.block.signature.members))

    def elaborate(self, platform):
        m = Module()
        block = self.block
        m.submodules.block = Fragment.get(block, platform)
        wiring.connect(m, wiring.flipped(self), block)
        left = Signal(self.CONFIG.slots)
        walk = block.o.payload
        slot = block.slots[walk.number]
        taken = block.o.valid & block.o.ready
        m.d.sync += left.eq(
            Mux(block.start, block.mask, Mux(taken, left & ~(Const(1) << walk.number), left))
        )
        m.d.comb += [
            Assert(block.pending == left),
            Assert(block.o.valid == left.any()),
        ]
        with m.If(block.o.valid):
            m.d.comb += [
                Assert(left.bit_select(walk.number, 1)),
                Assert((left & ((Const(1) << walk.number) - 1)) == 0),
                Assert(walk.selected == Const(1) << walk.number),
                Assert(walk.last == (left >> walk.number == 1)),
                Assert(
                    Cat(walk.layer, walk.start, walk.count)
                    == Cat(slot.layer, slot.start, slot.count)
                ),
            ]
        return m


class Visited(wiring.Component):
    """`TileIterator` gives the tiles with live rows, each once, in order, with their lanes."""

    CONFIG = tiny_machine(8, slots=2)

    def __init__(self, iterator):
        self.block = iterator(self.CONFIG)
        super().__init__(dict(self.block.signature.members))

    def elaborate(self, platform):
        m = Module()
        m.submodules.block = block = self.block
        wiring.connect(m, wiring.flipped(self), block)
        config = self.CONFIG
        mask = Signal(config.slots)
        place = Signal(range(config.tiles + 1))  # of the next tile
        busy = Signal()
        begun = Signal()
        slots = Signal(len(block.slots.as_value()))
        tile = block.o.payload
        # The golden rule: row is live if it is in a selected slot.
        lanes = Array(
            Cat(self._live(mask, at * config.tokens + lane) for lane in range(config.tokens))
            for at in range(config.tiles)
        )
        some = Cat(lane.any() for lane in lanes)
        m.d.sync += [
            begun.eq(1),
            slots.eq(block.slots.as_value()),
        ]
        m.d.comb += [
            Assume(~begun | (slots == block.slots.as_value())),
            *(Assume(slot.start + slot.count <= config.rows) for slot in block.slots),
            Assert(~block.o.valid | busy),
            Assert(~(block.i.ready & busy & ((some >> place) != 0))),
        ]
        with m.If(block.o.valid & busy):
            m.d.comb += [
                Assert(tile.tile >= place),
                Assert(((some >> place) & ((Const(1) << (tile.tile - place)[:3]) - 1)) == 0),
                Assert(tile.live == lanes[tile.tile]),
                Assert(tile.live != 0),
                Assert(tile.last == ((some >> tile.tile) == 1)),
            ]
            with m.If(block.o.ready):
                m.d.sync += place.eq(tile.tile + 1)
        with m.If(block.i.valid & block.i.ready):
            m.d.sync += [
                mask.eq(block.i.payload),
                place.eq(0),
                busy.eq(1),
            ]
        return m

    def _live(self, mask, row):
        return Cat(
            mask[at] & (slot.start <= row) & (row < slot.start + slot.count)
            for at, slot in enumerate(self.block.slots)
        ).any()


ROWS_AND_SLOTS = (
    Property(
        "Rows: a physical row is free, taken or live, and in one place; none is lost",
        "hw.rows.rows:Rows",
        Conserved,
        15,
        False,
        (
            Mutant("self._free(m, entry.physical)", "self._free(m, self._kept)"),
            Mutant("self._change(m, self._kept, entry", "self._change(m, 0, entry"),
            Mutant(
                "self._scan == self.config.physical_rows - 1",
                "self._scan == self.config.physical_rows - 2",
            ),
            Mutant("self.total.eq(self.total - 1)", "self.total.eq(self.total)"),
        ),
        quick=False,
        quick_mutants=False,
    ),
    Property(
        "SlotWalk: the slots of the mask, each once, the lowest first",
        "hw.rows.slot_walk:SlotWalk",
        Walked,
        1,
        True,
        (
            Mutant("walk.last.eq(rest == 0)", "walk.last.eq(pending == 0)"),
            Mutant("pending.eq(rest)", "pending.eq(0)"),
            Mutant("walk.count.eq(slot.count)", "walk.count.eq(slot.start)"),
        ),
    ),
    Property(
        "TileIterator: the tiles with live rows, each once, in order, with their lanes",
        "hw.rows.tiles:TileIterator",
        Visited,
        8,
        False,
        (
            Mutant("(end > self.config.tokens)", "(end >= self.config.tokens)"),
            Mutant("first.eq(first + config.tokens)", "first.eq(first + 1)"),
            Mutant("bound.low.eq(self._lanes_below(start))", "bound.low.eq(0)"),
        ),
        quick=False,
    ),
)
