# SPDX-License-Identifier: Apache-2.0
"""The program: fetch, slot selection, control flow; the operations themselves are engines with `start` and `done`."""
from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.isa import BYTES, WORDS, Opcode, Select
from firmware.registers import Error
from hw.instruction import fields
from hw.rows import index, slot_layout

__all__ = ["ENGINES", "Sequencer"]

ENGINES = (Opcode.ADMIT, Opcode.LINEAR, Opcode.NORM, Opcode.DROP, Opcode.ATTEND, Opcode.EXIT)


class Sequencer(wiring.Component):
    """Runs the program once for each pass until ADMIT finds nothing resident, or until an error.

    An instruction takes its fetch (one request of 32 bytes), 3 cycles, and its engine's time. An operation without a selected slot
    takes no further time and moves no data.

    Members
    -------
    start : pulse; begins at instruction 0
    program, instructions, layers : from the image's header: byte address of the program, its length, layers of the model
    slots : the slot table
    o_fetch, words : request of one instruction {"address"}, and its eight words
    instruction, mask, layer : what the engines work on; `layer` is that of the last GROUP
    engine_start : one pulse for each of `ENGINES`; engine_done likewise
    empty : with ADMIT's done: nothing is resident, so the queue is finished
    pc : the instruction's number
    present : engines that exist; others are illegal opcodes
    passes : passes begun since `start`
    fault : code of an illegal instruction, 0 while there is none
    busy; done : pulse, the queue is finished
    ended, skipped : pulse, an operation has ended (trace tap)
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "start": In(1), "program": In(32), "instructions": In(16), "layers": In(8),
            "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
            "o_fetch": Out(stream.Signature(data.StructLayout({"address": 32}))), "words": In(stream.Signature(32)),
            "instruction": Out(256), "mask": Out(config.slots), "layer": Out(index(config.layers + 1)),
            "engine_start": Out(len(ENGINES)), "engine_done": In(len(ENGINES)), "present": In(len(ENGINES)), "empty": In(1),
            "pc": Out(16), "passes": Out(32), "fault": Out(8), "busy": Out(1), "done": Out(1), "ended": Out(1), "skipped": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        op = fields(self.instruction)
        self._pending, self._group = Signal(self.config.slots), Signal(self.config.slots)
        self._last = Signal(self.config.slots)  # at the model's last layer in this pass, also after EXIT has moved others there
        word = Signal(range(WORDS))
        m.d.comb += [self.o_fetch.payload.address.eq(self.program + self.pc * BYTES), self.mask.eq(self._selected(m, op))]
        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [self.pc.eq(0), self.passes.eq(0)]
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += self.o_fetch.valid.eq(self.pc < self.instructions)
                with m.If(self.pc >= self.instructions):
                    m.d.sync += self.fault.eq(Error.ILLEGAL_OPCODE)
                    m.next = "FAULT"
                with m.Elif(self.o_fetch.ready):
                    m.next = "WORDS"
            with m.State("WORDS"):
                m.d.comb += self.words.ready.eq(1)
                with m.If(self.words.valid):
                    m.d.sync += [self.instruction.eq(Cat(self.instruction[32:], self.words.payload)), word.eq(word + 1)]
                    with m.If(word == WORDS - 1):
                        m.next = "DECODE"
            with m.State("DECODE"):
                self._decode(m, op)
            with m.State("RUN"):
                with m.If((self._engine(op) & self.engine_done).any()):
                    m.d.comb += self.ended.eq(1)
                    with m.If(op.opcode == Opcode.ADMIT):
                        m.d.sync += [
                            self._pending.eq(self._resident()), self.passes.eq(self.passes + 1),
                            self._last.eq(Cat(slot.layer + 1 == self.layers for slot in self._slots())),
                        ]
                    with m.If((op.opcode == Opcode.ADMIT) & self.empty):
                        self._finish(m)
                    with m.Else():
                        self._go(m, self.pc + 1)
            with m.State("FAULT"):
                pass  # until reset
        return m

    def _engine(self, op):
        return Cat(op.opcode == opcode for opcode in ENGINES)

    def _resident(self):
        return Cat(slot.resident for slot in self._slots())

    def _slots(self):
        return [self.slots[i] for i in range(self.config.slots)]

    def _go(self, m, pc):
        m.d.sync += self.pc.eq(pc)
        m.next = "FETCH"

    def _finish(self, m):
        m.d.comb += self.done.eq(1)
        m.next = "IDLE"

    def _decode(self, m, op):
        with m.Switch(op.opcode):
            with m.Case(Opcode.HALT):
                self._finish(m)
            with m.Case(Opcode.LOOP):
                self._go(m, op.target)
            with m.Case(Opcode.GROUP):
                self._next_group(m, op)
            with m.Default():
                engine = self._engine(op) & self.present
                with m.If(~engine.any()):
                    m.d.sync += self.fault.eq(Error.ILLEGAL_OPCODE)
                    m.next = "FAULT"
                with m.Elif((op.opcode != Opcode.ADMIT) & (self.mask == 0)):
                    m.d.comb += [self.ended.eq(1), self.skipped.eq(1)]
                    self._go(m, self.pc + 1)
                with m.Else():
                    m.d.comb += self.engine_start.eq(engine)
                    m.next = "RUN"

    def _next_group(self, m, op):
        """The lowest pending slot, and the others at its layer."""
        lowest = self._pending & (~self._pending + 1)
        layer = Signal.like(self.layer)
        for i, slot in enumerate(self._slots()):
            with m.If(lowest[i]):
                m.d.comb += layer.eq(slot.layer)
        group = Signal(self.config.slots)
        m.d.comb += group.eq(self._pending & Cat(slot.layer == layer for slot in self._slots()))
        m.d.sync += [self._group.eq(group), self.layer.eq(layer), self._pending.eq(self._pending & ~group)]
        self._go(m, Mux(self._pending == 0, op.target, self.pc + 1))

    def _selected(self, m, op):
        mask, last = Signal(self.config.slots), self._last
        with m.Switch(op.select):
            with m.Case(Select.ALL):
                m.d.comb += mask.eq(-1)
            with m.Case(Select.NEW):
                m.d.comb += mask.eq(Cat(slot.fresh for slot in self._slots()))
            with m.Case(Select.GROUP):
                m.d.comb += mask.eq(self._group)
            with m.Case(Select.NOT_LAST):
                m.d.comb += mask.eq(~last)
            with m.Case(Select.LAST):
                m.d.comb += mask.eq(last)
        return mask & self._resident()
