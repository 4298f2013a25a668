# SPDX-License-Identifier: Apache-2.0
"""ADMIT: sentences that `Staging` has prepared, into free slots; bad ones get a result at once."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.error_codes import Error
from hw.engine import engine_signature
from hw.queue.staging import sentence_layout
from hw.rows.layouts import RowCommand, row_command_layout
from hw.shapes import (
    CYCLES,
    DETAIL,
    ERROR,
    LENGTH,
    ROWS,
    SENTENCE,
    SLOT,
    TAG,
    WIDE_COUNT,
    index,
)

__all__ = ["Admission"]

START = 2  # cycles from the start to the first sentence
BEGIN = 2  # cycles until a sentence that is known may wait for its rows: SEEK, BEGIN
PLACE = 3  # when they are there, besides a cycle for each: STAGED, PLACE, and the way back to SEEK


def cycles(tokens):
    """Of a sentence of `tokens` tokens that is known and staged."""
    return BEGIN + PLACE + tokens


class Admission(wiring.Component):
    """The queue's next sentence, while a slot and rows for its whole length are free.

    It gets a slot, and its staged rows join the row table; it waits for rows that are not staged
    yet. One that is empty, too long, or has a bad token is given back through `o_finish`, its rows
    freed, and the next one follows.

    Latency: `cycles` for a staged sentence. Throughput: one sentence at a time, a row each cycle.
    Stalled: waits for the stager, for each command of the row table, and until a bad sentence's
    result is taken.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    start, instruction, mask, slots, done : as `engine_signature`
    restart : In(1), pulse: a new queue; while nothing is offered
    empty : Out(1), from the cycle after `done` on: no slot is resident
    count : In(WIDE_COUNT), sentences of the queue
    slot_limit : In(SLOT), slots that may be used
    total : In(ROWS), of the row table
    i_sentence : In(stream of sentence_layout), the queue's next one, as soon as it is known
    i_row : In(stream of physical row), of the sentences' tokens in their order
    i_staged : In(stream of {status: ERROR, detail: DETAIL}), all rows of the next one are there
    o_rows : Out(stream of row_command_layout); `physical` is held with APPEND alone
    rows_done : In(1), pulse: the row table has obeyed
    o_begin : Out(stream of {slot: SLOT, sentence: SENTENCE, tag: TAG, deadline: CYCLES,
        count: LENGTH}): a slot starts a sentence
    o_finish : Out(stream of {slot: SLOT, status: ERROR, detail: DETAIL}): a sentence failed; its
        rows have been released
    """

    def __init__(self, config):
        self.config = config
        begin = {
            "slot": SLOT,
            "sentence": SENTENCE,
            "tag": TAG,
            "deadline": CYCLES,
            "count": LENGTH,
        }
        staged = {"status": ERROR, "detail": DETAIL}
        finish = {"slot": SLOT} | staged
        super().__init__(
            {
                **engine_signature(config).members,
                "restart": In(1),
                "empty": Out(1),
                "count": In(WIDE_COUNT),
                "slot_limit": In(SLOT),
                "total": In(ROWS),
                "i_sentence": In(stream.Signature(sentence_layout(config))),
                "i_row": In(stream.Signature(index(config.physical_rows))),
                "i_staged": In(stream.Signature(data.StructLayout(staged))),
                "o_rows": Out(stream.Signature(row_command_layout(config))),
                "rows_done": In(1),
                "o_begin": Out(stream.Signature(data.StructLayout(begin))),
                "o_finish": Out(stream.Signature(data.StructLayout(finish))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self._sentence = Signal(SENTENCE)  # next of the queue
        self._slot = Signal(SLOT)  # that it gets
        self._wanted = Signal(index(self.config.positions + 1))  # its rows
        self._appended = Signal(index(self.config.positions + 1))  # those that it has
        begin = self.o_begin.payload
        finish = self.o_finish.payload
        head = self.i_sentence.payload
        m.d.comb += [
            begin.slot.eq(self._slot),
            begin.sentence.eq(self._sentence),
            begin.tag.eq(head.tag),
            begin.deadline.eq(head.deadline),
            begin.count.eq(head.count),
            finish.slot.eq(self._slot),
        ]
        with m.If(self.restart):
            m.d.sync += self._sentence.eq(0)
        with m.FSM():
            # Nothing to do.
            with m.State("IDLE"):
                with m.If(self.start):
                    m.next = "SETTLE"
            # The row table is told that no slot is fresh any more.
            with m.State("SETTLE"):
                self._rows(m, RowCommand.SETTLE, "SEEK")
            self._seek(m)
            self._append(m)
            self._end(m)
        return m

    def _seek(self, m):
        """Two states: the next sentence of the queue, if it may come, begins."""
        resident = Cat(slot.resident for slot in self._slots())
        head = self.i_sentence.payload
        # Is there a sentence, a slot and room? The lowest free slot is taken.
        with m.State("SEEK"):
            for i, slot in reversed(list(enumerate(self._slots()))):
                with m.If(~slot.resident):
                    m.d.sync += self._slot.eq(i)
            m.d.sync += [
                self._wanted.eq(head.rows),
                self._appended.eq(0),
            ]
            # What is staged does not count, only the rows of residents: so who shares a pass does
            # not depend on the memories.
            none = (self._sentence == self.count) | (sum(resident) >= self.slot_limit)
            with m.If(none | (self.i_sentence.valid & (self.total + head.rows > self.config.rows))):
                m.d.comb += self.done.eq(1)
                m.d.sync += self.empty.eq(resident == 0)
                m.next = "IDLE"
            with m.Elif(self.i_sentence.valid):
                m.next = "BEGIN"
        # It begins, a bad one too, so that its record has its tag.
        with m.State("BEGIN"):
            m.d.comb += self.o_begin.valid.eq(1)
            with m.If(self.o_begin.ready):
                m.d.comb += self.i_sentence.ready.eq(1)
                m.d.sync += self._sentence.eq(self._sentence + 1)
                m.next = "STAGED"

    def _append(self, m):
        """Three states: when the sentence is staged, it gets its slot and rows."""
        status = Signal(ERROR)
        detail = Signal(DETAIL)
        m.d.comb += [
            self.o_finish.payload.status.eq(status),
            self.o_finish.payload.detail.eq(detail),
        ]
        # Waits until its rows are there. A sentence whose length cannot be has none to place.
        with m.State("STAGED"):
            m.d.comb += self.i_staged.ready.eq(1)
            m.d.sync += [
                status.eq(self.i_staged.payload.status),
                detail.eq(self.i_staged.payload.detail),
            ]
            with m.If(self.i_staged.valid):
                m.next = "PLACE"
                with m.If(self._wanted == 0):
                    m.next = "FINISH"
        # The slot is its own.
        with m.State("PLACE"):
            self._rows(m, RowCommand.ADMIT, "APPEND")
        # Row after row; those of a bad one too, because only the row table can free them.
        with m.State("APPEND"):
            with m.If(self._appended != self._wanted):
                with m.If(self.i_row.valid):
                    self._rows(m, RowCommand.APPEND, "APPEND")
                    with m.If(self.o_rows.ready):
                        m.d.comb += self.i_row.ready.eq(1)
                        m.d.sync += self._appended.eq(self._appended + 1)
            with m.Elif(status != Error.NONE):
                m.next = "RELEASE"
            with m.Else():
                m.next = "SEEK"

    def _end(self, m):
        """Three states: a failed sentence leaves."""
        # Its rows go back.
        with m.State("RELEASE"):
            self._rows(m, RowCommand.COMPACT, "RELEASED")
        # Waits until they are free, as SEEK counts them.
        with m.State("RELEASED"):
            with m.If(self.rows_done):
                m.next = "FINISH"
        # Its record is written.
        with m.State("FINISH"):
            m.d.comb += self.o_finish.valid.eq(1)
            with m.If(self.o_finish.ready):
                m.next = "SEEK"

    def _slots(self):
        return [self.slots[i] for i in range(self.config.slots)]

    def _rows(self, m, command, following):
        """`command` to the row table; when it is taken, the state `following`."""
        m.d.comb += [
            self.o_rows.valid.eq(1),
            self.o_rows.payload.command.eq(command),
            self.o_rows.payload.slot.eq(self._slot),
            self.o_rows.payload.sentence.eq(self._sentence - 1),
            self.o_rows.payload.position.eq(self._appended),
            self.o_rows.payload.physical.eq(self.i_row.payload),
            self.o_rows.payload.mask.eq(0),
            self.o_rows.payload.release.eq(Mux(command == RowCommand.COMPACT, 1 << self._slot, 0)),
        ]
        with m.If(self.o_rows.ready):
            m.next = following
