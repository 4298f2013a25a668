# SPDX-License-Identifier: Apache-2.0
"""hw/board/crossing.py: words between two clocks, of many ratios, in both directions."""

import random

import cocotb
import pytest
from amaranth.lib import data
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer, with_timeout
from cocotb.utils import get_sim_time

from hw.board.crossing import Crossing
from sim.bench import harness
from sim.bench.players import silence

OTHER = "memory"  # the domain that is not `sync`
SHAPE = data.StructLayout({"data": 32, "last": 1})
PERIOD = 10_000  # ps of `sync`
# Periods of the other clock: the same, a board's, slower, and those that drift through all phases.
PERIODS = (10_000, 5_000, 20_000, 9_998, 3_142, 27_182, 70_010)
FAST = 8  # deep enough for a word a cycle
LONGEST = 50_000_000  # ps that a test may take


class Side:
    """What a player sees of the design: the clock and the reset of one end are `clk` and `rst`."""

    def __init__(self, dut, domain):
        prefix = "" if domain == "sync" else f"{domain}_"
        self._dut = dut
        self.clk = getattr(dut, f"{prefix}clk")
        self.rst = getattr(dut, f"{prefix}rst")

    def __getattr__(self, name):
        return getattr(self._dut, name)


class Ends:
    """Both ends of the queue; the clock that is not `sync` has a period of `other` ps."""

    def __init__(self, dut, other, pause="none"):
        domains = harness.parameters()["domains"]
        idle, stall = harness.pauses(pause)
        silence(dut, Crossing(SHAPE, 2))
        self.depth = harness.parameters()["depth"]
        self.periods = [PERIOD if domain == "sync" else other for domain in domains]
        self.sides = [Side(dut, domain) for domain in domains]
        self._clocks = dict(zip(domains, zip(self.sides, self.periods, strict=True), strict=True))
        self.source = harness.Source(self.sides[0], "i", SHAPE, idle)
        self.sink = harness.Sink(self.sides[1], "o", SHAPE, stall)

    async def start(self):
        """Both clocks, whose edges are not at one time, and their resets."""
        for number, (side, period) in enumerate(self._clocks.values()):
            cocotb.start_soon(self._run_clock(side, period, 1_700 * number + 1))
        await self.reset()

    async def _run_clock(self, side, period, later):
        side.clk.value = 0
        await Timer(later, "ps")
        Clock(side.clk, period, unit="ps").start()

    async def reset(self):
        """Both ends; the reader's ends later, as a board's may."""
        for side in self.sides:
            side.rst.value = 1
        await self.wait(8)
        for side in self.sides:
            side.rst.value = 0
            await self.wait(4)

    async def wait(self, cycles):
        """So many cycles of the slower clock."""
        await Timer(cycles * max(self.periods), "ps")

    async def moved(self, end):
        """When the next word goes in (`end` 0) or out (1)."""
        side = self.sides[end]
        valid, ready = ((side.i__valid, side.i__ready), (side.o__valid, side.o__ready))[end]
        while True:
            await RisingEdge(side.clk)
            if valid.value == 1 and ready.value == 1:
                return get_sim_time("ps")

    async def check(self, sent):
        """These words come next, and no other behind them."""
        got = await with_timeout(self.sink.receive(len(sent)), LONGEST, "ps")
        harness.assert_same("words", got, sent)
        await self.wait(12)
        assert self.sink.empty(), "a word more"


def words(count):
    generator = random.Random(count)
    return [
        {"data": generator.getrandbits(32), "last": generator.getrandbits(1)} for _ in range(count)
    ]


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES, other=PERIODS)
async def order(dut, pause, other):
    """All words, each once, in their order."""
    ends = Ends(dut, other, pause)
    await ends.start()
    sent = words(120)
    ends.source.send(sent)
    await ends.check(sent)


@cocotb.test()
@cocotb.parametrize(other=PERIODS)
async def full(dut, other):
    """As many words as it is deep go in while none comes out, and wait there; none is lost."""
    ends = Ends(dut, other)
    ends.sink.hold = True
    await ends.start()
    sent = words(3 * ends.depth)
    ends.source.send(sent)
    await ends.wait(4 * ends.depth + 20)
    assert len(ends.source.cycles) == ends.depth
    ends.sink.hold = False
    await ends.check(sent)


@cocotb.test()
@cocotb.parametrize(other=PERIODS)
async def speed(dut, other):
    """A word a cycle of the slower clock, where the queue is deep enough for the ways through."""
    ends = Ends(dut, other)
    await ends.start()
    sent = words(100)
    ends.source.send(sent)
    first = await ends.moved(1)
    for _ in sent[1:]:
        last = await ends.moved(1)
    await ends.check(sent)
    if ends.depth >= FAST:
        least = (len(sent) - 1) * max(ends.periods)
        assert last - first <= least + max(ends.periods), (last - first) / least


@cocotb.test()
@cocotb.parametrize(other=PERIODS)
async def latency(dut, other):
    """From the edge that takes a word it goes out with the reader's third one."""
    ends = Ends(dut, other)
    await ends.start()
    reader = ends.periods[1]
    for number, word in enumerate(words(20)):
        taken = cocotb.start_soon(ends.moved(0))
        given = cocotb.start_soon(ends.moved(1))
        ends.source.send([word])
        took = await given - await taken
        assert 2 * reader <= took <= 3 * reader, took / reader
        await ends.check([word])
        await Timer(1 + 700 * number, "ps")


@cocotb.test()
@cocotb.parametrize(other=PERIODS)
async def emptied(dut, other):
    """The resets of both ends empty it; what comes behind them is right."""
    ends = Ends(dut, other)
    ends.sink.hold = True
    await ends.start()
    ends.source.send(words(ends.depth - 1))
    await ends.wait(ends.depth + 10)
    assert len(ends.source.cycles) == ends.depth - 1
    await ends.reset()
    ends.sink.hold = False
    await ends.wait(12)
    assert ends.sink.empty(), "a word from before the reset"
    sent = words(4 * ends.depth)
    ends.source.send(sent)
    await ends.check(sent)


@pytest.mark.parametrize("domains", [("sync", OTHER), (OTHER, "sync")], ids="-".join)
@pytest.mark.parametrize("depth", [2, 4, FAST])
def test_crossing(depth, domains):
    source, target = domains
    harness.run_bench(
        Crossing(SHAPE, depth, source, target),
        "sim.bench.board.test_crossing",
        f"crossing_{depth}_{source}",
        depth=depth,
        domains=domains,
    )


def test_one_clock():
    """Both ends may have the same clock, and have by default."""
    harness.run_bench(
        Crossing(SHAPE, FAST),
        "sim.bench.board.test_crossing",
        "crossing_alone",
        only="order",
        depth=FAST,
        domains=("sync", "sync"),
    )


@pytest.mark.parametrize("depth", [-2, 0, 1, 3, 12])
def test_depth(depth):
    with pytest.raises(ValueError, match="Depth must be"):
        Crossing(SHAPE, depth)


@pytest.mark.parametrize("depth", [True, 4.0, "4"])
def test_kind_of_depth(depth):
    with pytest.raises(TypeError, match="Depth must be an integer"):
        Crossing(SHAPE, depth)


def test_payload():
    with pytest.raises(TypeError, match="Payload must be a shape"):
        Crossing("words", 4)
