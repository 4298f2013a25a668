# SPDX-License-Identifier: Apache-2.0
"""Which branches and toggles of each block its bench covers, by Verilator.

    python -m sim.evidence.coverage                 # all blocks; an hour or two
    python -m sim.evidence.coverage token_drop dma  # these

A *branch* is an arm of an `if` or `case` of the Verilog, or a side of a `?:`: every condition and
state of the block's `elaborate`. A *toggle* is a bit of a named signal that rises, or that falls.
Signals of more than 256 bits are left out, as Verilator does. Only modules that come from the
block's own source count. What several circuits of a bench cover is added up: branches where the
modules have the same branches, toggles by name and bit. A branch that is covered in one circuit
and not in another, because not all tests run on each, is counted as that.

Outcomes are kept in docs/evidence/coverage.json.
"""

import dataclasses
import os
import time

from amaranth.back import verilog

from sim.bench import harness
from sim.bench.simulated import BUILD
from sim.evidence.block_runs import BlockRuns, run_benches, sources
from sim.evidence.covered import Covered, counted, coverage_points, verilog_modules

__all__ = ["COVERAGE"]


class _Measurement:
    """Runs benches with coverage."""

    def __init__(self, source):
        self.covered = Covered(str(source))

    def run(self, component, bench, beside):
        """In the place of `harness.carry_out`."""
        folder = BUILD / "coverage" / bench.name
        bench = dataclasses.replace(bench, coverage=True)
        text = verilog.convert(component, name=bench.name, emit_src=True) + beside
        failed, log = bench.simulate(folder, counted(text, self.covered.source))
        if failed:
            raise AssertionError(f"{bench.name}: {failed}: {log}")
        lines = (folder / "coverage.dat").read_text().splitlines()
        self.covered.add(verilog_modules(text), coverage_points(lines))


def measure(block: str, most: int) -> dict:
    """One block, in a process of its own -> what is kept of it."""
    measurement = _Measurement(sources()[block][0])
    harness.carry_out = measurement.run
    os.environ["SIM"] = "verilator"
    begin = time.perf_counter()
    run_benches(block)
    return measurement.covered.figures() | {"seconds": round(time.perf_counter() - begin)}


def _describe(outcome):
    return ", ".join(
        f"{what} {outcome[what][0]} of {outcome[what][1]}" for what in ("branches", "toggles")
    )


COVERAGE = BlockRuns("coverage", "sim.evidence.coverage", measure, _describe)

if __name__ == "__main__":
    COVERAGE.main(__doc__)
