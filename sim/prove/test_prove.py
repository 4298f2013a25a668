# SPDX-License-Identifier: Apache-2.0
"""The quick properties; the mutants of all properties but the slow ones; and the page."""

import pytest

from sim.prove.__main__ import PAGE
from sim.prove.properties import PROPERTIES
from sim.prove.prover import Mutant, check_mutant, prove

QUICK = [one for one in PROPERTIES if one.quick]
WITH_QUICK_MUTANTS = [one for one in PROPERTIES if one.quick_mutants]


def names(properties):
    return [one.name for one in properties]


@pytest.mark.parametrize("one", QUICK, ids=names(QUICK))
def test_property(one):
    verdict = prove(one)
    assert verdict.holds, verdict.text


@pytest.mark.parametrize("one", WITH_QUICK_MUTANTS, ids=names(WITH_QUICK_MUTANTS))
def test_mutants(one):
    assert one.mutants
    for mutant in one.mutants:
        assert not check_mutant(one, mutant).holds, mutant


def test_mutant_that_is_none():
    """A change that is not in the source once says so."""
    with pytest.raises(ValueError, match="once, not 0"):
        check_mutant(PROPERTIES[0], Mutant("what nobody wrote", ""))


def test_page():
    """It has a row for each property, all of which hold and find their mutants."""
    _, _, table = PAGE.read_text().partition("| --- |\n")
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    assert [row[0] for row in rows] == names(PROPERTIES), "run: make prove"
    for one, (_, block, holds, mutants, _) in zip(PROPERTIES, rows, strict=True):
        count = len(one.mutants)
        assert (block, holds) == (one.block.partition(":")[2], one.kind)
        assert mutants == f"{count} of {count}"


def test_solver_that_is_missing_proves_nothing(monkeypatch):
    """Neither that a property holds nor that a mutant does not."""
    monkeypatch.setattr("sim.prove.prover.SOLVER", "no_such_solver")
    for check in (prove, lambda one: check_mutant(one, one.mutants[0])):
        with pytest.raises(RuntimeError, match="must tell PASSED or FAILED"):
            check(PROPERTIES[0])
