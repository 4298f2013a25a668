# SPDX-License-Identifier: Apache-2.0
"""EXIT: entropy and decision for each selected slot; those that are sure, or at their last layer, give their result."""

from amaranth import Array, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.buffer import request_layout
from hw.decide import entropy
from hw.decide.entropy import Entropy
from hw.engine import engine_signature
from hw.rows.layouts import RowCommand, row_command_layout
from hw.shapes import ACT, index

__all__ = ["Exit"]

START = 1  # cycles from the start to the first slot
# From a slot to its first logit at the entropy unit, and from the verdict to the next slot.
READ = 4
MOVE = 2  # of a slot that only moves on


def cycles(classes):
    """Of a slot with `classes` logits that stays; without any it only moves on."""
    return READ + classes + entropy.cycles(classes) if classes else MOVE


class Exit(wiring.Component):
    """Slot after slot: logits from its lane of the [CLS] tile, through `Entropy`; it moves on a layer, or gives its result and leaves the row table.

    `cycles` for a slot, the writing of its result if it ends besides. When somebody
    ended, the row table is compacted once (`hw.rows.rows.compaction`): beside the writing if the last slot ended. Stalled: waits in the slot until its
    result is taken, and for each command of the row table.

    Members
    -------
    start, mask, instruction, slots : as `Linear`; done : pulse
    threshold : unsigned Q2.16
    scores_request, scores_words : read side of SCORES
    o_rows, rows_done : commands to the row table
    logit_valid, logit : pulse, {"slot", "index", "value"} for the slot's record
    verdict_valid, verdict : pulse, {"slot", "layer", "entropy", "exits"}: also the trace tap and the input of `Dvfs`
    o_finish : stream {"slot", "layer", "label"}: the slot's sentence ends here
    """

    def __init__(self, config):
        self.config = config
        self.entropy = Entropy(config)
        word = data.StructLayout({"values": data.ArrayLayout(ACT, config.tokens), "last": 1})
        layer = index(config.layers + 1)
        super().__init__(
            {
                **engine_signature(config).members,
                "threshold": In(18),
                "scores_request": Out(stream.Signature(request_layout())),
                "scores_words": In(stream.Signature(word)),
                "o_rows": Out(stream.Signature(row_command_layout(config))),
                "rows_done": In(1),
                "logit_valid": Out(1),
                "logit": Out(data.StructLayout({"slot": 8, "index": 8, "value": ACT})),
                "verdict_valid": Out(1),
                "verdict": Out(
                    data.StructLayout({"slot": 8, "layer": layer, "entropy": 18, "exits": 1})
                ),
                "o_finish": Out(
                    stream.Signature(data.StructLayout({"slot": 8, "layer": layer, "label": 8}))
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.entropy = entropy = self.entropy
        op = self.instruction
        pending = Signal(self.config.slots)
        release = Signal(self.config.slots)
        number = Signal(range(self.config.slots))
        layer = Signal(index(self.config.layers + 1))
        count = Signal(8)
        given, compacted = Signal(), Signal()  # COMPACT has been given; it is done
        self._connect(m, op, number, layer, count, release)
        with m.If(given & self.rows_done):
            m.d.sync += compacted.eq(1)
        with m.FSM() as fsm:
            m.d.comb += self.o_rows.payload.command.eq(
                Mux(fsm.ongoing("ADVANCE"), RowCommand.ADVANCE, RowCommand.COMPACT)
            )
            with m.State("IDLE"):
                m.d.sync += [
                    pending.eq(self.mask),
                    release.eq(0),
                    given.eq(0),
                    compacted.eq(0),
                ]
                with m.If(self.start):
                    m.next = "SLOT"
            with m.State("SLOT"):
                lowest = pending & (~pending + 1)
                m.d.sync += [
                    pending.eq(pending & ~lowest),
                    count.eq(0),
                ]
                for i in range(self.config.slots):
                    with m.If(lowest[i]):
                        m.d.sync += [
                            number.eq(i),
                            layer.eq(self.slots[i].layer),
                        ]
                with m.If(pending == 0):
                    self._end(m, release, given, compacted | given & self.rows_done)
                with m.Elif(op.groups == 0):
                    m.next = "ADVANCE"
                with m.Else():
                    m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += self.scores_request.valid.eq(1)
                with m.If(self.scores_request.ready):
                    m.next = "VERDICT"
            with m.State("VERDICT"):
                with m.If(entropy.o.valid):
                    m.d.comb += self.verdict_valid.eq(1)
                    m.d.sync += release.eq(release | Mux(self.verdict.exits, 1 << number, 0))
                    m.next = "ADVANCE"
                    with m.If(self.verdict.exits):
                        m.next = "FINISH"
            with m.State("ADVANCE"):  # it stays
                m.d.comb += self.o_rows.valid.eq(1)
                with m.If(self.o_rows.ready):
                    m.d.comb += entropy.o.ready.eq(1)
                    m.next = "SLOT"
            with m.State("FINISH"):
                m.d.comb += self.o_finish.valid.eq(1)
                with m.If(pending == 0):
                    self._compact(m, given)
                with m.If(self.o_finish.ready):
                    m.d.comb += entropy.o.ready.eq(1)
                    m.next = "SLOT"
        return m

    def _end(self, m, release, given, compacted):
        """No slot is left: done, when the row table has followed."""
        with m.If((release == 0) | compacted):
            m.d.comb += self.done.eq(1)
            m.next = "IDLE"
        with m.Else():
            self._compact(m, given)

    def _compact(self, m, given):
        """Rows of those that ended go, once."""
        m.d.comb += self.o_rows.valid.eq(~given)
        with m.If(self.o_rows.ready):
            m.d.sync += given.eq(1)

    def _connect(self, m, op, number, layer, count, release):
        """Logits from the slot's lane into the entropy unit; what is known goes out."""
        entropy = self.entropy
        lanes = self.config.tokens
        slots = range(self.config.slots)
        lane = Array(i % lanes for i in slots)[number]
        tile = Array(i // lanes for i in slots)[number]
        word = self.scores_words
        verdict = entropy.o.payload
        rows = self.o_rows.payload
        m.d.comb += [
            entropy.align.eq(op.score_align),
            entropy.threshold.eq(self.threshold),
            entropy.i.payload.value.eq(Array(word.payload.values)[lane]),
            entropy.i.payload.last.eq(word.payload.last),
            entropy.i.valid.eq(word.valid),
            word.ready.eq(entropy.i.ready),
            self.scores_request.payload.address.eq(op.source_base + tile * op.source_stride),
            self.scores_request.payload.count.eq(op.reduction),
            self.logit_valid.eq(word.valid & word.ready),
            self.logit.slot.eq(number),
            self.logit.index.eq(count),
            self.logit.value.eq(entropy.i.payload.value),
            self.verdict.slot.eq(number),
            self.verdict.layer.eq(layer),
            self.verdict.entropy.eq(verdict.entropy),
            self.verdict.exits.eq((verdict.exits & ("exit" in self.config.units)) | op.final),
            self.o_finish.payload.slot.eq(number),
            self.o_finish.payload.layer.eq(layer + 1),
            self.o_finish.payload.label.eq(verdict["class"]),
            *(rows[name].eq(0) for name in ("position", "physical", "sentence", "mask")),
            rows.slot.eq(number),
            rows.release.eq(release),
        ]
        with m.If(self.logit_valid):
            m.d.sync += count.eq(count + 1)
