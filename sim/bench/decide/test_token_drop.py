# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""hw/decide/token_drop.py against golden_model/token_drop.py."""

import random

import cocotb
import pytest
import torch

from golden_model.token_drop import keep
from hw.decide.contribution import total
from hw.decide.token_drop import TokenDrop
from hw.shapes import ETA, index
from sim.bench import harness

ONE = 2**16


def cases(config, seed=1):
    """(numerators, eta): equality from both sides, all and nothing, one row, random."""
    generator = random.Random(seed)
    n = config.positions
    yield [ONE], ONE
    yield [7, 7, 7], ONE
    yield [7, 6, 8], ONE
    yield [0, ONE, 0], ONE
    yield [0, ONE, 0], 0
    yield [ONE] * n, ONE
    yield [1, 2, 3, 2], ONE // 2
    for _ in range(20):
        e = [
            generator.randint(0, generator.choice([4, 1000, ONE]))
            for _ in range(generator.choice([1, 2, n]))
        ]
        i = generator.randrange(len(e))
        exact = (len(e) * e[i] << 16) // max(sum(e), 1)  # close to the edge of row i
        yield e, min(ONE, max(0, generator.choice([exact, exact + 1, generator.randint(0, ONE)])))


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def token_drop(dut, pause):
    """The rows to keep are the golden model's, at one row a cycle."""
    config = harness.config()
    block = TokenDrop(config)
    idle, stall = harness.pauses(pause)
    source = harness.Source(dut, "i", block.i.payload.shape(), idle)
    sink = harness.Sink(dut, "o", block.o.payload.shape(), stall)
    await harness.start(dut)
    for e, eta in cases(config):
        harness.drive(dut, "count", index(config.positions + 1), len(e))
        harness.drive(dut, "sum", total(config), sum(e))
        harness.drive(dut, "eta", ETA, eta)
        source.send([{"exponential": x} for x in e])
        want = keep(torch.tensor(e), eta).tolist()
        want = [
            {"index": i, "exponential": x, "keep": bit, "last": int(i == len(e) - 1)}
            for i, (x, bit) in enumerate(zip(e, want, strict=True))
        ]
        harness.assert_same("keep", await sink.receive(len(e)), want)
        if pause == "none":
            assert sink.cycles[-1] - sink.cycles[-len(e)] == len(e) - 1, "not one row per cycle"
    assert sink.empty()


@pytest.mark.parametrize(
    "config",
    [harness.small(), harness.small(tokens=3, positions=7)],
    ids=lambda config: str(config.positions),
)
def test_token_drop(config):
    harness.run_bench(
        TokenDrop(config),
        "sim.bench.decide.test_token_drop",
        f"token_drop_{config.positions}",
        config=config,
    )
