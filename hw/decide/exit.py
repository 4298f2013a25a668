# SPDX-License-Identifier: Apache-2.0
"""EXIT: which sentences of the selected slots end after this layer (golden_model/exit.py)."""

from amaranth import Array, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.buffer import request_layout, word_layout
from hw.decide import entropy
from hw.decide.entropy import Entropy
from hw.engine import engine_signature
from hw.rows.layouts import RowCommand, row_command_layout
from hw.rows.slot_walk import SlotWalk
from hw.shapes import ACT, CLASS, SLOT, THRESHOLD, index, slot_mask, tile_values

__all__ = ["Exit"]

START = 1  # cycles from the start to the first slot
# From a slot to its first logit at the entropy unit, and from the verdict to the next slot.
READ = 4
MOVE = 2  # of a slot that only moves on


def cycles(classes):
    """Of a slot with `classes` logits that stays; without any it only moves on."""
    return READ + classes + entropy.cycles(classes) if classes else MOVE


class Exit(wiring.Component):
    """For each selected slot: entropy and class of its logits, and whether its sentence ends here.

    A slot's logits are in its lane of the tiles of [CLS] rows. It moves on a layer, or gives its
    result and leaves the row table, which is compacted once for all that ended.

    Latency `cycles` for a slot, and the writing of its result where it ends. The compaction (see
    `Rows`) runs beside the writing if the last slot ended, else behind it. Stalled: waits in the
    slot until its result is taken, and for each command of the row table.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    start, instruction, mask, slots, done : as `engine_signature`; with `groups` = 0 the slots only
        move on, with `final` they end whatever the entropy is
    threshold : In(THRESHOLD), the entropy below which a sentence ends
    scores_request : Out(stream of request_layout), words of SCORES
    scores_words : In(stream of word_layout of T x ACT)
    o_rows : Out(stream of row_command_layout)
    rows_done : In(1), pulse: the row table has obeyed
    logit_valid : Out(1), pulse
    logit : Out({slot: SLOT, index: CLASS, value: ACT}), for the slot's record, a cycle late
    verdict_valid : Out(1), pulse
    verdict : Out({slot: SLOT, layer, entropy: THRESHOLD, exits}), a cycle late; `layer` from 0
    o_finish : Out(stream of {slot: SLOT, layer, label: CLASS}): the slot's sentence ends here;
        `layer` from 1, of its last one
    """

    def __init__(self, config):
        self.config = config
        self.entropy = Entropy(config)
        self._decided = Signal()  # the verdict on a slot is there
        self._exits = Signal()  # its sentence ends
        words = word_layout(tile_values(config))
        layer = index(config.layers + 1)
        logit = {"slot": SLOT, "index": CLASS, "value": ACT}
        verdict = {"slot": SLOT, "layer": layer, "entropy": THRESHOLD, "exits": 1}
        finish = data.StructLayout({"slot": SLOT, "layer": layer, "label": CLASS})
        super().__init__(
            {
                **engine_signature(config).members,
                "threshold": In(THRESHOLD),
                "scores_request": Out(stream.Signature(request_layout())),
                "scores_words": In(stream.Signature(words)),
                "o_rows": Out(stream.Signature(row_command_layout(config))),
                "rows_done": In(1),
                "logit_valid": Out(1),
                "logit": Out(data.StructLayout(logit)),
                "verdict_valid": Out(1),
                "verdict": Out(data.StructLayout(verdict)),
                "o_finish": Out(stream.Signature(finish)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.entropy = entropy = self.entropy
        m.submodules.walk = walk = SlotWalk(self.config)
        release = Signal(slot_mask(self.config))  # slots that ended
        given = Signal()  # COMPACT has been given
        compacted = Signal()  # it is done
        ending = Signal()  # any has
        self._read(m, walk.held.number)
        self._tell(m, walk.held, release)
        m.d.comb += [
            walk.start.eq(self.start),
            walk.mask.eq(self.mask),
            walk.slots.eq(self.slots),
        ]
        with m.If(given & self.rows_done):
            m.d.sync += compacted.eq(1)
        with m.FSM() as fsm:
            m.d.comb += self.o_rows.payload.command.eq(
                Mux(fsm.ongoing("ADVANCE"), RowCommand.ADVANCE, RowCommand.COMPACT)
            )
            # Nothing to do.
            with m.State("IDLE"):
                m.d.sync += [
                    release.eq(0),
                    ending.eq(0),
                    given.eq(0),
                    compacted.eq(0),
                ]
                with m.If(self.start):
                    m.next = "SLOT"
            # The next selected slot; behind the last one the row table follows.
            with m.State("SLOT"):
                m.d.comb += walk.o.ready.eq(1)
                with m.If(~walk.o.valid):
                    self._end(m, ending, given, compacted | given & self.rows_done)
                with m.Elif(self.instruction.groups == 0):
                    m.next = "ADVANCE"
                with m.Else():
                    m.next = "REQUEST"
            self._decide(m, walk.held, release, ending)
            # The sentence stays, and moves on a layer.
            with m.State("ADVANCE"):
                m.d.comb += self.o_rows.valid.eq(1)
                with m.If(self.o_rows.ready):
                    m.d.comb += entropy.o.ready.eq(1)
                    m.next = "SLOT"
            # The sentence ends, and its result is taken.
            with m.State("FINISH"):
                m.d.comb += self.o_finish.valid.eq(1)
                # Behind the last slot nobody is added to `release`: the row table need not wait
                # until the result is written.
                with m.If(walk.held.last):
                    self._compact(m, given)
                with m.If(self.o_finish.ready):
                    m.d.comb += entropy.o.ready.eq(1)
                    m.next = "SLOT"
        return m

    def _decide(self, m, held, release, ending):
        """Two states: the verdict on the slot in `held`; those that end are added to `release`."""
        # Its logits are asked for.
        with m.State("REQUEST"):
            m.d.comb += self.scores_request.valid.eq(1)
            with m.If(self.scores_request.ready):
                m.next = "VERDICT"
        # They are in the entropy unit, whose result is awaited.
        with m.State("VERDICT"):
            m.d.comb += self._decided.eq(self.entropy.o.valid)
            with m.If(self._decided):
                m.next = "ADVANCE"
                with m.If(self._exits):
                    m.d.sync += [
                        release.eq(release | held.selected),
                        ending.eq(1),
                    ]
                    m.next = "FINISH"

    def _end(self, m, ending, given, compacted):
        """No slot is left: done, when the row table has followed."""
        # Where nobody ended the table stays as it is, and nothing is paid for it.
        with m.If(ending):
            self._compact(m, given)
        with m.If(~ending | compacted):
            m.d.comb += self.done.eq(1)
            m.next = "IDLE"

    def _compact(self, m, given):
        """Rows of those that ended go, once."""
        m.d.comb += self.o_rows.valid.eq(~given)
        with m.If(self.o_rows.ready):
            m.d.sync += given.eq(1)

    def _read(self, m, number):
        """The logits of slot `number` from its lane into the entropy unit, and to its record."""
        entropy = self.entropy
        op = self.instruction
        lanes = self.config.tokens
        slots = range(self.config.slots)
        # Tables instead of a division: T need not be a power of two.
        lane = Array(i % lanes for i in slots)[number]
        tile = Array(i // lanes for i in slots)[number]
        word = self.scores_words
        count = Signal(CLASS)
        came = Signal()
        m.d.comb += [
            entropy.align.eq(op.score_align),
            entropy.threshold.eq(self.threshold),
            entropy.i.payload.value.eq(Array(word.payload.values)[lane]),
            entropy.i.payload.last.eq(word.payload.last),
            entropy.i.valid.eq(word.valid),
            word.ready.eq(entropy.i.ready),
            self.scores_request.payload.address.eq(op.source_base + tile * op.source_stride),
            self.scores_request.payload.count.eq(op.reduction),
            came.eq(word.valid & word.ready),
        ]
        # Late in its cycle, and then it has the record to go to.
        m.d.sync += [
            self.logit_valid.eq(came),
            self.logit.slot.eq(number),
            self.logit.index.eq(count),
            self.logit.value.eq(entropy.i.payload.value),
        ]
        with m.If(came):
            m.d.sync += count.eq(Mux(word.payload.last, 0, count + 1))

    def _tell(self, m, held, release):
        """What is known of the slot in `held` goes out: verdict, result, command."""
        result = self.entropy.o.payload
        rows = self.o_rows.payload
        # Without the unit "exit" sentences end at `final` alone; the entropy is reported all the
        # same.
        decides = "exit" in self.config.units
        m.d.comb += [
            self._exits.eq((result.exits & decides) | self.instruction.final),
            self.o_finish.payload.slot.eq(held.number),
            self.o_finish.payload.layer.eq(held.layer + 1),
            self.o_finish.payload.label.eq(result["class"]),
            *(rows[name].eq(0) for name in ("position", "physical", "sentence", "mask")),
            rows.slot.eq(held.number),
            rows.release.eq(release),
        ]
        # As the logits: the record is next.
        m.d.sync += [
            self.verdict_valid.eq(self._decided),
            self.verdict.slot.eq(held.number),
            self.verdict.layer.eq(held.layer),
            self.verdict.entropy.eq(result.entropy),
            self.verdict.exits.eq(self._exits),
        ]
