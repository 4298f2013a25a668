# SPDX-License-Identifier: Apache-2.0
"""hw/bus/section_check.py: sections that are sound, and each bit of one flipped."""

import random

import cocotb
import pytest
from amaranth import unsigned
from cocotb.triggers import ClockCycles, RisingEdge

from firmware.image import seal
from hw.bus.section_check import LATENCY, SectionCheck
from sim.bench import harness
from sim.bench.players import pulses, silence

TAG = unsigned(5)


class Bench:
    def __init__(self, dut, pause):
        self.dut = dut
        self.bus = harness.config().bus_bytes
        self.block = SectionCheck(harness.config(), TAG)
        self.pause = harness.pauses(pause)[0]
        self.noise = random.Random(5)
        silence(dut, self.block)
        self.verdicts = {
            name: pulses(dut, name, "tag", self.block.tag.shape()) for name in ("sound", "broken")
        }

    async def read(self, section, tag):
        """The words of a section, one after another, with what comes between them not taken."""
        dut = self.dut
        words = [section[at : at + self.bus] for at in range(0, len(section), self.bus)]
        for number, word in enumerate(words):
            while self.pause and next(self.pause):
                dut.moved.value = 0
                dut.word.value = self.noise.getrandbits(len(dut.word))  # of nobody
                await RisingEdge(dut.clk)
            value = {"data": int.from_bytes(word, "little"), "last": int(number == len(words) - 1)}
            harness.drive(dut, "word", self.block.word.shape(), value)
            dut.word_tag.value = tag
            dut.moved.value = 1
            await RisingEdge(dut.clk)
        dut.moved.value = 0


@cocotb.test()
@cocotb.parametrize(pause=["none", "idle"])
async def sections(dut, pause):
    """The verdicts of sound sections and of those with a bit flipped, without a gap between."""
    tb = Bench(dut, pause)
    await harness.start(dut)
    generator = random.Random(4)
    want = {"sound": [], "broken": []}
    for number in range(60):
        words = generator.choice((2, 2, 3, 5, 9))
        section = bytearray(seal(generator.randbytes(words * tb.bus - 4), words * tb.bus))
        broken = number % 3 == 1
        if broken:
            bit = generator.randrange(8 * len(section))
            section[bit // 8] ^= 1 << bit % 8
        want["broken" if broken else "sound"].append(number % 32)
        await tb.read(section, number % 32)
    await tb.read(bytes(8 * tb.bus), 7)  # zeros are no section
    want["broken"].append(7)
    await ClockCycles(dut.clk, LATENCY + 1)
    for name, tags in want.items():
        harness.assert_same(name, tb.verdicts[name], tags)


@pytest.mark.parametrize("bits", [32, 128])
def test_section_check(bits):
    config = harness.small(bus_bits=bits)
    harness.run_bench(
        SectionCheck(config, TAG),
        "sim.bench.bus.test_section_check",
        f"section_check_{bits}",
        config=config,
    )
