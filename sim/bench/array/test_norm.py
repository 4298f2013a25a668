# SPDX-License-Identifier: Apache-2.0
"""Norm: residual from the residual stream, from NORMED, or none; LayerNorm or move.

Results go to NORMED or, turned, into rows.
"""

import cocotb
import pytest

from sim.bench import harness
from sim.bench.array.norm_bench import Bench
from sim.bench.array.norm_sources import CASES, Front


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def norm(dut, pause):
    test = Bench(dut, pause)
    await test.start()
    for case in CASES:
        await test.run(*case)
    assert test.saturations.count > 0
    harness.assert_same("saturated", await test.counter.total(), test.saturations.count)
    assert test.gather.empty()


@cocotb.test()
@cocotb.parametrize(pause=["none", "both"])
async def follow(dut, pause):
    """A word of SUM is read when it is there; the results are the same."""
    test = Bench(dut, pause)
    await test.start()
    for case in (case for case in CASES if len(case) == 5):
        await test.run(*case, follow=True)
    assert test.early > 5
    harness.assert_same("saturated", await test.counter.total(), test.saturations.count)


@pytest.mark.parametrize("tokens", [4, 3, 32])
def test_norm(tokens):
    """With T = 32 a tile's results come while the rows of the one before are written.

    It has less than a block of features.
    """
    config = harness.small(
        tokens=tokens,
        slots=3,
        rows=max(2 * tokens, 16 + -16 % tokens),
        positions=max(2 * tokens, 16),
    )
    harness.run_bench(Front(config), "sim.bench.array.test_norm", f"norm_{tokens}", config=config)
