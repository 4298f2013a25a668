# SPDX-License-Identifier: Apache-2.0
"""What a bench that fails says."""

import pytest

from hw.stream import Fifo
from sim.bench import harness
from sim.bench.simulated import default_simulator
from sim.bench.test_stream import WORD

WAVES = {"icarus": "fst", "verilator": "vcd"}


@pytest.mark.parametrize("simulator", sorted({default_simulator(), "verilator"}))
def test_failure_shows_the_first_difference(simulator, monkeypatch):
    monkeypatch.setenv("SIM", simulator)
    told = rf"(?s)negate\[0\]\['values'\]\[0\]: got .*waves: .*{WAVES[simulator]}$"
    with pytest.raises(AssertionError, match=told):
        harness.run_bench(Fifo(WORD, 2), "sim.bench.test_stream", "failing", only="negate")
