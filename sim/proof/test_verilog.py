# SPDX-License-Identifier: Apache-2.0
"""`terse verilog`.

One self-contained Verilog-2001 file, without paths, the same bytes every time.
"""

import os
import re
import shutil
import subprocess
import sys

import pytest

from golden_model.hardware import UNITS
from hw.accelerator import Accelerator
from hw.verilog import verilog
from sim.bench.harness import small
from sim.cosim.build import ROOT

SMALL = (
    "T=2",
    "P=2",
    "positions=16",
    "rows=16",
    "hidden=32",
    "feed_forward=64",
    "embedding=16",
    "heads=2",
    "layers=3",
    "weight_depth=128",
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same file written by two processes with different hash seeds."""
    folder = tmp_path_factory.mktemp("verilog")
    settings = [word for setting in SMALL for word in ("--set", setting)]
    paths = [folder / f"{seed}.v" for seed in (1, 2)]
    for seed, path in enumerate(paths, 1):
        command = [
            sys.executable,
            "-m",
            "terse.cli",
            "verilog",
            "--hw",
            "ci",
            *settings,
            "-o",
            str(path),
        ]
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            cwd=ROOT,
        )
    return paths


def test_same_bytes(files):
    assert files[0].read_bytes() == files[1].read_bytes()


def test_self_contained(files):
    text = files[0].read_text()
    assert (
        "`include" not in text
        and "$readmem" not in text
        and str(ROOT) not in text
        and "/site-packages/" not in text
    )
    assert "(* src" not in text
    defined = set(re.findall(r"^module (\S+)\(", text, re.M))
    assert "terse" in defined


def test_ports(files):
    text = files[0].read_text()
    top = re.search(r"^module terse\((.*?)\);", text, re.M | re.S).group(1)
    names = {name.strip() for name in top.split(",")}
    assert {"clk", "rst", "irq", "dvfs_code", "dvfs_request", "dvfs_acknowledge"} < names
    assert not any(name.startswith("trace") for name in names)
    buses = {name.rpartition("_")[0] for name in names} - {"", "dvfs"}
    assert buses == {"s_axil", "m_axi", "m_axi_emb"}


def test_counters_leave_nothing_behind():
    with_unit, without = (
        verilog(Accelerator(small(units=units)), "terse")
        for units in (UNITS, set(UNITS) - {"counters"})
    )
    for name in ("core.tally", "counter_", "busy_", "skipped_"):
        assert name in with_unit and name not in without


@pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="not run: Icarus Verilog is not installed"
)
def test_verilog_2001(files, tmp_path):
    done = subprocess.run(
        ["iverilog", "-g2001", "-t", "null", "-s", "terse", str(files[0])],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


POWER_ON = """
`timescale 1ns/1ps
module bench;
  reg clk = 0;
  reg rst = {reset};
  always #5 clk = ~clk;
  {wires}
  terse dut(.clk(clk), .rst(rst), {ports});
  wire [{last}:0] controls = {{{controls}}};
  initial begin
    #1 if (^controls === 1'bx) $display("unknown at power-on: %b", controls);
    #40 rst = 0;
    #80 if (^controls === 1'bx) $display("unknown after reset: %b", controls);
    $display("through");
    $finish;
  end
endmodule
"""


@pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="not run: Icarus Verilog is not installed"
)
@pytest.mark.parametrize("reset", [0, 1])
@pytest.mark.parametrize("language", ["2005", "2012"])
def test_power_on(files, tmp_path, language, reset):
    """In both languages the handshakes are known from time 0, also those that never change."""
    text = files[0].read_text()
    top = text[text.index("module terse(") :].partition("endmodule")[0]
    found = re.findall(r"^  (input|output) (\[\d+:0\] )?(\w+);$", top, re.M)
    ports = [port for port in found if port[2] not in ("clk", "rst")]
    known = [
        name for way, _, name in ports if way == "output" and re.search("valid$|ready$|irq", name)
    ]
    assert len(known) == 13
    bench = POWER_ON.format(
        reset=reset,
        wires="\n  ".join(
            f"wire {size}{name}{' = 0' if way == 'input' else ''};" for way, size, name in ports
        ),
        ports=", ".join(f".{name}({name})" for _, _, name in ports),
        last=len(known) - 1,
        controls=", ".join(known),
    )
    (tmp_path / "bench.v").write_text(bench)
    command = ["iverilog", f"-g{language}", "-o", "bench", "-s", "bench", "bench.v", str(files[0])]
    subprocess.run(command, check=True, cwd=tmp_path)
    done = subprocess.run(
        ["vvp", "-n", "bench"], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout == "through\n"
