# SPDX-License-Identifier: Apache-2.0
"""The machine of the fault benches (test_faults*.py)."""

import pytest

from sim.cosim import session as host
from sim.cosim.build import build
from sim.proof.check import traced
from sim.proof.system import CONFIG, Machine, random_network


@pytest.fixture(scope="session")
def parts():
    """Its library and its network."""
    return build(CONFIG, traced), random_network()


@pytest.fixture
def machine(parts, monkeypatch):
    monkeypatch.setattr(
        host, "PATIENCE", 300_000
    )  # cycles, so that a machine that hangs fails its test
    machine = Machine(*parts)
    yield machine
    assert machine.sim.violations == []
