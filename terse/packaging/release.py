# SPDX-License-Identifier: Apache-2.0
"""The folder of a release: Verilog of every configuration, drivers, core files, checksums.

python -m terse.packaging.release build/release
"""

import hashlib
import pathlib
import sys
from collections.abc import Iterator, Mapping

from firmware.generate import driver_files
from golden_model.hardware import HARDWARE, HardwareConfig
from hw.accelerator import Accelerator
from hw.verilog import verilog
from sim.cosim.build import ROOT
from terse.packaging.fusesoc import bench_file, core_file
from terse.packaging.vivado import ip_script

__all__ = ["release"]

WAIVERS = ROOT / "sim" / "proof" / "lint.vlt"
SUMS = "SHA256SUMS"


def release(
    folder: pathlib.Path, configurations: Mapping[str, HardwareConfig] = HARDWARE
) -> Iterator[str]:
    """Write the release; yields the names of its files as they are there."""
    sums = []
    for name, text in _files(configurations):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        sums.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n")
        yield name
    (folder / SUMS).write_text("".join(sums))
    yield SUMS


def _files(configurations):
    """(name, text) of everything but the checksums."""
    yield "LICENSE", (ROOT / "LICENSE").read_text()
    for name, text in driver_files().items():
        yield f"driver/{name}", text
    yield "lint.vlt", WAIVERS.read_text()
    for name, config in configurations.items():
        core = f"terse_{name}"
        yield f"{core}.core", core_file(core, config)
        yield f"{core}_tb.v", bench_file(config)
        yield f"{core}_ip.tcl", ip_script(core)
        yield f"{core}.v", verilog(Accelerator(config), "terse")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m terse.packaging.release FOLDER")
    for name in release(pathlib.Path(sys.argv[1])):
        print(pathlib.Path(sys.argv[1]) / name)
