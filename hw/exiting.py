# SPDX-License-Identifier: Apache-2.0
"""EXIT: entropy and decision for each selected slot; those that are sure, or at their last layer, give their result."""
from amaranth import Array, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.buffer import request_layout
from hw.entropy import Entropy
from hw.instruction import fields
from hw.rows import Command, command_layout, index, slot_layout
from hw.shapes import ACT

__all__ = ["Exiting"]


class Exiting(wiring.Component):
    """Slot after slot: logits from its lane of the [CLS] tile, through `Entropy`; then one edit of the row table.

    About 2 classes + 60 cycles for a slot, and the time its result takes to be written. Stalled: waits in the slot until its result is taken, and
    for each command of the row table. An instruction with `groups` = 0 decides nothing: its slots only move on one layer.

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
        super().__init__({
            "start": In(1), "mask": In(config.slots), "instruction": In(256), "done": Out(1),
            "slots": In(data.ArrayLayout(slot_layout(config), config.slots)), "threshold": In(18),
            "scores_request": Out(stream.Signature(request_layout())), "scores_words": In(stream.Signature(word)),
            "o_rows": Out(stream.Signature(command_layout(config))), "rows_done": In(1),
            "logit_valid": Out(1), "logit": Out(data.StructLayout({"slot": 8, "index": 8, "value": ACT})),
            "verdict_valid": Out(1),
            "verdict": Out(data.StructLayout({"slot": 8, "layer": layer, "entropy": 18, "exits": 1})),
            "o_finish": Out(stream.Signature(data.StructLayout({"slot": 8, "layer": layer, "label": 8}))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.entropy = entropy = self.entropy
        op = fields(self.instruction)
        slots = range(self.config.slots)
        pending, release = Signal(self.config.slots), Signal(self.config.slots)
        number, layer, count = Signal(range(self.config.slots)), Signal(index(self.config.layers + 1)), Signal(8)
        self._connect(m, op, number, layer, count)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [pending.eq(self.mask), release.eq(0)]
                    m.next = "SLOT"
                    with m.If(op.groups == 0):
                        m.next = "COMPACT"
            with m.State("SLOT"):
                lowest = pending & (~pending + 1)
                m.d.sync += [pending.eq(pending & ~lowest), count.eq(0)]
                for i in slots:
                    with m.If(lowest[i]):
                        m.d.sync += [number.eq(i), layer.eq(self.slots[i].layer)]
                m.next = "REQUEST"
                with m.If(pending == 0):
                    m.next = "COMPACT"
            with m.State("REQUEST"):
                m.d.comb += self.scores_request.valid.eq(1)
                with m.If(self.scores_request.ready):
                    m.next = "VERDICT"
            with m.State("VERDICT"):
                with m.If(entropy.o.valid):
                    m.d.comb += self.verdict_valid.eq(1)
                    m.next = "FINISH"
            with m.State("FINISH"):
                m.d.comb += self.o_finish.valid.eq(self.verdict.exits)
                with m.If(self.o_finish.ready | ~self.verdict.exits):
                    m.d.comb += entropy.o.ready.eq(1)
                    m.d.sync += release.eq(release | Mux(self.verdict.exits, 1 << number, 0))
                    m.next = "SLOT"
            self._edit(m, Command.COMPACT, "release", release, "ADVANCE")
            self._edit(m, Command.ADVANCE, "mask", self.mask & ~release, "DONE")
            with m.State("DONE"):
                m.d.comb += self.done.eq(1)
                m.next = "IDLE"
        return m

    def _edit(self, m, command, field, slots, following):
        """The state that gives a command to the row table, and the one that waits for its end."""
        with m.State(command.name):
            m.d.comb += [self.o_rows.valid.eq(1), self.o_rows.payload.command.eq(command), self.o_rows.payload[field].eq(slots)]
            with m.If(self.o_rows.ready):
                m.next = f"{command.name}_WAIT"
        with m.State(f"{command.name}_WAIT"):
            with m.If(self.rows_done):
                m.next = following

    def _connect(self, m, op, number, layer, count):
        """Logits from the slot's lane into the entropy unit; what is known goes out."""
        entropy, lanes, slots = self.entropy, self.config.tokens, range(self.config.slots)
        lane, tile = Array(i % lanes for i in slots)[number], Array(i // lanes for i in slots)[number]
        word, verdict = self.scores_words, entropy.o.payload
        m.d.comb += [
            entropy.align.eq(op.score_align), entropy.threshold.eq(self.threshold),
            entropy.i.payload.value.eq(Array(word.payload.values)[lane]), entropy.i.payload.last.eq(word.payload.last),
            entropy.i.valid.eq(word.valid), word.ready.eq(entropy.i.ready),
            self.scores_request.payload.address.eq(op.source_base + tile * op.source_stride),
            self.scores_request.payload.count.eq(op.reduction),
            self.logit_valid.eq(word.valid & word.ready), self.logit.slot.eq(number), self.logit.index.eq(count),
            self.logit.value.eq(entropy.i.payload.value),
            self.verdict.slot.eq(number), self.verdict.layer.eq(layer), self.verdict.entropy.eq(verdict.entropy),
            self.verdict.exits.eq((verdict.exits & ("exit" in self.config.units)) | op.final),
            self.o_finish.payload.slot.eq(number), self.o_finish.payload.layer.eq(layer + 1),
            self.o_finish.payload.label.eq(verdict["class"]),
        ]
        with m.If(self.logit_valid):
            m.d.sync += count.eq(count + 1)
