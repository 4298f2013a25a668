# SPDX-License-Identifier: Apache-2.0
"""hw/queue/admission.py against a plain model of ADMIT: stager and row table are Python.

Every event in its order, whatever has been staged when.
"""

import random

import cocotb
import pytest
from cocotb.triggers import ClockCycles, RisingEdge

from firmware.error_codes import Error
from hw.queue.admission import Admission
from hw.rows.layouts import RowCommand, row_command_layout
from sim.bench import harness
from sim.bench.players import pulse, pulses, silence

POSITIONS = 9


class Model:
    """The slots (rows of each, None: free), the queue, and what ADMIT does with them."""

    def __init__(self, config, limit):
        self.rows = config.rows
        self.limit = limit
        self.slots = [None] * config.slots
        self.queue = []
        self.next = 0

    @property
    def total(self):
        return sum(count or 0 for count in self.slots)

    def admit(self):
        """(commands, begins, finishes) of one ADMIT."""
        commands = [(RowCommand.SETTLE,)]
        begins = []
        finishes = []
        while (
            self.next < len(self.queue)
            and sum(count is not None for count in self.slots) < self.limit
        ):
            one, slot = self.queue[self.next], self.slots.index(None)
            if len(one["physical"]) > self.rows - self.total:
                break
            begins.append(
                {
                    "slot": slot,
                    "sentence": self.next,
                    "tag": one["tag"],
                    "deadline": one["deadline"],
                    "count": one["count"],
                }
            )
            if one["physical"]:
                commands.append((RowCommand.ADMIT, slot, self.next))
                commands += [
                    (RowCommand.APPEND, slot, i, row) for i, row in enumerate(one["physical"])
                ]
                if one["status"]:
                    commands.append((RowCommand.COMPACT, 1 << slot))
            if one["status"]:
                finishes.append({"slot": slot, "status": one["status"], "detail": one["detail"]})
            else:
                self.slots[slot] = one["count"]
            self.next += 1
        return commands, begins, finishes


class Bench:
    def __init__(self, dut, pause):
        self.dut = dut
        self.config = harness.config()
        self.generator = random.Random(14)
        config, self.block = self.config, Admission(self.config)
        self.pause = harness.pauses(pause, 9)[1]
        silence(dut, self.block)
        self.begins, self.finishes = (
            harness.Sink(
                dut, name, getattr(self.block, name).payload.shape(), harness.pauses(pause, i)[1]
            )
            for i, name in enumerate(("o_begin", "o_finish"))
        )
        self.sentences, self.rows_in, self.staged = (
            harness.Source(
                dut, name, getattr(self.block, name).payload.shape(), harness.pauses(pause, i)[0]
            )
            for i, name in enumerate(("i_sentence", "i_row", "i_staged"), 21)
        )
        self.done = pulses(dut, "done")
        self.commands, self.stager = [], None
        self.slots, self.total = [{"count": 0, "resident": 0} for _ in range(config.slots)], 0
        self._show()
        cocotb.start_soon(self._rows())

    def _show(self):
        self.dut.total.value = self.total
        harness.drive(self.dut, "slots", self.block.slots.shape(), self.slots)

    def load(self, lengths, bad=()):
        """A queue of sentences, staged at random times; `bad`: sentence -> (status, detail)."""
        self.queue = []
        for number, length in enumerate(lengths):
            wrong = (
                Error.SENTENCE_EMPTY
                if length == 0
                else Error.SENTENCE_LENGTH
                if length > POSITIONS
                else 0
            )
            status, detail = (wrong, 0) if wrong else dict(bad).get(number, (0, 0))
            physical = (
                []
                if wrong
                else [self.generator.randrange(self.config.physical_rows) for _ in range(length)]
            )
            self.queue.append(
                {
                    "count": length,
                    "deadline": self.generator.getrandbits(32),
                    "tag": self.generator.getrandbits(32),
                    "status": status,
                    "detail": detail,
                    "physical": physical,
                }
            )
        self.dut.count.value = len(lengths)
        self.stager = cocotb.start_soon(self._stage())
        return self.queue

    async def _stage(self):
        """Play the stager at random times: a sentence's entry, its physical rows, its status."""
        for one in self.queue:
            await ClockCycles(self.dut.clk, self.generator.choice([1, 1, 40]))
            self.sentences.send(
                [
                    {
                        "tag": one["tag"],
                        "deadline": one["deadline"],
                        "count": one["count"],
                        "rows": len(one["physical"]),
                    }
                ]
            )
            await ClockCycles(self.dut.clk, self.generator.choice([1, 1, 60]))
            self.rows_in.send(one["physical"])
            self.staged.send([{"status": one["status"], "detail": one["detail"]}])

    async def _rows(self):
        """The row table: a command takes effect, and is done, in the next cycle.

        COMPACT some cycles later.
        """
        dut, layout = self.dut, row_command_layout(self.config)
        while True:
            ready = int(self.pause is None or not next(self.pause))
            dut.o_rows__ready.value = ready
            await RisingEdge(dut.clk)
            dut.rows_done.value = 0
            if dut.rst.value == 1 or not ready or dut.o_rows__valid.value == 0:
                continue
            bits = dut.o_rows__payload.value  # those of fields that no command names are undefined
            value = {
                name: bits[layout[name].offset + layout[name].width - 1 : layout[name].offset]
                for name in ("command", "slot", "sentence", "position", "physical", "release")
            }
            command = RowCommand(value["command"].to_unsigned())
            names = {
                RowCommand.ADMIT: ("slot", "sentence"),
                RowCommand.APPEND: ("slot", "position", "physical"),
                RowCommand.COMPACT: ("release",),
            }
            self.commands.append(
                (command, *(value[name].to_unsigned() for name in names.get(command, ())))
            )
            if command == RowCommand.COMPACT:
                dut.o_rows__ready.value = 0
                await ClockCycles(dut.clk, self.generator.choice([1, 4]))
                self.release(value["release"].to_unsigned())
            elif command == RowCommand.ADMIT:
                self.slots[value["slot"].to_unsigned()] = {"count": 0, "resident": 1}
            elif command == RowCommand.APPEND:
                self.total += 1
                self.slots[value["slot"].to_unsigned()]["count"] += 1
            self._show()
            dut.rows_done.value = 1

    def release(self, mask):
        for i, slot in enumerate(self.slots):
            if mask >> i & 1:
                self.total -= slot["count"]
                self.slots[i] = {"count": 0, "resident": 0}

    async def admit(self, model):
        """One ADMIT; compares everything."""
        dut = self.dut
        for found in (self.done, self.commands):
            found.clear()
        self._show()
        commands, begins, finishes = model.admit()
        dut.slot_limit.value = model.limit
        await pulse(dut, "start")
        while not self.done:
            await RisingEdge(dut.clk)
        await ClockCycles(dut.clk, 12)
        harness.assert_same("commands", self.commands, commands)
        harness.assert_same("begins", await self.begins.receive(len(begins)), begins)
        harness.assert_same("finishes", await self.finishes.receive(len(finishes)), finishes)
        harness.assert_same(
            "slots",
            [slot["count"] if slot["resident"] else None for slot in self.slots],
            model.slots,
        )
        harness.assert_same(
            "empty", int(self.dut.empty.value), int(model.slots == [None] * self.config.slots)
        )
        assert self.begins.empty() and self.finishes.empty() and len(self.done) == 1

    async def drain(self, model):
        """ADMIT and the leaving of sentences in turn, until all have been there."""
        while model.next < len(model.queue) or model.total:
            await self.admit(model)
            leave = [
                i for i, count in enumerate(model.slots) if count and self.generator.random() < 0.6
            ]
            for i in leave:
                model.slots[i] = None
                self.release(1 << i)
        await self.admit(model)


async def restart(test, model, lengths, bad=()):
    """A new queue, from its first sentence."""
    model.queue, model.next = test.load(lengths, bad), 0
    await pulse(test.dut, "restart")


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def admission(dut, pause):
    """Random lengths, among them the longest; slots and rows run out in turn; then one slot only.

    Then an empty queue.
    """
    test = Bench(dut, pause)
    await harness.start(dut, 8_000)
    for limit in {test.config.slots, 1}:
        model = Model(test.config, limit)
        await restart(
            test,
            model,
            [
                test.generator.choice([1, 2, POSITIONS, test.generator.randint(1, POSITIONS)])
                for _ in range(9)
            ],
        )
        await test.drain(model)
    await restart(test, model, [])
    await test.drain(model)


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def failing(dut, pause):
    """Bad tokens, lengths that cannot be; the sentences around them are untouched."""
    test = Bench(dut, pause)
    await harness.start(dut, 8_000)
    bad = {
        0: (Error.SENTENCE_TOKEN, 0),
        3: (Error.SENTENCE_CHECK, 2),
        5: (Error.SENTENCE_TOKEN, 3),
        7: (Error.SENTENCE_CHECK, 0),
    }
    model = Model(test.config, test.config.slots)
    await restart(test, model, [2, 0, POSITIONS, 5, POSITIONS + 1, 4, 0, 3, 100, 2, 0], bad)
    await test.drain(model)


CONFIGS = {
    "2": harness.small(positions=9),
    "3": harness.small(tokens=3, slots=5, rows=18, positions=9),
    "1": harness.small(slots=1),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_admission(name):
    harness.run_bench(
        Admission(CONFIGS[name]),
        "sim.bench.queue.test_admission",
        f"admission_{name}",
        config=CONFIGS[name],
    )
