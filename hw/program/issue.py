# SPDX-License-Identifier: Apache-2.0
"""Operations in the order of the program, each to its engine; two may be at work."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.isa import ENGINES
from hw.engine import engine_bits
from hw.instruction import instruction_layout
from hw.shapes import ERROR, PASSES, PC, index, slot_mask
from hw.stream import Fifo

__all__ = ["Issue", "operation_layout"]

REACHED = 2  # cycles from an operation's way in to `younger`, when nothing is before it
NOTICED = 1  # cycles from an engine's `done` or `sent` until it counts here
START = 1  # cycles from the end of an operation to the start of the next one
# Operations that the sequencer may be ahead: from ATTEND to the second LINEAR behind it and more,
# so that the weights of both are under way while ATTEND needs none. The first stands in registers.
AHEAD = 8


def operation_layout(config):
    """An instruction and what the sequencer has found out about it.

    instruction, pc : its fields, and its number in the program
    mask : slots that it works on
    layer : of the last GROUP
    skipped : no slot is selected
    fault : code of firmware.registers.Error if it is illegal, else 0
    """
    return data.StructLayout(
        {
            "instruction": instruction_layout(),
            "pc": PC,
            "mask": slot_mask(config),
            "layer": index(config.layers + 1),
            "skipped": 1,
            "fault": ERROR,
        }
    )


class Issue(wiring.Component):
    """Starts each operation's engine when the one before has ended, or has sent all that it sends.

    The *younger* operation is the one that started last and was not `taken`; the *older* one is the
    one that ends next. Most of the time they are the same. Where the instruction says `follow`, an
    operation starts when the one before has `sent` all: that is taken, and `pending` until it ends.

    An operation is `younger` `REACHED` cycles after it came, if nothing is before it. It has ended,
    or sent all, `NOTICED` cycles after its engine says so. An engine starts `START` cycles after
    the operation before has ended, or was taken; a skipped operation takes one cycle. Operations
    end in their order, and at most two are at work. Stalled: by the engines alone; an illegal
    instruction stops it for good.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of operation_layout(config)), in the order of the program
    restart : In(1), pulse: `passes` starts again
    younger : Out(operation_layout(config)), starts or has started last; stable from `start` on
    older : Out(operation_layout(config)), ends next; equal to `younger` unless `pending`
    acting : Out(engine_bits()), the engine of `older`
    pending : Out(1), `older` has sent all and not ended; what is at work besides follows it
    turn : Out(1), of `younger`: 0 and 1 by turns
    present : Out(1), there is an `older`
    pc : Out(PC), of `older`; 0 while there is none
    start : Out(engine_bits()), pulse: `younger` starts on this engine
    sent : In(engine_bits()), the engine has sent all of `younger`, high until `taken`
    taken : Out(1), pulse: the engine of `younger` is free for the next operation
    done : In(engine_bits()), pulse: `older` has ended on this engine
    empty : In(1), when ADMIT has ended: nothing is resident
    passes : Out(PASSES), begun since `restart`: ADMIT has ended and something is resident
    fault : Out(ERROR), code of the illegal instruction that was reached, 0 while there is none
    ended : Out(1), pulse: an operation has ended, or was skipped (trace tap)
    skipped : Out(1), with `ended`: it was skipped (trace tap)
    resting : Out(1), no operation waits or is at work, but for one that ends in this cycle
    """

    def __init__(self, config):
        self.config = config
        operation = operation_layout(config)
        super().__init__(
            {
                "i": In(stream.Signature(operation)),
                "restart": In(1),
                "younger": Out(operation),
                "older": Out(operation),
                "acting": Out(engine_bits()),
                "pending": Out(1),
                "turn": Out(1),
                "present": Out(1),
                "pc": Out(PC),
                "start": Out(engine_bits()),
                "sent": In(engine_bits()),
                "taken": Out(1),
                "done": In(engine_bits()),
                "empty": In(1),
                "passes": Out(PASSES),
                "fault": Out(ERROR),
                "ended": Out(1),
                "skipped": Out(1),
                "resting": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = Fifo(self.i.payload.shape(), AHEAD - 1)
        wiring.connect(m, wiring.flipped(self.i), queue.i)
        there = Signal()  # `younger` holds an operation
        engine = Signal(engine_bits())  # of `younger`
        finished = Signal()  # the older operation ends
        passed = Signal()  # the younger one leaves without having been taken
        # What engines say has come a long way from these operations, and goes a long way to all
        # that begins when one ends: registers between.
        done = Signal.like(self.done)
        sent = Signal.like(self.sent)
        m.d.sync += [
            done.eq(self.done),
            sent.eq(self.sent),
        ]
        self._operations(m, queue.o, engine, there, finished, passed)
        m.d.comb += [
            self.present.eq(self.pending | there),
            self.pc.eq(Mux(self.present, self.older.pc, 0)),
            self.ended.eq(finished | self.skipped),
            self.resting.eq(queue.level + there + self.pending == self.ended),
        ]
        with m.If(self.restart):
            m.d.sync += self.passes.eq(0)
        with m.FSM() as fsm:
            working = self.pending | fsm.ongoing("RUN")
            m.d.comb += finished.eq(working & (self.acting.as_value() & done.as_value()).any())
            # Nothing younger is at work.
            with m.State("IDLE"):
                self._begin(m, engine, there, passed)
            # The younger operation is at work, until it has ended or is taken.
            with m.State("RUN"):
                # One that has sent all keeps its engine until the older one has ended, because only
                # one operation can be pending.
                free = (engine.as_value() & sent.as_value()).any()
                m.d.comb += [
                    self.taken.eq(free & (~self.pending | finished)),
                    passed.eq(~self.pending & finished),
                ]
                with m.If(self.taken | passed):
                    m.next = "IDLE"
                with m.If(passed & ~self.empty & engine.admission):
                    m.d.sync += self.passes.eq(self.passes + 1)
        return m

    def _operations(self, m, queued, engine, there, finished, passed):
        """`younger` and `older` are registers: every engine begins its paths at them.

        So are their engines, `engine` and `acting`.
        """
        pending = self.pending
        m.d.comb += queued.ready.eq(self.taken | passed | ~there)
        # What the younger one will be in the next cycle.
        following = Mux(queued.ready, queued.payload.as_value(), self.younger.as_value())
        awaited = _engine(queued.payload)
        with m.If(queued.ready):
            m.d.sync += [
                there.eq(queued.valid),
                self.younger.eq(queued.payload),
                engine.eq(awaited),
            ]
        with m.If(self.taken):
            m.d.sync += [
                self.older.eq(self.younger),
                self.acting.eq(engine),
                pending.eq(1),
                self.turn.eq(~self.turn),
            ]
        # Without a pending one the two are the same.
        with m.Elif(finished | ~pending):
            m.d.sync += [
                self.older.eq(following),
                self.acting.eq(Mux(queued.ready, awaited, engine.as_value())),
                pending.eq(0),
            ]

    def _begin(self, m, engine, there, passed):
        """Start, skip or refuse the younger operation, if it need not wait for the older one."""
        younger = self.younger
        # Skipped and illegal ones wait as well: what ends, ends in the order of the program.
        follows = younger.instruction.follow & ~younger.skipped & (younger.fault == 0)
        with m.If(there & (~self.pending | follows)):
            with m.If(younger.fault != 0):
                m.d.sync += self.fault.eq(younger.fault)
            with m.Elif(younger.skipped):
                m.d.comb += [
                    self.skipped.eq(1),
                    passed.eq(1),
                ]
            with m.Else():
                m.d.comb += self.start.eq(engine)
                m.next = "RUN"


def _engine(operation):
    """Which engine an operation needs, as the bits of `engine_bits()`."""
    # None of them for an opcode without a row: the sequencer gives such an operation a `fault`.
    return Cat(operation.instruction.opcode == engine.opcode for engine in ENGINES)
