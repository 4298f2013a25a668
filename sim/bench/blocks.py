# SPDX-License-Identifier: Apache-2.0
"""Which files are one block: its RTL, its golden model, its bench. All have the same stem.

.venv/bin/python -m sim.bench.blocks      # the table of docs/blocks.md
"""

import ast
import pathlib
import re

__all__ = ["blocks", "blocks_table", "find_bench", "parts"]

ROOT = pathlib.Path(__file__).resolve().parents[2]
TITLE = """# Blocks

A block has one name everywhere: its RTL in `hw/`, what it computes in `golden_model/` where that is
a rule of its own, its bench in `sim/bench/`. `make bench BLOCK=softmax` runs one bench. A block
without a file in the middle moves, orders or counts what others compute.

"""
NOTE = "<!-- made by `python -m sim.bench.blocks`, compared by tests/test_names.py -->\n\n"


def _is_component(path):
    """Whether a file has a hardware block: a class that is a `wiring.Component`."""
    bases = [
        ast.unparse(base)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
        for base in node.bases
    ]
    return "wiring.Component" in bases


def benches():
    """{block: path of its bench} of sim/bench/."""
    paths = sorted((ROOT / "sim" / "bench").rglob("test_*.py"))
    return {path.stem.removeprefix("test_"): path for path in paths}


def blocks():
    """[(block, its RTL, its golden model or None, its bench or None)], in the order of hw/."""
    found = []
    known = benches()
    for path in sorted((ROOT / "hw").rglob("*.py")):
        golden = ROOT / "golden_model" / path.name
        bench = known.get(path.stem)
        if path.stem in known or _is_component(path):
            found.append((path.stem, path, golden if golden.exists() else None, bench))
    return found


def blocks_table():
    """The text of docs/blocks.md."""
    rows = ["| block | RTL | golden model | bench |", "|---|---|---|---|"]
    for block, *paths in blocks():
        links = [_link(path) if path else "-" for path in paths]
        rows.append(f"| {block} | {' | '.join(links)} |")
    return TITLE + NOTE + "\n".join(rows) + "\n"


def _link(path):
    relative = path.relative_to(ROOT)
    return f"[{relative}](../{relative})"


def find_bench(block):
    """The path of a block's bench. Raises ValueError, which lists those there are."""
    known = benches()
    if block not in known:
        raise ValueError(f"BLOCK must be one of {', '.join(sorted(known))}, not {block!r}")
    return known[block]


def parts():
    """{block without a bench: blocks whose benches cover it}, from the table of docs/machine.md."""
    text = (ROOT / "docs" / "machine.md").read_text()
    table = text[text.index("| part | covered by the bench of |") :].partition("\n\n")[0]
    rows = [
        [re.findall(r"`(\w+)`", cell) for cell in line.strip("|").split("|")]
        for line in table.splitlines()[2:]
    ]
    return {part: covering for names, covering in rows for part in names}


if __name__ == "__main__":
    print(blocks_table(), end="")
