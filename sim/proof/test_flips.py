# SPDX-License-Identifier: Apache-2.0
"""A few flips in each part of memory; `make flips` has a thousand."""

import pytest

from sim.proof.flips import PLACES, Flips

FEW = 15


@pytest.fixture(scope="module")
def flips():
    return Flips(seed=1)


@pytest.mark.parametrize("place", PLACES)
def test_nothing_wrong_is_called_ok(flips, place):
    """And what is looked at again is noticed: constants are kept on the chip."""
    found = flips.count(place, FEW)
    assert found["ok and wrong"] == 0
    if place in ("weights", "program"):
        assert found["stopped"] > 0
    if place == "constants":
        assert found == {"ok and right": FEW}
    if place in ("rows", "row table"):
        assert found["sentence failed"] > 0


def test_damage_that_is_not_looked_for_is_found_here(flips, monkeypatch):
    """The comparison sees a wrong result."""
    monkeypatch.setattr(flips, "_differ", lambda one, want: True)
    assert flips.flip("constants") == "ok and wrong"
