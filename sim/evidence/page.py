# SPDX-License-Identifier: Apache-2.0
"""What shows that each block is right: `python -m sim.evidence.page > docs/verification.md`."""

import json
import re

from firmware.isa import Opcode
from sim.bench.blocks import blocks
from sim.cosim.build import ROOT
from sim.evidence.block_runs import digest_of
from sim.evidence.coverage import COVERAGE
from sim.evidence.diary import DIARY
from sim.evidence.mutation import MUTATION
from sim.evidence.survivors import REASONS
from sim.proof.crosses import CROSSED, EVIDENCE, IMPOSSIBLE
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
- *Branches*, *toggles*: how many its bench covers, by `make coverage`. A branch is an arm of an
  `if` or `case` of the Verilog, or a side of a `?:`. A toggle is a bit of a signal that rises, or
  that falls. Both are as counted: entries of tables, and bits of ports that a small configuration
  never changes, are among them ([which are not covered](evidence/coverage.json)).

A block without a bench of its own is covered by another's
([parts](machine.md#parts-and-their-benches)). All of them together are compared tensor by tensor
through the bus (`make`), in random configurations (`make campaign`), with bad images and buses
(`sim/proof/`), with flipped bits (`make flips`) and in long queues (`make load`).

| block | bench | random | stalls | four-state | properties | mutants | branches | toggles | stage |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""
SURVIVORS = """
## Mutants that are not found

{found:,} of {tried:,} are found by the block's own bench, {share}. The others were looked at.

| block | change | why it is not found |
| --- | --- | --- |
"""
FUZZ = """
## Fuzzers

`make fuzz` takes {count:,} mutants of each kind of input, its check words made right again. An
input is accepted, or refused with a documented error; {failures} ended otherwise.

| input | accepted | refused |
| --- | --- | --- |
"""
CAMPAIGN = """
## Campaign and load

- `make campaign` compares every tensor of random cases. {cases:,} cases of {sentences:,} sentences
  were run, and {differences} differ. A pair is an opcode and a format, bus width, division of
  lanes, kind of stalls, error, or missing unit. Of {pairs:,} pairs {holes} have no case yet
  ([all of them](evidence/campaign.json)).
- `make load` took {cosimulated:,} sentences, {bad:,} of them bad, through one queue of the
  co-simulation, and {modelled:,} through the cycle model. It ends at the first result that is lost
  or wrong ([figures](evidence/load.json)).
"""
DIARY_HEAD = """
## Bug diary

Faults that were found, and the test that would find each again.

| fault | found by | test |
| --- | --- | --- |
"""


def evidence_page() -> str:
    """The page."""
    scores, covered = MUTATION.outcomes(), COVERAGE.outcomes()
    rows = [
        _row(block, path, bench, scores.get(block), covered.get(block))
        for block, path, _, bench in blocks()
    ]
    parts = [_survivors(), _fuzzers(), _campaign(), DIARY_HEAD]
    parts += [f"| {one.what} | {one.how} | `{one.test}` |\n" for one in DIARY]
    return HEAD + "".join(rows + parts)


def _mutants(path, score):
    """What the benches find of its mutants."""
    return "" if score is None else f"{score['found']} of {score['tried']}{_old(path, score)}"


def _coverage(path, covered):
    """The cells of branches and toggles."""
    if covered is None:
        return "", ""
    return tuple(
        "{:,} of {:,}".format(*covered[what]) + _old(path, covered)
        for what in ("branches", "toggles")
    )


def _old(path, outcome):
    return "" if outcome["digest"] == digest_of(path) else ", old"


def _figures(name):
    return json.loads((EVIDENCE / f"{name}.json").read_text())


def _campaign():
    """What came of random cases and of long queues."""
    found, load = _figures("campaign"), _figures("load")
    statuses = load["co-simulation"]["statuses"]
    return CAMPAIGN.format(
        cases=found["cases"],
        sentences=found["sentences"],
        differences=found["differences"],
        pairs=len(Opcode) * sum(map(len, CROSSED.values())) - len(IMPOSSIBLE),
        holes=len(found["holes"]),
        cosimulated=load["co-simulation"]["sentences"],
        bad=sum(count for status, count in statuses.items() if status != "NONE"),
        modelled=load["cycle model"]["sentences"],
    )


def _fuzzers():
    """What the readers and the driver made of damaged inputs."""
    fuzz = _figures("fuzz")
    rows = [
        f"| {target} | {one['accepted']:,} | {one['refused']:,} |\n"
        for target, one in fuzz["targets"].items()
    ]
    return FUZZ.format(**fuzz) + "".join(rows)


def _survivors():
    """The mutants that no bench finds, and how many there are of all."""
    scores = MUTATION.outcomes()
    found, tried = (sum(one[what] for one in scores.values()) for what in ("found", "tried"))
    rows = [
        f"| {block} | `{text.replace('|', chr(92) + '|')}` | {REASONS.get((block, text), '')} |\n"
        for block, one in scores.items()
        for text in one["alive"]
    ]
    share = f"{100 * found / tried:.1f} %"
    return SURVIVORS.format(found=found, tried=tried, share=share) + "".join(rows)


def _text(bench):
    """A bench and the files of its room that are parts of it."""
    room = bench.parent
    text = bench.read_text()
    parts = re.findall(rf"from sim\.bench\.{room.name}\.(\w+) import", text)
    return text + "".join((room / f"{part}.py").read_text() for part in parts)


def _row(block, path, bench, score, covered):
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
    cells = [block, *marks, properties, _mutants(path, score), *_coverage(path, covered), stage]
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    print(evidence_page(), end="")
