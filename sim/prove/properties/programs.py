# SPDX-License-Identifier: Apache-2.0
"""The sequencer under any program: nothing illegal is given away, and every pass ends."""

from amaranth import Cat, Module, Signal, Value
from amaranth.hdl import Assert, Assume, Fragment
from amaranth.lib import wiring

from firmware.error_codes import Error
from firmware.isa import CAPACITY, ENGINES, Opcode
from hw.program.legal import legal
from sim.prove.machines import tiny_machine
from sim.prove.prover import Mutant, Property

__all__ = ["PROGRAMS"]

CONFIG = tiny_machine()
STEADY = ("instructions", "layers", "classes", "heads", "embedding", "present")
READS = ("FETCH", "FETCHED", "MEASURE", "DECODE")  # the states of an instruction
RUNS = (*READS, "BARRIER")


class Sequenced(wiring.Component):
    """`Sequencer` with any words in its program memory and any engines.

    An operation without a fault is one that a compiler may write, of an engine that exists, inside
    the program. A pass has `CAPACITY` * (slots + 1) instructions at most, and there are as many
    passes without a result as the model has layers: one more of either is a fault, and behind a
    fault nothing is given away until reset. So every program ends, waits for an engine or fails.
    """

    def __init__(self, sequencer):
        self.block = sequencer(CONFIG)
        super().__init__(dict(self.block.signature.members))

    def elaborate(self, platform):
        m = Module()
        block = self.block
        # The states are part of the induction, and known when the block is made.
        m.submodules.block = Fragment.get(block, platform)
        wiring.connect(m, wiring.flipped(self), block)
        begun = Signal()
        now = Cat(Value.cast(getattr(block, name)) for name in STEADY)
        before = Signal(len(now))
        m.d.sync += [
            begun.eq(1),
            before.eq(now),
        ]
        m.d.comb += Assume(~begun | (before == now))
        self._instructions(m)
        self._bounds(m)
        return m

    def _in(self, *states):
        return Cat(self.block.fsm.ongoing(state) for state in states).any()

    def _instructions(self, m):
        """What is given away is legal; what is not fails."""
        block = self.block
        op = block._op
        facts = {
            "last": block.instructions - 1,
            "classes": block.classes,
            "heads": block.heads,
            "embedding": block.embedding,
            "longest": CONFIG.reduction,
            "widest": CONFIG.widest,
        }
        opcodes = Cat(op.opcode == engine.opcode for engine in ENGINES)
        controls = (op.opcode == Opcode.LOOP) | (op.opcode == Opcode.GROUP)
        known = controls | (opcodes & block.present.as_value()).any()
        right = Signal()
        operation = block.o_operation
        moving = block._program.moving
        m.d.comb += [
            right.eq(known & legal(op, facts) & (block._pc < block.instructions)),
            # An instruction comes in the states for that, and stays.
            Assert((moving == 0) | self._in("FETCHED")),
            Assert((moving & (moving - 1)) == 0),
            Assert((moving != 0) | ~self._in("FETCHED")),
        ]
        with m.If(self._in("DECODE")):
            m.d.comb += [
                Assert(block._known == known),
                Assert(block._legal == legal(op, facts)),
            ]
        with m.If(operation.valid):
            fault = operation.payload.fault
            m.d.comb += [
                Assert(right | (fault != 0)),
                Assert(right | (fault == Error.ILLEGAL_OPCODE) | self._in("ENDLESS")),
                Assert((fault != 0) | ~controls),
            ]

    def _bounds(self, m):
        """Instructions of a pass and passes without a result are counted, and bounded."""
        block = self.block
        most = CAPACITY * (CONFIG.slots + 1)
        steps = Signal.like(block._steps)  # instructions since the start or the last ADMIT
        failed = Signal()
        operation = block.o_operation
        m.d.sync += failed.eq(
            failed | (operation.valid & operation.ready & (operation.payload.fault != 0))
        )
        with m.If(self._in("FETCH")):
            m.d.sync += steps.eq(steps + 1)
        with m.If(
            block.start & self._in("IDLE")
            | self._in("BARRIER") & block.ended & block.resting & (block._op.opcode == Opcode.ADMIT)
        ):
            m.d.sync += steps.eq(0)
        m.d.comb += [
            Assert((steps == block._steps) | self._in("IDLE", "FAULT")),
            Assert((steps == 0) | ~self._in("READ", "WORDS")),
            Assert((steps <= most) | ~self._in("FETCH", "BARRIER")),
            Assert((steps <= most + 1) | ~self._in(*READS)),
            Assert((steps <= most) | ~operation.valid | (operation.payload.fault != 0)),
            Assert((block._passes <= block.layers) | ~self._in("READ", "WORDS", *RUNS)),
            Assert(failed == self._in("FAULT")),
            Assert(~(failed & (operation.valid | block.done | block.o_stream.valid))),
        ]


PROGRAMS = (
    Property(
        "Sequencer: nothing illegal is given away; every pass ends, and every run of passes",
        "hw.program.sequencer:Sequencer",
        Sequenced,
        1,
        True,
        (
            Mutant("self._steps.eq(self._steps + 1)", "self._steps.eq(self._steps)"),
            Mutant("| ~self._known | ~self._legal", "| ~self._known"),
            Mutant("(self._pc >= self.instructions) | ", ""),
            Mutant('m.next = "FAULT"', 'm.next = "FETCH"'),
        ),
        mutant_depth=14,
        quick_mutants=False,
    ),
)
