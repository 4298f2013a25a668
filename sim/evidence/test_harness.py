# SPDX-License-Identifier: Apache-2.0
"""What a bench that fails says."""

import pytest

from hw.stream import Fifo
from sim.bench import harness
from sim.bench.simulated import Simulated
from sim.bench.test_stream import WORD


def test_failure_shows_the_first_difference():
    with pytest.raises(
        AssertionError, match=r"(?s)negate\[0\]\['values'\]\[0\]: got .*waves: .*fst"
    ):
        harness.run_bench(Fifo(WORD, 2), "sim.bench.test_stream", "failing", only="negate")


def test_constants_are_there_at_time_0(tmp_path):
    """An `always @*` without an input never runs in Icarus."""
    text = "  always @*\n    o[0] = 1'h0;\n  always @*\n    o[1] = i;\n"
    written = Simulated("constant", "", {}).write(tmp_path, text).read_text()
    assert written == "  initial\n    o[0] = 1'h0;\n  always @*\n    o[1] = i;\n"
