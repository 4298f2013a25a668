# SPDX-License-Identifier: Apache-2.0
"""All properties and their mutants: `python -m sim.prove` writes docs/proofs.md."""

import sys

from rich.console import Console
from rich.progress import track

from sim.cosim.build import ROOT
from sim.prove.properties import PROPERTIES
from sim.prove.prover import check_mutant, prove

PAGE = ROOT / "docs" / "proofs.md"
HEAD = """# Proofs

`make prove` takes each property of a block to yosys and z3, and writes this page. *Proved* holds
for every number of cycles: by induction over k cycles, or, for k = 1 of logic without registers,
for all inputs. *Bounded* holds for that many cycles from reset. A *mutant* is the block with one
change that breaks the property: a property that did not fail on each of its mutants would be an
error here. The properties are in `sim/prove/`; blocks are as users get them, and none of this is in
their Verilog.

| property | block | holds | mutants found | seconds |
| --- | --- | --- | --- | --- |
"""


def main():
    """Print the rows as they come; the page is written where all is well."""
    console = Console(stderr=True)
    rows = []
    wrong = 0
    for one in track(PROPERTIES, "properties", console=console, disable=not console.is_terminal):
        verdict = prove(one)
        found = [not check_mutant(one, mutant).holds for mutant in one.mutants]
        wrong += not verdict.holds or not all(found)
        holds = one.kind if verdict.holds else "REFUTED"
        block = one.block.partition(":")[2]
        mutants = f"{sum(found)} of {len(found)}"
        rows.append(f"| {one.name} | {block} | {holds} | {mutants} | {verdict.seconds:.1f} |\n")
        print(rows[-1], end="", flush=True)
    if wrong:
        sys.exit(f"{wrong} of {len(PROPERTIES)} properties do not hold, or miss a mutant")
    PAGE.write_text(HEAD + "".join(rows))


if __name__ == "__main__":
    main()
