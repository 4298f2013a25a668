# SPDX-License-Identifier: Apache-2.0
"""What `make synth` found, by block. Exit status 1 if it does not fit.

`python -m sim.synthesis.area build/synth/ecp5.stat` reads what stands beside a netlist.

`python -m sim.synthesis.area build/synth/ecp5_array_dsp.v` writes a configuration's array alone,
with the multipliers named, for `make synth-array`;
an array alone need not fit.
"""

import dataclasses
import json
import pathlib
import sys

from golden_model.hardware import HARDWARE
from hw.array.column import column_meta
from hw.array.mac_array import MacArray
from hw.verilog import verilog

__all__ = ["CELLS", "LIMITS", "for_each_mac", "over", "parse", "table", "write_array"]

CELLS = ("LUT4", "CCU2C", "MULT18X18D", "DP16KD", "PDPW16KD", "TRELLIS_DPR16X4", "TRELLIS_FF")
# Logic cells of a cell: CCU2C is two; a 16 x 4 memory takes two slices and a third one's write
# port.
LUTS = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}
LIMITS = {"logic": 83_640, "MULT18X18D": 156, "block RAM": 208}  # LFE5U-85F
DEPTH = 3  # levels of blocks in the table
SMALL = 100  # logic cells of a block that the table leaves out


def parse(text):
    """{block: {cell: count}} of `count_blocks` (sim/synthesis/netlist.py), with sums."""
    found = {}
    for name, cells in json.loads(text).items():
        counts = {cell: cells.get(cell, 0) for cell in CELLS}
        found[name] = {
            "logic": sum(counts[cell] * luts for cell, luts in LUTS.items()),
            **counts,
            "block RAM": counts["DP16KD"] + counts["PDPW16KD"],
        }
    return found


def over(counts):
    """What exceeds the device, as text."""
    return [
        f"{name} {counts[name]} of {limit}"
        for name, limit in LIMITS.items()
        if counts[name] > limit
    ]


def table(blocks, depth=DEPTH):
    """Lines of a Markdown table, a block under the one that holds it."""
    columns = ("logic", "LUT4", "CCU2C", "MULT18X18D", "block RAM", "TRELLIS_DPR16X4", "TRELLIS_FF")
    yield f"| block | {' | '.join(columns)} |"
    yield f"| --- |{' --- |' * len(columns)}"
    for name in sorted(blocks):
        if name.count(".") <= depth and blocks[name]["logic"] >= SMALL:
            yield f"| {name} | {' | '.join(f'{blocks[name][column]:,}' for column in columns)} |"


def write_array(path):
    """Verilog of an array alone, as module `array`.

    path : [folder/]configuration_array_multiplier.v
    """
    hw, _, multiplier = path.stem.split("_")
    config = dataclasses.replace(HARDWARE[hw], multiplier=multiplier)
    path.write_text(verilog(MacArray(config, meta=column_meta(config)), "array"), encoding="utf-8")


def for_each_mac(counts, config):
    """LUT4 + 2 CCU2C for each MAC of an array."""
    return (counts["LUT4"] + 2 * counts["CCU2C"]) / config.tokens / config.columns


def main(path):
    """Print a Yosys report's areas -> whether they exceed the device; .v: cut out the array."""
    path = pathlib.Path(path)
    if path.suffix == ".v":
        return write_array(path)
    blocks = parse(path.read_text(encoding="utf-8"))
    print("\n".join(table(blocks)))
    hw, array = (
        path.stem.split("_")[0],
        blocks.get("array") or blocks.get("terse.core.datapath.array"),
    )
    if array and hw in HARDWARE:
        print(
            f"array: {for_each_mac(array, HARDWARE[hw]):.1f} logic cells (LUT4 + 2 CCU2C) "
            "for each MAC"
        )
    if "terse" not in blocks:
        return False
    problems = over(blocks["terse"])
    print(
        "fits an LFE5U-85F" if not problems else f"does not fit an LFE5U-85F: {'; '.join(problems)}"
    )
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
