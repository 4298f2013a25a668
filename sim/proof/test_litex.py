# SPDX-License-Identifier: Apache-2.0
"""terse/litex.py in a SoC of LiteX: it elaborates, and the whole passes Verilator's lint."""

import os
import subprocess
import sys

EXAMPLE = """
import sys
from litex.build.generic_platform import Pins
from litex.build.lattice import LatticePlatform
from litex.soc.integration.builder import Builder
from litex.soc.integration.soc_core import SoCCore
from migen import ClockDomain, Module
from terse.litex import TersePeripheral

class Soc(SoCCore):
    def __init__(self, platform, folder):
        SoCCore.__init__(self, platform, clk_freq=50e6, cpu_type=None, uart_name="stub",
                         bus_standard="axi-lite", integrated_main_ram_size=1 << 16)
        self.crg = Crg(platform)
        self.terse = TersePeripheral(platform, "ci", ["T=2", "P=2"], folder)
        self.terse.attach(self, origin=0x9000_0000)

class Crg(Module):
    def __init__(self, platform):
        self.clock_domains.cd_sys = ClockDomain("sys", reset_less=False)
        self.comb += self.cd_sys.clk.eq(platform.request("sys_clk"))

folder = sys.argv[1]
pins = [("sys_clk", 0, Pins("G2")), ("serial", 0, Pins("M1"))]
platform = LatticePlatform("LFE5U-85F-6BG381C", pins, toolchain="trellis")
soc = Soc(platform, folder)
Builder(soc, output_dir=folder, compile_software=False, compile_gateware=False).build(run=False)
assert soc.bus.regions["terse"].origin == 0x9000_0000
assert {"terse_memory", "terse_embedding"} <= set(soc.bus.masters)
"""


def test_soc(tmp_path):
    """The SoC of `EXAMPLE`: registers on its bus, both managers too."""
    from sim.bench.simulated import prepare_verilator

    done = subprocess.run(
        [sys.executable, "-c", EXAMPLE, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (top,) = (tmp_path / "gateware").glob("*.v")
    assert "terse terse" in " ".join(top.read_text().split())
    prepare_verilator()
    lint = ["verilator", "--lint-only", "-Wno-fatal", "-Wno-lint", "-Wno-style"]
    done = subprocess.run(
        [*lint, "--top-module", top.stem, str(top), str(tmp_path / "terse.v")],
        capture_output=True,
        text=True,
        env=os.environ,
        cwd=top.parent,
    )
    assert done.returncode == 0 and "%Error" not in done.stderr, done.stderr[-3000:]
