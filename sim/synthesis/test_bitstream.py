# SPDX-License-Identifier: Apache-2.0
"""From a component to a bitstream by the real tools, on a board's smallest possible contents."""

from amaranth import ClockDomain, ClockSignal, Elaboratable, Module, Signal
from amaranth.build import Clock, Pins, Resource
from amaranth.lib import io
from amaranth_boards.ulx3s import ULX3S_25F_Platform

from hw.board.kinds import Kind
from sim.bench.harness import small
from sim.synthesis import bitstream
from sim.synthesis.bitstream import build_bitstream


class Lights(Elaboratable):
    """A counter whose highest bit is a light."""

    def __init__(self, config, clock):
        self.clock = clock

    def elaborate(self, platform):
        m = Module()
        count = Signal(25)
        m.domains.sync = ClockDomain(reset_less=True)
        m.submodules.clock = pin = io.Buffer("i", platform.request("clk25", 0, dir="-"))
        m.submodules.light = light = io.Buffer("o", platform.request("led", 0, dir="-"))
        m.d.comb += [
            ClockSignal().eq(pin.i),
            light.o.eq(count[-1]),
        ]
        m.d.sync += count.eq(count + 1)
        return m


def kind(clock):
    """A board whose crystal has this frequency."""
    crystal = Resource("clk25", 0, Pins("G2", dir="i"), Clock(clock))
    others = [one for one in ULX3S_25F_Platform.resources if one.name != "clk25"]

    class Platform(ULX3S_25F_Platform):
        resources = [*others, crystal]

    return Kind("ci", clock, lambda: Platform(toolchain="Trellis"), Lights, "25k", "ulx3s")


def test_bitstream(tmp_path, monkeypatch):
    """A file; the second time nothing runs; a clock that is too fast is told, seed after seed."""
    monkeypatch.setattr(bitstream, "BUILD", tmp_path)
    steps = []
    found = build_bitstream(kind(25e6), small(), 25e6, seeds=3, watch=steps.append)
    assert steps == [
        "elaboration",
        "synthesis",
        "place and route, seed 1 of at most 3",
        "bitstream",
    ]
    assert found.path.read_bytes()[:2] == b"\xff\x00" and found.path.stat().st_size > 10_000
    ((reached, wanted),) = found.clocks.values()
    assert wanted == 25 and reached > 100
    assert found.used["TRELLIS_FF"][0] == 25 and found.blocks["top"]["TRELLIS_FF"] == 25
    del steps[:]
    assert build_bitstream(kind(25e6), small(), 25e6, seeds=3, watch=steps.append) == found
    assert steps == ["elaboration"]
    found = build_bitstream(kind(2e9), small(), 2e9, seeds=2, watch=steps.append)
    assert found.path is None and [step for step in steps if "seed" in step] == [
        "place and route, seed 1 of at most 2",
        "place and route, seed 2 of at most 2",
    ]
