# SPDX-License-Identifier: Apache-2.0
"""What is read out of Verilog and coverage.dat, and a bench that covers its block."""

import json
import subprocess
import sys

from sim.cosim import dummy
from sim.cosim.build import ROOT, build
from sim.evidence.coverage import COVERAGE
from sim.evidence.covered import Covered, counted, coverage_points, verilog_modules
from sim.evidence.machine_coverage import MachineCounts
from sim.evidence.page import covered_branches
from sim.evidence.reviewed import REVIEWED

# What Amaranth and Verilator write, cut short.
VERILOG = """
(* src = "hw/of_test.py:3" *)
(* generator = "Amaranth" *)
module block(clk, on, value);
  reg \\$auto$verilog_backend.cc:1:dump_module$1  = 0;
  wire \\$1 ;
  wire [3:0] value;
  assign \\$1  = on & (* src = "hw/of_test.py:9" *) value;
  always @* begin
    if (\\$auto$verilog_backend.cc:1:dump_module$1 ) begin end
    \\$2  = count;
    if (on) begin
      casez (state)
        2'h1:
            \\$2  = 1'h1;
      endcase
    end
  end
endmodule
(* src = "hw/other.py:3" *)
module \\block.part (clk);
  wire a;
endmodule
"""


def _point(line, column, kind, module, what, count):
    fields = dict(l=line, n=column, t=kind, page=f"v_{kind}/{module}", o=what)
    text = "".join(f"\x01{name}\x02{value}" for name, value in fields.items())
    return f"C '{text}' {count}\n"


def _points(*counts):
    kick, on, off, state, rise, fall = counts
    points = [
        (10, 5, "branch", "block", "if", kick),
        (12, 5, "branch", "block", "if", on),
        (12, 6, "branch", "block", "else", off),
        (14, 9, "line", "block", "case", state),
        (7, 3, "toggle", "block", "value[2]:0->1", rise),
        (7, 3, "toggle", "block", "value[2]:1->0", fall),
        (6, 3, "toggle", "block", "__0241:1->0", 0),
        (7, 3, "toggle", "block", "value__02ehigh:1->0", 0),
        (22, 3, "toggle", "block__02epart", "a:1->0", 0),
    ]
    return coverage_points([_point(*point) for point in points])


def test_counted():
    """Counters go into the modules of the block's file, and no line moves."""
    text = counted(VERILOG + "module foreign (clk);\nendmodule\n", "hw/of_test.py")
    begins = [line.partition("(")[0] for line in text.splitlines() if " module " in line]
    assert begins == [
        "/*verilator coverage_on*/ module block",
        "/*verilator coverage_off*/ module \\block.part ",
        "/*verilator coverage_off*/ module foreign ",
    ]
    assert len(text.splitlines()) == len(VERILOG.splitlines()) + 2


def test_points():
    """Those of other files, of values between and of yosys' own variable do not count."""
    covered = Covered("hw/of_test.py")
    covered.add(verilog_modules(VERILOG), _points(0, 3, 0, 0, 1, 0))
    assert covered.figures() == {
        "branches": [1, 3],
        "elsewhere": 0,
        "toggles": [1, 2],
        "branches left": ["count case 2'h1 of state", "count else on"],
        "toggles left": ["value[2] 1->0"],
    }
    covered.add(
        verilog_modules(VERILOG), _points(0, 0, 5, 0, 0, 1)
    )  # another simulation of the same
    assert covered.figures() == {
        "branches": [2, 3],
        "elsewhere": 0,
        "toggles": [2, 2],
        "branches left": ["count case 2'h1 of state"],
        "toggles left": [],
    }


def test_branch_of_another_circuit():
    """Where all that read alike are covered in one circuit, those of another are no gap."""
    covered = Covered("x.py")
    covered.branches = {
        ("one", 0): ("state if $3", True),
        ("one", 1): ("count if $4", True),
        ("one", 2): ("count if $5", False),
        ("two", 0): ("state if $7", False),
        ("two", 1): ("count if $9", False),
    }
    figures = covered.figures()
    assert (figures["branches"], figures["elsewhere"]) == ([2, 5], 1)
    assert figures["branches left"] == ["count if $5", "count if $9"]


def test_branches_that_are_left_have_a_reason():
    left = {
        (block, text) for block, one in covered_branches().items() for text in one["branches left"]
    }
    assert left == REVIEWED.keys()


def test_bench_covers_its_block(tmp_path):
    into = tmp_path / "outcome.json"
    command = ["-m", "sim.evidence.coverage", "slot_walk", "--into", str(into)]
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    kept, found = COVERAGE.outcomes()["slot_walk"], json.loads(into.read_text())
    assert {**found, "seconds": 0} == {**kept, "seconds": 0}


def test_all_simulations_of_the_machine_add_up():
    counts = MachineCounts()
    config = dummy.CopierConfig()
    library = build(config, dummy.Copier, "coverage")
    sums = []
    for _ in range(2):
        sim = counts.cosim()(library, dummy.layouts(config), memory=4096)
        sim.run(limit=10)
        del sim
        lines = [line.rpartition(" ") for line in counts.lines(library)]
        sums.append({point: int(count) for point, _, count in lines})
    once, twice = sums
    assert any(once.values())
    assert twice == {point: 2 * count for point, count in once.items()}


def test_bits_of_several_circuits():
    """What is one bit in one circuit may be a word in another one."""
    covered = Covered("x.py")
    covered.toggles = {"a:0->1": False, "a[1]:0->1": False, "a[3]:0->1": False, "b:1->0": False}
    assert covered.figures()["toggles left"] == ["a[0-1, 3] 0->1", "b 1->0"]
