# SPDX-License-Identifier: Apache-2.0
"""Store: columns to every buffer, turned values, scores and contexts; padding writes nothing."""

import cocotb
import pytest
from cocotb.triggers import ClockCycles

from firmware.isa import Function, Target
from hw.array.column import Kind
from hw.array.store import Store
from sim.bench import harness
from sim.bench.array.store_bench import BEHIND, Behind, Bench


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def store(dut, pause):
    """Columns of every kind to every buffer, and the count of saturations."""
    test = Bench(dut, pause)
    await harness.start(dut)
    whole, padded = test.p, test.p - 1
    commands = [(3, whole), (1, padded), (2, whole)]
    for target in (
        Target.CODES,
        Target.KEYS,
        Target.VALUES,
        Target.SUM,
        Target.SCORES,
        Target.VALUES,
    ):  # codes first: the encoder is not reset
        for function, align in ((Function.NONE, 1), (Function.GELU, 1), (Function.GELU, -2)):
            want = await test.run(target, function, commands, align_from=align)
            await test.settle(commands)
            harness.assert_same(
                "stored",
                [word["values"] for word in test.stored],
                [values.tolist() for _, values in want],
            )
            if target == Target.VALUES:
                test.check_rows(want)
            else:
                test.check_writes(want, coded=target not in (Target.SUM, Target.SCORES))
    want = await test.run(Target.CODES, Function.NONE, commands, kind=Kind.SCORE)
    got = await test.scores.receive(len(want))
    await test.settle(commands, retired=False, ended=False)
    harness.assert_same(
        "scores", [word["values"] for word in got], [values.tolist() for _, values in want]
    )
    harness.assert_same(
        "keys",
        [word["meta"]["destination"] for word in got],
        [column["destination"] for column, _ in want],
    )
    for _ in range(2):
        totals = [test.generator.randint(2**14, 2**20) for _ in range(test.t)]
        want = await test.run(
            Target.CODES, Function.NONE, commands, kind=Kind.CONTEXT, totals=totals
        )
        await test.settle(commands, ended=False)
        test.check_writes(want, coded=True)
    assert test.scores.empty() and test.saturations.count > 0
    harness.assert_same("saturated", await test.counter.total(), test.saturations.count)


@cocotb.test()
@cocotb.parametrize(groups=range(1, 9))
async def waiting(dut, groups):
    """More columns of VALUES than have places, behind `groups` of another buffer's."""
    test = Bench(dut, "none")
    await harness.start(dut)
    for target, commands in (
        (Target.CODES, [(groups, test.p)]),
        (Target.VALUES, [(20, test.p)]),
    ):
        want = await test.run(target, Function.NONE, commands)
        await ClockCycles(dut.clk, 200)
        await test.settle(commands)
    test.check_rows(want)


@cocotb.test()
@cocotb.parametrize(pause=["none", "idle"])
async def behind(dut, pause):
    test = Behind(dut, pause)
    await harness.start(dut)
    operations = [test.operation(number, *one) for number, one in enumerate(BEHIND)]
    test.columns.send([column for _, columns in operations for column in columns])
    await test.issue(operations)
    await ClockCycles(dut.clk, 60)
    harness.assert_same("ended", len(test.ended), len(operations))
    test.check(operations)
    harness.assert_same("saturated", await test.counter.total(), test.saturations.count)


@pytest.mark.parametrize(("tokens", "columns"), [(4, 4), (3, 5), (8, 2)])
def test_store(tokens, columns):
    config = harness.small(tokens=tokens, columns=columns)
    harness.run_bench(
        Store(config), "sim.bench.array.test_store", f"store_{tokens}_{columns}", config=config
    )
