# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""hw/rows/rows.py against a list of rows."""

import random

import cocotb
import pytest
from amaranth.lib import data
from cocotb.triggers import FallingEdge, RisingEdge

from hw.rows.layouts import RowCommand, row_command_layout, row_entry_layout, slot_layout
from hw.rows.rows import Rows, compaction
from hw.shapes import index
from sim.bench import harness


class Model:
    """The table as lists: rows of (physical, slot, position); slots as dictionaries."""

    def __init__(self, config):
        self.config = config
        self.rows = []
        self.events = []
        self.slot_events = []
        self.dropped = []
        self.slots = [
            {"resident": 0, "fresh": 0, "sentence": 0, "layer": 0} for _ in range(config.slots)
        ]
        self.free, self.taken = (
            list(range(config.physical_rows)),
            [],
        )  # in the order in which they are taken, and appended

    def admit(self, slot, sentence):
        self.slots[slot] = {"resident": 1, "fresh": 1, "sentence": sentence, "layer": 0}
        self.slot_events.append((slot, sentence, 0))

    def append(self, slot, position):
        """The row that has been taken for longest, at the end of the table."""
        self.rows.append((self.taken.pop(0), slot, position))
        self.events.append((len(self.rows) - 1, slot, position))

    def compact(self, mask, release, keep):
        old, self.rows = self.rows, []
        for number, row in enumerate(old):
            dropped = mask >> row[1] & 1 and not keep[number]
            self.dropped += [row[1:]] * dropped
            if release >> row[1] & 1 or dropped:
                self.free.append(row[0])
            else:
                self.rows.append(row)
                self.events.append((len(self.rows) - 1, *row[1:]))
        for number, slot in enumerate(self.slots):
            slot["resident"] &= ~(release >> number) & 1

    def advance(self, number):
        slot = self.slots[number]
        slot["layer"] += 1
        self.slot_events.append((number, slot["sentence"], slot["layer"]))

    def settle(self):
        for slot in self.slots:
            slot["fresh"] = 0


class Bench:
    """A Rows with its drivers, in step with a Model."""

    def __init__(self, dut, config, idle):
        self.dut = dut
        self.config = config
        self.model = Model(config)
        self.source = harness.Source(dut, "i_command", row_command_layout(config), idle)
        self.wanted = 0
        self.kept = []
        self.cycle = 0
        dut.o_free__ready.value = 0
        cocotb.start_soon(self._take())
        self.keep = data.StructLayout({"enable": 1, "row": index(config.rows), "keep": 1})
        self.slots = data.ArrayLayout(slot_layout(config), config.slots)
        self.events = []
        self.slot_events = []
        self.dropped = []
        cocotb.start_soon(self._watch())

    async def _watch(self):
        """Collect the events of `changed`, `slot_changed` and `dropped` in every cycle."""
        ports = Rows(self.config).signature.members
        changed, slot_changed, dropped = (
            ports[name].shape for name in ("changed", "slot_changed", "dropped")
        )
        while True:
            await RisingEdge(self.dut.clk)
            self.cycle += 1
            if (
                self.dut.rst.value == 0
                and (event := harness.read_port(self.dut, "changed", changed))["valid"]
            ):
                self.events.append((event["row"], event["slot"], event["position"]))
            if (
                self.dut.rst.value == 0
                and (event := harness.read_port(self.dut, "slot_changed", slot_changed))["valid"]
            ):
                self.slot_events.append((event["slot"], event["sentence"], event["layer"]))
            if self.dut.rst.value == 0 and self.dut.dropped.value[0] == 1:
                event = harness.read_port(self.dut, "dropped", dropped)
                self.dropped.append((event["slot"], event["position"]))

    async def _take(self):
        """Take `wanted` rows, at random times, whatever the table is doing.

        Each must be the model's next one.
        """
        dut = self.dut
        model = self.model
        generator = random.Random(5)
        ready = 0
        while True:
            await RisingEdge(dut.clk)
            if ready and dut.rst.value == 0 and dut.o_free__valid.value == 1:
                row = dut.o_free__payload.value.to_unsigned()
                assert row == model.free.pop(0)
                model.taken.append(row)
                self.wanted -= 1
            ready = int(self.wanted > 0 and generator.random() < 0.6)
            dut.o_free__ready.value = ready

    async def take(self, count):
        """Until `count` more rows have been taken."""
        self.wanted += count
        while self.wanted:
            await RisingEdge(self.dut.clk)

    async def append(self, slot, position):
        """Append the row that has been taken for longest."""
        physical = self.model.taken[0]
        self.model.append(slot, position)
        return await self.command(
            RowCommand.APPEND, slot=slot, position=position, physical=physical
        )

    async def done(self):
        """Cycles until `done`."""
        for cycle in range(1, 1000):
            await FallingEdge(self.dut.clk)
            if self.dut.done.value == 1:
                return cycle
        raise AssertionError("no done")

    async def command(self, command, **fields):
        """Run one command; cycles from its transfer to `done`."""
        self.source.send([{"command": command.value, **fields}])
        await self.source.wait()
        return await self.done()

    async def write_keep(self, keep, beside=False):
        """`beside` a command that is sent now, the first one in the cycle of its transfer."""
        self.kept = keep
        if beside:
            await RisingEdge(self.dut.clk)
        for row, bit in enumerate(keep):
            harness.drive(self.dut, "keep_write", self.keep, {"enable": 1, "row": row, "keep": bit})
            await RisingEdge(self.dut.clk)
        harness.drive(self.dut, "keep_write", self.keep, {})

    async def check(self):
        """Counts, slots, every entry, events; no row is lost or there twice."""
        model, rows = self.model, []
        await FallingEdge(self.dut.clk)
        assert sorted([*model.free, *model.taken, *(row[0] for row in model.rows)]) == list(
            range(self.config.physical_rows)
        )
        assert (int(self.dut.total.value), int(self.dut.free.value)) == (
            len(model.rows),
            len(model.free),
        )
        for row in range(len(model.rows)):
            harness.drive(self.dut, "read_row", index(self.config.rows), row)
            await RisingEdge(self.dut.clk)
            await FallingEdge(self.dut.clk)
            rows.append(harness.read_port(self.dut, "read_data", row_entry_layout(self.config)))
        harness.assert_same("rows", [tuple(row.values()) for row in rows], model.rows)
        slots = harness.read_port(self.dut, "slots", self.slots)
        for number, slot in enumerate(slots):
            mine = [i for i, row in enumerate(model.rows) if row[1] == number]
            start, count = slot.pop("start"), slot.pop("count")
            assert count == len(mine) and (not mine or start == mine[0]), (
                number,
                start,
                count,
                mine,
            )
        harness.assert_same("slots", slots, model.slots)
        harness.assert_same("events", self.events, model.events)
        harness.assert_same("slot_events", self.slot_events, model.slot_events)
        harness.assert_same("dropped", self.dropped, model.dropped)


async def begin(dut, pause):
    config = harness.config()
    table = Bench(dut, config, harness.pauses(pause)[0])
    harness.drive(dut, "keep_write", table.keep, {})
    harness.drive(dut, "read_row", index(config.rows), 0)
    await harness.start(dut)
    await table.done()
    return config, table, random.Random(config.slots + config.tokens)


async def fill(config, table, generator):
    """Admit sentences while slots and rows are free or taken."""
    model = table.model
    for slot in range(config.slots):
        length = generator.choice([1, 2, config.positions, generator.randint(1, config.positions)])
        if model.slots[slot]["resident"] or length > min(
            config.rows - len(model.rows), len(model.free) + len(model.taken)
        ):
            continue
        sentence = generator.getrandbits(32)
        assert await table.command(RowCommand.ADMIT, slot=slot, sentence=sentence) == 1
        model.admit(slot, sentence)
        await table.take(max(0, length - len(model.taken)))
        for position in range(length):
            assert await table.append(slot, position) == 1


async def compact(table, generator, keep=None, **slots):
    """A compaction, while rows are taken: those that are free, and those that it frees.

    The bits `keep` are written in step with it.
    """
    model, live = table.model, len(table.model.rows)
    if keep:
        cocotb.start_soon(table.write_keep(keep, beside=True))
        table.kept = keep
    model.compact(slots.get("mask", 0), slots.get("release", 0), table.kept)
    table.wanted = generator.choice([0, generator.randint(0, len(model.free)), len(model.free)])
    assert await table.command(RowCommand.COMPACT, **slots) == compaction(live)
    await table.take(0)
    await table.check()


@cocotb.test()
@cocotb.parametrize(pause=["none", "idle"])
async def table(dut, pause):
    """Passes with random drops and exits, rows taken meanwhile; every row is free in the end."""
    config, table, generator = await begin(dut, pause)
    model, everything = table.model, (1 << config.slots) - 1
    for step in range(12):
        await table.command(RowCommand.SETTLE)
        model.settle()
        await fill(config, table, generator)
        await table.check()
        keep = [generator.random() < (0, 1, 0.5, 0.9)[step % 4] for _ in model.rows]
        beside = step % 3 == 2
        if not beside:
            await table.write_keep(keep)
        mask, release = (
            generator.getrandbits(config.slots),
            generator.getrandbits(config.slots) & generator.getrandbits(config.slots),
        )
        await compact(table, generator, keep if beside else None, mask=mask, release=release)
        for number, slot in enumerate(model.slots):
            if slot["layer"] < config.layers and generator.random() < 0.6:
                assert await table.command(RowCommand.ADVANCE, slot=number) == 1
                model.advance(number)
        await table.check()
    await compact(table, generator, release=everything)


@cocotb.test()
async def full(dut):
    """All rows taken, as many appended as the table holds, one a cycle.

    None is offered until a compaction frees them.
    """
    config, table, generator = await begin(dut, "none")
    model, commands = table.model, []
    await table.take(config.physical_rows)
    for i, row in enumerate(model.taken[: config.rows]):
        slot, position = i * config.slots // config.rows, i % config.positions
        if not model.slots[slot]["resident"]:
            commands.append({"command": RowCommand.ADMIT.value, "slot": slot, "sentence": 7})
            model.admit(slot, 7)
        commands.append(
            {
                "command": RowCommand.APPEND.value,
                "slot": slot,
                "position": position,
                "physical": row,
            }
        )
        model.append(slot, position)
    first = table.cycle
    table.source.send(commands)
    await table.source.wait()
    assert table.cycle - first <= len(commands) + 2
    await RisingEdge(dut.clk)
    await table.check()
    assert dut.o_free__valid.value == 0
    await compact(table, generator, release=(1 << config.slots) - 1)


CONFIGS = [harness.small(), harness.small(tokens=3, slots=1), harness.small(slots=8, rows=40)]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.tokens}_{config.slots}")
def test_rows(config):
    harness.run_bench(
        Rows(config),
        "sim.bench.rows.test_rows",
        f"rows_{config.tokens}_{config.slots}",
        config=config,
    )
