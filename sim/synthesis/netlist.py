# SPDX-License-Identifier: Apache-2.0
"""Verilog or RTLIL to cells, by the native Yosys of the package pyosys.

python -m sim.synthesis.netlist build/timing/x/in.v top build/timing/x/netlist.json
python -m sim.synthesis.netlist build/vendor/x/top.il top build/vendor/x/cells.json counted

The first writes a netlist of ECP5 cells, the second counts cells of Xilinx' 7 series.

A process of its own: Yosys works for minutes without looking at Ctrl-C.
"""

import sys

__all__ = ["COUNTED", "PASSES"]

# -nowidelut: multiplexers in LUT4s take a quarter less than in PFUMX trees. The names hidden are
# those that yosys 0.70 would make twice (Assert count_id).
PASSES = (
    "hierarchy -top {top}",
    "rename -hide w:*[*",
    "synth_ecp5 -noflatten -nowidelut -top {top}",
    "tee -q -o {out}.stat stat -hierarchy",
    "flatten",
    "opt_clean",
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


if __name__ == "__main__":
    main(*sys.argv[1:])
