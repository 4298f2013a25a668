# SPDX-License-Identifier: Apache-2.0
"""The files for a vendor's tool, and Yosys' counts, of a board's smallest possible contents."""

from amaranth import ClockDomain, ClockSignal, Elaboratable, Module, Signal
from amaranth_boards.arty_a7 import ArtyA7_100Platform

from hw.board.kinds import Kind
from hw.board.pins import give_pin, take_pin
from sim.bench.harness import small
from sim.synthesis import vendor
from sim.synthesis.vendor import build_sources


class Lights(Elaboratable):
    """A counter of seven bits, whose highest one is a light."""

    def __init__(self, config, clock):
        self.clock = clock

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        m.d.comb += ClockSignal().eq(take_pin(m, platform.request("clk100", 0, dir="-")))
        count = Signal(7)
        m.d.sync += count.eq(count + 1)
        give_pin(m, platform.request("led", 0, dir="-"), count[-1])
        return m


KIND = Kind("ci", 50e6, ArtyA7_100Platform, Lights, None, "arty_a7_100t")


def test_sources(tmp_path, monkeypatch):
    """Verilog, constraints and script, with the pins; what is counted is not counted again."""
    monkeypatch.setattr(vendor, "BUILD", tmp_path)
    steps = []
    found = build_sources(KIND, small(), 50e6, watch=steps.append)
    assert steps == ["elaboration", "synthesis, for its counts"]
    assert "module top(" in found.files["top.v"]
    assert 'LOC E3 [get_ports "clk100_0__io"]' in found.files["top.xdc"]
    assert "add_files top.v" in found.files["top.tcl"] and "xc7a100t" in found.files["top.tcl"]
    assert found.cells["flip-flop"] == (7, 126_800)
    assert 0 < found.cells["LUT"][0] < 20 and found.cells["DSP48E1"] == (0, 240)
    steps.clear()
    assert build_sources(KIND, small(), 50e6, watch=steps.append) == found
    assert steps == ["elaboration"]
