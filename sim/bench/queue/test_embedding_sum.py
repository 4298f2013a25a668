# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""hw/queue/embedding_sum.py against golden_model/embedding.py, cycle by cycle."""

import random

import cocotb
import pytest
import torch
from cocotb.triggers import RisingEdge

from golden_model.config import INT8, NumberFormat
from golden_model.embedding import embedding_sum
from golden_model.fixed import Saturations
from hw.queue.embedding_sum import (
    SHIFT_HIGH,
    SHIFT_LOW,
    STAGES,
    TABLES,
    EmbeddingSum,
    feature_layout,
)
from hw.shapes import ROW
from sim.bench import harness
from sim.bench.players import silence

TOKENS = 24
LATENCY = STAGES + 1  # cycles from a code to its feature


class Codes:
    """Gives codes; looks at every cycle for the features that leave.

    left : {cycle: (feature, whether it was clamped)}
    expected : likewise; a feature's code of the last table fixes its cycle
    """

    def __init__(self, dut):
        self.config = harness.config()
        self.block = EmbeddingSum(self.config)
        self.dut = dut
        self.left = {}
        self.expected = {}
        self._cycle = 0
        self._given = [False] * LATENCY  # whether a code was there, in this cycle and those before
        silence(dut, self.block)

    def drive(self, name, value):
        harness.drive(self.dut, name, getattr(self.block, name).shape(), value)

    async def tick(self):
        """A cycle passes; codes are on their way until they are summed up, or have left."""
        await RisingEdge(self.dut.clk)
        self._cycle += 1
        self._given = [self.dut.code_valid.value == 1, *self._given[:-1]]
        leaves = self.dut.sum_valid.value == 1
        assert self.busy == (any(self._given) or leaves), f"busy: {self.busy}"
        clamped = self.dut.saturated.value == 1
        if leaves:
            feature = harness.read_port(self.dut, "sum", feature_layout())
            self.left[self._cycle] = feature, clamped
        else:
            assert not clamped, "saturated without a feature"

    @property
    def busy(self):
        return self.dut.busy.value == 1

    async def row(self, codes, pause):
        """A table's row of codes, with `pause` between some -> cycles in which they were there."""
        cycles = []
        for feature, code in enumerate(codes):
            while pause and next(pause):
                await self.tick()
            self.drive("feature", feature)
            self.drive("code", code)
            self.drive("code_valid", 1)
            await self.tick()
            cycles.append(self._cycle)
            self.drive("code_valid", 0)
            self.drive("code", codes[0])  # nobody may look at it
        return cycles


def shifts_of(generator, number):
    """Shifts of the tables: both ends, those that clamp, any."""
    if number < 3:
        return [[SHIFT_LOW] * TABLES, [SHIFT_HIGH] * TABLES, [0] * TABLES][number]
    low, high = generator.choice([(SHIFT_LOW, SHIFT_HIGH), (SHIFT_LOW, 0), (-2, 6)])
    return [generator.randint(low, high) for _ in range(TABLES)]


def features(config, rows, shifts):
    """[(value, whether it was clamped)] of rows of codes, one of each table."""
    sums = []
    for codes in torch.tensor(rows).T:
        saturations = Saturations()
        value = embedding_sum(*codes[:, None], shifts, config.format, saturations)
        sums.append((int(value), bool(saturations.count)))
    return sums


@cocotb.test()
@cocotb.parametrize(pause=["none", "idle"])
async def sums(dut, pause):
    """Tokens of any width, with all shifts; the features of some are not wanted."""
    codes = Codes(dut)
    config = codes.config
    generator = random.Random(config.format.bits)
    idle, _ = harness.pauses(pause)
    await harness.start(dut)
    for number in range(TOKENS):
        width = generator.choice([config.embedding, generator.randint(1, config.embedding)])
        largest = (1 << config.format.bits) - 1
        rows = [[generator.randint(0, largest) for _ in range(width)] for _ in range(TABLES)]
        shifts = shifts_of(generator, number)
        token = generator.getrandbits(ROW.width)
        wanted = number < 3 or generator.random() < 0.7
        for name, value in (("width", width), ("row", token), ("wanted", wanted)):
            codes.drive(name, value)
        for name, shift in zip(("word", "position", "segment"), shifts, strict=True):
            codes.drive(f"{name}_shift", shift)
        for table, row in enumerate(rows):
            codes.drive("table", table)
            for _ in range(generator.randint(1, 3)):
                await codes.tick()
            cycles = await codes.row(row, idle)
            await codes.tick()
            while codes.busy:
                await codes.tick()
        if wanted:
            codes.expected |= {
                cycle + LATENCY: (
                    {"row": token, "feature": n, "value": value, "last": int(n == width - 1)},
                    clamped,
                )
                for n, (cycle, (value, clamped)) in enumerate(
                    zip(cycles, features(config, rows, shifts), strict=True)
                )
            }
    harness.assert_same("features", codes.left, codes.expected)


FORMATS = {"af8": harness.small(), "int8": harness.small(format=INT8)}
FORMATS["wide"] = harness.small(format=NumberFormat(8, 4))


@pytest.mark.parametrize("name", FORMATS)
def test_embedding_sum(name):
    harness.run_bench(
        EmbeddingSum(FORMATS[name]),
        "sim.bench.queue.test_embedding_sum",
        f"embedding_sum_{name}",
        config=FORMATS[name],
    )
