# SPDX-License-Identifier: Apache-2.0
"""The changes of a source, the choice among them in a circuit, and what is made of a log."""

import json
import subprocess
import sys

import pytest
from amaranth import Module, Signal
from amaranth.sim import Simulator

from sim.cosim.build import ROOT
from sim.evidence.block_runs import digest_of
from sim.evidence.mutants import SELECT, Instrumented, changes_of
from sim.evidence.mutation import MUTATION, _outcome, _sequence
from sim.evidence.survivors import REASONS
from sim.evidence.system import SYSTEM, survivors

SOURCE = """
from amaranth import Mux

WIDTH = 3 + 1


def logic(m, a, b, out):
    with m.If(a < b):
        m.d.comb += [out.eq(Mux(a == 0, ~b, a + b))]
"""


def value(module, mutant, a, b):
    """What the circuit says for inputs a and b."""
    m = Module()
    ports = [Signal(4) for _ in range(2)]
    out = Signal(4)
    module.logic(m, *ports, out)
    found = []

    async def bench(context):
        context.set(SELECT, mutant)
        for port, number in zip(ports, (a, b), strict=True):
            context.set(port, number)
        await context.delay(1e-9)
        found.append(context.get(out))

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    return found[0]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The source above, with its mutants, and {the text of a change: its number}."""
    path = tmp_path / "mutated_logic.py"
    path.write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "mutated_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    path = path.rename(package / path.name)
    loader = Instrumented("mutated_package.mutated_logic")
    loader.install()
    from mutated_package import mutated_logic

    mutated_logic.changes = {change.text: change.number for change in changes_of(path)}
    return mutated_logic


def test_each_change_does_what_it_says(module):
    """`WIDTH` is no circuit's, so nothing is changed there."""
    want = {
        "a < b → a <= b": ((3, 3), 0, 6),
        "If(a < b) → If(0)": ((1, 2), 3, 0),
        "If(a < b) → If(1)": ((2, 1), 0, 3),
        "a == 0 → a != 0": ((0, 5), 10, 5),
        "~b → b": ((0, 5), 10, 5),
        "a + b → a - b": ((1, 2), 3, 15),
        "Mux(a == 0, ~b, a + b) → Mux(a == 0, a + b, ~b)": ((1, 2), 3, 13),
        "out.eq(Mux(a == 0, ~b, a + b)) → nothing": ((1, 2), 3, 0),
    }
    assert want.keys() == module.changes.keys()
    for text, (inputs, good, changed) in want.items():
        assert value(module, 0, *inputs) == good, text
        assert value(module, module.changes[text], *inputs) == changed, text


def test_sequence_has_the_block_itself_between():
    assert _sequence([3, 4]) == [0, 3, 4, 0]
    assert _sequence(list(range(1, 18))) == [0, *range(1, 17), 0, 17, 0]


def test_outcome_of_a_log():
    """Two tests: mutant 3 fails the second, 4 none, and the simulation ends in the first of 5."""
    places = ["0", "0", "1", "1", "2", "2", "3"]
    ends = ["0", "0", "1", "2", "2"]
    lines = [*(("begin", place) for place in places), *(("end", place) for place in ends)]
    assert _outcome([0, 3, 4, 5], lines) == ({0, 4}, {3, 5})


def test_outcomes_are_of_blocks():
    for block, one in MUTATION.outcomes().items():
        assert one["found"] + len(one["alive"]) == one["tried"] <= one["in the circuit"], block
        assert list(ROOT.glob(f"hw/**/{block}.py")), block


def test_survivors_have_a_reason():
    assert set(survivors()) == REASONS.keys()


def test_machine_had_survivors_of_benches():
    """Of a block whose bench had its mutants, only those that it does not find."""
    for block, one in SYSTEM.outcomes().items():
        own = MUTATION.outcomes().get(block)
        if own:
            assert {*one["found"], *one["alive"]} <= set(own["alive"]), block


def test_bench_finds_mutants_of_its_block(tmp_path):
    """All that are drawn of a block whose bench finds every one, and what is kept of it."""
    into = tmp_path / "outcome.json"
    command = ["-m", "sim.evidence.mutation", "slot_walk", "--most", "5", "--into", str(into)]
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    found = json.loads(into.read_text())
    assert (found["tried"], found["found"], found["alive"]) == (5, 5, [])
    assert found["digest"] == digest_of(ROOT / "hw" / "rows" / "slot_walk.py")


def test_digest_is_of_what_a_block_does(tmp_path):
    path = tmp_path / "block.py"
    digests = []
    for text in ('"""One."""\nx = 1\n', '"""Two."""\n# There.\n\nx = 1\n', '"""One."""\nx = 2\n'):
        path.write_text(text)
        digests.append(digest_of(path))
    assert digests[0] == digests[1] != digests[2]
