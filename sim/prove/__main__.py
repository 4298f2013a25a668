# SPDX-License-Identifier: Apache-2.0
"""All properties and their mutants: `python -m sim.prove` writes docs/proofs.md.

With words behind it only the properties that have one of them in their name, or whose block it is,
are proved; the page keeps its other rows.
"""

import sys

from rich.console import Console
from rich.progress import track

from sim.cosim.build import ROOT
from sim.prove.properties import PROPERTIES
from sim.prove.prover import Property, check_mutant, prove

PAGE = ROOT / "docs" / "proofs.md"
HEAD = """# Proofs

`make prove` takes each property of a block to yosys and z3, and writes this page. *Proved* holds
for every number of cycles: by induction over k cycles, or, for k = 1 of logic without registers,
for all inputs. *Bounded* holds for that many cycles from reset. A *mutant* is the block with one
change that breaks the property: a property that did not fail on each of its mutants would be an
error here. The properties are in `sim/prove/`; blocks are as users get them, and none of this is in
their Verilog. `python -m sim.prove WORD ...` proves those that have a WORD in their name, or as
their block, and writes their rows alone.

| property | block | holds | mutants found | seconds |
| --- | --- | --- | --- | --- |
"""


def rows_of(page: str) -> dict[str, str]:
    """The page's rows, by the name of their property."""
    _, _, table = page.partition("| --- |\n")
    return {row.split(" | ")[0].removeprefix("| "): row for row in table.splitlines(keepends=True)}


def wanted(one: Property, words: list[str]) -> bool:
    """Whether a property is asked for."""
    block = one.block.partition(":")[2]
    return not words or any(word in one.name or word == block for word in words)


def main():
    """Print the rows as they come; the page is written where all is well."""
    console = Console(stderr=True)
    properties = [one for one in PROPERTIES if wanted(one, sys.argv[1:])]
    rows = rows_of(PAGE.read_text()) if sys.argv[1:] else {}
    wrong = 0
    for one in track(properties, "properties", console=console, disable=not console.is_terminal):
        verdict = prove(one)
        found = [not check_mutant(one, mutant).holds for mutant in one.mutants]
        wrong += not verdict.holds or not all(found)
        holds = one.kind if verdict.holds else "REFUTED"
        block = one.block.partition(":")[2]
        mutants = f"{sum(found)} of {len(found)}"
        row = f"| {one.name} | {block} | {holds} | {mutants} | {verdict.seconds:.1f} |\n"
        rows[one.name] = row
        print(row, end="", flush=True)
    if wrong:
        sys.exit(f"{wrong} of {len(properties)} properties do not hold, or miss a mutant")
    PAGE.write_text(HEAD + "".join(rows.get(one.name, "") for one in PROPERTIES))


if __name__ == "__main__":
    main()
