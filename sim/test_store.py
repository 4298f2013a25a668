# SPDX-License-Identifier: Apache-2.0
"""hw/store.py: columns to every buffer, turned values, scores and contexts, against the golden model; padding writes nothing."""
import random

import cocotb
import pytest
import torch
from cocotb.triggers import ClockCycles

from firmware.isa import Function, Target
from golden_model import softmax as golden
from golden_model.adaptivfloat import encode_fixed
from golden_model.fixed import Saturations, align
from golden_model.gelu import gelu
from golden_model.requantize import requantize
from hw.mac_array import NOWHERE
from hw.store import Kind, Store
from sim import bench
from sim.engine import pulses, quiet

SHIFT, ALIGN, ENCODE, CONTEXT_SHIFT = 3, 1, 5, 24


class Bench:
    def __init__(self, dut, pause):
        self.dut, self.config, self.generator = dut, bench.config(), random.Random(11)
        self.block, self.t, self.p = Store(self.config), self.config.tokens, self.config.columns
        idle, stall = bench.pauses(pause)
        self.columns = bench.Source(dut, "columns", self.block.columns.payload.shape(), idle)
        self.totals = bench.Source(dut, "denominators", self.block.denominators.payload.shape())
        self.scores = bench.Sink(dut, "scores", self.block.scores.payload.shape(), stall)
        quiet(dut, self.block)
        self.writes, self.rows, self.stored = (
            pulses(dut, f"{name}_valid", name, getattr(self.block, name).shape()) for name in ("write", "value_write", "stored"))
        self.retired = pulses(dut, "retired")
        self.counter, self.saturations = bench.Counter(dut, "saturated"), Saturations()

    def command(self, kind, groups, number, width, final):
        """The columns of a command on one tile: `width` real columns a group, the others are padding; `final` of its denominators."""
        generator = self.generator
        meta = {"kind": kind.value, "tile": number % 3, "live": generator.randrange(1, 1 << self.t), "offset": 100 * number, "slot": 1, "head": 1,
                "final": int(final)}
        columns = []
        for group in range(groups):
            for lane in range(self.p):
                size = 2**generator.uniform(4, 19)
                columns.append({
                    "accumulators": [int(generator.uniform(-size, size)) for _ in range(self.t)], "bias": generator.randint(-5000, 5000),
                    "destination": (group if kind == Kind.LINEAR and self.target == Target.VALUES else group * self.p + lane)
                    if lane < width else NOWHERE,
                    "last": int((group, lane) == (groups - 1, self.p - 1)), "meta": meta})
        return columns

    async def run(self, target, function, commands, kind=Kind.LINEAR, totals=None):
        """Send the commands; returns their columns with the values that they should have."""
        dut, self.target = self.dut, target
        for name, value in (("shift", SHIFT), ("align", ALIGN), ("function", function), ("encode", ENCODE), ("target", target),
                            ("context_shift", CONTEXT_SHIFT)):
            bench.drive(dut, name, getattr(self.block, name).shape(), value)
        for found in (self.writes, self.rows, self.stored, self.retired):
            found.clear()
        columns = [column for number, (groups, width) in enumerate(commands)
                   for column in self.command(kind, groups, number, width, number == len(commands) - 1)]
        if totals:
            self.totals.send([totals])
            await self.totals.wait()
        self.columns.send(columns)
        await self.columns.wait()
        return [(column, self.value(column, function, totals)) for column in columns if column["destination"] != NOWHERE]

    def value(self, column, function, totals):
        """What the column becomes, its live lanes' saturations counted."""
        accumulators = torch.tensor(column["accumulators"])
        live = torch.tensor([bool(column["meta"]["live"] >> n & 1) for n in range(self.t)])
        result = None
        for chosen, saturations in ((slice(None), None), (live, self.saturations)):
            if totals:
                y = golden.context(accumulators[chosen], torch.tensor(totals)[chosen], CONTEXT_SHIFT, self.config.format, saturations)
            else:
                y = requantize(accumulators[chosen], torch.tensor(column["bias"]), SHIFT, saturations)
            if function == Function.GELU:
                y = gelu(align(y, ALIGN, 0, saturations), "gelu")
            result = y if result is None else result
        return result

    async def settle(self, commands, retired=True):
        await ClockCycles(self.dut.clk, 60)
        bench.assert_same("retired", len(self.retired), len(commands) if retired else 0)

    def codes(self, values):
        return encode_fixed(values, ENCODE, 0, self.config.format).tolist()

    def check_writes(self, want, coded):
        """Live lanes of every real column, in order."""
        got = [word for word in self.writes if word["lanes"]]
        bench.assert_same("writes", [(word["address"], word["lanes"]) for word in got],
                          [(column["meta"]["offset"] + column["destination"], column["meta"]["live"]) for column, _ in want])
        for word, (column, values) in zip(got, want, strict=True):
            expected = self.codes(values) if coded else values.tolist()
            bench.assert_same(f"column {column['destination']}", word["codes" if coded else "values"], expected)
        assert not self.rows

    def check_rows(self, want):
        """VALUES: a word of P features for each live row."""
        memory, expected = {word["address"]: word["codes"] for word in self.rows}, {}
        lane, previous = 0, None
        for column, values in want:
            meta, place = column["meta"], (column["meta"]["offset"], column["destination"])
            lane, previous = (lane + 1 if place == previous else 0), place
            for row, code in enumerate(self.codes(values)):
                if meta["live"] >> row & 1:
                    address = meta["offset"] + column["destination"] * self.config.rows + meta["tile"] * self.t + row
                    expected.setdefault(address, []).append(code)
        bench.assert_same("rows", sorted(memory), sorted(expected))
        for address, codes in expected.items():
            bench.assert_same(f"row at {address}", memory[address][:len(codes)], codes)
        assert not self.writes


@cocotb.test()
@cocotb.parametrize(pause=bench.PAUSES)
async def store(dut, pause):
    test = Bench(dut, pause)
    await bench.start(dut)
    whole, padded = test.p, test.p - 1
    commands = [(3, whole), (1, padded), (2, whole)]
    for target in (Target.CODES, Target.KEYS, Target.VALUES, Target.SUM, Target.SCORES):  # codes first: the encoder is not reset
        for function in (Function.NONE, Function.GELU):
            want = await test.run(target, function, commands)
            await test.settle(commands)
            bench.assert_same("stored", [word["values"] for word in test.stored], [values.tolist() for _, values in want])
            if target == Target.VALUES:
                test.check_rows(want)
            else:
                test.check_writes(want, coded=target not in (Target.SUM, Target.SCORES))
    want = await test.run(Target.CODES, Function.NONE, commands, kind=Kind.SCORE)
    got = await test.scores.receive(len(want))
    await test.settle(commands, retired=False)
    bench.assert_same("scores", [word["values"] for word in got], [values.tolist() for _, values in want])
    bench.assert_same("keys", [word["meta"]["destination"] for word in got], [column["destination"] for column, _ in want])
    for _ in range(2):
        totals = [test.generator.randint(2**14, 2**20) for _ in range(test.t)]
        want = await test.run(Target.CODES, Function.NONE, commands, kind=Kind.CONTEXT, totals=totals)
        await test.settle(commands)
        test.check_writes(want, coded=True)
    assert test.scores.empty() and test.saturations.count > 0
    bench.assert_same("saturated", await test.counter.total(), test.saturations.count)


@pytest.mark.parametrize(("tokens", "columns"), [(4, 4), (3, 5)])
def test_store(tokens, columns):
    config = bench.small(tokens=tokens, columns=columns)
    bench.run(Store(config), "sim.test_store", f"store_{tokens}_{columns}", config=config)
