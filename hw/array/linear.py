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
from hw.stream import Fifo

__all__ = ["Linear", "Tiles", "tile_request_layout"]

START = 4  # cycles from the start to the first tile
TILE = 2  # from a tile to the next one, at least
BLOCK = 4  # from a block's last tile to the next one's first
CLS = 1  # fewer in both, for tiles of [CLS] rows
COMMANDS = 2  # that wait for the array: as many as it has banks for tiles


def tile_request_layout():
    """A tile of activations to load into the array: `address` of its first word where the source is a tile buffer."""
    return data.StructLayout({"tile": 16, "address": 32})


class Tiles(wiring.Component):
    """Tiles of the selected slots: of their rows, or with `cls` of their [CLS] rows, lane l of tile t being slot t * T + l.

    As `TileIterator`, whose stream it passes on; [CLS] tiles come one a cycle, those without a selected slot cost one cycle each.

    Members
    -------
    cls : quasi-static
    i : stream of a slot mask, not zero, taken when the last tile of the mask before has gone
    slots : the slot table
    o : stream of {"tile", "live", "last"}
    """

    def __init__(self, config):
        self.config = config
        self._rows = TileIterator(config)
        super().__init__(
            {
                "cls": In(1),
                "i": In(stream.Signature(config.slots)),
                "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
                "o": Out(
                    stream.Signature(
                        data.StructLayout({"tile": 16, "live": config.tokens, "last": 1})
                    )
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = self._rows
        left = Signal(self.config.slots)
        tile = Signal(16)  # slots of this [CLS] tile and the later ones
        live = left[: self.config.tokens]
        m.d.comb += [
            rows.slots.eq(self.slots),
            rows.i.payload.eq(self.i.payload),
        ]
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
    """For each block of groups, for each selected tile: load the tile, run the block's groups on it.

    The weights of a block stay in the array's weight buffer until its last tile; an operation on a single tile loads it once. First load `START`
    cycles after `start`, first command one later, then one of each every `TILE` cycles while they are taken, `BLOCK` from block to block (less for
    [CLS] rows); a tile without a selected row costs one more. Stalled: holds a load until it is taken; commands wait in a queue, so that tiles are loaded behind the work.
    When all is `sent` the next operation may begin; this one has ended when its columns are written (`Store`).

    Members
    -------
    start, mask, instruction, slots, done, sent, taken : see `engine_signature`
    turn : goes with the commands, stable until `taken`
    written : In(1), pulse: the operation's last column is written (`Store`)
    o_load : stream of `tile_request_layout()`; resting : no tile is being loaded
    o_command : stream of `array_command_layout(config, column_meta(config))`
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                **engine_signature(config, followed=True).members,
                "turn": In(1),
                "written": In(1),
                "o_load": Out(stream.Signature(tile_request_layout())),
                "resting": In(1),
                "o_command": Out(
                    stream.Signature(array_command_layout(config, column_meta(config)))
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        op = self.instruction
        m.submodules.tiles = tiles = Tiles(self.config)
        m.d.comb += [
            self.done.eq(self.written),
            tiles.slots.eq(self.slots),
            tiles.cls.eq(op.cls),
            tiles.i.payload.eq(self.mask),
        ]
        left, groups = Signal(16), Signal(8)  # groups after this block; of this block
        first = Signal()
        single = Signal()
        tile = Signal(tiles.o.payload.shape())
        source = Signal(32)
        target = Signal(24)  # word offsets of this tile
        load = Signal()
        command = Signal()  # still to be sent for this tile
        m.submodules.commands = queue = Fifo(self.o_command.payload.shape(), COMMANDS)
        wiring.connect(m, queue.o, wiring.flipped(self.o_command))
        commands = queue.i
        meta = queue.i.payload.meta
        final = left == 0
        m.d.comb += [
            self.o_load.payload.tile.eq(tile.tile),
            self.o_load.payload.address.eq(source),
            self.o_load.valid.eq(load),
            commands.valid.eq(command),
            commands.payload.groups.eq(groups),
            commands.payload.dense.eq(0),
            commands.payload.rewind.eq(~tile.last),
            commands.payload.free.eq(~single | final),
            meta.kind.eq(Kind.LINEAR),
            meta.tile.eq(tile.tile),
            meta.live.eq(tile.live),
            meta.offset.eq(target),
            meta.turn.eq(self.turn),
            meta.final.eq(final),
            meta.end.eq(tile.last),
        ]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [
                        left.eq(op.groups),
                        first.eq(1),
                    ]
                    m.next = "BLOCK"
            with m.State("BLOCK"):
                block = Mux(left > op.block, op.block, left)
                with m.If(left == 0):
                    m.next = "SENT"
                with m.Elif(tiles.i.ready):
                    m.d.comb += tiles.i.valid.eq(1)
                    m.d.sync += [
                        groups.eq(block),
                        left.eq(left - block),
                    ]
                    m.next = "TILE"
            with m.State("TILE"):
                m.d.comb += tiles.o.ready.eq(1)
                with m.If(tiles.o.valid):
                    m.d.sync += [
                        tile.eq(tiles.o.payload),
                        command.eq(1),
                    ]
                    self._place(m, op, tiles.o.payload.tile, source, target)
                    with m.If(first):
                        m.d.sync += [
                            single.eq(tiles.o.payload.last),
                            first.eq(0),
                            load.eq(1),
                        ]
                    with m.Else():
                        m.d.sync += load.eq(~single)
                    m.next = "SEND"
            with m.State("SEND"):
                with m.If(self.o_load.ready):
                    m.d.sync += load.eq(0)
                with m.If(commands.ready):
                    m.d.sync += command.eq(0)
                with m.If((self.o_load.ready | ~load) & (commands.ready | ~command)):
                    m.next = "TILE"
                    with m.If(tile.last):
                        m.next = "BLOCK"
            with m.State("SENT"):
                m.d.comb += self.sent.eq(self.resting)
                with m.If(self.taken):
                    m.next = "IDLE"
        return m

    def _place(self, m, op, tile, source, target):
        """Where the tile's words are; VALUES has one row a word, and its rows are placed by the store."""
        offset = Mux(op.target_buffer == Target.VALUES, 0, tile * op.target_stride)
        m.d.sync += [
            source.eq(op.source_base + tile * op.source_stride),
            target.eq(op.target_base + offset),
        ]
