# SPDX-License-Identifier: Apache-2.0
"""DROP: the contribution softmax and the drop rule for each selected slot, then one edit of the row table."""
from amaranth import Array, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.buffer import request_layout
from hw.contribution import Contribution
from hw.instruction import fields
from hw.rows import index, slot_layout
from hw.shapes import ACT, EXPONENTIAL
from hw.tiles import TileIterator
from hw.token_drop import ETA, TokenDrop

__all__ = ["Dropping"]


class Dropping(wiring.Component):
    """Slot after slot: its predictor values, row by row, through `Contribution` and `TokenDrop`; the verdicts become keep bits.

    About 5 n + 2 T cycles for a slot of n rows; the engine ends with `done` when all verdicts are written, and the row table is then to be
    compacted for the same mask. Nothing stalls it.

    Members
    -------
    start, mask, instruction, slots : as `Linear`; done : pulse
    layer : of the selected slots, indexes eta
    eta_write_valid, eta_write : {"address", "data"}
    scores_request, scores_words : read side of SCORES
    row_address, row_position : read port of the row table
    verdict_valid, verdict : pulse, one row: {"slot", "row", "position", "exponential", "keep"}
    tally_valid, tally : pulse, one slot: {"slot", "count", "kept"}
    """

    def __init__(self, config):
        self.config = config
        word = data.StructLayout({"values": data.ArrayLayout(ACT, config.tokens), "last": 1})
        super().__init__({
            "start": In(1), "mask": In(config.slots), "instruction": In(256), "done": Out(1),
            "slots": In(data.ArrayLayout(slot_layout(config), config.slots)), "layer": In(index(config.layers + 1)),
            "eta_write_valid": In(1), "eta_write": In(data.StructLayout({"address": 16, "data": ETA})),
            "scores_request": Out(stream.Signature(request_layout())), "scores_words": In(stream.Signature(word)),
            "row_address": Out(16), "row_position": In(16),
            "verdict_valid": Out(1), "verdict": Out(data.StructLayout(
                {"slot": 8, "row": 16, "position": 16, "exponential": EXPONENTIAL, "keep": 1})),
            "tally_valid": Out(1), "tally": Out(data.StructLayout({"slot": 8, "count": 16, "kept": 16})),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.contribution = contribution = Contribution(self.config)
        m.submodules.rule = rule = TokenDrop(self.config)
        m.submodules.tiles = tiles = TileIterator(self.config)
        op = fields(self.instruction)
        pending, selected = Signal(self.config.slots), Signal(self.config.slots)
        slot, number, tile = Signal(slot_layout(self.config)), Signal(8), Signal(tiles.o.payload.shape())
        lane, kept = Signal(range(self.config.tokens)), Signal(16)
        self._rule(m, op, contribution, rule, slot)
        m.d.comb += [
            tiles.slots.eq(self.slots), tiles.i.payload.eq(selected),
            contribution.i.payload.value.eq(Array(self.scores_words.payload.values)[lane]),
            self.scores_request.payload.address.eq(op.source_base + tile.tile * op.source_stride),
            self.scores_request.payload.count.eq(1),
            self.tally.slot.eq(number), self.tally.count.eq(slot.count), self.tally.kept.eq(kept),
        ]
        complete = Signal()  # the slot's last verdict has gone
        with m.If(self._verdict(m, rule, slot, number, kept)):
            m.d.sync += complete.eq(1)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += pending.eq(self.mask)
                    m.next = "SLOT"
            with m.State("SLOT"):
                lowest = pending & (~pending + 1)
                m.d.sync += [selected.eq(lowest), pending.eq(pending & ~lowest), kept.eq(0), complete.eq(0)]
                for i in range(self.config.slots):
                    with m.If(lowest[i]):
                        m.d.sync += [slot.eq(self.slots[i]), number.eq(i)]
                m.next = "TILES"
                with m.If(pending == 0):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
            with m.State("TILES"):
                m.d.comb += tiles.i.valid.eq(1)
                with m.If(tiles.i.ready):
                    m.next = "TILE"
            with m.State("TILE"):
                m.d.comb += tiles.o.ready.eq(1)
                with m.If(tiles.o.valid):
                    m.d.sync += [tile.eq(tiles.o.payload), lane.eq(0)]
                    m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += self.scores_request.valid.eq(1)
                with m.If(self.scores_request.ready):
                    m.next = "LANES"
            with m.State("LANES"):
                self._lanes(m, contribution, tile, lane)
            with m.State("VERDICTS"):
                with m.If(complete):
                    m.next = "TALLY"
            with m.State("TALLY"):
                m.d.comb += self.tally_valid.eq(1)
                m.next = "SLOT"
        return m

    def _rule(self, m, op, contribution, rule, slot):
        """The exponentials of the slot into the drop rule, with the layer's eta."""
        m.submodules.eta = eta = Memory(shape=ETA, depth=self.config.layers, init=[])
        eta_read, eta_write = eta.read_port(), eta.write_port()
        m.d.comb += [
            eta_read.addr.eq(self.layer), rule.eta.eq(eta_read.data), eta_write.en.eq(self.eta_write_valid),
            eta_write.addr.eq(Mux(self.eta_write_valid, self.eta_write.address, 0)), eta_write.data.eq(self.eta_write.data),
            contribution.count.eq(slot.count), rule.count.eq(slot.count), contribution.align.eq(op.score_align),
            rule.sum.eq(contribution.sum), rule.i.payload.exponential.eq(contribution.o.payload.exponential),
            rule.i.valid.eq(contribution.o.valid), contribution.o.ready.eq(rule.i.ready),
        ]

    def _lanes(self, m, contribution, tile, lane):
        """A word's values, lane after lane, those of other slots' rows left out."""
        live, final = tile.live.bit_select(lane, 1), lane == self.config.tokens - 1
        m.d.comb += contribution.i.valid.eq(self.scores_words.valid & live)
        with m.If(self.scores_words.valid & (contribution.i.ready | ~live)):
            m.d.sync += lane.eq(lane + 1)
            with m.If(final):
                m.d.comb += self.scores_words.ready.eq(1)
                m.next = "TILE"
                with m.If(tile.last):
                    m.next = "VERDICTS"

    def _verdict(self, m, rule, slot, number, kept):
        """Verdicts, two cycles each, the first of them to read the position of its row; returns the pulse of a slot's last one."""
        row, taken = Signal(16), self.verdict_valid
        known = Signal()   # row_position is that of `row`
        result = rule.o.payload
        m.d.sync += [row.eq(slot.start + result.index), known.eq(rule.o.valid & ~taken)]
        m.d.comb += [
            self.row_address.eq(slot.start + result.index), taken.eq(rule.o.valid & known), rule.o.ready.eq(known),
            self.verdict.slot.eq(number), self.verdict.row.eq(row), self.verdict.position.eq(self.row_position),
            self.verdict.exponential.eq(result.exponential), self.verdict.keep.eq(result.keep),
        ]
        with m.If(taken):
            m.d.sync += kept.eq(kept + result.keep)
        return taken & result.last
