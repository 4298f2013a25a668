# SPDX-License-Identifier: Apache-2.0
"""Operations in the order of the program, each to its engine; a LINEAR may begin while the operation before it ends."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.isa import Opcode
from hw.instruction import instruction_layout
from hw.shapes import index
from hw.stream import Fifo

__all__ = ["ENGINES", "Issue", "operation_layout"]

ENGINES = (Opcode.ADMIT, Opcode.LINEAR, Opcode.NORM, Opcode.DROP, Opcode.ATTEND, Opcode.EXIT)
START = 1  # cycles from the end of an operation to the start of the next one
AHEAD = 8  # operations that the sequencer may be ahead: from ATTEND to the second LINEAR behind it and more


def operation_layout(config):
    """An instruction with its number, the slots that it works on and the layer of the last GROUP. `skipped`: no slot is selected;
    `fault`: its error code, else 0."""
    return data.StructLayout(
        {
            "instruction": instruction_layout(),
            "pc": 16,
            "mask": config.slots,
            "layer": index(config.layers + 1),
            "skipped": 1,
            "fault": 8,
        }
    )


class Issue(wiring.Component):
    """Starts an operation's engine a cycle (`START`) after the one before has ended; a skipped one takes one cycle. Where the instruction says `follow`, a
    cycle after the one before has `sent` all that it has to send: then two are at work, which end in their order.

    Members
    -------
    i : stream of `operation_layout(config)`
    restart : pulse: `passes` starts again
    opening, mask, turn : of the operation that starts, or started last and was not `taken`: instruction, slots, and 0 or 1 in turns
    instruction, layer, pc : of the operation that ends next; pc is 0 while there is none
    pending : it has sent all and not ended; what is at work besides follows it
    engine_start : one pulse for each of `ENGINES`; engine_done likewise
    engine_sent : all its work but the end is under way; taken : pulse, its engine is free for the next one
    empty : with ADMIT's done: nothing is resident
    passes : passes begun since `restart`; a pass begins when ADMIT has ended and something is resident
    fault : code of an illegal instruction that was reached, 0 while there is none
    ended, skipped : pulse, an operation has ended (trace tap); resting : none waits or works, but for the one that ends
    """

    def __init__(self, config):
        self.config = config
        operation = operation_layout(config)
        super().__init__(
            {
                "i": In(stream.Signature(operation)),
                "restart": In(1),
                "opening": Out(instruction_layout()),
                "turn": Out(1),
                "pending": Out(1),
                **{
                    name: Out(operation.members[name])
                    for name in ("instruction", "mask", "layer", "pc", "fault")
                },
                "engine_start": Out(len(ENGINES)),
                "engine_done": In(len(ENGINES)),
                "engine_sent": In(len(ENGINES)),
                "taken": Out(1),
                "empty": In(1),
                "passes": Out(32),
                "ended": Out(1),
                "skipped": Out(1),
                "resting": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = Fifo(self.i.payload.shape(), AHEAD)
        wiring.connect(m, wiring.flipped(self.i), queue.i)
        operation = queue.o.payload
        ending = Signal(operation.shape())
        pending = self.pending
        oldest = data.View(operation.shape(), Mux(pending, ending.as_value(), operation.as_value()))
        finished = Signal()
        passed = Signal()
        m.d.comb += [
            self.instruction.eq(oldest.instruction),
            self.layer.eq(oldest.layer),
            self.pc.eq(Mux(pending | queue.o.valid, oldest.pc, 0)),
            self.opening.eq(operation.instruction),
            self.mask.eq(operation.mask),
            self.ended.eq(finished | self.skipped),
            queue.o.ready.eq(self.taken | passed),
            self.resting.eq(queue.level + pending == self.ended),
        ]
        with m.If(self.restart):
            m.d.sync += self.passes.eq(0)
        with m.If(self.taken):
            m.d.sync += [
                ending.eq(operation),
                pending.eq(1),
                self.turn.eq(~self.turn),
            ]
        with m.Elif(finished):
            m.d.sync += pending.eq(0)
        with m.FSM() as fsm:
            running = fsm.ongoing("RUN")
            m.d.comb += finished.eq(
                (pending | running) & (_engine(oldest) & self.engine_done).any()
            )
            with m.State("IDLE"):
                follows = operation.instruction.follow & ~operation.skipped & (operation.fault == 0)
                with m.If(queue.o.valid & (~pending | follows)):
                    with m.If(operation.fault != 0):
                        m.d.sync += self.fault.eq(operation.fault)
                    with m.Elif(operation.skipped):
                        m.d.comb += [
                            self.skipped.eq(1),
                            passed.eq(1),
                        ]
                    with m.Else():
                        m.d.comb += self.engine_start.eq(_engine(operation))
                        m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += [
                    self.taken.eq(
                        (_engine(operation) & self.engine_sent).any() & (~pending | finished)
                    ),
                    passed.eq(~pending & finished),
                ]
                with m.If(self.taken | passed):
                    m.next = "IDLE"
                with m.If(passed & ~self.empty & _engine(operation)[ENGINES.index(Opcode.ADMIT)]):
                    m.d.sync += self.passes.eq(self.passes + 1)
        return m


def _engine(operation):
    """One bit for each of `ENGINES`."""
    return Cat(operation.instruction.opcode == opcode for opcode in ENGINES)
