# SPDX-License-Identifier: Apache-2.0
"""Verilog or RTLIL to cells, by the native Yosys of the package pyosys.

python -m sim.synthesis.netlist build/timing/x/in.v top build/timing/x/netlist.json
python -m sim.synthesis.netlist build/vendor/x/top.il top build/vendor/x/cells.json counted

The first writes a netlist of ECP5 cells, and beside it (.stat) how many each block has; the second
counts cells of Xilinx' 7 series.

A process of its own: Yosys works for minutes without looking at Ctrl-C.
"""

import json
import pathlib
import re
import sys
from collections import Counter, defaultdict

__all__ = ["COUNTED", "PASSES", "count_blocks"]

# Flat, since blocks kept apart take an eighth more cells and a level of logic at each border.
# -nowidelut: multiplexers in LUT4s take a quarter less than in PFUMX trees. The names hidden are
# those that yosys 0.70 would make twice (Assert count_id).
PASSES = (
    "hierarchy -top {top}",
    "rename -hide w:*[*",
    "synth_ecp5 -nowidelut -top {top}",
    "write_json {out}",
)
COUNTED = (
    "hierarchy -top {top}",
    "synth_xilinx -family xc7 -flatten -top {top}",
    "tee -q -o {out} stat -json",
)


def main(source, top, out, kind="netlist"):
    from pyosys import libyosys

    design = libyosys.Design()
    read = "read_rtlil" if source.endswith(".il") else "read_verilog"
    passes = COUNTED if kind == "counted" else PASSES
    for step in (f"{read} {{source}}", *passes):
        libyosys.run_pass(step.format(source=source, top=top, out=out), design)
    if kind != "counted":
        cells = json.loads(pathlib.Path(out).read_text())["modules"][top]["cells"]
        pathlib.Path(f"{out}.stat").write_text(json.dumps(count_blocks(cells, top)))


def count_blocks(cells, top):
    """{block: {kind of cell: how many}}, the blocks in it included.

    Yosys names a cell by the block that what it gives is named in.
    """
    counts = defaultdict(Counter)
    for name, cell in cells.items():
        places = re.sub(r"\$\d+", "", name).split(".")[:-1]
        for depth in range(len(places) + 1):
            counts[".".join((top, *places[:depth]))][cell["type"]] += 1
    return counts


if __name__ == "__main__":
    main(*sys.argv[1:])
