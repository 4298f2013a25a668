# SPDX-License-Identifier: Apache-2.0
"""What shows that each block is right: `python -m sim.evidence.page > docs/verification.md`."""

import json
import re

from sim.bench.blocks import blocks
from sim.cosim.build import ROOT
from sim.evidence.diary import DIARY
from sim.evidence.mutation import SCORES, digest_of
from sim.fuzz.__main__ import TARGETS
from sim.prove.properties import PROPERTIES

__all__ = ["evidence_page"]

HEAD = """# Verification

What shows that each block does what its golden model says. Made by
`python -m sim.evidence.page > docs/verification.md` from the sources, and compared by a test.

- *Random*: the bench has seeded random inputs. *Stalls*: both sides of its streams pause.
- *Four-state*: it runs on Icarus Verilog too, where an unknown value shows.
- *Properties*: how many of [proofs](proofs.md) are proved and bounded.
- *Stage*, after OpenTitan's checklist cut down: V1 a bench compares with the golden model; V2 with
  random inputs, stalls and four states too; V3 with properties besides.
- *Mutants*: how many of the block's mutants (drawn by chance from those that are in its circuit)
  its bench finds, by `make mutants`; those that it does not find are below. *Old*: the block's
  source has changed since. Empty: not run.
- Coverage of lines and toggles, and functional coverage: not run.

A block without a bench of its own is covered by another's
([parts](machine.md#parts-and-their-benches)). All of them together are compared tensor by tensor
through the bus (`make`), in random configurations (`make campaign`), with bad images and buses
(`sim/proof/`), and with flipped bits (`make flips`).

| block | bench | random | stalls | four-state | properties | mutants | stage |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""
SURVIVORS = """
## Mutants that are not found

{found} of {tried} are found by the block's own bench. Of those that are left some are no faults:
what they change is never looked at.

| block | change |
| --- | --- |
"""
FUZZ = """
## Fuzzers

`make fuzz` takes {count:,} mutants of each kind of input, its check words made right again. An
input is accepted, or refused with a documented error; {failures} ended otherwise.

| input | accepted | refused |
| --- | --- | --- |
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
    return HEAD + "".join(rows) + _survivors() + _fuzzers() + DIARY_HEAD + "".join(faults)


def _mutants(block, path):
    """What the benches find of its mutants."""
    one = _outcomes().get(block)
    if one is None:
        return ""
    old = "" if one["digest"] == digest_of(path) else ", old"
    return f"{one['found']} of {one['tried']}{old}"


def _outcomes():
    return json.loads(SCORES.read_text())


def _fuzzers():
    """What the readers and the driver made of damaged inputs."""
    fuzz = json.loads((SCORES.parent / "fuzz.json").read_text())
    rows = [
        f"| {target} | {one['accepted']:,} | {one['refused']:,} |\n"
        if (one := fuzz["targets"].get(target))
        else f"| {target} | not run | |\n"
        for target in TARGETS
    ]
    return FUZZ.format(**fuzz) + "".join(rows)


def _survivors():
    """The mutants that no bench finds, and how many there are of all."""
    found, tried = (sum(one[what] for one in _outcomes().values()) for what in ("found", "tried"))
    rows = [
        f"| {block} | `{' '.join(text.replace('|', chr(92) + '|').split())}` |\n"
        for block, one in _outcomes().items()
        for text in one["alive"]
    ]
    return SURVIVORS.format(found=found, tried=tried) + "".join(rows)


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
    return f"| {block} | {' | '.join(marks)} | {properties} | {_mutants(block, path)} | {stage} |\n"


if __name__ == "__main__":
    print(evidence_page(), end="")
