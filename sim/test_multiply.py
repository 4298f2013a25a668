# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""hw/multiply.py: every pair of small factors, corners and random ones of wide factors, its latency, and a start that comes too early."""
import itertools
import random

import cocotb
import pytest
from amaranth import unsigned
from cocotb.triggers import RisingEdge

from hw.multiply import SerialMultiplier
from sim import bench
from sim.engine import pulse, quiet


def pairs(a_width, b_width):
    if a_width + b_width < 9:
        return itertools.product(range(1 << a_width), range(1 << b_width))
    generator, (a, b) = random.Random(a_width), ((1 << a_width) - 1, (1 << b_width) - 1)
    return [(0, 0), (0, b), (a, 0), (1, b), (a, 1), (a, b), (a ^ 1, b ^ 1),
            *((generator.getrandbits(a_width), generator.getrandbits(b_width)) for _ in range(60))]


@cocotb.test()
@cocotb.parametrize(early=[False, True])
async def multiply(dut, early):
    """`early`: another start while a product is in progress, which is ignored."""
    a_width, b_width = bench.parameters()["widths"]
    block = SerialMultiplier(a_width, b_width)
    quiet(dut, block)
    await bench.start(dut, 20_000)
    latency = b_width // 2 + b_width % 2 + 1
    for a, b in pairs(a_width, b_width):
        bench.drive(dut, "a", unsigned(a_width), a)
        bench.drive(dut, "b", unsigned(b_width), b)
        await pulse(dut, "start")
        bench.drive(dut, "a", unsigned(a_width), ~a % (1 << a_width))
        bench.drive(dut, "b", unsigned(b_width), ~b % (1 << b_width))
        dut.start.value = int(early and latency > 2)
        for cycle in range(1, latency + 1):
            await RisingEdge(dut.clk)
            assert dut.done.value == (cycle == latency), f"done after {cycle} cycles"
            if cycle == latency - 2:
                dut.start.value = 0
        for _ in range(3):
            bench.assert_same(f"{a} * {b}", bench.read(dut, "product", block.product.shape()), a * b)
            await RisingEdge(dut.clk)
            assert dut.done.value == 0


@pytest.mark.parametrize("widths", [(3, 3), (21, 18), (5, 11), (1, 2)], ids=str)
def test_multiply(widths):
    bench.run(SerialMultiplier(*widths), "sim.test_multiply", f"multiply_{widths[0]}", widths=widths)
