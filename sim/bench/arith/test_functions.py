# SPDX-License-Identifier: Apache-2.0
"""Reciprocal and Rsqrt against golden_model.functions: every binade, corners and seeded numbers."""

import random

import cocotb
import pytest
import torch

from golden_model import functions as golden
from hw.arith.functions import Reciprocal, Rsqrt
from sim.bench import harness

BLOCKS = {"reciprocal": (Reciprocal, golden.reciprocal), "rsqrt": (Rsqrt, golden.rsqrt)}


def cases(width):
    generator = random.Random(width)
    numbers = (
        [0, 1, 2, 3]
        + [(1 << k) + d for k in range(2, width) for d in (-1, 0, 1)]
        + [(1 << width) - 1]
    )
    return numbers + [generator.randrange(1 << k) for k in range(1, width + 1) for _ in range(15)]


@cocotb.test()
@cocotb.parametrize(pause=["none", "both"])
async def values(dut, pause):
    """Mantissas and positions of corners and of numbers of every magnitude."""
    width, name = harness.parameters()["width"], harness.parameters()["function"]
    build, function = BLOCKS[name]
    block, numbers = build(width, meta=4), cases(width)
    idle, stall = harness.pauses(pause)
    source = harness.Source(dut, "i", block.i.payload.shape(), idle)
    sink = harness.Sink(dut, "o", block.o.payload.shape(), stall)
    await harness.start(dut)
    source.send([{"z": z, "meta": n % 16} for n, z in enumerate(numbers)])
    got = await sink.receive(len(numbers))
    mantissas, positions = (x.tolist() for x in function(torch.tensor(numbers)))
    want = [
        {"mantissa": w, "position": p, "meta": n % 16}
        for n, (w, p) in enumerate(zip(mantissas, positions, strict=True))
    ]
    harness.assert_same(name, got, want)
    assert sink.empty()


@pytest.mark.parametrize(
    ("name", "width"), [("reciprocal", 18), ("reciprocal", 28), ("rsqrt", 43), ("rsqrt", 40)]
)
def test_function(name, width):
    harness.run_bench(
        BLOCKS[name][0](width, meta=4),
        "sim.bench.arith.test_functions",
        f"{name}_{width}",
        width=width,
        function=name,
    )
