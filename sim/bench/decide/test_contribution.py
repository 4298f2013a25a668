# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""hw/decide/contribution.py against golden_model/softmax.py."""

import random

import cocotb
import pytest
import torch

from golden_model.formats import EXP_IN_FRAC
from golden_model.softmax import numerator
from hw.decide.contribution import Contribution
from hw.shapes import ALIGN, index
from sim.bench import harness

LOW, HIGH = -32768, 32767


def cases(config, seed=1):
    """(values, fraction bits): corners, ties, lengths 1 and full, random."""
    generator = random.Random(seed)
    n = config.positions
    yield [5], 8
    yield [LOW], 11
    yield [LOW, HIGH] * (n // 2), 11
    yield [HIGH] + [LOW] * (n - 1), 5
    yield [7] * n, 10
    yield [-3, -2, -1, 0], 11
    for _ in range(20):
        spread = generator.choice([3, 200, 5000, HIGH])
        yield (
            [generator.randint(-spread, spread) for _ in range(generator.choice([1, 2, n - 1, n]))],
            generator.randint(-20, 42),
        )


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def contribution(dut, pause):
    """Exponentials and their sum are the golden model's, at one value a cycle."""
    config = harness.config()
    block = Contribution(config)
    idle, stall = harness.pauses(pause)
    source = harness.Source(dut, "i", block.i.payload.shape(), idle)
    sink = harness.Sink(dut, "o", block.o.payload.shape(), stall)
    harness.drive(dut, "count", index(config.positions + 1), 1)
    harness.drive(dut, "align", ALIGN, 0)
    await harness.start(dut)
    for values, frac in cases(config):
        harness.drive(dut, "count", index(config.positions + 1), len(values))
        harness.drive(dut, "align", ALIGN, frac - EXP_IN_FRAC)
        source.send([{"value": value} for value in values])
        want = numerator(torch.tensor(values), frac)
        got = await sink.receive(len(values))
        harness.assert_same("exponential", [word["exponential"] for word in got], want)
        harness.assert_same("last", [word["last"] for word in got], [0] * (len(values) - 1) + [1])
        harness.assert_same("sum", int(dut.sum.value), int(want.sum()))
        if pause == "none":
            assert sink.cycles[-1] - sink.cycles[-len(values)] == len(values) - 1, (
                "not one per cycle"
            )
    assert sink.empty()


@pytest.mark.parametrize(
    "config",
    [harness.small(), harness.small(tokens=3, positions=15, rows=15)],
    ids=lambda config: str(config.positions),
)
def test_contribution(config):
    harness.run_bench(
        Contribution(config),
        "sim.bench.decide.test_contribution",
        f"contribution_{config.positions}",
        config=config,
    )
