# SPDX-License-Identifier: Apache-2.0
"""What shows that each block is right: `python -m sim.prove.evidence > docs/verification.md`."""

import re

from sim.bench.blocks import blocks
from sim.cosim.build import ROOT
from sim.prove.diary import DIARY
from sim.prove.properties import PROPERTIES

__all__ = ["evidence_page"]

HEAD = """# Verification

What shows that each block does what its golden model says. Made by
`python -m sim.prove.evidence > docs/verification.md` from the sources, and compared by a test.

- *Random*: the bench has seeded random inputs. *Stalls*: both sides of its streams pause.
- *Four-state*: it runs on Icarus Verilog too, where an unknown value shows.
- *Properties*: how many of [proofs](proofs.md) are proved and bounded.
- *Stage*, after OpenTitan's checklist cut down: V1 a bench compares with the golden model; V2 with
  random inputs, stalls and four states too; V3 with properties besides.
- Functional coverage: of the campaign, [opcodes times features](evidence/campaign.json).
- Coverage of lines and toggles and mutation scores: not run.

A block without a bench of its own is covered by another's
([parts](machine.md#parts-and-their-benches)). All of them together are compared tensor by tensor
through the bus (`make`), in random configurations (`make campaign`), with bad images and buses
(`sim/proof/`), with flipped bits (`make flips`) and in long queues
([`make load`](evidence/load.json)).

| block | bench | random | stalls | four-state | properties | stage |
| --- | --- | --- | --- | --- | --- | --- |
"""
DIARY_HEAD = """
## Bug diary

Faults that were found, and the test that would find each again.

| fault | found by | test |
| --- | --- | --- |
"""


def evidence_page() -> str:
    """The page."""
    rows = [_row(block, path, bench) for block, path, _, bench in blocks()]
    faults = [f"| {one.what} | {one.how} | `{one.test}` |\n" for one in DIARY]
    return HEAD + "".join(rows) + DIARY_HEAD + "".join(faults)


def _text(bench):
    """A bench and the files of its room that are parts of it."""
    room = bench.parent
    text = bench.read_text()
    parts = re.findall(rf"from sim\.bench\.{room.name}\.(\w+) import", text)
    return text + "".join((room / f"{part}.py").read_text() for part in parts)


def _row(block, path, bench):
    """A block's row."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    mine = [one for one in PROPERTIES if one.block.partition(":")[0] == module]
    proved = sum(one.inductive for one in mine)
    properties = f"{proved} proved, {len(mine) - proved} bounded" if mine else ""
    text = _text(bench) if bench else ""
    random = "random." in text or "default_rng" in text
    stalls = "pause" in text or "stall" in text
    states = bool(text) and "large=True" not in text
    stage = ""
    if text:
        stage = "V1"
        if random and stalls and states:
            stage = "V3" if mine else "V2"
    marks = ("yes" if mark else "" for mark in (bool(text), random, stalls, states))
    return f"| {block} | {' | '.join(marks)} | {properties} | {stage} |\n"


if __name__ == "__main__":
    print(evidence_page(), end="")
