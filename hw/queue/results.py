# SPDX-License-Identifier: Apache-2.0
"""What happens to a sentence goes into its slot's record; at its end the record goes to memory."""

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.error_codes import Error
from firmware.record import RECORD
from hw.bus.transfer import request
from hw.queue.record import Field, RecordMemory
from hw.shapes import CLASS, LAYER, fields_value

__all__ = ["Results"]

REQUEST = 13  # cycles from a slot's end to the writer's request: six fields, two of them long


class Results(wiring.Component):
    """Collects the events of the engines, of which only one works at a time, as writes into `RecordMemory`; finishes and writes records.

    A finish takes `REQUEST` cycles and the writing of RECORD.words words; its stream is taken when the memory has acknowledged them.

    Members
    -------
    begin : stream of `Admission.o_begin`
    tokens_valid, tokens : pulse {"slot", "layer", "entering", "kept"}
    dropped_valid, dropped : pulse {"slot", "position", "layer"}
    logit_valid, logit; verdict_valid, verdict : pulses of `Exit`
    failure : stream of `Admission.o_finish`; success : stream of `Exit.o_finish`
    predicted : predicted exit layer of every slot, 0 for none
    passes : of the sequencer; base, size : result window
    o_request, o_data, written : the writer
    finished : records written since `clear`
    """

    def __init__(self, config, begin, failure, success, logit, verdict):
        self.config = config
        self.record = RecordMemory(config)
        super().__init__(
            {
                "begin": In(stream.Signature(begin)),
                "failure": In(stream.Signature(failure)),
                "success": In(stream.Signature(success)),
                "tokens_valid": In(1),
                "tokens": In(
                    data.StructLayout({"slot": 8, "layer": 8, "entering": 16, "kept": 16})
                ),
                "dropped_valid": In(1),
                "dropped": In(data.StructLayout({"slot": 8, "layer": 8, "position": 16})),
                "logit_valid": In(1),
                "logit": In(logit),
                "verdict_valid": In(1),
                "verdict": In(verdict),
                "predicted": In(data.ArrayLayout(8, config.slots)),
                "passes": In(32),
                "base": In(32),
                "size": In(32),
                "clear": In(1),
                "o_request": Out(stream.Signature(request())),
                "o_data": Out(stream.Signature(32)),
                "written": In(1),
                "finished": Out(16),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.record = self.record
        sentences = Array(Signal(32, name=f"sentence_{i}") for i in range(self.config.slots))
        counts = Array(Signal(16, name=f"count_{i}") for i in range(self.config.slots))
        self._words = RECORD.words(self.config)
        m.d.comb += [
            self.record.passes.eq(self.passes),
            self.o_data.valid.eq(self.record.o.valid),
            self.o_data.payload.eq(self.record.o.payload.data),
            self.record.o.ready.eq(self.o_data.ready),
        ]
        with m.If(self.begin.valid & self.begin.ready):
            m.d.sync += [
                sentences[self.begin.payload.slot].eq(self.begin.payload.sentence),
                counts[self.begin.payload.slot].eq(self.begin.payload.count),
            ]
        self._events(m)
        self._finish(m, sentences, counts)
        return m

    def _put(self, m, slot, field, index, value):
        payload = self.record.i.payload
        m.d.comb += [
            self.record.i.valid.eq(1),
            payload.slot.eq(slot),
            payload.field.eq(field),
            payload.index.eq(index),
            payload.data.eq(value),
        ]

    def _events(self, m):
        """One write an event: only `begin` waits, the others come when the record takes a write a cycle."""
        tokens = fields_value(
            RECORD["TOKENS_PER_LAYER"], entering=self.tokens.entering, live=self.tokens.kept
        )
        with m.If(self.tokens_valid):
            self._put(m, self.tokens.slot, Field.TOKENS, self.tokens.layer, tokens)
        with m.Elif(self.dropped_valid):
            self._put(
                m, self.dropped.slot, Field.DROPPED, self.dropped.position, self.dropped.layer
            )
        with m.Elif(self.logit_valid):
            self._put(m, self.logit.slot, Field.LOGIT, self.logit.index, self.logit.value)
        with m.Elif(self.verdict_valid):
            self._put(m, self.verdict.slot, Field.ENTROPY, self.verdict.layer, self.verdict.entropy)
        with m.Elif(self.begin.valid):
            self._put(m, self.begin.payload.slot, Field.BEGIN, 0, self.begin.payload.tag)
            m.d.comb += self.begin.ready.eq(self.record.i.ready)

    def _finish(self, m, sentences, counts):
        failed = self.failure.valid
        failure = self.failure.payload
        success = self.success.payload
        slot = Mux(failed, failure.slot, success.slot)
        ended = Signal(data.StructLayout({"label": CLASS, "layer": LAYER}))
        m.d.comb += ended.eq(Mux(failed, 0, Cat(success.label, success.layer)))
        verdict = fields_value(
            RECORD["VERDICT"],
            predicted_class=ended.label,
            exit_layer=ended.layer,
            tokens=counts[slot],
        )
        writes = (
            (Field.WORD, RECORD.word("STATUS"), Mux(failed, failure.status, Error.NONE)),
            (Field.WORD, RECORD.word("VERDICT"), verdict),
            (Field.CYCLES, 0, 0),
            (Field.WORD, RECORD.word("DETAIL"), Mux(failed, failure.detail, 0)),
            (Field.PASSES, 0, 0),
            (Field.WORD, RECORD.word("PREDICTED_EXIT"), Array(self.predicted)[slot]),
        )
        m.d.comb += [
            self.o_request.payload.address.eq(self.base + sentences[slot] * (4 * self._words)),
            self.o_request.payload.words.eq(self._words),
            self.o_request.payload.base.eq(self.base),
            self.o_request.payload.size.eq(self.size),
            self.record.i_read.payload.eq(slot),
        ]
        with m.If(self.clear):
            m.d.sync += self.finished.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.failure.valid | self.success.valid):
                    m.next = "WRITE_0"
            for step, (field, index, value) in enumerate(writes):
                with m.State(f"WRITE_{step}"):
                    self._put(m, slot, field, index, value)
                    with m.If(self.record.i.ready):
                        m.next = f"WRITE_{step + 1}"
            with m.State(f"WRITE_{len(writes)}"):
                m.d.comb += self.o_request.valid.eq(1)
                with m.If(self.o_request.ready):
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += self.record.i_read.valid.eq(1)
                with m.If(self.record.i_read.ready):
                    m.next = "WRITTEN"
            with m.State("WRITTEN"):
                with m.If(self.written):
                    m.d.comb += [
                        self.failure.ready.eq(self.failure.valid),
                        self.success.ready.eq(~self.failure.valid),
                    ]
                    m.d.sync += self.finished.eq(self.finished + 1)
                    m.next = "IDLE"
