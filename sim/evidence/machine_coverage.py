# SPDX-License-Identifier: Apache-2.0
"""Which branches of each block the whole machine covers.

    python -m sim.evidence.machine_coverage

The runs are those that mutants of the machine have to pass (sim/evidence/machine_runs.py). Branches
are counted as those of the blocks' benches are (sim/evidence/coverage.py). Half an hour. Outcomes
are kept in docs/evidence/machine_coverage.json.
"""

import gc
import json
import pathlib
import sys
import tempfile
from collections import Counter

from amaranth.back import verilog

from sim.cosim.build import ROOT, TOP, library
from sim.cosim.cosim import Cosim
from sim.evidence.block_runs import digest_of, sources
from sim.evidence.covered import Covered, coverage_points, verilog_modules
from sim.evidence.machine_runs import failure, machines
from sim.proof.check import traced

__all__ = ["MachineCounts", "measure_machine"]

PATH = ROOT / "docs" / "evidence" / "machine_coverage.json"


class MachineCounts:
    """Sums of the points of all simulations of each library."""

    def __init__(self):
        self._points = {}  # {library: {point: count}}

    def lines(self, path):
        """As one simulation of a library would have written them."""
        return [f"{point} {count}" for point, count in self._points[path].items()]

    def cosim(self):
        """A `Cosim` that adds its points at its end."""
        points = self._points

        class CountedCosim(Cosim):
            def __init__(self, path, *arguments, **options):
                self._path = path
                super().__init__(path, *arguments, **options)

            def __del__(self):
                with tempfile.NamedTemporaryFile() as file:
                    self.coverage(file.name)
                    lines = pathlib.Path(file.name).read_text().splitlines()
                counts = points.setdefault(self._path, Counter())
                for line in lines:
                    point, _, count = line.rpartition(" ")
                    if point.startswith("C "):
                        counts[point] += int(count)
                super().__del__()

        return CountedCosim


def measure_machine() -> dict:
    """{block: what is kept of it}."""
    texts = {
        hardware: verilog.convert(traced(hardware), name=TOP, emit_src=True)
        for hardware in machines()
    }
    paths = {hardware: library(text, "coverage") for hardware, text in texts.items()}
    counts = MachineCounts()
    if failed := failure(paths, counts.cosim()):
        sys.exit(failed)
    gc.collect()
    covered = {block: Covered(str(path)) for block, (path, _) in sources().items()}
    there = set()  # sources of modules
    for hardware, text in texts.items():
        modules, points = verilog_modules(text), coverage_points(counts.lines(paths[hardware]))
        there |= {module.source for module in modules.values()}
        for one in covered.values():
            one.add(modules, points)
    return {
        block: {"digest": digest_of(sources()[block][0])} | _kept(one.figures())
        for block, one in covered.items()
        if one.source in there
    }


def _kept(figures):
    """Those of branches."""
    return {name: one for name, one in figures.items() if "toggles" not in name}


if __name__ == "__main__":
    outcomes = measure_machine()
    PATH.write_text(json.dumps(outcomes, indent=1, ensure_ascii=False) + "\n")
    for name, one in outcomes.items():
        print("{:16} {:,} of {:,}".format(name, *one["branches"]))
