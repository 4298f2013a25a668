# SPDX-License-Identifier: Apache-2.0
"""LINEAR: one weight operation over the tiles of the selected rows."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.isa import Target
from hw.array.column import Kind, column_meta
from hw.array.mac_array import array_command_layout
from hw.engine import engine_signature
from hw.rows.layouts import slot_layout
from hw.rows.tiles import TileIterator
from hw.shapes import BLOCK, GROUPS, PLACE, POINTER, TILE, slot_mask, tile_mask
from hw.stream import Fifo

__all__ = ["Linear", "Tiles", "tile_request_layout"]

START = 4  # cycles from the start to the first tile
NEXT_TILE = 2  # from a tile to the next one, at least
NEXT_BLOCK = 4  # from a block's last tile to the next one's first
CLS = 1  # fewer in both, for tiles of [CLS] rows
COMMANDS = 2  # that wait for the array: as many as it has banks for tiles


def tile_request_layout():
    """A tile to load into the array: its number, and its first word if the source is a buffer."""
    return data.StructLayout({"tile": TILE, "address": POINTER})


class Tiles(wiring.Component):
    """Tiles of the selected slots: of their rows, or with `cls` of their [CLS] rows.

    Of [CLS] rows lane l of tile t is slot t * T + l. Latency and throughput are those of
    `TileIterator`, whose stream it passes on; [CLS] tiles come one a cycle, and those without a
    selected slot cost one cycle each. Stalled: the tile is held.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    cls : In(1), stable while a mask is in progress
    i : In(stream of a slot mask), not zero, taken when the last tile of the mask before has gone
    slots : In(array of slot_layout), the slot table
    o : Out(stream of {tile, live, last})
    """

    def __init__(self, config):
        self.config = config
        self._rows = TileIterator(config)
        tile = {"tile": TILE, "live": tile_mask(config), "last": 1}
        super().__init__(
            {
                "cls": In(1),
                "i": In(stream.Signature(slot_mask(config))),
                "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
                "o": Out(stream.Signature(data.StructLayout(tile))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = self._rows
        left = Signal(slot_mask(self.config))  # slots of this [CLS] tile and the later ones
        tile = Signal(TILE)
        live = left[: self.config.tokens]
        m.d.comb += [
            rows.slots.eq(self.slots),
            rows.i.payload.eq(self.i.payload),
        ]
        # A slot has one [CLS] row, so the mask itself is the rows, T slots at a time; the row table
        # is not asked.
        with m.If(self.cls):
            later = left[self.config.tokens :]
            m.d.comb += [
                self.i.ready.eq(left == 0),
                self.o.valid.eq(live != 0),
                self.o.payload.tile.eq(tile),
                self.o.payload.live.eq(live),
                self.o.payload.last.eq(later == 0),
            ]
            with m.If(self.i.ready & self.i.valid):
                m.d.sync += [
                    left.eq(self.i.payload),
                    tile.eq(0),
                ]
            with m.Elif((left != 0) & (~self.o.valid | self.o.ready)):
                m.d.sync += [
                    left.eq(later),
                    tile.eq(tile + 1),
                ]
        with m.Else():
            m.d.comb += [
                rows.i.valid.eq(self.i.valid),
                self.i.ready.eq(rows.i.ready),
                rows.o.ready.eq(self.o.ready),
                self.o.valid.eq(rows.o.valid),
                self.o.payload.tile.eq(rows.o.payload.tile),
                self.o.payload.live.eq(rows.o.payload.live),
                self.o.payload.last.eq(rows.o.payload.last),
            ]
        return m


class Linear(wiring.Component):
    """For each block of groups, for each selected tile: load it, run the block's groups on it.

    The weights of a block stay in the array's weight buffer until its last tile. First load `START`
    cycles after `start`, first command one later, then one of each every `NEXT_TILE` cycles while
    they are taken, `NEXT_BLOCK` from block to block (less for [CLS] rows); a tile without a
    selected row costs one more. Stalled: holds a load until it is taken; commands wait in a queue.
    The operation has ended when its columns are written (`Store`).

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    start, instruction, mask, slots, done, sent, taken : see `engine_signature`, `followed`
    turn : In(1), goes with the commands, stable until `taken`
    written : In(1), pulse: the operation's last column is written
    o_load : Out(stream of tile_request_layout)
    resting : In(1), no tile is being loaded
    o_command : Out(stream of array_command_layout of column_meta)
    """

    def __init__(self, config):
        self.config = config
        command = array_command_layout(config, column_meta(config))
        super().__init__(
            {
                **engine_signature(config, followed=True).members,
                "turn": In(1),
                "written": In(1),
                "o_load": Out(stream.Signature(tile_request_layout())),
                "resting": In(1),
                "o_command": Out(stream.Signature(command)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.tiles = tiles = Tiles(self.config)
        tile = Signal(tiles.o.payload.shape())
        left = Signal(GROUPS)  # groups behind this block
        groups = Signal(BLOCK)  # of this block
        first = Signal()  # the operation's first tile comes
        single = Signal()  # it is the only one
        source = Signal(POINTER)  # the tile's first word in the source
        target = Signal(PLACE)  # and in the target
        load = Signal()  # still to be asked for, of this tile
        command = Signal()  # still to be sent, for this tile
        self._connect(m, tiles, tile, source)
        taken = self._command(m, tile, target, groups, left == 0, single, command)
        m.d.comb += self.o_load.valid.eq(load)
        with m.FSM():
            # Until an operation starts.
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [
                        left.eq(self.instruction.groups),
                        first.eq(1),
                    ]
                    m.next = "BLOCK"
            # The next block of groups, as many as the weight buffers hold: all tiles again.
            with m.State("BLOCK"):
                block = Mux(left > self.instruction.block, self.instruction.block, left)
                with m.If(left == 0):
                    m.next = "SENT"
                with m.Elif(tiles.i.ready):
                    m.d.comb += tiles.i.valid.eq(1)
                    m.d.sync += [
                        groups.eq(block),
                        left.eq(left - block),
                    ]
                    m.next = "TILE"
            # The next tile, and where its words are.
            with m.State("TILE"):
                m.d.comb += tiles.o.ready.eq(1)
                with m.If(tiles.o.valid):
                    m.d.sync += tile.eq(tiles.o.payload)
                    self._place(m, tiles.o.payload.tile, source, target)
                    self._open(m, tiles.o.payload, first, single, load, command)
                    m.next = "SEND"
            # Its load and its command, in whichever order they are taken.
            with m.State("SEND"):
                with m.If(self.o_load.ready):
                    m.d.sync += load.eq(0)
                with m.If(taken):
                    m.d.sync += command.eq(0)
                with m.If((self.o_load.ready | ~load) & (taken | ~command)):
                    m.next = "TILE"
                    with m.If(tile.last):
                        m.next = "BLOCK"
            # All is sent: when the last tile is loaded the next operation may begin.
            with m.State("SENT"):
                m.d.comb += self.sent.eq(self.resting)
                with m.If(self.taken):
                    m.next = "IDLE"
        return m

    def _connect(self, m, tiles, tile, source):
        """The operation's tiles, the load of the present one, and the end, told by the store."""
        m.d.comb += [
            tiles.slots.eq(self.slots),
            tiles.cls.eq(self.instruction.cls),
            tiles.i.payload.eq(self.mask),
            self.o_load.payload.tile.eq(tile.tile),
            self.o_load.payload.address.eq(source),
            self.done.eq(self.written),
        ]

    def _place(self, m, tile, source, target):
        """Where the tile's words are in the source and in the target."""
        # VALUES has a row a word: its rows are placed by the store.
        op = self.instruction
        offset = Mux(op.target_buffer == Target.VALUES, 0, tile * op.target_stride)
        m.d.sync += [
            source.eq(op.source_base + tile * op.source_stride),
            target.eq(op.target_base + offset),
        ]

    def _open(self, m, tile, first, single, load, command):
        """A tile begins. An operation on a single tile loads it once, for all blocks."""
        m.d.sync += command.eq(1)
        with m.If(first):
            m.d.sync += [
                single.eq(tile.last),
                first.eq(0),
                load.eq(1),
            ]
        with m.Else():
            m.d.sync += load.eq(~single)

    def _command(self, m, tile, target, groups, final, single, valid):
        """The tile's command into the queue while `valid`; returns whether it is taken.

        `final`: the block of so many `groups` is the operation's last one.
        """
        # A queue, so that the tiles behind are loaded while the array works on the ones before.
        m.submodules.commands = queue = Fifo(self.o_command.payload.shape(), COMMANDS)
        wiring.connect(m, queue.o, wiring.flipped(self.o_command))
        command = queue.i.payload
        # The weights are wanted again but by the block's last tile; the tile is but where it is the
        # only one and blocks are to come.
        m.d.comb += [
            queue.i.valid.eq(valid),
            command.groups.eq(groups),
            command.dense.eq(0),
            command.rewind.eq(~tile.last),
            command.free.eq(~single | final),
            command.meta.kind.eq(Kind.LINEAR),
            command.meta.tile.eq(tile.tile),
            command.meta.live.eq(tile.live),
            command.meta.offset.eq(target),
            command.meta.turn.eq(self.turn),
            command.meta.final.eq(final),
            command.meta.end.eq(tile.last),
        ]
        return queue.i.ready
