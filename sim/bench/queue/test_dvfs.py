# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""hw/queue/dvfs.py against golden_model/dvfs.py.

The bench's time runs at the acknowledged operating point.
"""

import random

import cocotb
import pytest
from amaranth.lib import data
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge

from golden_model.dvfs import BINS, FREQUENCIES, PERIOD_FRAC, periods, predicted_exit, request
from hw.queue.dvfs import Dvfs
from hw.rows.layouts import slot_layout
from sim.bench import harness

LENGTHS = periods()
LAYERS = 6
DECISION = 900  # more cycles than any decision takes in these configurations


class Machine:
    """Drives a Dvfs as an accelerator does, and keeps time and predictions like it."""

    def __init__(self, dut, config, delay=3):
        self.dut = dut
        self.config = config
        self.delay = delay
        self.members = Dvfs(config).signature.members
        self.generator = random.Random(config.slots)
        self.table = [self.generator.randint(1, LAYERS) for _ in range(BINS)]
        self.slots = [{"resident": 0, "layer": 0} for _ in range(config.slots)]
        self.deadlines, self.predicted = [None] * config.slots, [0] * config.slots
        self.time = 0
        self.current = len(FREQUENCIES) - 1
        self.clock = 0
        self.at = 0
        self.cycles = 0
        self.rows = 0
        self.codes = []

    async def start(self):
        """Reset with quiet inputs, start clock and regulator, write the predictor's table."""
        for name in (
            "table_write_valid",
            "admit_valid",
            "verdict_valid",
            "begin",
            "through",
            "end",
            "dvfs_acknowledge",
            "total",
        ):
            getattr(self.dut, name).value = 0
        harness.drive(self.dut, "layers", 8, LAYERS)
        self.show()
        await harness.start(self.dut)
        cocotb.start_soon(self.keep_time())
        cocotb.start_soon(self.regulate())
        for address, layer in enumerate(self.table):
            await self.pulse("table_write", address=address, data=layer)

    def show(self, total=0):
        layout = data.ArrayLayout(slot_layout(self.config), self.config.slots)
        harness.drive(self.dut, "slots", layout, self.slots)
        harness.drive(self.dut, "total", self.members["total"].shape, total)

    async def pulse(self, name, **fields):
        valid = getattr(self.dut, f"{name}_valid" if fields else name)
        await FallingEdge(self.dut.clk)
        if fields:
            harness.drive(self.dut, name, self.members[name].shape, fields)
        valid.value = 1
        await FallingEdge(self.dut.clk)
        valid.value = 0

    async def keep_time(self):
        """What the block's registers do at every edge."""
        dut = self.dut
        begun = False
        start = None  # of the pass that runs
        while True:
            await RisingEdge(dut.clk)
            if begun:
                self.at = self.time
            if dut.admit_valid.value == 1:
                admit = harness.read_port(dut, "admit", self.members["admit"].shape)
                deadline = admit["deadline"]
                self.deadlines[admit["slot"]] = (
                    self.time + (deadline << PERIOD_FRAC) if deadline else None
                )
            if dut.end.value == 1 and start is not None:
                self.cycles = self.clock - start
                start = None
            begun = dut.begin.value == 1
            start = self.clock if begun else start
            self.clock += 1
            self.time += LENGTHS[self.current]
            if dut.dvfs_request.value == 1 and dut.dvfs_acknowledge.value == 1:
                self.current = int(dut.dvfs_code.value)
                self.codes.append(self.current)

    async def regulate(self):
        """Acknowledge after `delay` cycles; the code must not change meanwhile."""
        dut = self.dut
        while True:
            await FallingEdge(dut.clk)
            if dut.dvfs_request.value == 1:
                code = int(dut.dvfs_code.value)
                for _ in range(self.delay):
                    await FallingEdge(dut.clk)
                    assert (int(dut.dvfs_request.value), int(dut.dvfs_code.value)) == (1, code), (
                        "request changed"
                    )
                dut.dvfs_acknowledge.value = 1
                await FallingEdge(dut.clk)
                assert dut.dvfs_request.value == 0
                await ClockCycles(dut.clk, 2)
                dut.dvfs_acknowledge.value = 0

    async def admit(self, slot, deadline):
        await self.pulse("admit", slot=slot, deadline=deadline)
        self.slots[slot] = {"resident": 1, "layer": 0}
        self.predicted[slot] = 0

    async def verdict(self, slot, entropy):
        await self.pulse("verdict", slot=slot, entropy=entropy)
        self.predicted[slot] = self.predicted[slot] or predicted_exit(entropy, self.table)
        await ClockCycles(self.dut.clk, 2)
        await FallingEdge(self.dut.clk)
        assert (
            harness.read_port(self.dut, "predicted", self.members["predicted"].shape)
            == self.predicted
        )

    def want(self, total):
        tokens = self.config.tokens
        slots = [
            (
                None if self.deadlines[i] is None else self.deadlines[i] - self.at,
                slot["layer"],
                self.predicted[i],
            )
            for i, slot in enumerate(self.slots)
            if slot["resident"]
        ]
        return request(slots, LAYERS, -(-total // tokens), self.cycles, -(-self.rows // tokens))

    async def begin(self, total):
        """Begin a pass, and check the point that it runs at; returns the point."""
        self.show(total)
        await self.pulse("begin")
        await ClockCycles(self.dut.clk, DECISION + 3 * self.delay)
        await FallingEdge(self.dut.clk)
        harness.assert_same("point", self.current, self.want(total))
        assert self.dut.dvfs_request.value == 0
        return self.current

    async def end(self, total, cycles=0):
        """End the pass after some more cycles; the slots that stay move on one layer."""
        self.show(total)
        await ClockCycles(self.dut.clk, cycles + 1)
        await self.pulse("through")
        self.show(0)
        await self.pulse("through")  # a second group's exits: only the first counts
        await self.pulse("end")
        self.rows = total
        for slot in self.slots:
            slot["layer"] += slot["resident"]


@cocotb.test()
async def governed(dut):
    """Random sentences over many passes; each decision is the golden model's."""
    config = harness.config()
    machine = Machine(dut, config)
    generator = machine.generator
    await machine.start()
    points, total = set(), generator.randint(1, config.rows)
    for _ in range(25):
        for slot, state in enumerate(machine.slots):
            if state["resident"] and (state["layer"] == LAYERS or generator.random() < 0.35):
                state["resident"] = 0
            if not state["resident"] and generator.random() < 0.6:
                await machine.admit(
                    slot,
                    generator.choice(
                        [0, 2**32 - 1] + [generator.randint(1, 10_000 * config.slots)] * 9
                    ),
                )
        points.add(await machine.begin(total))
        near = max(1, min(config.rows, total + generator.randint(-4, 4)))
        total = generator.choice([near, generator.randint(1, config.rows)])
        for slot, state in enumerate(machine.slots):
            if state["resident"]:
                await machine.verdict(
                    slot, generator.choice([0, 2**18 - 1, generator.getrandbits(18)])
                )
        await machine.end(total, generator.randint(0, 300))
    assert len(points) > 2, points


@cocotb.test()
async def every_point(dut):
    """The later the deadline of one sentence, the lower the point: each of them comes."""
    machine = Machine(dut, harness.config())
    await machine.start()
    await machine.begin(8)
    await machine.end(8)
    points = []
    for step in range(30):
        await machine.admit(0, 5000 + 600 * step)
        points.append(await machine.begin(8))
        await machine.end(8)
    assert set(points) == set(range(len(FREQUENCIES))), points


@cocotb.test()
async def mispredicted(dut):
    """One slot: predicted to leave after layer 1, it stays.

    The point climbs as its deadline comes closer, then it is too late.
    """
    config = harness.config()
    machine = Machine(dut, config)
    machine.table = [1] * BINS
    await machine.start()
    await machine.admit(0, 9000)
    points = []
    for _ in range(5):
        points.append(await machine.begin(8))
        await machine.verdict(0, 70_000)
        await machine.end(8)
    assert points[0] == len(FREQUENCIES) - 1, "nothing measured yet"
    assert points[1] == 0, "predicted to leave at once"
    assert points == [points[0], *sorted(points[1:])], points
    assert points[-1] > 0, "corrected"


@cocotb.test()
async def tightest(dut):
    """Two slots (if there are two): the tighter deadline decides; without it the other one.

    Without both the highest point.
    """
    config = harness.config()
    machine = Machine(dut, config)
    await machine.start()
    other = config.slots - 1
    await machine.admit(0, 0)
    await machine.begin(8)
    await machine.end(8)
    assert await machine.begin(8) == len(FREQUENCIES) - 1, "no deadline"
    await machine.end(8)
    await machine.admit(other, 30_000)
    relaxed = await machine.begin(8)
    await machine.end(8)
    assert relaxed == 0
    if other:
        await machine.admit(0, 8_000)
        assert await machine.begin(8) > relaxed
        await machine.end(8)
        machine.slots[0]["resident"] = 0
        assert await machine.begin(8) == relaxed
        await machine.end(8)
    machine.slots[other]["resident"] = 0
    assert await machine.begin(8) == len(FREQUENCIES) - 1


@cocotb.test()
async def between_passes(dut):
    """Time behind a pass, and an `end` of none, are no part of it: the clock may be slow."""
    machine = Machine(dut, harness.config())
    await machine.start()
    await machine.admit(0, 0)
    await machine.begin(8)
    await machine.end(8)
    await ClockCycles(dut.clk, 5000)
    await machine.pulse("end")
    await machine.admit(0, LAYERS * machine.cycles * 3 // 2)
    assert await machine.begin(8) < len(FREQUENCIES) - 1


@cocotb.test()
async def other_tiles(dut):
    """A pass of a tile tells of one of four: four times as long, so there is no slack."""
    config = harness.config()
    machine = Machine(dut, config)
    await machine.start()
    await machine.admit(0, 0)
    await machine.begin(config.tokens)
    await machine.end(config.tokens)
    await machine.admit(0, LAYERS * machine.cycles * 2)
    assert await machine.begin(4 * config.tokens) == len(FREQUENCIES) - 1
    assert await machine.begin(config.tokens) < len(FREQUENCIES) - 1


@cocotb.test()
async def slow_regulator(dut):
    """A regulator that needs longer than a pass.

    The code is held, the last decision follows, time runs at the old point.
    """
    config = harness.config()
    machine = Machine(dut, config, delay=2000)
    await machine.start()
    await machine.admit(0, 1_000_000)
    await machine.begin(8)
    await machine.end(8)
    machine.codes.clear()
    machine.show(8)
    await machine.pulse("begin")  # slack: the lowest point is asked for
    await ClockCycles(dut.clk, DECISION)
    assert (int(dut.dvfs_request.value), int(dut.dvfs_code.value)) == (1, 0)
    await machine.admit(0, 1)  # no slack any more, while the regulator is busy
    await machine.end(8)
    assert await machine.begin(8) == len(FREQUENCIES) - 1
    assert machine.codes == [0, len(FREQUENCIES) - 1]


CONFIGS = [
    harness.small(layers=LAYERS),
    harness.small(tokens=3, slots=1, layers=LAYERS),
    harness.small(slots=8, rows=40, layers=LAYERS),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.tokens}_{config.slots}")
def test_dvfs(config):
    harness.run_bench(
        Dvfs(config),
        "sim.bench.queue.test_dvfs",
        f"dvfs_{config.tokens}_{config.slots}",
        config=config,
    )
