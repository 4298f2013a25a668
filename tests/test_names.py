# SPDX-License-Identifier: Apache-2.0
"""A name means one thing: no two files and no two public names of the product mean two.

Files of one stem are one block, seen by its RTL, its golden model, its bench, its timing; what both
a golden file and its RTL publish is one thing too.
"""

import ast
import pathlib
from collections import defaultdict

import pytest

from sim.bench.blocks import blocks, blocks_table, find_bench, parts

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = ("golden_model", "firmware", "hw", "sim", "terse", "compress")
# Where a block has a file of its own; a stem may stand once in each.
SIDES = ("golden_model", "firmware", "hw", "sim/cycles", "compress", "terse")
# Files of one stem in one of these sides or beside them, and why that is one thing.
STEMS = {
    "memory": "the memory that a bench, the co-simulation and the cycle model play",
    "board": "a board: its RTL, what its host knows of it, its commands",
    "kept": "what is kept of earlier runs",
    "timing": "pictures of when things happen",
}
# Public names that stand in several files, and what they all mean.
NAMES = {
    "Linear": "y = W x + b: of the network, and its engine",
    "KIND": "of a board: what it is",
    "Norm": "LayerNorm with its residual: of the network, and its engine",
    "app": "commands: of a file, and all of them",
    "main": "a command's entry",
    "normalize": "shift until the leading one stands at a fixed place",
}


def product():
    """The product's Python files: no tests."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not path.name.startswith(("test_", "conftest", "__")):
                yield path.relative_to(ROOT)


def side(path):
    """Which side of a block a file is; a file of no side is one of its own."""
    return next((one for one in SIDES if path.as_posix().startswith(f"{one}/")), path.as_posix())


def published(path):
    """The names of `__all__` that the file defines itself."""
    names = []
    defined = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            defined.add(node.name)
        elif isinstance(node, ast.Assign):
            targets = {target.id for target in node.targets if isinstance(target, ast.Name)}
            defined |= targets
            if "__all__" in targets:
                names = ast.literal_eval(node.value)
    return defined & set(names)


def test_no_two_files_mean_two_things():
    found = defaultdict(list)
    for path in product():
        found[path.stem].append(path)
    twice = {
        stem: [str(path) for path in paths]
        for stem, paths in found.items()
        if len({side(path) for path in paths}) != len(paths) and stem not in STEMS
    }
    assert not twice
    assert all(len(found[stem]) > 1 for stem in STEMS), "a reason that is no longer needed"


def test_no_two_public_names_mean_two_things():
    found = defaultdict(set)
    for path in product():
        for name in published(path):
            found[name].add(path.stem)  # files of one stem are one thing
    twice = {name: stems for name, stems in found.items() if len(stems) > 1}
    assert {name: stems for name, stems in twice.items() if name not in NAMES} == {}
    assert NAMES.keys() <= twice.keys(), "a reason that is no longer needed"


def test_table_of_blocks_is_the_tree_s():
    assert (ROOT / "docs" / "blocks.md").read_text() == blocks_table(), "python -m sim.bench.blocks"


def test_parts_name_the_bench_that_covers_them():
    """docs/machine.md has each block without a bench, and only benches that there are."""
    covered = parts()
    assert covered.keys() == {block for block, *_, bench in blocks() if bench is None}
    assert all(find_bench(block) for covering in covered.values() for block in covering)


def test_benches_are_in_the_room_of_their_block():
    """And a golden model that shares its stem with a bench is the same block's."""
    benches = set()
    for _, rtl, _, bench in blocks():
        if bench:
            assert bench.parent.relative_to(ROOT / "sim" / "bench") == rtl.parent.relative_to(
                ROOT / "hw"
            )
            benches.add(bench)
    assert benches == set((ROOT / "sim" / "bench").rglob("test_*.py"))


def test_unknown_block_lists_the_known_ones():
    assert find_bench("softmax") == ROOT / "sim" / "bench" / "attention" / "test_softmax.py"
    with pytest.raises(ValueError, match=r"BLOCK must be one of accelerator, .*, not 'sofmax'"):
        find_bench("sofmax")
