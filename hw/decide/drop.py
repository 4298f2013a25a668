# SPDX-License-Identifier: Apache-2.0
"""DROP: the contribution softmax and the drop rule for each selected slot, and one edit of the row table."""

from functools import reduce
from operator import or_

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.buffer import request_layout
from hw.decide.contribution import Contribution
from hw.decide.token_drop import ETA, TokenDrop
from hw.engine import engine_signature
from hw.rows.layouts import RowCommand, row_command_layout, slot_layout
from hw.rows.rows import compaction
from hw.rows.tiles import TileIterator
from hw.shapes import ACT, EXPONENTIAL, index

__all__ = ["Drop"]

START = 1  # cycles from the start to the first slot
ROW = 3  # of a row: its value, its numerator, its verdict
WORD = 2  # of a word of values, besides: its request, and the buffer
SLOT = 17  # of a slot, besides
FOLLOW = 1  # from the verdict on a row to its keep bit in the row table


def cycles(config, slots, total):
    """From the start to the end, for the (first row, rows) of each selected slot, `total` rows live.

    The row table is compacted in step with the last slot's verdicts.
    """
    ends = START
    for first, count in slots:
        before, last = first // config.tokens, (first + count - 1) // config.tokens
        ends += before + WORD * (last - before + 1) + ROW * count + SLOT
    return ends - count + FOLLOW + compaction(total) if slots else START


class Drop(wiring.Component):
    """Slot after slot: its predictor values, row by row, through `Contribution` and `TokenDrop`; the verdicts become keep bits.

    Takes `cycles`: the values, the numerators and the verdicts of a slot take one for each row.
    The row table is compacted for the same mask from the last slot's first verdict on, in step with them: it reads a row's keep bit after that is
    written. So it ends `FOLLOW` cycles and the time of the other slots' rows later for it. Stalled by the command to the row table, not by anything else.

    Members
    -------
    start, mask, instruction, slots : as `Linear`; done : pulse
    layer : of the selected slots, indexes eta
    eta_write_valid, eta_write : {"address", "data"}
    scores_request, scores_words : read side of SCORES
    o_rows, rows_done : commands to the row table, which tells the positions of the rows that go
    verdict_valid, verdict : pulse, one row: {"slot", "row", "exponential", "keep"}
    tally_valid, tally : pulse, one slot: {"slot", "count", "kept"}
    """

    def __init__(self, config):
        self.config = config
        word = data.StructLayout({"values": data.ArrayLayout(ACT, config.tokens), "last": 1})
        super().__init__(
            {
                **engine_signature(config).members,
                "layer": In(index(config.layers + 1)),
                "eta_write_valid": In(1),
                "eta_write": In(data.StructLayout({"address": 16, "data": ETA})),
                "scores_request": Out(stream.Signature(request_layout())),
                "scores_words": In(stream.Signature(word)),
                "o_rows": Out(stream.Signature(row_command_layout(config))),
                "rows_done": In(1),
                "verdict_valid": Out(1),
                "verdict": Out(
                    data.StructLayout({"slot": 8, "row": 16, "exponential": EXPONENTIAL, "keep": 1})
                ),
                "tally_valid": Out(1),
                "tally": Out(data.StructLayout({"slot": 8, "count": 16, "kept": 16})),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.contribution = contribution = Contribution(self.config)
        m.submodules.rule = rule = TokenDrop(self.config)
        m.submodules.tiles = tiles = TileIterator(self.config)
        op = self.instruction
        pending = Signal(self.config.slots)
        selected = Signal(self.config.slots)
        slot = Signal(slot_layout(self.config))
        number = Signal(8)
        kept = Signal(16)
        live, last = (
            Signal(self.config.tokens),
            Signal(),
        )  # lanes of the word still to come; it is the slot's last word
        self._rule(m, op, contribution, rule, slot)
        m.d.comb += [
            tiles.slots.eq(self.slots),
            tiles.i.payload.eq(selected),
            self.scores_request.payload.address.eq(
                op.source_base + tiles.o.payload.tile * op.source_stride
            ),
            self.scores_request.payload.count.eq(1),
            self.tally.slot.eq(number),
            self.tally.count.eq(slot.count),
            self.tally.kept.eq(kept),
        ]
        judged = self._verdict(m, rule, slot, number, kept, pending == 0)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += pending.eq(self.mask)
                    m.next = "SLOT"
            with m.State("SLOT"):
                lowest = pending & (~pending + 1)
                m.d.sync += [
                    selected.eq(lowest),
                    pending.eq(pending & ~lowest),
                    kept.eq(0),
                ]
                for i in range(self.config.slots):
                    with m.If(lowest[i]):
                        m.d.sync += [
                            slot.eq(self.slots[i]),
                            number.eq(i),
                        ]
                m.next = "TILES"
                with m.If(pending == 0):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
            with m.State("TILES"):
                m.d.comb += tiles.i.valid.eq(1)
                with m.If(tiles.i.ready):
                    m.next = "TILE"
            with m.State("TILE"):
                m.d.comb += [
                    self.scores_request.valid.eq(tiles.o.valid),
                    tiles.o.ready.eq(self.scores_request.ready),
                ]
                m.d.sync += [
                    live.eq(tiles.o.payload.live),
                    last.eq(tiles.o.payload.last),
                ]
                with m.If(tiles.o.valid & tiles.o.ready):
                    m.next = "LANES"
            with m.State("LANES"):
                self._lanes(m, contribution, live, last)
            with m.State("VERDICTS"):
                with m.If(judged):
                    m.next = "TALLY"
                    with m.If(pending == 0):
                        m.next = "COMPACTED"
            with m.State("COMPACTED"):
                with m.If(self.rows_done):
                    m.next = "TALLY"
            with m.State("TALLY"):
                m.d.comb += self.tally_valid.eq(1)
                m.next = "SLOT"
        return m

    def _rule(self, m, op, contribution, rule, slot):
        """The exponentials of the slot into the drop rule, with the layer's eta."""
        m.submodules.eta = eta = Memory(shape=ETA, depth=self.config.layers, init=[])
        eta_read = eta.read_port()
        eta_write = eta.write_port()
        m.d.comb += [
            eta_read.addr.eq(self.layer),
            rule.eta.eq(eta_read.data),
            eta_write.en.eq(self.eta_write_valid),
            eta_write.addr.eq(Mux(self.eta_write_valid, self.eta_write.address, 0)),
            eta_write.data.eq(self.eta_write.data),
            contribution.count.eq(slot.count),
            rule.count.eq(slot.count),
            contribution.align.eq(op.score_align),
            rule.sum.eq(contribution.sum),
            rule.i.payload.exponential.eq(contribution.o.payload.exponential),
            rule.i.valid.eq(contribution.o.valid),
            contribution.o.ready.eq(rule.i.ready),
        ]

    def _lanes(self, m, contribution, live, last):
        """A word's values, one live lane after the other."""
        lowest = live & (~live + 1)
        words = self.scores_words
        value = reduce(
            or_,
            (
                Mux(lowest[lane], value.as_unsigned(), 0)
                for lane, value in enumerate(words.payload.values)
            ),
        )
        m.d.comb += [
            contribution.i.payload.value.eq(value),
            contribution.i.valid.eq(words.valid),
        ]
        with m.If(words.valid & contribution.i.ready):
            m.d.sync += live.eq(live & ~lowest)
            with m.If(live == lowest):
                m.d.comb += words.ready.eq(1)
                m.next = "TILE"
                with m.If(last):
                    m.next = "VERDICTS"

    def _verdict(self, m, rule, slot, number, kept, final):
        """Verdicts, one a cycle; with the first one of the `final` slot the row table is asked to follow. Returns the pulse of a slot's last one."""
        result = rule.o.payload
        first = Signal()
        last = Signal()
        waiting = Signal()
        command = self.o_rows
        m.d.sync += [
            self.verdict_valid.eq(rule.o.valid),
            first.eq(result.index == 0),
            last.eq(result.last),
            self.verdict.row.eq(slot.start + result.index),
            self.verdict.exponential.eq(result.exponential),
            self.verdict.keep.eq(result.keep),
            waiting.eq(command.valid & ~command.ready),
        ]
        m.d.comb += [
            rule.o.ready.eq(1),
            self.verdict.slot.eq(number),
            command.payload.as_value().eq(0),
            command.valid.eq(waiting | self.verdict_valid & first & final),
            command.payload.command.eq(RowCommand.COMPACT),
            command.payload.mask.eq(self.mask),
        ]
        with m.If(self.verdict_valid):
            m.d.sync += kept.eq(kept + self.verdict.keep)
        return self.verdict_valid & last
