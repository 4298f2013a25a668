# SPDX-License-Identifier: Apache-2.0
"""DROP: which tokens of the selected slots stay (golden_model/token_drop.py)."""

from functools import reduce
from operator import or_

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.buffer import request_layout, word_layout
from hw.decide.contribution import Contribution
from hw.decide.token_drop import TokenDrop
from hw.engine import engine_signature
from hw.rows.layouts import RowCommand, row_command_layout
from hw.rows.rows import compaction
from hw.rows.slot_walk import SlotWalk
from hw.rows.tiles import TileIterator
from hw.shapes import (
    ETA,
    EXPONENTIAL,
    LENGTH,
    PARAMETER,
    ROW,
    SLOT,
    index,
    tile_mask,
    tile_values,
)
from hw.stream import RegisterSlice

__all__ = ["Drop"]

START = 1  # cycles from the start to the first slot
PER_ROW = 3  # its value, its numerator, its verdict
PER_WORD = 3  # of values, besides: its request, the buffer, the register behind it
PER_SLOT = 18  # besides
FOLLOW = 1  # from the verdict on a row to its keep bit in the row table


def cycles(config, slots, total):
    """From the start to the end, for the (first row, rows) of each selected slot.

    `total` rows are live. The row table is compacted in step with the last slot's verdicts.
    """
    ends = START
    for first, count in slots:
        before, last = first // config.tokens, (first + count - 1) // config.tokens
        ends += before + PER_WORD * (last - before + 1) + PER_ROW * count + PER_SLOT
    return ends - count + FOLLOW + compaction(total) if slots else START


class Drop(wiring.Component):
    """For each selected slot: the softmax of its predictor values and the drop rule, row by row.

    The verdicts become keep bits, and the row table is compacted once for all slots.

    Latency `cycles`: the values, the numerators and the verdicts of a slot take a cycle for each
    row, a tile before its first one costs one more. Stalled: by the command to the row table, and
    by the buffer of the values.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    start, instruction, mask, slots, done : as `engine_signature`
    layer : In(index(layers + 1)), of the selected slots, from 0
    eta_write_valid : In(1), pulse
    eta_write : In({address: PARAMETER, data: ETA}), eta of the layer `address`
    scores_request : Out(stream of request_layout), words of SCORES
    scores_words : In(stream of word_layout of T x ACT)
    o_rows : Out(stream of row_command_layout); the row table tells which tokens go
    rows_done : In(1), pulse: the row table has obeyed
    verdict_valid : Out(1), pulse, one row
    verdict : Out({slot: SLOT, row: ROW, exponential: EXPONENTIAL, keep})
    tally_valid : Out(1), pulse, one slot, behind its verdicts
    tally : Out({slot: SLOT, count: LENGTH, kept: LENGTH}), its rows before and after
    """

    def __init__(self, config):
        self.config = config
        words = word_layout(tile_values(config))
        verdict = {"slot": SLOT, "row": ROW, "exponential": EXPONENTIAL, "keep": 1}
        tally = {"slot": SLOT, "count": LENGTH, "kept": LENGTH}
        super().__init__(
            {
                **engine_signature(config).members,
                "layer": In(index(config.layers + 1)),
                "eta_write_valid": In(1),
                "eta_write": In(data.StructLayout({"address": PARAMETER, "data": ETA})),
                "scores_request": Out(stream.Signature(request_layout())),
                "scores_words": In(stream.Signature(words)),
                "o_rows": Out(stream.Signature(row_command_layout(config))),
                "rows_done": In(1),
                "verdict_valid": Out(1),
                "verdict": Out(data.StructLayout(verdict)),
                "tally_valid": Out(1),
                "tally": Out(data.StructLayout(tally)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.contribution = contribution = Contribution(self.config)
        m.submodules.rule = rule = TokenDrop(self.config)
        m.submodules.tiles = tiles = TileIterator(self.config)
        m.submodules.walk = walk = SlotWalk(self.config)
        kept = Signal(LENGTH)
        self._rule(m, contribution, rule, walk.held.count)
        judged = self._verdict(m, rule, walk.held, kept)
        m.d.comb += [
            walk.start.eq(self.start),
            walk.mask.eq(self.mask),
            walk.slots.eq(self.slots),
            tiles.slots.eq(self.slots),
            tiles.i.payload.eq(walk.held.selected),
            self.tally.slot.eq(walk.held.number),
            self.tally.count.eq(walk.held.count),
            self.tally.kept.eq(kept),
        ]
        with m.FSM():
            # Nothing to do.
            with m.State("IDLE"):
                with m.If(self.start):
                    m.next = "SLOT"
            # The next selected slot; behind the last one the operation is done.
            with m.State("SLOT"):
                m.d.comb += walk.o.ready.eq(1)
                m.d.sync += kept.eq(0)
                m.next = "TILES"
                with m.If(~walk.o.valid):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
            # The iterator is asked for the slot's tiles.
            with m.State("TILES"):
                m.d.comb += tiles.i.valid.eq(1)
                with m.If(tiles.i.ready):
                    m.next = "TILE"
            self._values(m, tiles.o, contribution)
            # The slot's rows are judged; the last slot also waits for the row table.
            with m.State("VERDICTS"):
                with m.If(judged):
                    m.next = "TALLY"
                    with m.If(walk.held.last):
                        m.next = "COMPACTED"
            # The row table drops what has no keep bit.
            with m.State("COMPACTED"):
                with m.If(self.rows_done):
                    m.next = "TALLY"
            # How many of the slot's rows stay.
            with m.State("TALLY"):
                m.d.comb += self.tally_valid.eq(1)
                m.next = "SLOT"
        return m

    def _rule(self, m, contribution, rule, count):
        """The exponentials of the slot's `count` rows into the drop rule, with the layer's eta."""
        m.submodules.eta = eta = Memory(shape=ETA, depth=self.config.layers, init=[])
        eta_read = eta.read_port()
        eta_write = eta.write_port()
        m.d.comb += [
            eta_read.addr.eq(self.layer),
            rule.eta.eq(eta_read.data),
            eta_write.en.eq(self.eta_write_valid),
            # An address that nobody drives would spoil the memory of a simulator with four states.
            eta_write.addr.eq(Mux(self.eta_write_valid, self.eta_write.address, 0)),
            eta_write.data.eq(self.eta_write.data),
            contribution.count.eq(count),
            rule.count.eq(count),
            contribution.align.eq(self.instruction.score_align),
            rule.sum.eq(contribution.sum),
            rule.i.payload.exponential.eq(contribution.o.payload.exponential),
            rule.i.valid.eq(contribution.o.valid),
            contribution.o.ready.eq(rule.i.ready),
        ]

    def _values(self, m, tiles, contribution):
        """Three states: a word of values for each of the slot's tiles, and its live lanes.

        A word has one value of T rows, so its live lanes go into `contribution` one after another.
        """
        op = self.instruction
        live = Signal(tile_mask(self.config))  # lanes of the word still to come
        last = Signal()  # it is the slot's last word
        values = Signal(self.scores_words.payload["values"].shape(), reset_less=True)
        # What is chosen by so many lanes has a register before it is compared.
        m.submodules.chosen = chosen = RegisterSlice(contribution.i.payload.shape())
        wiring.connect(m, chosen.o, contribution.i)
        m.d.comb += [
            self.scores_request.payload.address.eq(
                op.source_base + tiles.payload.tile * op.source_stride
            ),
            self.scores_request.payload.count.eq(1),
        ]
        # The next tile's word is asked for.
        with m.State("TILE"):
            m.d.comb += [
                self.scores_request.valid.eq(tiles.valid),
                tiles.ready.eq(self.scores_request.ready),
            ]
            m.d.sync += [
                live.eq(tiles.payload.live),
                last.eq(tiles.payload.last),
            ]
            with m.If(tiles.valid & tiles.ready):
                m.next = "WORD"
        # It comes.
        with m.State("WORD"):
            m.d.comb += self.scores_words.ready.eq(1)
            m.d.sync += values.eq(self.scores_words.payload["values"])
            with m.If(self.scores_words.valid):
                m.next = "LANES"
        # Its live lanes, one a cycle.
        with m.State("LANES"):
            with m.If(self._lanes(m, chosen, values, live)):
                m.next = "TILE"
                with m.If(last):
                    m.next = "VERDICTS"

    def _lanes(self, m, chosen, values, live):
        """The value of the lowest live lane of a word; returns whether the last one is taken."""
        lowest = live & (~live + 1)
        # One bit of `lowest` is set, so an or of what it lets through needs no priority encoder.
        value = reduce(
            or_,
            (Mux(lowest[lane], value.as_unsigned(), 0) for lane, value in enumerate(values)),
        )
        m.d.comb += [
            chosen.i.payload.value.eq(value),
            chosen.i.valid.eq(1),
        ]
        with m.If(chosen.i.ready):
            m.d.sync += live.eq(live & ~lowest)
        return chosen.i.ready & (live == lowest)

    def _verdict(self, m, rule, held, kept):
        """Verdicts on the rows of the slot in `held`, one a cycle, counted in `kept`.

        Returns the pulse of the slot's last one.
        """
        result = rule.o.payload
        first = Signal()
        last = Signal()
        waiting = Signal()
        command = self.o_rows
        m.d.sync += [
            self.verdict_valid.eq(rule.o.valid),
            first.eq(result.index == 0),
            last.eq(result.last),
            self.verdict.row.eq(held.start + result.index),
            self.verdict.exponential.eq(result.exponential),
            self.verdict.keep.eq(result.keep),
            waiting.eq(command.valid & ~command.ready),
        ]
        # The compaction begins with the last slot's first verdict and not behind its last one: it
        # reads a row's keep bit after that is written, because it meets the rows in this order and
        # takes a cycle for each, as the verdicts do.
        m.d.comb += [
            rule.o.ready.eq(1),
            self.verdict.slot.eq(held.number),
            command.payload.as_value().eq(0),
            command.valid.eq(waiting | self.verdict_valid & first & held.last),
            command.payload.command.eq(RowCommand.COMPACT),
            command.payload.mask.eq(self.mask),
        ]
        with m.If(self.verdict_valid):
            m.d.sync += kept.eq(kept + self.verdict.keep)
        return self.verdict_valid & last
