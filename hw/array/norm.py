# SPDX-License-Identifier: Apache-2.0
"""NORM: residual add and LayerNorm of the selected tiles, to a tile buffer or, turned, to the residual stream."""

from amaranth import Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.isa import Source, Target
from hw import buffer
from hw.arith.fixed import round_shift, saturate
from hw.array.layernorm import LayerNorm
from hw.buffer import Turn, request_layout
from hw.engine import engine_signature
from hw.progress import has_written, progress_layout
from hw.rows import gather
from hw.rows.tiles import TileIterator
from hw.shapes import ACT

__all__ = ["Norm"]

START = 2  # cycles from the start to the first tile, besides those without a selected row
NEXT = 2  # from a tile's last word in, and the end of the one before, to the next tile
ASK = 1  # from the pointers to the requests


def first_word(config, gathered):
    """Cycles from a tile to its first word in: pointers, request, words; those of the residual stream are `gathered`."""
    if gathered:
        return 1 + gather.cycles(config)
    return 1 + gather.pointed(config) + ASK + buffer.LATENCY


class Norm(wiring.Component):
    """s = saturate(round_shift(residual, align) + sum, 16), then y = LayerNorm(s), or y = s where the instruction only moves.

    Tile after tile: `features` words of SUM (with `skip_sum` none), and of the residual from the residual stream or NORMED, go through
    `LayerNorm`. Results go to NORMED as they come, or through a T x T turn into the rows of the residual stream. A single tile takes
    `first_word`, 2 features cycles, the latency of `LayerNorm`, and for the turn one for each row up to the last live one; of several each
    takes what it takes in `LayerNorm`, because a tile's words go in while the results of the one before come out. Stalled: waits for whichever operand
    is missing; the buffers always take the results.

    Members
    -------
    start, mask, slots : as `Linear`; done : pulse; instruction : stable until `done`
    follow, written : SUM is still being written, and how far that is: a word is read when it is there
    reading : it needs gather and buffers; sent, taken : as `Linear`, when the last tile's words have entered
    gather_request, pointed, pointers, gather_words : the gather; asked for every tile, for its words only when the residual is there
    sum_request, sum_words (with _index, _hold), normed_request, normed_words : read sides of the tile buffers, see `Buffer`
    param_write : see `LayerNorm`
    normed_write_valid, normed_write : {"address", "lanes", "values"} to NORMED
    state_write_valid, state_write : {"address", "values"}: T features of one row
    saturated : live values that saturated in this cycle
    progress : how far the results are
    result_valid, result : trace tap
    """

    def __init__(self, config, point):
        self.config = config
        self.layernorm = LayerNorm(config)
        t = config.tokens
        act = data.ArrayLayout(ACT, t)
        words = stream.Signature(data.StructLayout({"values": act, "last": 1}))
        super().__init__(
            {
                **engine_signature(config, followed=True).members,
                "reading": Out(1),
                "follow": In(1),
                "written": In(progress_layout()),
                "gather_request": Out(stream.Signature(point)),
                "pointed": In(1),
                "pointers": In(data.ArrayLayout(32, t)),
                "gather_words": In(words),
                "sum_request": Out(stream.Signature(request_layout())),
                "sum_words": In(words),
                "sum_index": In(16),
                "sum_hold": Out(1),
                "normed_request": Out(stream.Signature(request_layout())),
                "normed_words": In(words),
                "param_write": In(self.layernorm.param_write.signature.flip()),
                "normed_write_valid": Out(1),
                "normed_write": Out(data.StructLayout({"address": 24, "lanes": t, "values": act})),
                "state_write_valid": Out(1),
                "state_write": Out(data.StructLayout({"address": 32, "values": act})),
                "saturated": Out(range(4 * t + 1)),
                "progress": Out(progress_layout()),
                "result_valid": Out(1),
                "result": Out(
                    data.StructLayout({"tile": 16, "live": t, "feature": 16, "values": act})
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.layernorm = self.layernorm
        m.submodules.tiles = tiles = TileIterator(self.config)
        op = self.instruction
        tile = Signal(tiles.o.payload.shape())
        base = Signal(32)
        source = Signal(32)
        asked_sum = Signal()
        asked_residual = Signal()
        written = Signal()
        leaving = Signal(
            data.StructLayout(
                {"tile": tile.shape(), "target": 24, "pointers": self.pointers.shape()}
            )
        )
        writing = Signal()
        self._requests(m, op, tile, base, source)
        entered = self._add(m, op, tile)
        self._write(m, op, leaving.tile, leaving.target, leaving.pointers, written)
        self._tag(m, tile, leaving.tile, writing)
        with m.If(written):
            m.d.sync += writing.eq(0)
            m.d.comb += self.done.eq(leaving.tile.last)
        m.d.comb += [
            tiles.slots.eq(self.slots),
            tiles.i.payload.eq(self.mask),
        ]
        with m.FSM() as fsm:
            m.d.comb += self.reading.eq(~fsm.ongoing("IDLE") & ~fsm.ongoing("SENT"))
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.comb += tiles.i.valid.eq(1)
                    m.next = "TILE"
            with m.State("TILE"):
                m.d.comb += tiles.o.ready.eq(1)
                with m.If(tiles.o.valid):
                    m.d.sync += [
                        tile.eq(tiles.o.payload),
                        asked_sum.eq(0),
                        asked_residual.eq(0),
                        base.eq(tiles.o.payload.tile * op.reduction),
                        source.eq(op.source_base + tiles.o.payload.tile * op.source_stride),
                    ]
                    m.next = "POINT"
            with m.State("POINT"):
                m.d.comb += self.gather_request.valid.eq(1)
                with m.If(self.gather_request.ready):
                    m.next = "POINTED"
            with m.State("POINTED"):
                with m.If(self.pointed):
                    m.next = "ASK"
            with m.State("ASK"):
                with m.If(self._ask(m, op, tile, asked_sum, asked_residual)):
                    m.next = "READ"
            with m.State("READ"):
                with m.If(entered):
                    m.next = "LEAVE"
            with m.State(
                "LEAVE"
            ):  # its pointers are kept for the results, when those of the tile before are written
                with m.If(~writing):
                    m.d.sync += [
                        writing.eq(1),
                        leaving.tile.eq(tile),
                        leaving.target.eq(op.target_base + tile.tile * op.target_stride),
                        leaving.pointers.eq(self.pointers),
                    ]
                    m.next = "TILE"
                    with m.If(tile.last):
                        m.next = "SENT"
            with m.State("SENT"):
                m.d.comb += self.sent.eq(1)
                with m.If(self.taken):
                    m.next = "IDLE"
        return m

    def _requests(self, m, op, tile, base, source):
        m.d.comb += [
            self.gather_request.payload.tile.eq(tile.tile),
            self.gather_request.payload.read.eq(op.residual & (op.source == Source.STATE)),
            self.gather_request.payload.features.eq(op.reduction),
            self.sum_request.payload.address.eq(base),
            self.sum_request.payload.count.eq(op.reduction),
            self.normed_request.payload.address.eq(source),
            self.normed_request.payload.count.eq(op.reduction),
            self.sum_hold.eq(self.follow & ~has_written(self.written, tile.tile, self.sum_index)),
        ]

    def _ask(self, m, op, tile, asked_sum, asked_residual):
        """Request what is not `asked` yet; returns whether that was all."""
        normed = op.residual & (op.source == Source.NORMED)
        m.d.comb += [
            self.sum_request.valid.eq(~asked_sum & ~op.skip_sum),
            self.normed_request.valid.eq(normed & ~asked_residual),
        ]
        with m.If(self.sum_request.valid & self.sum_request.ready):
            m.d.sync += asked_sum.eq(1)
        with m.If(self.normed_request.ready):
            m.d.sync += asked_residual.eq(1)
        return (asked_sum | self.sum_request.valid & self.sum_request.ready | op.skip_sum) & (
            asked_residual | self.normed_request.ready | ~normed
        )

    def _add(self, m, op, tile):
        """The words of the sum, with the residual where there is one, into the LayerNorm; returns whether the tile's last one enters."""
        norm = self.layernorm
        words = Signal(self.sum_words.payload.shape())
        valid = Signal()
        summed = Signal()
        both = Signal()
        normed = op.source == Source.NORMED
        m.d.comb += [
            words.eq(Mux(normed, self.normed_words.payload, self.gather_words.payload)),
            valid.eq(~op.residual | Mux(normed, self.normed_words.valid, self.gather_words.valid)),
            summed.eq(op.skip_sum | self.sum_words.valid),
            both.eq(valid & summed & norm.i.ready),
            norm.i.valid.eq(valid & summed),
            self.sum_words.ready.eq(both & ~op.skip_sum),
            self.normed_words.ready.eq(both & op.residual & normed),
            self.gather_words.ready.eq(both & op.residual & ~normed),
            norm.i.payload.live.eq(tile.live),
            norm.length.eq(op.reduction),
            norm.set.eq(op.norm_set),
            norm.bypass.eq(~op.normalize),
            norm.shift.eq(op.shift),
        ]
        lost = []
        for lane in range(self.config.tokens):
            residual = Mux(
                op.residual, round_shift(m, words.values[lane], op.align[:4]), Const(0, ACT)
            )
            addend = Mux(op.skip_sum, Const(0, ACT), self.sum_words.payload.values[lane])
            total, clipped = saturate(m, residual + addend, ACT.width)
            m.d.comb += norm.i.payload.values[lane].eq(total)
            lost.append(clipped & tile.live[lane] & both)
        m.d.comb += self.saturated.eq(sum(lost) + norm.saturated)
        wiring.connect(m, norm.param_write, wiring.flipped(self.param_write))
        return both & Mux(op.skip_sum, words.last, self.sum_words.payload.last)

    def _tag(self, m, tile, leaving, writing):
        """Results that come when the leaving tile has had all its own are those of the tile behind: it has less than a block of features."""
        behind = ~writing | self._given
        m.d.comb += [
            self.result[name].eq(Mux(behind, tile[name], leaving[name]))
            for name in ("tile", "live")
        ]

    def _write(self, m, op, tile, target, pointers, written):
        """To NORMED at once; to the residual stream through the turn, a short last block filled up with repeats."""
        t = self.config.tokens
        m.submodules.turn = turn = Turn(ACT, t, t)
        result = self.layernorm.o
        feature = Signal(16)
        beat = Signal(range(t))
        filling = Signal()
        row = Signal(range(t))
        block = Signal(16)
        live = Signal(t)  # live: this row and those behind it
        to_state = op.target_buffer == Target.STATE
        moved = result.valid & result.ready
        final = feature == op.reduction - 1
        m.d.comb += [
            result.ready.eq(Mux(to_state, turn.i.ready & ~filling, 1)),
            turn.i.valid.eq(to_state & (result.valid | filling)),
            turn.i.payload.eq(result.payload.values),
            turn.o.ready.eq(1),
            live.eq(tile.live >> row),
            turn.cut.eq(~live[1:].any()),
            self.normed_write_valid.eq(moved & ~to_state),
            self.normed_write.address.eq(target + feature),
            self.normed_write.lanes.eq(tile.live),
            self.normed_write.values.eq(result.payload.values),
            self.state_write_valid.eq(turn.o.valid & live[0]),
            self.state_write.address.eq(pointers[row] + block),
            self.state_write.values.eq(turn.o.payload.values),
            self.result_valid.eq(moved),
            self.result.feature.eq(feature),
            self.result.values.eq(result.payload.values),
        ]
        m.d.comb += [
            self.progress.tile.eq(tile.tile),
            self.progress.words.eq(Mux(to_state, block * t, feature)),
            self.progress.final.eq(1),
            self.progress.last.eq(tile.last),
        ]
        with m.If(moved):
            m.d.sync += feature.eq(Mux(final, 0, feature + 1))
        entered, complete = Signal(16), Signal()  # blocks that filled; the tile's last one has
        self._given = filling | complete  # all its results have come
        full = turn.i.valid & turn.i.ready & (beat == t - 1)
        emptied = turn.o.valid & turn.o.payload.last
        with m.If(turn.i.valid & turn.i.ready):
            m.d.sync += [
                beat.eq(Mux(beat == t - 1, 0, beat + 1)),
                filling.eq((filling | final) & (beat != t - 1)),
            ]
        with m.If(turn.o.valid):
            m.d.sync += row.eq(Mux(turn.o.payload.last, 0, row + 1))
        m.d.comb += written.eq(
            Mux(to_state, emptied & complete & (block + 1 == entered), moved & final)
        )
        with m.If(written):
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
