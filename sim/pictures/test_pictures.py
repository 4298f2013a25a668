# SPDX-License-Identifier: Apache-2.0
"""The timing pictures show what the RTL does now."""

import pytest

from sim.pictures.__main__ import DOCS, TIMED
from sim.pictures.runs import simulate_picture


@pytest.fixture(scope="module")
def run():
    return simulate_picture()


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMED)
def test_timing(run, name):
    """`python -m sim.pictures` would draw them again as they are."""
    assert (DOCS / f"{name}.svg").read_text() == TIMED[name](run)
