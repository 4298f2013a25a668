# SPDX-License-Identifier: Apache-2.0
"""Operations in the order of the program, one at a time, each to its engine."""
from amaranth import Cat, Module, Mux
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.isa import BYTES, Opcode
from hw.rows import index
from hw.stream import Fifo

__all__ = ["ENGINES", "Issue", "operation_layout"]

ENGINES = (Opcode.ADMIT, Opcode.LINEAR, Opcode.NORM, Opcode.DROP, Opcode.ATTEND, Opcode.EXIT)
AHEAD = 8       # operations that the sequencer may be ahead: from ATTEND to the second LINEAR behind it and more


def operation_layout(config):
    """An instruction with its number, the slots that it works on and the layer of the last GROUP. `skipped`: no slot is selected;
    `fault`: its error code, else 0."""
    return data.StructLayout({"instruction": 8 * BYTES, "pc": 16, "mask": config.slots, "layer": index(config.layers + 1),
                              "skipped": 1, "fault": 8})


class Issue(wiring.Component):
    """Starts an operation's engine a cycle after the one before has ended; a skipped one takes one cycle.

    Members
    -------
    i : stream of `operation_layout(config)`
    restart : pulse: `passes` starts again
    instruction, mask, layer, pc : of the operation that is at work; pc is 0 while there is none
    engine_start : one pulse for each of `ENGINES`; engine_done likewise
    empty : with ADMIT's done: nothing is resident
    passes : passes begun since `restart`; a pass begins when ADMIT has ended and something is resident
    fault : code of an illegal instruction that was reached, 0 while there is none
    ended, skipped : pulse, an operation has ended (trace tap); resting : none waits or works, but for the one that ends
    """

    def __init__(self, config):
        self.config = config
        operation = operation_layout(config)
        super().__init__({
            "i": In(stream.Signature(operation)), "restart": In(1),
            **{name: Out(operation.members[name]) for name in ("instruction", "mask", "layer", "pc", "fault")},
            "engine_start": Out(len(ENGINES)), "engine_done": In(len(ENGINES)), "empty": In(1), "passes": Out(32),
            "ended": Out(1), "skipped": Out(1), "resting": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = Fifo(self.i.payload.shape(), AHEAD)
        wiring.connect(m, wiring.flipped(self.i), queue.i)
        operation = queue.o.payload
        engine = Cat(operation.instruction[:8] == opcode for opcode in ENGINES)
        m.d.comb += [getattr(self, name).eq(operation[name]) for name in ("instruction", "mask", "layer")]
        m.d.comb += [self.pc.eq(Mux(queue.o.valid, operation.pc, 0)), queue.o.ready.eq(self.ended), self.resting.eq(queue.level == self.ended)]
        with m.If(self.restart):
            m.d.sync += self.passes.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(queue.o.valid):
                    with m.If(operation.fault != 0):
                        m.d.sync += self.fault.eq(operation.fault)
                    with m.Elif(operation.skipped):
                        m.d.comb += [self.ended.eq(1), self.skipped.eq(1)]
                    with m.Else():
                        m.d.comb += self.engine_start.eq(engine)
                        m.next = "RUN"
            with m.State("RUN"):
                with m.If((engine & self.engine_done).any()):
                    m.d.comb += self.ended.eq(1)
                    m.next = "IDLE"
                    with m.If(engine[ENGINES.index(Opcode.ADMIT)] & ~self.empty):
                        m.d.sync += self.passes.eq(self.passes + 1)
        return m
