# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""SerialMultiplier: every pair of small factors, corners and random pairs of wide and narrow ones.

Latency, and a start that comes too early.
"""

import itertools
import random

import cocotb
import pytest
from amaranth import unsigned
from cocotb.triggers import RisingEdge

from hw.arith.multiply import SerialMultiplier
from sim.bench import harness
from sim.bench.players import pulse, silence


def pairs(a_width, b_width):
    if a_width + b_width < 9:
        return itertools.product(range(1 << a_width), range(1 << b_width))
    generator, (a, b) = random.Random(a_width), ((1 << a_width) - 1, (1 << b_width) - 1)
    return [
        (0, 0),
        (0, b),
        (a, 0),
        (1, b),
        (a, 1),
        (a, b),
        (a ^ 1, b ^ 1),
        *((generator.getrandbits(a_width), generator.getrandbits(b_width)) for _ in range(60)),
    ]


@cocotb.test()
@cocotb.parametrize(early=[False, True])
async def multiply(dut, early):
    """`early`: another start while a product is in progress, which is ignored."""
    a_width, b_width = harness.parameters()["widths"]
    block = SerialMultiplier(a_width, b_width)
    silence(dut, block)
    await harness.start(dut, 20_000)
    whole = b_width // 2 + b_width % 2
    harness.drive(dut, "steps", block.steps.shape(), whole)
    latency = whole + 1
    for a, b in pairs(a_width, b_width):
        harness.drive(dut, "a", unsigned(a_width), a)
        harness.drive(dut, "b", unsigned(b_width), b)
        await pulse(dut, "start")
        harness.drive(dut, "a", unsigned(a_width), ~a % (1 << a_width))
        harness.drive(dut, "b", unsigned(b_width), ~b % (1 << b_width))
        dut.start.value = int(early and latency > 2)
        for cycle in range(1, latency + 1):
            await RisingEdge(dut.clk)
            assert dut.done.value == (cycle == latency), f"done after {cycle} cycles"
            if cycle == latency - 2:
                dut.start.value = 0
        for _ in range(3):
            harness.assert_same(
                f"{a} * {b}", harness.read_port(dut, "product", block.product.shape()), a * b
            )
            await RisingEdge(dut.clk)
            assert dut.done.value == 0


@cocotb.test()
async def narrow(dut):
    """A factor b of fewer bits takes fewer steps.

    The next product starts in the cycle in which the one before is complete.
    """
    a_width, b_width = harness.parameters()["widths"]
    block = SerialMultiplier(a_width, b_width)
    silence(dut, block)
    await harness.start(dut, 20_000)
    if b_width % 2:  # the port `product` lacks the last bit of `narrow`
        return
    before = None
    for width in [*range(1, b_width + 1), *range(1, b_width + 1)]:
        for a, b in pairs(a_width, width):
            for name, value in (("a", a), ("b", b), ("steps", block.steps_of(width))):
                harness.drive(dut, name, getattr(block, name).shape(), value)
            dut.start.value = 1
            for cycle in range(block.steps_of(width) + 1):
                await RisingEdge(dut.clk)
                assert dut.done.value == int(cycle == 0 and before is not None), (
                    f"done in cycle {cycle}"
                )
                if cycle == 0 and before:
                    harness.assert_same(
                        "product",
                        harness.read_port(dut, "product", block.product.shape()) >> before[1],
                        before[0],
                    )
                dut.start.value = 0
            before = a * b, 2 * (block.steps_of(b_width) - block.steps_of(width))


@pytest.mark.parametrize("widths", [(3, 3), (21, 18), (5, 11), (1, 2)], ids=str)
def test_multiply(widths):
    harness.run_bench(
        SerialMultiplier(*widths),
        "sim.bench.arith.test_multiply",
        f"multiply_{widths[0]}",
        widths=widths,
    )
