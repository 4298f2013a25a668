# SPDX-License-Identifier: Apache-2.0
"""Requantize: values, what passes along, and the count of saturations."""

import random

import cocotb
import pytest
import torch
from amaranth import unsigned

from golden_model.config import AF8, INT8
from golden_model.fixed import Saturations
from golden_model.requantize import requantize
from hw.arith.requantize import Requantize
from sim.bench import harness


def cases(config, count=60):
    """Corners of the accumulator with and against the bias, then numbers of every magnitude."""
    generator = random.Random(1)
    bits = config.accumulator_bits - 1
    lanes = config.tokens
    corners = [-(2**bits), 2**bits - 1, 0, 1, -1, 2**15, -(2**15) - 1]
    words = [
        ([corner] * lanes, bias) for corner in corners for bias in (-(2**bits), 2**bits - 1, 0)
    ]
    for _ in range(count):
        numbers = [
            int(generator.uniform(-1, 1) * 2 ** generator.uniform(0, bits))
            for _ in range(lanes + 1)
        ]
        words.append((numbers[1:], numbers[0]))
    return [
        {
            "accumulators": values,
            "bias": bias,
            "live": generator.randrange(1 << lanes),
            "meta": n % 16,
        }
        for n, (values, bias) in enumerate(words)
    ]


@cocotb.test()
@cocotb.parametrize(
    (("pause", "shift"), [("none", 0), ("both", 1), ("stall", 9), ("idle", 20), ("none", 47)])
)
async def values(dut, pause, shift):
    """Values of every magnitude, what passes along, and the count of saturations."""
    config = harness.config()
    block, words = Requantize(config, meta=4), cases(config)
    idle, stall = harness.pauses(pause)
    source = harness.Source(dut, "i", block.i.payload.shape(), idle)
    sink = harness.Sink(dut, "o", block.o.payload.shape(), stall)
    counter = harness.Counter(dut, "saturated")
    harness.drive(dut, "shift", unsigned(6), shift)
    await harness.start(dut)
    source.send(words)
    got = await sink.receive(len(words))
    want, saturations = [], Saturations()
    for word in words:
        live = torch.tensor([word["live"] >> n & 1 for n in range(config.tokens)], dtype=torch.bool)
        sums = torch.tensor(word["accumulators"])
        want.append(
            {
                "values": requantize(sums, word["bias"], shift).tolist(),
                "live": word["live"],
                "meta": word["meta"],
            }
        )
        requantize(sums[live], word["bias"], shift, saturations)
    harness.assert_same("requantize", got, want)
    harness.assert_same("saturated", await counter.total(), saturations.count)
    assert sink.empty()


@pytest.mark.parametrize(("lanes", "fmt"), [(4, AF8), (3, INT8)], ids=str)
def test_requantize(lanes, fmt):
    config = harness.small(tokens=lanes, format=fmt)
    harness.run_bench(
        Requantize(config, meta=4),
        "sim.bench.arith.test_requantize",
        f"requantize_{lanes}",
        config=config,
    )
