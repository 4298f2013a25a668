# SPDX-License-Identifier: Apache-2.0
"""Operations under any engines: each starts and ends once, in the order of the program."""

from amaranth import Cat, Module, Signal, Value
from amaranth.hdl import Assert, Assume
from amaranth.lib import wiring

from firmware.isa import ENGINES
from sim.prove.machines import tiny_machine
from sim.prove.prover import Mutant, Property

__all__ = ["OPERATIONS"]

CONFIG = tiny_machine()
COUNT = 5  # bits that count more operations than the depth has cycles


class Issued(wiring.Component):
    """`Issue` with any operations, and engines that are at work as long as they like.

    Operations end in the order in which they came, each once; `resting` says that none is left. One
    engine starts at a time, that of `younger`, and while another one is at work only where the
    instruction says `follow`. At most two are at work. `older` stays until it ends. Behind an
    illegal operation nothing starts and nothing ends.

    An engine says `sent` of an operation that has started, until it is taken, and `done` once: not
    before the operation ahead has ended, nor before it is taken where it can be.
    """

    def __init__(self, issue):
        self.block = issue(CONFIG)
        super().__init__(dict(self.block.signature.members))

    def elaborate(self, platform):
        m = Module()
        m.submodules.block = block = self.block
        wiring.connect(m, wiring.flipped(self), block)
        came, ended, working = (Signal(COUNT, name=name) for name in ("came", "ended", "working"))
        start = Value.cast(block.start)
        opcodes = Cat(block.younger.instruction.opcode == engine.opcode for engine in ENGINES)
        m.d.sync += [
            came.eq(came + (block.i.valid & block.i.ready)),
            ended.eq(ended + block.ended),
            working.eq(working + start.any() - (block.ended & ~block.skipped)),
        ]
        m.d.comb += [
            Assume(block.i.payload.pc == came),
            Assert(block.resting == (came == ended + block.ended)),
            Assert(~block.ended | ((came != ended) & (block.pc == ended))),
            Assert(~start.any() | (start == opcodes)),
            Assert(~(start.any() & block.pending) | block.younger.instruction.follow),
            Assert(working <= 2),
            Assert((block.fault == 0) | ~(start.any() | block.ended)),
        ]
        self._engines(m, opcodes, start, working)
        self._stays(m)
        return m

    def _engines(self, m, opcodes, start, working):
        """What engines may say, and when."""
        block = self.block
        done, sent = Value.cast(block.done), Value.cast(block.sent)
        acting = Value.cast(block.acting)
        started = Signal()  # so has `younger`
        said = Signal.like(done)
        m.d.sync += said.eq(done)
        with m.If(start.any()):
            m.d.sync += started.eq(1)
        with m.Elif(block.taken | (block.ended & ~block.pending)):
            m.d.sync += started.eq(0)
        for i, engine in enumerate(ENGINES):
            first = acting[i] & (start.any() | (working != 0))
            second = opcodes[i] & block.ended & (working == 2)
            if engine.followed:
                first &= block.pending | block.taken
                second &= block.taken
            m.d.comb += [
                Assume(~done[i] | first | second),
                Assume(~(done[i] & said[i])),
                Assume(~sent[i] | (opcodes[i] & started & engine.followed)),
            ]

    def _stays(self, m):
        """What is older stays so until it has ended."""
        block = self.block
        waits = Signal()
        before = Signal.like(Value.cast(block.older))
        m.d.sync += [
            waits.eq(block.present & ~block.ended),
            before.eq(block.older),
        ]
        m.d.comb += Assert(~waits | (block.present & (Value.cast(block.older) == before)))


OPERATIONS = (
    Property(
        "Issue: each operation starts and ends once, in order, and two are at work at most",
        "hw.program.issue:Issue",
        Issued,
        12,
        False,
        (
            Mutant("there & (~self.pending | follows)", "there"),
            Mutant("passed.eq(~self.pending & finished)", "passed.eq(finished)"),
            Mutant("self.ended.eq(finished | self.skipped)", "self.ended.eq(finished)"),
            Mutant("pending.eq(1),", "pending.eq(0),"),
            Mutant("m.d.sync += self.fault.eq(younger.fault)", "m.d.comb += passed.eq(1)"),
        ),
        quick=False,
    ),
)
