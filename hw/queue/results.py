# SPDX-License-Identifier: Apache-2.0
"""What happens to a sentence goes into its slot's record; at its end the record goes to memory."""

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.error_codes import Error
from firmware.record import RECORD
from hw.bus.transfer import transfer_layout
from hw.queue.record import BYTES, Field, RecordMemory
from hw.shapes import (
    ADDRESS,
    CLASS,
    LAYER,
    LENGTH,
    PASSES,
    POSITION,
    RESULTS,
    SENTENCE,
    SIZE,
    SLOT,
    WORD,
    fields_value,
)

__all__ = ["Results"]

TOLD = 1  # cycles from the writer's `done` to `written`

REQUEST = 13  # cycles from a slot's end to the writer's request: six fields, two of them long


class Results(wiring.Component):
    """Collects what the engines tell as writes into `RecordMemory`; ends and writes records.

    One engine works at a time, so events come one at a time, and so do ends.

    Latency: an event is written in its cycle. An end takes `REQUEST` cycles and the writing of
    RECORD.words words; its stream is taken when the memory has acknowledged them. Throughput: an
    event a cycle, one end at a time. Stalled: the end waits for `hold` and for the writer, events
    do not; `begin` waits for the record that is being cleared.

    Parameters
    ----------
    config : HardwareConfig
    begin, failure, success, logit, verdict : layouts of the members of these names

    Members
    -------
    begin : In(stream), `o_begin` of `Admission`
    failure : In(stream), `o_finish` of `Admission`
    success : In(stream), `o_finish` of `Exit`
    tokens_valid : In(1), pulse
    tokens : In({slot: SLOT, layer: LAYER, entering: LENGTH, kept: LENGTH}), of a drop
    dropped_valid : In(1), pulse
    dropped : In({slot: SLOT, layer: LAYER, position: POSITION}), a token of it
    logit_valid : In(1), pulse
    logit : In, of `Exit`
    verdict_valid : In(1), pulse
    verdict : In, of `Exit`
    predicted : In(LAYER for each slot), predicted exit layer, 0 for none
    passes : In(PASSES), of the sequencer
    base : In(ADDRESS), of record 0 and of the result window
    size : In(SIZE), of the window
    clear : In(1), pulse: a new queue
    o_request : Out(stream of request()), counted in words, to the writer
    o_data : Out(stream of WORD), to the writer
    hold : In(1), no record may leave yet: what it was made of is not proven
    written : In(1), pulse: the writer's `done`, `TOLD` cycles ago
    finished : Out(RESULTS), records written since `clear`
    """

    def __init__(self, config, begin, failure, success, logit, verdict):
        self.config = config
        self.record = RecordMemory(config)
        tokens = {"slot": SLOT, "layer": LAYER, "entering": LENGTH, "kept": LENGTH}
        dropped = {"slot": SLOT, "layer": LAYER, "position": POSITION}
        super().__init__(
            {
                "begin": In(stream.Signature(begin)),
                "failure": In(stream.Signature(failure)),
                "success": In(stream.Signature(success)),
                "tokens_valid": In(1),
                "tokens": In(data.StructLayout(tokens)),
                "dropped_valid": In(1),
                "dropped": In(data.StructLayout(dropped)),
                "logit_valid": In(1),
                "logit": In(logit),
                "verdict_valid": In(1),
                "verdict": In(verdict),
                "predicted": In(data.ArrayLayout(LAYER, config.slots)),
                "passes": In(PASSES),
                "base": In(ADDRESS),
                "size": In(SIZE),
                "clear": In(1),
                "o_request": Out(stream.Signature(transfer_layout())),
                "o_data": Out(stream.Signature(WORD)),
                "hold": In(1),
                "written": In(1),
                "finished": Out(RESULTS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.record = self.record
        slots = range(self.config.slots)
        # The end needs them, and the queue's head has gone on by then.
        sentences = Array(Signal(SENTENCE, name=f"sentence_{i}") for i in slots)
        counts = Array(Signal(LENGTH, name=f"count_{i}") for i in slots)
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
        """A write for each event."""
        # Only `begin` waits. The others come when the record takes a write a cycle, because an end,
        # which has long writes, holds its engine, and no other one works meanwhile.
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
        """The sentence that ends: its last fields, then its slot's record to memory."""
        words = RECORD.words(self.config)
        failure = self.failure.payload
        # Only one engine works, so who ends does not change before its end is taken.
        failed = self.failure.valid
        slot = Mux(failed, failure.slot, self.success.payload.slot)
        verdict = self._verdict(m, counts[slot])
        m.d.comb += [
            self.o_request.payload.address.eq(self.base + sentences[slot] * (BYTES * words)),
            self.o_request.payload.words.eq(words),
            self.o_request.payload.base.eq(self.base),
            self.o_request.payload.size.eq(self.size),
            self.record.i_read.payload.eq(slot),
        ]
        with m.If(self.clear):
            m.d.sync += self.finished.eq(0)
        with m.FSM():
            # No sentence ends.
            with m.State("IDLE"):
                with m.If((failed | self.success.valid) & ~self.hold):
                    m.next = "STATUS"
            # Each of the next six writes a field that is known only now: the error code.
            with m.State("STATUS"):
                status = Mux(failed, failure.status, Error.NONE)
                self._write(m, slot, Field.WORD, "STATUS", status, "VERDICT")
            # Class and layer.
            with m.State("VERDICT"):
                self._write(m, slot, Field.WORD, "VERDICT", verdict, "CYCLES")
            # Time since BEGIN.
            with m.State("CYCLES"):
                self._write(m, slot, Field.CYCLES, None, 0, "DETAIL")
            # The token that failed.
            with m.State("DETAIL"):
                detail = Mux(failed, failure.detail, 0)
                self._write(m, slot, Field.WORD, "DETAIL", detail, "PASSES")
            # Passes since BEGIN.
            with m.State("PASSES"):
                self._write(m, slot, Field.PASSES, None, 0, "PREDICTED_EXIT")
            # What the DVFS table said.
            with m.State("PREDICTED_EXIT"):
                predicted = Array(self.predicted)[slot]
                self._write(m, slot, Field.WORD, "PREDICTED_EXIT", predicted, "REQUEST")
            # The writer is asked.
            with m.State("REQUEST"):
                m.d.comb += self.o_request.valid.eq(1)
                with m.If(self.o_request.ready):
                    m.next = "READ"
            # So is the record, whose words go to the writer as they come.
            with m.State("READ"):
                m.d.comb += self.record.i_read.valid.eq(1)
                with m.If(self.record.i_read.ready):
                    m.next = "WRITTEN"
            # The slot stays taken until memory has acknowledged its record.
            with m.State("WRITTEN"):
                with m.If(self.written):
                    m.d.comb += [
                        self.failure.ready.eq(failed),
                        self.success.ready.eq(~failed),
                    ]
                    m.d.sync += self.finished.eq(self.finished + 1)
                    m.next = "IDLE"

    def _verdict(self, m, count):
        """The record's word VERDICT; a sentence that failed has neither class nor layer."""
        success = self.success.payload
        ended = Signal(data.StructLayout({"label": CLASS, "layer": LAYER}))
        m.d.comb += ended.eq(Mux(self.failure.valid, 0, Cat(success.label, success.layer)))
        return fields_value(
            RECORD["VERDICT"],
            predicted_class=ended.label,
            exit_layer=ended.layer,
            tokens=count,
        )

    def _write(self, m, slot, field, word, value, following):
        """One of the last fields, `word` of the record by its name; then the state `following`."""
        self._put(m, slot, field, RECORD.word(word) if word else 0, value)
        with m.If(self.record.i.ready):
            m.next = following
