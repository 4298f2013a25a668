# SPDX-License-Identifier: Apache-2.0
"""From a component to a clock: the real tools on a small block, and what is made of their words."""

import json

import pytest
from amaranth import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from golden_model.hardware import UNITS
from sim.bench.harness import small
from sim.synthesis import timing
from sim.synthesis.pins import Pins
from sim.synthesis.timing import BLOCKS, block_of, component, time_block, worse
from sim.synthesis.tools import ToolError, call


class Adder(wiring.Component):
    """A sum a cycle later."""

    def __init__(self):
        super().__init__({"a": In(8), "pair": In(data.StructLayout({"b": 8})), "sum": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.sum.eq(self.a + self.pair.b)
        return m


def test_pins():
    """Inputs go in bit by bit, and the outputs come out bit by bit."""
    pins, found = Pins(Adder()), []

    async def bench(ctx):
        await ctx.tick().repeat(4)  # the reset's registers
        for bit in f"{70:08b}{30:08b}":  # pair.b lies above a
            ctx.set(pins.i, int(bit))
            await ctx.tick()
        await ctx.tick()  # the sum
        ctx.set(pins.take, 1)
        await ctx.tick()
        ctx.set(pins.take, 0)
        for _ in range(8):
            found.append(ctx.get(pins.o))
            await ctx.tick()

    simulator = Simulator(pins)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert int("".join(map(str, found)), 2) == 100


def test_a_small_block(tmp_path, monkeypatch):
    """Yosys and nextpnr themselves; the second time nothing runs."""
    monkeypatch.setattr(timing, "BUILD", tmp_path)
    steps = []
    found = time_block(small(), "small", "drop", "25k", watch=steps.append)
    assert [step.split(": ")[1] for step in steps] == [
        "elaboration",
        "synthesis",
        "place and route, seed 1 of 1",
    ]
    assert 10 < found.best.clock == found.median < 1000
    assert found.used["TRELLIS_COMB"][0] > 100 and found.used["TRELLIS_COMB"][1] == 24288
    assert found.best.path and 0 < found.best.logic < found.best.delay
    del steps[:]
    assert time_block(small(), "small", "drop", "25k", watch=steps.append) == found
    assert steps == ["drop: elaboration"]
    json.dumps(found.to_json())


def test_every_block_is_there():
    config = small(units=UNITS)
    with pytest.warns():  # that they are not elaborated
        assert all(component(config, name) is not None for name in BLOCKS)
        assert component(small(units=()), "drop") is None


def test_a_tool_that_gives_up(tmp_path):
    with pytest.raises(ToolError, match=r"exit status 3\):\nno such cell"):
        call(["sh", "-c", "echo no such cell; exit 3"], tmp_path / "tool.log")


@pytest.mark.parametrize(
    ("cell", "block"),
    [
        ("inner.core.datapath.array.lane_0.ring.level_TRELLIS_FF_Q", "array.lane_0.ring"),
        ("inner.state_LUT4_Z", ""),
        ("$PACKER_VCC", ""),
    ],
)
def test_block_of_a_cell(cell, block):
    assert block_of(cell) == block


def test_worse():
    baseline = {"array": 80.0, "store": 60.0, "gone": 50.0}
    assert worse({"array": 76.5, "store": 58.0, "new": 1.0}, baseline) == []
    assert worse({"array": 75.0, "store": 57.1}, baseline) == [
        "array: 75.0 MHz, 6 % below the baseline's 80.0 MHz"
    ]
