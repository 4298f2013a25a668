# SPDX-License-Identifier: Apache-2.0
"""hw/decide/drop.py against golden_model/softmax.py and token_drop.py.

Slots with rows anywhere in their tiles, eta by layer.
"""

import random

import cocotb
import pytest
import torch
from amaranth import unsigned
from cocotb.triggers import ClockCycles, RisingEdge

from golden_model.formats import EXP_IN_FRAC
from golden_model.softmax import numerator
from golden_model.token_drop import keep
from hw.decide.drop import Drop, cycles
from hw.rows.layouts import RowCommand, row_command_layout
from hw.shapes import index
from sim.bench import harness
from sim.bench.players import (
    WordPlayer,
    instruction_bits,
    pulse,
    pulses,
    silence,
    slot_table,
    tiles_of,
)

BASE = 33
STRIDE = 3
ONE = 2**16
PULSE = 2  # cycles that the bench counts besides: of the start


class Bench:
    def __init__(self, dut, pause):
        self.dut = dut
        self.config = harness.config()
        self.generator = random.Random(13)
        config, self.block = self.config, Drop(self.config)
        silence(dut, self.block)
        self.words = WordPlayer(dut, self.block, "scores", self._word, pause)
        self.stall = harness.pauses(pause, 7)[1]
        self.commands = []
        self.total = 0
        self.judging = []
        self.verdicts, self.tallies = (
            pulses(dut, f"{name}_valid", name, getattr(self.block, name).shape())
            for name in ("verdict", "tally")
        )
        self.done = pulses(dut, "done")
        self.scores, self.etas = [], [None] * config.layers
        cocotb.start_soon(self._rows())

    def _word(self, address):
        tile, feature = divmod(address - BASE, STRIDE)
        assert feature == 0, f"no predictor value at {address}"
        return self.scores[tile * self.config.tokens : (tile + 1) * self.config.tokens]

    async def _rows(self):
        """The row table: takes a COMPACT; a row's verdict must be there when its bit is read."""
        dut, layout = self.dut, row_command_layout(self.config)
        while True:
            ready = int(self.stall is None or not next(self.stall))
            dut.o_rows__ready.value = ready
            await RisingEdge(dut.clk)
            if dut.rst.value == 0 and ready and dut.o_rows__valid.value == 1:
                command = harness.read_port(dut, "o_rows__payload", layout)
                self.commands.append(
                    (RowCommand(command["command"]), command["mask"], command["release"])
                )
                dut.o_rows__ready.value = 0
                for row in range(self.total):
                    assert row not in self.judging or row in [
                        verdict["row"] for verdict in self.verdicts
                    ], f"row {row} is read before its verdict"
                    await RisingEdge(dut.clk)
                await RisingEdge(dut.clk)
                assert not self.done, "done before the row table was"
                await pulse(dut, "rows_done")

    async def set_eta(self, layer, eta):
        harness.drive(
            self.dut, "eta_write", self.block.eta_write.shape(), {"address": layer, "data": eta}
        )
        await pulse(self.dut, "eta_write_valid")
        self.etas[layer] = eta

    async def run(self, table, mask, layer, frac=EXP_IN_FRAC, spread=4000):
        """One DROP on random values. Compares everything that leaves.

        Returns the kept rows of each slot, and the cycles.
        """
        dut, config = self.dut, self.config
        self.scores = [self.generator.randint(-spread, spread) for _ in range(config.rows)]
        harness.drive(
            dut,
            "slots",
            self.block.slots.shape(),
            [{**slot, "start": min(slot["start"], config.rows - 1)} for slot in table],
        )
        harness.drive(dut, "mask", unsigned(config.slots), mask)
        harness.drive(dut, "layer", index(config.layers + 1), layer)
        self.total = max(slot["start"] + slot["count"] for slot in table)
        word = instruction_bits(
            source_base=BASE, source_stride=STRIDE, score_align=frac - EXP_IN_FRAC
        )
        harness.drive(dut, "instruction", unsigned(256), word)
        for found in (self.verdicts, self.tallies, self.done, self.words.asked, self.commands):
            found.clear()
        verdicts = []
        tallies = []
        asked = []
        for number, slot in enumerate(table):
            if mask >> number & 1:
                rows = range(slot["start"], slot["start"] + slot["count"])
                e = numerator(torch.tensor(self.scores[rows.start : rows.stop]), frac)
                kept = keep(e, self.etas[layer])
                verdicts += [
                    {"slot": number, "row": row, "exponential": int(x), "keep": int(bit)}
                    for row, x, bit in zip(rows, e, kept, strict=True)
                ]
                tallies.append({"slot": number, "count": len(rows), "kept": int(kept.sum())})
                asked += [(BASE + tile * STRIDE, 1) for tile, _ in tiles_of(config, rows)]
        self.judging = [verdict["row"] for verdict in verdicts]
        taken = 0
        cocotb.start_soon(pulse(dut, "start"))
        while not self.done:
            await RisingEdge(dut.clk)
            taken += 1
        harness.assert_same("verdicts", self.verdicts, verdicts)
        harness.assert_same("tallies", self.tallies, tallies)
        harness.assert_same("requests", self.words.asked, asked)
        harness.assert_same(
            "commands", self.commands, [(RowCommand.COMPACT, mask, 0)] * (mask != 0)
        )
        await ClockCycles(dut.clk, 20)
        assert len(self.done) == 1 and len(self.verdicts) == len(verdicts)
        return [tally["kept"] for tally in tallies], taken


def tables(config, generator):
    """Slots that fill, share and straddle tiles.

    One row; the longest sentence; rows of nobody before them.
    """
    yield slot_table(config, *[1] * config.slots)
    yield slot_table(config, config.positions)
    yield slot_table(config, *[config.tokens + 1] * config.slots)
    for _ in range(3):
        rest, counts = config.rows, []
        for left in range(config.slots, 0, -1):
            counts.append(generator.randint(1, min(config.positions, rest - left + 1)))
            rest -= counts[-1]
        shift = generator.randint(0, rest)
        yield [{**slot, "start": slot["start"] + shift} for slot in slot_table(config, *counts)]


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def dropping(dut, pause):
    test = Bench(dut, pause)
    config, generator = test.config, test.generator
    await harness.start(dut, 50_000)
    for layer in range(config.layers):
        await test.set_eta(layer, [0, ONE, ONE // 2][layer % 3])
    for table in tables(config, generator):
        resident = sum(slot["resident"] << i for i, slot in enumerate(table))
        for mask in {resident, resident & generator.getrandbits(config.slots) or 1}:
            frac, spread = generator.choice([(EXP_IN_FRAC, 4000), (8, 32767), (14, 900), (5, 3)])
            await test.run(table, mask, generator.randrange(config.layers), frac, spread)


@cocotb.test()
@cocotb.parametrize(pause=["none", "both"])
async def nobody(dut, pause):
    """An empty mask ends at once; the run after it is whole."""
    test = Bench(dut, pause)
    await harness.start(dut, 50_000)
    await test.set_eta(1, ONE)
    table = slot_table(test.config, 5)
    for _ in range(2):
        assert await test.run(table, 0, 1) == ([], cycles(test.config, [], 0) + PULSE)
        await test.run(table, 1, 1)


@cocotb.test()
async def etas(dut):
    """Each layer has its own eta, and keeps it; eta 0 keeps all, equal values stay at eta 1.0."""
    test = Bench(dut, "none")
    config = test.config
    await harness.start(dut, 50_000)
    table = slot_table(config, config.positions)
    for layer in range(config.layers):
        await test.set_eta(layer, test.generator.randint(ONE // 2, ONE))
    for layer in reversed(range(config.layers)):
        await test.run(table, 1, layer)
    await test.set_eta(0, 0)
    await test.set_eta(1, ONE)
    assert (await test.run(table, 1, 0))[0] == [config.positions]
    assert (await test.run(table, 1, 1, spread=0))[0] == [config.positions]
    kept, _ = await test.run(table, 1, 1, 5, 32767)
    assert kept < [config.positions // 2 + 1], "the largest values alone stay"


@cocotb.test()
async def speed(dut):
    """Those of the docstring, whether rows are dropped or not."""
    test = Bench(dut, "none")
    await harness.start(dut, 50_000)
    await test.set_eta(0, ONE)
    for count in (1, test.config.positions):
        for spread in (0, 32767):
            _, taken = await test.run(slot_table(test.config, count), 1, 0, spread=spread)
            harness.assert_same(
                f"cycles for {count} rows",
                taken,
                cycles(test.config, [(0, count)], count) + PULSE,
            )


CONFIGS = {
    "4": harness.small(),
    "3": harness.small(tokens=3, slots=4, rows=30, positions=13),
    "1": harness.small(slots=1),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_drop(name):
    harness.run_bench(
        Drop(CONFIGS[name]), "sim.bench.decide.test_drop", f"drop_{name}", config=CONFIGS[name]
    )
