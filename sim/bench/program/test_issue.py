# SPDX-License-Identifier: Apache-2.0
"""hw/program/issue.py: when each operation starts, has sent all and ends, cycle by cycle.

The engines are Python and take any time.
"""

import random
from dataclasses import dataclass

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge

from firmware.error_codes import Error
from firmware.isa import ENGINES, Opcode
from hw.program.issue import AHEAD, REACHED, Issue, operation_layout
from sim.bench import harness
from sim.bench.players import instruction_bits, pulse, silence
from sim.bench.values import pack

OPCODES = [engine.opcode for engine in ENGINES]
SENDING = [engine.opcode for engine in ENGINES if engine.followed]  # free before they have ended
DURATIONS = (0, 0, 1, 2, 25)
COUNT = 60


@dataclass(eq=False)
class Operation:
    """An operation, and the cycles in which it is first there, starts, is taken and ends.

    None: not yet.
    """

    values: dict
    opcode: Opcode
    follow: int = 0
    empty: int = 0
    there: int = None
    start: int = None
    taken: int = None
    ended: int = None

    def due(self, before):
        """The cycle in which it starts, behind the operation `before`."""
        follows = (
            self.follow
            and not self.values["skipped"]
            and not self.values["fault"]
            and before.taken is not None
        )
        free = before.taken if follows else before.ended
        return None if self.there is None or free is None else max(self.there, free + 1)


def operation(config, generator, pc, opcode, follow, skipped=0, fault=0):
    values = {
        "instruction": instruction_bits(
            opcode=opcode, follow=follow, address=generator.randrange(2**32)
        ),
        "pc": pc,
        "mask": generator.randrange(1 << config.slots),
        "layer": generator.randrange(config.layers),
        "skipped": skipped,
        "fault": fault,
    }
    return Operation(values, opcode, follow, empty=generator.randrange(2))


def operations(config, generator, kinds):
    for pc in range(1, COUNT + 1):
        opcode = generator.choice(kinds)
        skipped = int(opcode != Opcode.ADMIT and generator.random() < 0.2)
        yield operation(
            config,
            generator,
            pc,
            opcode,
            follow=int(opcode in SENDING and generator.random() < 0.7),
            skipped=skipped,
        )


class Bench:
    def __init__(self, dut, pause):
        self.dut = dut
        self.config = harness.config()
        self.generator = random.Random(21)
        self.block = Issue(self.config)
        self.cycle = 0
        self.turns = 0
        self.passes = 0
        self.most = 0
        self.source = harness.Source(
            dut, "i", self.block.i.payload.shape(), harness.pauses(pause)[0]
        )
        silence(dut, self.block)
        self.program, self.last = [], Operation({}, None, ended=0)  # `last` of the program before
        self.accepted = self.begun = self.finished = 0
        self.sent, self.done = set(), set()  # operations whose engines say so
        self.noticed = {"sent": set(), "done": set()}  # opcodes whose engines said so a cycle ago
        cocotb.start_soon(self._watch())

    async def run(self, kinds=OPCODES, fault=0):
        """Random operations of `kinds`, behind them one with this fault."""
        self.last = self.program[-1] if self.program else self.last
        self.program = list(operations(self.config, self.generator, kinds))
        count = len(self.program)
        if fault:
            self.program.append(
                operation(
                    self.config, self.generator, COUNT + 1, Opcode.LINEAR, follow=1, fault=fault
                )
            )
        self.accepted = self.begun = self.finished = 0
        self.source.send([one.values for one in self.program])
        while self.finished < count:
            await RisingEdge(self.dut.clk)
        await ClockCycles(self.dut.clk, 5)

    def _drive(self):
        for name, works in (("sent", self.sent), ("done", self.done)):
            getattr(self.dut, name).value = sum(1 << OPCODES.index(one.opcode) for one in works)

    async def _wait(self):
        for _ in range(self.generator.choice(DURATIONS)):
            await RisingEdge(self.dut.clk)

    async def _work(self, one):
        """An engine: SENDING ones have sent all, until they are taken; the others are done."""
        await self._wait()
        if one.opcode in SENDING:
            self.sent.add(one)
            self._drive()
        else:
            await self._finish(one)

    async def _finish(self, one):
        self.done.add(one)
        self.dut.empty.value = one.empty
        self._drive()
        await RisingEdge(self.dut.clk)
        self.done.remove(one)
        self._drive()

    async def _drain(self, one):
        """What is left to do behind `taken`."""
        self.sent.remove(one)
        self._drive()
        await self._wait()
        await self._finish(one)

    async def _watch(self):
        while True:
            await RisingEdge(self.dut.clk)
            if self.dut.rst.value == 0:
                self.cycle += 1
                self._end(*self._check(*self._begin()))
                self.noticed = {name: self._saying(name) for name in self.noticed}
                if self.dut.i__valid.value == 1 and self.dut.i__ready.value == 1:
                    self.program[self.accepted].there = self.cycle + REACHED
                    self.accepted += 1

    def _next(self):
        """The operation that starts next, or None."""
        return self.program[self.begun] if self.begun < len(self.program) else None

    def _before(self):
        return self.program[self.begun - 1] if self.begun else self.last

    def _begin(self):
        """(engine that should start, operation that should be skipped) in this cycle."""
        one = self._next()
        if one is None or one.values["fault"] or one.due(self._before()) != self.cycle:
            return 0, None
        self.begun, one.start = self.begun + 1, self.cycle
        if one.values["skipped"]:
            return 0, one
        cocotb.start_soon(self._work(one))
        return 1 << OPCODES.index(one.opcode), None

    def _check(self, start, skipped):
        """Every output of this cycle."""
        working, accepted = self.program[self.finished : self.begun], self.program[: self.accepted]
        pending = [one for one in working if one.taken is not None]
        running = [one for one in working if one.taken is None and one is not skipped]
        done = [one for one in working[:1] if one is skipped or self._says("done", one)]
        taken = [one for one in running if self._says("sent", one) and (not pending or done)]
        waiting = [one for one in accepted if one.taken is None and one.ended is None]
        reached = [one for one in accepted[self.finished :] if one.there <= self.cycle]
        want = {
            "start": start,
            "skipped": skipped is not None,
            "ended": bool(done),
            "taken": bool(taken),
            "pending": bool(pending),
            "turn": self.turns % 2,
            "passes": self.passes,
            "fault": self._fault(),
            "pc": 0,
            "present": bool(reached),
            "resting": len(accepted) - self.finished == len(done),
            "i__ready": len(waiting) < AHEAD,
        }
        assert len(pending) <= 1 and len(running) <= 1, "more than two at work"
        shape = operation_layout(self.config)
        for older in reached[:1]:
            want |= {"older": pack(shape, older.values), "pc": older.values["pc"]}
        for younger in running:
            want["younger"] = pack(shape, younger.values)
        got = {name: int(str(getattr(self.dut, name).value), 2) for name in want}
        harness.assert_same(
            f"cycle {self.cycle} ", got, {name: int(value) for name, value in want.items()}
        )
        self.most = max(self.most, len(waiting))
        return done, taken

    def _says(self, name, one):
        return one.opcode in self.noticed[name]

    def _saying(self, name):
        """Opcodes whose engines say so in this cycle."""
        bits = getattr(self.dut, name).value.to_unsigned()
        return {opcode for number, opcode in enumerate(OPCODES) if bits >> number & 1}

    def _fault(self):
        """The fault that is seen: of an illegal operation, a cycle after all before it ended."""
        one = self._next()
        due = one and one.due(self._before())
        return one.values["fault"] if due and due < self.cycle else 0

    def _end(self, done, taken):
        for one in done:
            one.ended = self.cycle
            self.finished += 1
            self.passes += one.opcode == Opcode.ADMIT and not one.empty
        if self.dut.restart.value == 1:
            self.passes = 0
        for one in taken:
            one.taken = self.cycle
            self.turns += 1
            cocotb.start_soon(self._drain(one))


@cocotb.test()
@cocotb.parametrize(pause=["none", "idle"])
async def issue(dut, pause):
    """Random operations before and after a restart, many overlapping, then a faulty one."""
    test = Bench(dut, pause)
    await harness.start(dut)
    await test.run()
    assert test.passes > 0
    await pulse(dut, "restart")
    await test.run(SENDING)
    assert pause != "none" or test.most == AHEAD
    together = [
        one
        for one, behind in zip(test.program, test.program[1:], strict=False)
        if not behind.values["skipped"] and behind.start < one.ended
    ]
    assert len(together) > COUNT // 4
    await test.run(SENDING, fault=int(Error.ILLEGAL_OPCODE))
    assert dut.fault.value.to_unsigned() == Error.ILLEGAL_OPCODE


def test_issue():
    config = harness.small(slots=2)
    harness.run_bench(Issue(config), "sim.bench.program.test_issue", "issue", config=config)
