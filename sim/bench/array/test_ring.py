# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""hw/array/ring.py: blocks of words, each read several times; none is lost of a full ring."""

import random

import cocotb
import pytest
from cocotb.triggers import ClockCycles, RisingEdge

from hw.array.ring import LATENCY, Ring
from sim.bench import harness
from sim.bench.players import silence

BITS = 12


def reads(depth, blocks=40):
    """[(word, release, rewind)] of blocks, each read up to three times, and their words."""
    generator = random.Random(depth)
    words, plan = [], []
    for _ in range(blocks):
        block = [generator.getrandbits(BITS) for _ in range(generator.randint(1, depth))]
        words += block
        times = generator.randint(1, 3)
        early = generator.random() < 0.5  # words of the last time are released one by one
        for time in range(1, times + 1):
            for number, word in enumerate(block, 1):
                last = number == len(block)
                release = time == times and (early or last)
                plan.append((word, int(release), int(last and time < times)))
    return words, plan


async def take(dut, plan, pause):
    """Take words; each must be the plan's, and stay until it is taken."""
    for number, (word, release, rewind) in enumerate(plan):
        dut.release.value, dut.rewind.value = release, rewind
        while True:
            ready = not (pause and next(pause))
            dut.o__ready.value = int(ready)
            await RisingEdge(dut.clk)
            if dut.o__valid.value == 1:
                harness.assert_same(f"word {number}", dut.o__payload.value.to_unsigned(), word)
                if ready:
                    break
    dut.o__ready.value = dut.release.value = dut.rewind.value = 0


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def blocks(dut, pause):
    depth = harness.parameters()["depth"]
    silence(dut, Ring(BITS, depth))
    idle, stall = harness.pauses(pause)
    source = harness.Source(dut, "i", BITS, idle)
    await harness.start(dut)
    words, plan = reads(depth)
    source.send(words)
    await take(dut, plan, stall)
    await ClockCycles(dut.clk, LATENCY + 2)
    assert dut.o__valid.value == 0, "a word more"


@cocotb.test()
async def full(dut):
    """`depth` words go in, one a cycle, and no other before one is released."""
    depth = harness.parameters()["depth"]
    silence(dut, Ring(BITS, depth))
    source = harness.Source(dut, "i", BITS)
    await harness.start(dut)
    words = list(range(1, 3 * depth + 1))
    source.send(words)
    await ClockCycles(dut.clk, 4 * depth)
    assert len(source.cycles) == depth
    assert source.cycles[-1] - source.cycles[0] == depth - 1
    await take(dut, [(word, 1, 0) for word in words], None)


@pytest.mark.parametrize("depth", [2, 8, 32])
def test_ring(depth):
    harness.run_bench(Ring(BITS, depth), "sim.bench.array.test_ring", f"ring_{depth}", depth=depth)
