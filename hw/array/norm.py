# SPDX-License-Identifier: Apache-2.0
"""NORM: residual add and LayerNorm of the selected tiles."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.isa import Source
from hw import buffer
from hw.arith.fixed import round_shift, saturate
from hw.array.layernorm import LayerNorm
from hw.array.norm_writer import (
    NormWriter,
    leaving_layout,
    normed_write_layout,
    state_write_layout,
)
from hw.buffer import request_layout, word_layout
from hw.checks import check_shape
from hw.engine import engine_signature
from hw.progress import has_written, progress_layout
from hw.rows import gather
from hw.rows.tiles import TileIterator, tile_layout
from hw.shapes import ACT, FEATURE, POINTER, TILE, WORDS, tile_mask, tile_values
from hw.stream import RegisterSlice

__all__ = ["Norm"]

START = 2  # cycles from the start to the first tile, besides those without a selected row
NEXT = 2  # from a tile's last word in, and the end of the one before, to the next tile
ASK = 1  # from the pointers to the requests
JOINED = 1  # from a word with its residual to the LayerNorm
RESIDUAL_BITS = 4  # of the residual's shift: to the right, at most 15


def first_word(config, gathered):
    """Cycles from a tile to its first word in: pointers, request, words.

    `gathered`: they come from the residual stream.
    """
    if gathered:
        return 1 + gather.cycles(config)
    return 1 + gather.pointed(config) + ASK + buffer.LATENCY


class Norm(wiring.Component):
    """y = LayerNorm(s), s = saturate(round_shift(residual, align) + sum, 16); or y = s.

    The second where the instruction only moves. Tile after tile: `features` words of SUM (with
    `skip_sum` none), and of the residual from the residual stream or NORMED, go through
    `LayerNorm`; results go to NORMED or to the residual stream, see `NormWriter`.

    A single tile takes `first_word`, 2 features cycles, `JOINED`, the latency of `LayerNorm`, and
    for the turn one for each row up to the last live one; of several each takes what it takes in
    `LayerNorm`, because a tile's words go in while the results of the one before come out. Stalled:
    waits for whichever operand is missing; the buffers always take the results.

    Parameters
    ----------
    config : HardwareConfig
    point : layout of a request to the gather, with the fields tile, read and features

    Members
    -------
    start, instruction, mask, slots, done, sent, taken : see `engine_signature`, `followed`
    reading : Out(1), it needs the gather and the buffers
    follow : In(1), SUM is still being written: a word is read when it is there
    written : In(progress_layout), how far that is
    gather_request : Out(stream of `point`), for every tile; for its words if there is a residual
    pointed : In(1), the pointers are those of the last request
    pointers : In(T x POINTER), the rows' first words in the residual stream
    gather_words : In(stream of word_layout of ACT x T)
    sum_request : Out(stream of request_layout), to SUM
    sum_words : In(stream of word_layout of ACT x T)
    sum_index : In(WORDS), see `Buffer`
    sum_hold : Out(1), see `Buffer`
    normed_request : Out(stream of request_layout), to NORMED
    normed_words : In(stream of word_layout of ACT x T)
    param_write : In(stream of parameter_layout), see `LayerNorm`
    normed_write_valid : Out(1)
    normed_write : Out(normed_write_layout)
    state_write_valid : Out(1)
    state_write : Out(state_write_layout)
    saturated : Out(range(4 T + 1)), live values that saturated, one or two cycles ago
    progress : Out(progress_layout), how far the results are
    result_valid : Out(1), trace tap
    result : Out({tile, live, feature, values}), trace tap
    """

    def __init__(self, config, point):
        check_shape("Point", point)
        self.config = config
        self.layernorm = LayerNorm(config)
        words = stream.Signature(word_layout(tile_values(config)))
        result = {
            "tile": TILE,
            "live": tile_mask(config),
            "feature": FEATURE,
            "values": tile_values(config),
        }
        super().__init__(
            {
                **engine_signature(config, followed=True).members,
                "reading": Out(1),
                "follow": In(1),
                "written": In(progress_layout()),
                "gather_request": Out(stream.Signature(point)),
                "pointed": In(1),
                "pointers": In(data.ArrayLayout(POINTER, config.tokens)),
                "gather_words": In(words),
                "sum_request": Out(stream.Signature(request_layout())),
                "sum_words": In(words),
                "sum_index": In(WORDS),
                "sum_hold": Out(1),
                "normed_request": Out(stream.Signature(request_layout())),
                "normed_words": In(words),
                "param_write": In(self.layernorm.param_write.signature.flip()),
                "normed_write_valid": Out(1),
                "normed_write": Out(normed_write_layout(config)),
                "state_write_valid": Out(1),
                "state_write": Out(state_write_layout(config)),
                "saturated": Out(range(4 * config.tokens + 1)),
                "progress": Out(progress_layout()),
                "result_valid": Out(1),
                "result": Out(data.StructLayout(result)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.layernorm = self.layernorm
        m.submodules.writer = writer = NormWriter(self.config)
        tile = Signal(tile_layout(self.config))  # whose words go in
        leaving = Signal(leaving_layout(self.config))  # whose results come out
        writing = Signal()  # there is one
        entered = self._add(m, tile)
        with m.If(writer.written):
            m.d.sync += writing.eq(0)
            m.d.comb += self.done.eq(leaving.tile.last)
        m.submodules.tiles = tiles = TileIterator(self.config)
        m.d.comb += [
            tiles.slots.eq(self.slots),
            tiles.i.payload.eq(self.mask),
        ]
        self._sequence(m, tiles, tile, leaving, writing, entered)
        self._results(m, writer, tile, leaving, writing)
        return m

    def _sequence(self, m, tiles, tile, leaving, writing, entered):
        """Tile after tile: pointers, requests, words; `entered`: the tile's last word does."""
        op = self.instruction
        asked_sum = Signal()
        asked_residual = Signal()
        base = Signal(POINTER)  # of the tile in SUM
        source = Signal(POINTER)  # of the tile in NORMED
        self._requests(m, tile, base, source)
        with m.FSM() as fsm:
            m.d.comb += self.reading.eq(~fsm.ongoing("IDLE") & ~fsm.ongoing("SENT"))
            # Until an operation starts; its mask goes to the tile iterator.
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.comb += tiles.i.valid.eq(1)
                    m.next = "TILE"
            # The next tile, and where its words are.
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
            # The gather is asked for pointers: results to STATE need them without a residual too.
            with m.State("POINT"):
                m.d.comb += self.gather_request.valid.eq(1)
                with m.If(self.gather_request.ready):
                    m.next = "POINTED"
            # Until the pointers are there.
            with m.State("POINTED"):
                with m.If(self.pointed):
                    m.next = "ASK"
            # The buffers are asked for words.
            with m.State("ASK"):
                with m.If(self._ask(m, asked_sum, asked_residual)):
                    m.next = "READ"
            # Words go into the LayerNorm.
            with m.State("READ"):
                with m.If(entered):
                    m.next = "LEAVE"
            # Until the results of the tile before are written; then this tile's place is kept for
            # its own, because the next tile changes the pointers.
            with m.State("LEAVE"):
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
            # The last tile's words are in: the next operation may begin.
            with m.State("SENT"):
                m.d.comb += self.sent.eq(1)
                with m.If(self.taken):
                    m.next = "IDLE"

    def _requests(self, m, tile, base, source):
        """What is asked of the gather and of the buffers, and when SUM has to wait."""
        op = self.instruction
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

    def _ask(self, m, asked_sum, asked_residual):
        """Requests what is not `asked` yet; returns whether that was all."""
        op = self.instruction
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

    def _add(self, m, tile):
        """Sum and residual, as far as they are wanted, word by word into the LayerNorm.

        Returns whether the tile's last word enters.
        """
        op = self.instruction
        norm = self.layernorm
        words = Signal(self.sum_words.payload.shape())  # the residual's
        valid = Signal()  # the residual is there, or not wanted
        summed = Signal()  # the sum is there, or not wanted
        both = Signal()  # and are taken
        pairs = self._total(m)
        normed = op.source == Source.NORMED
        m.d.comb += [
            words.eq(Mux(normed, self.normed_words.payload, self.gather_words.payload)),
            valid.eq(~op.residual | Mux(normed, self.normed_words.valid, self.gather_words.valid)),
            summed.eq(op.skip_sum | self.sum_words.valid),
            both.eq(valid & summed & pairs.ready),
            pairs.valid.eq(valid & summed),
            self.sum_words.ready.eq(both & ~op.skip_sum),
            self.normed_words.ready.eq(both & op.residual & normed),
            self.gather_words.ready.eq(both & op.residual & ~normed),
            pairs.payload.live.eq(tile.live),
            norm.length.eq(op.reduction),
            norm.set.eq(op.norm_set),
            norm.bypass.eq(~op.normalize),
            norm.shift.eq(op.shift),
        ]
        # SUM's scale is the coarser one, so it is the residual that is shifted, to the right.
        for lane in range(self.config.tokens):
            aligned = round_shift(m, words.values[lane], op.align[:RESIDUAL_BITS])
            addend = Mux(op.skip_sum, Const(0, ACT), self.sum_words.payload.values[lane])
            m.d.comb += [
                pairs.payload.residuals[lane].eq(Mux(op.residual, aligned, Const(0, ACT))),
                pairs.payload.addends[lane].eq(addend),
            ]
        wiring.connect(m, norm.param_write, wiring.flipped(self.param_write))
        return both & Mux(op.skip_sum, words.last, self.sum_words.payload.last)

    def _total(self, m):
        """The stream of residuals and addends whose sums go into the LayerNorm."""
        # The words are added as they come, on the way into the LayerNorm: no buffer holds the sums.
        # A register stands between the shifter and the adder.
        norm = self.layernorm
        lanes = range(self.config.tokens)
        pair = {
            "residuals": data.ArrayLayout(signed(ACT.width + 1), self.config.tokens),
            "addends": tile_values(self.config),
            "live": tile_mask(self.config),
        }
        m.submodules.joined = joined = RegisterSlice(data.StructLayout(pair))
        pair = joined.o.payload
        m.d.comb += [
            norm.i.valid.eq(joined.o.valid),
            norm.i.payload.live.eq(pair.live),
            joined.o.ready.eq(norm.i.ready),
        ]
        totals = [
            saturate(m, pair.residuals[lane] + pair.addends[lane], ACT.width) for lane in lanes
        ]
        m.d.comb += [norm.i.payload["values"][lane].eq(totals[lane][0]) for lane in lanes]
        # Two registers: what is clamped is known late in the cycle.
        clipped = Signal(self.config.tokens)
        moved = joined.o.valid & joined.o.ready
        m.d.sync += [
            clipped.eq(Cat(totals[lane][1] & pair.live[lane] & moved for lane in lanes)),
            self.saturated.eq(sum(clipped) + norm.saturated),
        ]
        return joined.i

    def _results(self, m, writer, tile, leaving, writing):
        """Results to the writer, and what it says to the ports."""
        result = self.layernorm.o
        m.d.comb += [
            writer.instruction.eq(self.instruction),
            writer.leaving.eq(leaving),
            writer.i.valid.eq(result.valid),
            writer.i.payload.values.eq(result.payload.values),
            result.ready.eq(writer.i.ready),
            self.normed_write_valid.eq(writer.normed_write_valid),
            self.normed_write.eq(writer.normed_write),
            self.state_write_valid.eq(writer.state_write_valid),
            self.state_write.eq(writer.state_write),
            self.progress.eq(writer.progress),
            self.result_valid.eq(writer.moved),
            self.result.feature.eq(writer.feature),
            self.result.values.eq(result.payload.values),
        ]
        # A tile of less than a block of features: its results come while those of the tile before
        # are in the turn. What comes when that one has had all its own is the next tile's.
        behind = ~writing | writer.given
        m.d.comb += [
            self.result[name].eq(Mux(behind, tile[name], leaving.tile[name]))
            for name in ("tile", "live")
        ]
