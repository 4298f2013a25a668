# SPDX-License-Identifier: Apache-2.0
"""hw/rows/slot_walk.py against the slots of the mask."""

import random

import cocotb
import pytest
from cocotb.triggers import FallingEdge, RisingEdge

from hw.rows.slot_walk import SlotWalk
from sim.bench import harness
from sim.bench.players import pulse, silence


def walk(table, mask):
    """The slots of a mask in the order of their numbers, as `walk_layout` shows them."""
    chosen = [number for number in range(len(table)) if mask >> number & 1]
    return [
        {
            "number": number,
            "selected": 1 << number,
            **{name: table[number][name] for name in ("layer", "start", "count")},
            "last": int(number == chosen[-1]),
        }
        for number in chosen
    ]


class Bench:
    """A SlotWalk with a slot table of random entries, which changes under it."""

    def __init__(self, dut, pause="none"):
        self.dut = dut
        self.config = harness.config()
        self.block = SlotWalk(self.config)
        self.generator = random.Random(self.config.slots)
        silence(dut, self.block)
        _, stall = harness.pauses(pause)
        self.sink = harness.Sink(dut, "o", self.block.o.payload.shape(), stall)
        self.table = []
        self.change()

    def change(self):
        """Every entry of the table becomes another one."""
        fields = self.block.slots.shape().elem_shape.members
        self.table = [
            {
                name: self.generator.randrange(len(shape))
                if isinstance(shape, range)
                else self.generator.getrandbits(getattr(shape, "width", shape))
                for name, shape in fields.items()
            }
            for _ in range(self.config.slots)
        ]
        harness.drive(self.dut, "slots", self.block.slots.shape(), self.table)

    async def run(self, mask):
        """One walk: what comes, and that the last slot is held when the table has changed."""
        want = walk(self.table, mask)
        self.dut.mask.value = mask
        await pulse(self.dut, "start")
        harness.assert_same("walk", await self.sink.receive(len(want)), want)
        self.change()
        for _ in range(self.config.slots + 2):
            await RisingEdge(self.dut.clk)
        assert self.sink.empty(), "a slot behind the last one"
        if want:
            held = harness.read_port(self.dut, "held", self.block.held.shape())
            harness.assert_same("held", held, want[-1])


def masks(config, generator):
    """None, all, each slot alone, random ones."""
    every = (1 << config.slots) - 1
    yield from (every, 0)
    yield from (1 << slot for slot in range(config.slots))
    yield from (generator.randint(0, every) for _ in range(20))


@cocotb.test()
@cocotb.parametrize(pause=["none", "stall"])
async def slots(dut, pause):
    test = Bench(dut, pause)
    await harness.start(dut)
    for mask in masks(test.config, test.generator):
        await test.run(mask)


@cocotb.test()
async def speed(dut):
    """The first slot in the cycle after `start`, then one a cycle."""
    test = Bench(dut)
    await harness.start(dut)
    dut.mask.value = -1 % (1 << test.config.slots)
    await pulse(dut, "start")
    assert test.sink.empty()
    for _ in range(test.config.slots):
        await RisingEdge(dut.clk)
    await test.sink.receive(test.config.slots)
    await FallingEdge(dut.clk)
    first = test.sink.cycles[0]
    harness.assert_same("cycles", test.sink.cycles, list(range(first, first + test.config.slots)))
    assert dut.o__valid.value == 0


@cocotb.test()
async def again(dut):
    """`start` in the cycle of a slot that is taken: the new mask, whole."""
    test = Bench(dut)
    await harness.start(dut)
    every = (1 << test.config.slots) - 1
    dut.mask.value = every
    await pulse(dut, "start")
    await pulse(dut, "start")
    want = walk(test.table, every)
    got = await test.sink.receive(1 + len(want))
    harness.assert_same("walks", got, [want[0], *want])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_slot_walk(count):
    config = harness.small(slots=count)
    harness.run_bench(
        SlotWalk(config), "sim.bench.rows.test_slot_walk", f"slot_walk_{count}", config=config
    )
