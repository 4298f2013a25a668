# SPDX-License-Identifier: Apache-2.0
"""hw/counters/tally.py against golden_model/counters.py.

Passes over random slots, each as soon as the one before has been counted.
"""

import dataclasses
import random

import cocotb
import pytest
from cocotb.triggers import ClockCycles, RisingEdge

from golden_model.counters import Work, count_macs
from golden_model.hardware import HARDWARE
from hw.counters.tally import Tally, longest, tally_layout
from sim.bench import harness
from sim.bench.players import pulse, silence, slot_table

MOST = (1 << 32) - 1
WORK = {
    "useful": Work(70_001, 96),
    "zeros": Work(1_234_567, 0),
    "heads": Work(999, 32),
    "dense": Work(MOST, MOST - 1),
}


class Bench:
    """Plays admissions, beginnings of ATTEND and verdicts."""

    def __init__(self, dut):
        self.dut = dut
        self.config = harness.config()
        self.block = Tally(harness.config())
        self.found = dict.fromkeys(tally_layout(self.config).members, 0)
        silence(dut, self.block)

    async def start(self):
        await harness.start(self.dut, 400_000)
        self.dut.layers.value = self.config.layers
        for address, value in enumerate(value for work in WORK.values() for value in work):
            await self.give("work_write", {"address": address, "data": value})
        cocotb.start_soon(self._watch())

    async def _watch(self):
        while True:
            await RisingEdge(self.dut.clk)
            for name, step in harness.read_port(self.dut, "o", tally_layout(self.config)).items():
                self.found[name] += step

    async def give(self, name, value):
        harness.drive(self.dut, name, getattr(self.block, name).shape(), value)
        await pulse(self.dut, f"{name}_valid")

    async def attend(self, table):
        """The slot table changes as soon as it may."""
        harness.drive(
            self.dut, "slots", self.block.slots.shape(), [{**slot, "start": 0} for slot in table]
        )
        self.dut.mask.value = sum(slot["resident"] << i for i, slot in enumerate(table))
        await pulse(self.dut, "attend")
        await ClockCycles(self.dut.clk, 2 * self.config.slots)
        harness.drive(self.dut, "slots", self.block.slots.shape(), slot_table(self.config))

    async def passes(self, queue):
        """Sentences (length, live tokens by layer), each in the first slot that is free.

        Returns the cycles of the longest pass.
        """
        slots = [None] * self.config.slots
        layer = [0] * self.config.slots
        longest = 0
        while queue or any(slots):
            for i, sentence in enumerate(slots):
                if sentence is None and queue:
                    slots[i], layer[i] = queue.pop(0), 0
                    await self.give("begin", {"slot": i, "count": slots[i][0]})
            await self.attend(
                slot_table(
                    self.config,
                    *(sentence and sentence[1][layer[i]] for i, sentence in enumerate(slots)),
                )
            )
            for i, sentence in enumerate(slots):
                if sentence and layer[i] == len(sentence[1]) - 1:
                    await self.give("verdict", {"slot": i, "layer": layer[i]})
                    slots[i] = None
            layer = [number + 1 for number in layer]
            longest = max(longest, await self.rest())
        return longest

    async def rest(self):
        cycles = 0
        while self.dut.resting.value != 1:
            await RisingEdge(self.dut.clk)
            cycles += 1
        await RisingEdge(self.dut.clk)
        return cycles

    def compare(self, sentences):
        wanted = count_macs(WORK, self.config.layers, sentences)
        harness.assert_same(
            "counted", self.found, {name.lower(): value for name, value in wanted.items()}
        )


def sentence(config, generator):
    """The live tokens become fewer from layer to layer."""
    length = generator.choice([1, config.positions, generator.randint(1, config.positions)])
    live, now = [], length
    for _ in range(generator.choice([1, config.layers, generator.randint(1, config.layers)])):
        now = generator.choice([1, now, generator.randint(1, now)])
        live.append(now)
    return length, live


@cocotb.test()
@cocotb.parametrize(seed=[1, 2])
async def passes(dut, seed):
    test, generator = Bench(dut), random.Random(seed)
    await test.start()
    sentences = [sentence(test.config, generator) for _ in range(4 * test.config.slots)]
    await test.passes(list(sentences))
    test.compare(sentences)


@cocotb.test()
async def at_once(dut):
    """All slots hold the longest sentence and leave at once."""
    test = Bench(dut)
    config = test.config
    await test.start()
    sentences = [(config.positions, [1])] * config.slots + [
        (config.positions, [config.positions] * config.layers)
    ] * config.slots
    cycles = await test.passes(list(sentences))
    test.compare(sentences)
    assert cycles <= longest(config)


@pytest.mark.parametrize(
    "name, config",
    [
        ("small", harness.small()),
        ("one", harness.small(slots=1)),
        ("edgebert", HARDWARE["edgebert"]),
        (
            "wide",
            dataclasses.replace(HARDWARE["edgebert"], slots=16, positions=512, rows=512, layers=48),
        ),
    ],
)
def test_tally(name, config):
    harness.run_bench(
        Tally(config), "sim.bench.counters.test_tally", f"tally_{name}", config=config
    )
