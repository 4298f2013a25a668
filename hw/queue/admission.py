# SPDX-License-Identifier: Apache-2.0
"""ADMIT: sentences that `Staging` has prepared into free slots; bad ones get their result at once."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.error_codes import Error
from hw.engine import engine_signature
from hw.queue.staging import sentence_layout
from hw.rows.layouts import RowCommand, row_command_layout
from hw.shapes import index

__all__ = ["Admission"]

BEGIN = 2  # cycles until a sentence that is known may wait for its rows: SEEK, BEGIN
PLACE = 3  # when they are there, besides a cycle for each: STAGED, PLACE, and the way back to SEEK


def cycles(tokens):
    """Of a sentence of `tokens` tokens that is known and staged."""
    return BEGIN + PLACE + tokens


class Admission(wiring.Component):
    """For each sentence while a slot and its whole length of rows are free: slot, staged rows; it waits for those that are not staged yet.

    Who is admitted depends on the rows of resident sentences alone, not on what has been staged, so passes do not depend on the memories. A
    staged sentence costs `cycles`. One that is empty, too long, or has a bad token is given back through `o_finish` with its
    status and its rows freed, and the next one follows.

    Members
    -------
    start, slots : as `Linear`; done : pulse; `empty` with it: no slot is resident
    restart : pulse, a new queue
    count, slot_limit : sentences of the queue, slots that may be used
    total : of the row table
    i_sentence, i_row, i_staged : see `Staging`
    o_rows, rows_done : commands to the row table
    o_begin : stream {"slot", "sentence", "tag", "deadline", "count"}: a slot starts a sentence
    o_finish : stream {"slot", "status", "detail"}: a sentence failed; its rows have been released
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                **engine_signature(config).members,
                "restart": In(1),
                "empty": Out(1),
                "count": In(32),
                "slot_limit": In(8),
                "total": In(16),
                "i_sentence": In(stream.Signature(sentence_layout(config))),
                "i_row": In(stream.Signature(index(config.physical_rows))),
                "i_staged": In(stream.Signature(data.StructLayout({"status": 8, "detail": 16}))),
                "o_rows": Out(stream.Signature(row_command_layout(config))),
                "rows_done": In(1),
                "o_begin": Out(
                    stream.Signature(
                        data.StructLayout(
                            {"slot": 8, "sentence": 32, "tag": 32, "deadline": 32, "count": 16}
                        )
                    )
                ),
                "o_finish": Out(
                    stream.Signature(data.StructLayout({"slot": 8, "status": 8, "detail": 16}))
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self._sentence, self._slot = (
            Signal(32),
            Signal(8),
        )  # next of the queue; the slot that it gets
        self._wanted = Signal(index(self.config.positions + 1))
        self._appended = Signal(index(self.config.positions + 1))  # its rows
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
            with m.State("IDLE"):
                with m.If(self.start):
                    m.next = "SETTLE"
                    self._rows(m, RowCommand.SETTLE, "SEEK")
            with m.State("SETTLE"):  # the row table was busy when the operation started
                self._rows(m, RowCommand.SETTLE, "SEEK")
            self._seek(m)
            self._append(m)
            self._end(m)
        return m

    def _seek(self, m):
        """The next sentence of the queue, while a slot and its rows are free; a bad one begins too, so that its record has its tag."""
        resident = Cat(slot.resident for slot in self._slots())
        head = self.i_sentence.payload
        with m.State("SEEK"):
            for i, slot in reversed(list(enumerate(self._slots()))):
                with m.If(~slot.resident):
                    m.d.sync += self._slot.eq(i)
            m.d.sync += [
                self._wanted.eq(head.rows),
                self._appended.eq(0),
            ]
            none = (self._sentence == self.count) | (sum(resident) >= self.slot_limit)
            with m.If(none | (self.i_sentence.valid & (self.total + head.rows > self.config.rows))):
                m.d.comb += [
                    self.done.eq(1),
                    self.empty.eq(resident == 0),
                ]
                m.next = "IDLE"
            with m.Elif(self.i_sentence.valid):
                m.next = "BEGIN"
        with m.State("BEGIN"):
            m.d.comb += self.o_begin.valid.eq(1)
            with m.If(self.o_begin.ready):
                m.d.comb += self.i_sentence.ready.eq(1)
                m.d.sync += self._sentence.eq(self._sentence + 1)
                m.next = "STAGED"

    def _append(self, m):
        """When it is staged, its slot and rows."""
        status = Signal(8)
        detail = Signal(16)
        m.d.comb += [
            self.o_finish.payload.status.eq(status),
            self.o_finish.payload.detail.eq(detail),
        ]
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
        with m.State("PLACE"):
            self._rows(m, RowCommand.ADMIT, "APPEND")
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
        """A failed sentence leaves."""
        with m.State("RELEASE"):
            self._rows(m, RowCommand.COMPACT, "RELEASED")
        with m.State("RELEASED"):
            with m.If(self.rows_done):
                m.next = "FINISH"
        with m.State("FINISH"):
            m.d.comb += self.o_finish.valid.eq(1)
            with m.If(self.o_finish.ready):
                m.next = "SEEK"

    def _slots(self):
        return [self.slots[i] for i in range(self.config.slots)]

    def _rows(self, m, command, following):
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
