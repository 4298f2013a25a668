# SPDX-License-Identifier: Apache-2.0
"""What shows that each block is right: `python -m sim.evidence.page > docs/verification.md`."""

import json
import re

from firmware.isa import Opcode
from sim.bench.blocks import blocks
from sim.evidence.block_runs import digest_of, module_of
from sim.evidence.coverage import COVERAGE
from sim.evidence.diary import DIARY
from sim.evidence.mutation import MUTATION
from sim.evidence.reviewed import REVIEWED
from sim.evidence.survivors import REASONS
from sim.evidence.system import SYSTEM, survivors
from sim.proof.campaign.crosses import CROSSED, EVIDENCE, IMPOSSIBLE
from sim.proof.every_shape import SHAPES
from sim.prove.properties import PROPERTIES

__all__ = ["covered_branches", "evidence_page"]

HEAD = """# Verification

What shows that each block does what its golden model says. Made by
`python -m sim.evidence.page > docs/verification.md` from the sources, and compared by a test.

- *Random*: the bench has seeded random inputs. *Stalls*: both sides of its streams pause; "-"
  where it has none.
- *Four-state*: it runs on Icarus Verilog too, where an unknown value shows.
- *Properties*: how many of [proofs](proofs.md) are proved and bounded.
- *Stage*, after OpenTitan's checklist cut down: V1 a bench compares with the golden model; V2 with
  random inputs, stalls and four states too; V3 with properties besides.
- *Mutants*: how many of the block's mutants (drawn by chance from those that are in its circuit)
  its bench finds, by `make mutants`. *Old*: the block's source has changed since.
  *In the machine*: how many of the others cases of the campaign find in the whole machine; for a
  block without mutants of its bench ("-"), of so many by chance; "0 of 0": it has none of them.
  Those that nobody finds are below.
- *Branches*, *toggles*: how many its bench covers, by `make coverage`. A branch is an arm of an
  `if` or `case` of the Verilog, or a side of a `?:`. A toggle is a bit of a signal that rises, or
  that falls. Both are as counted: entries of tables, and bits of ports that a small configuration
  never changes, are among them ([which are not covered](evidence/coverage.json)).
  *In the machine*: how many the runs cover that mutants of the machine have to pass. Its circuits
  are not those of the bench, so neither are the branches. "-": a board has it, not the machine.

A block without a bench of its own is covered by another's
([parts](machine.md#parts-and-their-benches)). All of them together are compared tensor by tensor
through the bus (`make`), in random configurations (`make campaign`), with bad images and buses
(`sim/proof/`), with flipped bits (`make flips`) and in long queues (`make load`).

"""
COLUMNS = (
    "block",
    "bench",
    "random",
    "stalls",
    "four-state",
    "properties",
    "mutants",
    "in the machine",
    "branches",
    "in the machine",
    "toggles",
    "stage",
)
SURVIVORS = """
## Mutants that are not found

{found:,} of {tried:,} are found, {share}: {own:,} by the block's own bench, the others in the whole
machine. The rest was looked at.

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
BRANCHES = """
## Branches that are not covered

Of {total:,} branches {covered:,} are covered: by the block's bench, or, of a block whose bench is
the whole machine's, in the machine. {elsewhere:,} others are covered in another circuit: not all
tests run on each. The rest was looked at.

| block | branch | why it is no gap |
| --- | --- | --- |
"""
CONFIGURATIONS = """
## Configurations

These are promised; the command compares every tensor.

| configurations | command |
| --- | --- |
| `ci` | `make` |
| `ecp5` | `make wheel`, results only |
| `edgebert` | `make small` |
| shapes T x P: {shapes} | `make shapes` |
| all that `HardwareConfig` accepts | `make campaign`, which draws of them |
"""
CAMPAIGN = """
## Campaign and functional coverage

`make campaign` compares every tensor of random cases. {cases:,} cases were run, with {sentences:,}
sentences and {values:,} values, and {differences} differ. The table has the pairs of an opcode and
a value of a feature: how many there can be, and how many have had no case yet
([all of them](evidence/campaign.json)).

| feature | values | pairs | without a case |
| --- | --- | --- | --- |
"""
LOAD = """
## Load

`make load` took {cosimulated:,} sentences, {bad:,} of them bad, through one queue of the
co-simulation, and {modelled:,} through the cycle model. It ends at the first result that is lost
or wrong ([figures](evidence/load.json)).
"""
NOT_RUN = "not run"
DIARY_HEAD = """
## Bug diary

Faults that were found, and the test that would find each again.

| fault | found by | test |
| --- | --- | --- |
"""


def evidence_page() -> str:
    """The page."""
    kept = [kept.outcomes() for kept in (MUTATION, SYSTEM, COVERAGE)] + [
        _figures("machine_coverage")
    ]
    rows = [
        _row(block, path, bench, *(outcomes.get(block) for outcomes in kept))
        for block, path, _, bench in blocks()
    ]
    parts = [
        _survivors(),
        _branches(),
        _configurations(),
        _campaign(),
        _fuzzers(),
        _load(),
        DIARY_HEAD,
    ]
    parts += [f"| {one.what} | {one.how} | `{one.test}` |\n" for one in DIARY]
    head = [_line(COLUMNS), _line(["---"] * len(COLUMNS))]
    return HEAD + "".join(head + rows + parts)


def _line(cells):
    """Of a table."""
    return f"| {' | '.join(cells)} |\n"


def _mutants(path, score, machine):
    """What the bench finds of its mutants, and the whole machine of the others."""
    own, rest = ("-" if machine else NOT_RUN), _absent(path)
    if score:
        own = f"{score['found']} of {score['tried']}{_old(path, score)}"
        rest = _absent(path) if score["alive"] else ""
    if machine:
        count = len(machine["found"])
        rest = f"{count} of {count + len(machine['alive'])}{_old(path, machine)}"
    return own, rest


def _coverage(path, covered, machine):
    """The cells of branches and toggles."""
    return (
        _covered(path, covered, "branches", NOT_RUN),
        _covered(path, machine, "branches", _absent(path)),
        _covered(path, covered, "toggles", NOT_RUN),
    )


def _absent(path):
    """What stands for a figure of the machine that is not there."""
    return "-" if path.parent.name == "board" else NOT_RUN


def _covered(path, outcome, what, absent):
    if outcome is None:
        return absent
    return "{:,} of {:,}".format(*outcome[what]) + _old(path, outcome)


def _old(path, outcome):
    return "" if outcome["digest"] == digest_of(path) else ", old"


def _figures(name):
    return json.loads((EVIDENCE / f"{name}.json").read_text())


def covered_branches() -> dict:
    """{block: what is kept of its branches}: by its bench, if that is not the whole machine's."""
    machine = _figures("machine_coverage")
    whole = machine.keys() - MUTATION.outcomes().keys()
    benches = {block: one for block, one in COVERAGE.outcomes().items() if block not in whole}
    return dict(sorted((machine | benches).items()))


def _branches():
    """Those that no circuit covers."""
    kept = covered_branches()
    rows = [
        f"| {block} | `{text.replace('|', chr(92) + '|')}` | {REVIEWED.get((block, text), '')} |\n"
        for block, one in kept.items()
        for text in one["branches left"]
    ]
    covered, total = (sum(one["branches"][place] for one in kept.values()) for place in (0, 1))
    elsewhere = sum(one["elsewhere"] for one in kept.values())
    return BRANCHES.format(total=total, covered=covered, elsewhere=elsewhere) + "".join(rows)


def _configurations():
    """Which ones are promised, and what runs them."""
    shapes = ", ".join(f"{tokens} x {columns}" for tokens, columns in SHAPES)
    return CONFIGURATIONS.format(shapes=shapes)


def _campaign():
    """What came of random cases, feature by feature."""
    found = _figures("campaign")
    rows = []
    for feature, values in CROSSED.items():
        pairs = len(Opcode) * len(values) - sum(one[1] == feature for one in IMPOSSIBLE)
        holes = sum(f" x {feature} " in hole for hole in found["holes"])
        rows.append(f"| {feature} | {len(values)} | {pairs} | {holes} |\n")
    return CAMPAIGN.format(**found) + "".join(rows)


def _load():
    """What came of long queues."""
    load = _figures("load")
    statuses = load["co-simulation"]["statuses"]
    return LOAD.format(
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
    """The mutants that nobody finds, and how many there are of all."""
    scores, alive = MUTATION.outcomes(), survivors()
    own = sum(one["found"] for one in scores.values())
    machine = sum(len(one["found"]) for one in SYSTEM.outcomes().values())
    found = own + machine
    rows = [
        f"| {block} | `{text.replace('|', chr(92) + '|')}` | {REASONS.get((block, text), '')} |\n"
        for block, text in alive
    ]
    tried = found + len(alive)
    share = f"{100 * found / tried:.1f} %"
    return SURVIVORS.format(found=found, tried=tried, own=own, share=share) + "".join(rows)


def _text(bench):
    """A bench and the files of its room that are parts of it."""
    room = bench.parent
    text = bench.read_text()
    parts = re.findall(rf"from sim\.bench\.{room.name}\.(\w+) import", text)
    return text + "".join((room / f"{part}.py").read_text() for part in parts)


def _row(block, path, bench, score, machine, covered, in_machine):
    """A block's row."""
    module = module_of(path)
    mine = [one for one in PROPERTIES if one.block.partition(":")[0] == module]
    proved = sum(one.inductive for one in mine)
    properties = f"{proved} proved, {len(mine) - proved} bounded" if mine else ""
    text = _text(bench) if bench else ""
    random = re.search(r"random\.|random_|default_rng", text)
    stalls = "pause" in text or "stall" in text
    streams = bool(re.search(r"stream\.|axi\.", path.read_text()))
    states = bool(text) and "large=True" not in text
    stage = ""
    if text:
        stage = "V1"
        if random and (stalls or not streams) and states:
            stage = "V3" if mine else "V2"
    marks = ["yes" if mark else "" for mark in (bool(text), random, stalls, states)]
    if not streams:
        marks[2] = "-"
    cells = [block, *marks, properties]
    cells += [*_mutants(path, score, machine), *_coverage(path, covered, in_machine), stage]
    return _line(cells)


if __name__ == "__main__":
    print(evidence_page(), end="")
