# SPDX-License-Identifier: Apache-2.0
"""A board whose chip only the vendor's tool places and routes: the files for it, Yosys' counts.

Nothing of the vendor's runs here: the counts are those of Yosys' `synth_xilinx`.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version

from golden_model.hardware import HardwareConfig
from hw.board.kinds import Kind
from sim.cosim.build import ROOT
from sim.cosim.kept import read_text
from sim.synthesis import netlist
from sim.synthesis.bitstream import TOP, digest
from sim.synthesis.tools import count_cells

__all__ = ["Sources", "build_sources"]

BUILD = ROOT / "build" / "vendor"
FILES = ("v", "xdc", "tcl")
RTLIL = {"{{name}}.il": "{{emit_rtlil()}}"}  # one more file of the platform's
# Kinds of cells of a 7-series device, and what an XC7A100T has of them (DS180).
LIMITS = {"LUT": 63_400, "flip-flop": 126_800, "DSP48E1": 240, "block RAM of 36 kbit": 135}
LUTS = {
    # Distributed memory takes the LUTs of its ports.
    **{f"LUT{inputs}": 1 for inputs in range(1, 7)},
    **{"RAM32M": 4, "RAM64M": 4, "RAM64X1D": 2, "RAM32X1D": 2, "RAM128X1D": 4, "INV": 1},
    **{"SRL16E": 1, "SRLC32E": 1},
}


@dataclass(frozen=True)
class Sources:
    """What goes to the vendor's tool, and how much it is.

    files : {name: text}, Verilog, constraints, script
    clock : Hz of the machine
    cells : {kind of cell: (used, on the device)}
    """

    files: dict[str, str]
    clock: float
    cells: dict[str, tuple[int, int]]

    def to_json(self) -> dict:
        """All but the files, for --json."""
        return {key: value for key, value in asdict(self).items() if key != "files"}


def build_sources(
    kind: Kind,
    config: HardwareConfig,
    clock: float,
    watch: Callable[[str], None] = lambda step: None,
) -> Sources:
    """Verilog, constraints and script of a board; the counts are kept under build/vendor/."""
    watch("elaboration")
    top = kind.top(config, clock)
    platform = kind.platform()
    # Yosys did not read a large memory's contents in Verilog within nine minutes: it gets RTLIL.
    platform._vivado_file_templates = {**platform._vivado_file_templates, **RTLIL}
    plan = platform.prepare(top, TOP)
    files = {f"{TOP}.{end}": plan.files[f"{TOP}.{end}"] for end in FILES}
    source = plan.files[f"{TOP}.il"]
    folder = BUILD / digest(source, version("pyosys"), *netlist.COUNTED)
    report = folder / "cells.json"
    if not report.exists():
        watch("synthesis, for its counts")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{TOP}.il").write_text(source)
        count_cells(folder / f"{TOP}.il", TOP, report)
    return Sources(files, top.clock, _counted(json.loads(read_text(report))))


def _counted(report):
    """{kind: (used, on the device)} of `stat -json`."""
    found = report["design"]["num_cells_by_type"]
    used = {
        "LUT": sum(found.get(name, 0) * luts for name, luts in LUTS.items()),
        "flip-flop": sum(count for name, count in found.items() if name.startswith("FD")),
        "DSP48E1": found.get("DSP48E1", 0),
        "block RAM of 36 kbit": found.get("RAMB36E1", 0) + -(-found.get("RAMB18E1", 0) // 2),
    }
    return {name: (count, LIMITS[name]) for name, count in used.items()}
