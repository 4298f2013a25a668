# SPDX-License-Identifier: Apache-2.0
"""NORM's results: to a tile buffer as they come or, turned, to the residual stream."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.isa import Target
from hw.buffer import Turn
from hw.instruction import instruction_layout
from hw.progress import progress_layout
from hw.rows.tiles import tile_layout
from hw.shapes import ACT, FEATURE, PLACE, POINTER, WORDS, tile_mask, tile_values

__all__ = ["NormWriter", "leaving_layout", "normed_write_layout", "state_write_layout"]


def leaving_layout(config):
    """The tile whose results leave: its first word in NORMED, its rows' first words in STATE."""
    return data.StructLayout(
        {
            "tile": tile_layout(config),
            "target": PLACE,
            "pointers": data.ArrayLayout(POINTER, config.tokens),
        }
    )


def normed_write_layout(config):
    """One feature of a tile's live rows."""
    return data.StructLayout(
        {"address": PLACE, "lanes": tile_mask(config), "values": tile_values(config)}
    )


def state_write_layout(config):
    """T features of one row."""
    return data.StructLayout({"address": POINTER, "values": tile_values(config)})


class NormWriter(wiring.Component):
    """Word f of `i` is feature f of the tile `leaving`: T rows, to NORMED or to STATE.

    To NORMED each word is written as it comes. To STATE, whose words are T features of one row,
    T words are turned; a short last block is filled up with repeats of its last word. Latency 0
    cycles to NORMED, T + 1 to STATE; one word a cycle, except that STATE's last block takes a cycle
    for each row up to the last live one. Stalled: `i` waits for the turn; the buffers always take.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of {values: ACT x T}), the results
    instruction : In(instruction_layout), stable until the last tile is written
    leaving : In(leaving_layout), stable until `written`
    normed_write_valid : Out(1)
    normed_write : Out(normed_write_layout)
    state_write_valid : Out(1)
    state_write : Out(state_write_layout)
    moved : Out(1), pulse: a result is taken
    feature : Out(FEATURE), its number
    given : Out(1), all results of the tile have been taken
    written : Out(1), pulse: all of them are written
    progress : Out(progress_layout), what is written
    """

    def __init__(self, config):
        self.config = config
        self._turn = Turn(ACT, config.tokens, config.tokens)
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout({"values": tile_values(config)}))),
                "instruction": In(instruction_layout()),
                "leaving": In(leaving_layout(config)),
                "normed_write_valid": Out(1),
                "normed_write": Out(normed_write_layout(config)),
                "state_write_valid": Out(1),
                "state_write": Out(state_write_layout(config)),
                "moved": Out(1),
                "feature": Out(FEATURE),
                "given": Out(1),
                "written": Out(1),
                "progress": Out(progress_layout()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # STATE's words are T features of one row because a gather reads rows from anywhere: with a
        # word for each feature, T rows would be T reads for every feature.
        m.submodules.turn = self._turn
        feature = Signal(FEATURE)  # of the next result
        block = Signal(WORDS)  # of T features, of the next word to STATE
        filling = Signal()  # all results are taken, and the last block is not full
        self._to_state = self.instruction.target_buffer == Target.STATE
        final = feature == self.instruction.reduction - 1
        m.d.comb += [
            self.i.ready.eq(Mux(self._to_state, self._turn.i.ready & ~filling, 1)),
            self.moved.eq(self.i.valid & self.i.ready),
            self.feature.eq(feature),
        ]
        with m.If(self.moved):
            m.d.sync += feature.eq(Mux(final, 0, feature + 1))
        self._write(m, feature, block)
        self._blocks(m, final, block, filling)
        # What follows reads NORMED word by word and STATE block by block.
        m.d.comb += [
            self.progress.tile.eq(self.leaving.tile.tile),
            self.progress.words.eq(Mux(self._to_state, block * self.config.tokens, feature)),
            self.progress.final.eq(1),
            self.progress.last.eq(self.leaving.tile.last),
        ]
        return m

    def _write(self, m, feature, block):
        """The writes to both buffers."""
        t = self.config.tokens
        # Rows never move in STATE, so each has a pointer; a tile in NORMED is contiguous.
        row = Signal(range(t))  # of a turned block
        # A turned block ends with the tile's last live row: nobody waits for those behind it.
        live = Signal(tile_mask(self.config))  # this row and those behind it
        turned = self._turn.o
        values = self.i.payload.values
        m.d.comb += [
            live.eq(self.leaving.tile.live >> row),
            turned.ready.eq(1),
            self._turn.cut.eq(~live[1:].any()),
            self.normed_write_valid.eq(self.moved & ~self._to_state),
            self.normed_write.address.eq(self.leaving.target + feature),
            self.normed_write.lanes.eq(self.leaving.tile.live),
            self.normed_write.values.eq(values),
            self.state_write_valid.eq(turned.valid & live[0]),
            self.state_write.address.eq(self.leaving.pointers[row] + block),
            self.state_write.values.eq(turned.payload.values),
        ]
        with m.If(turned.valid):
            m.d.sync += row.eq(Mux(turned.payload.last, 0, row + 1))

    def _blocks(self, m, final, block, filling):
        """Blocks of T words into the turn; counts those that filled and those that are written."""
        t = self.config.tokens
        # A block may fill while the one before is written, so the tile is through when the last one
        # has filled and as many have been written.
        beat = Signal(range(t))  # of the block that fills
        entered = Signal(WORDS)  # blocks that filled
        complete = Signal()  # the tile's last one has
        turn = self._turn
        taken = turn.i.valid & turn.i.ready
        full = taken & (beat == t - 1)
        emptied = turn.o.valid & turn.o.payload.last
        m.d.comb += [
            turn.i.valid.eq(self._to_state & (self.i.valid | filling)),
            turn.i.payload.eq(self.i.payload.values),
            self.given.eq(filling | complete),
            self.written.eq(
                Mux(
                    self._to_state,
                    emptied & complete & (block + 1 == entered),
                    self.moved & final,
                )
            ),
        ]
        # A block that is not full stays in the turn: the last word is repeated until it is.
        with m.If(taken):
            m.d.sync += [
                beat.eq(Mux(beat == t - 1, 0, beat + 1)),
                filling.eq((filling | final) & (beat != t - 1)),
            ]
        with m.If(self.written):
            m.d.sync += [
                entered.eq(0),
                block.eq(0),
                complete.eq(0),
            ]
        with m.Else():
            m.d.sync += [
                entered.eq(entered + full),
                block.eq(block + emptied),
                complete.eq(complete | (full & (filling | final))),
            ]
