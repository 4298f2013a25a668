# SPDX-License-Identifier: Apache-2.0
"""Activation: every input of every function, alignment, back-pressure."""

import random

import cocotb
import pytest
import torch
from amaranth import signed, unsigned

from firmware.isa import Function
from golden_model.fixed import Saturations, align
from golden_model.functions import tanh
from golden_model.gelu import gelu
from hw.arith.gelu import Activation
from sim.bench import harness

FUNCTIONS = {
    Function.NONE: lambda x: x,
    Function.TANH: tanh,
    Function.GELU_NEW: lambda x: gelu(x, "gelu_new"),
    Function.GELU: lambda x: gelu(x, "gelu"),
}


async def activation(dut, function, shift, words, pause="none"):
    """Compare the words' values (lanes x words) and the count of saturations."""
    block, saturations = Activation(harness.config(), meta=3), Saturations()
    idle, stall = harness.pauses(pause)
    source = harness.Source(dut, "i", block.i.payload.shape(), idle)
    sink = harness.Sink(dut, "o", block.o.payload.shape(), stall)
    counter = harness.Counter(dut, "saturated")
    harness.drive(dut, "function", unsigned(4), function)
    harness.drive(dut, "align", signed(6), shift)
    await harness.start(dut)
    live = [n % (1 << words.shape[1]) for n in range(len(words))]
    source.send(
        [{"values": word, "live": live[n], "meta": n % 8} for n, word in enumerate(words.tolist())]
    )
    got = await sink.receive(len(words))
    counted = torch.tensor(
        [[flags >> lane & 1 for lane in range(words.shape[1])] for flags in live], dtype=torch.bool
    )
    x = words
    if function != Function.NONE:
        x = align(words, shift, 0)
        align(words[counted], shift, 0, saturations)
    harness.assert_same(function.name, [word["values"] for word in got], FUNCTIONS[function](x))
    harness.assert_same("live", [word["live"] for word in got], live)
    harness.assert_same("meta", [word["meta"] for word in got], [n % 8 for n in range(len(words))])
    harness.assert_same("saturated", await counter.total(), saturations.count)
    assert sink.empty()


@cocotb.test()
@cocotb.parametrize(
    (
        ("function", "ends"),
        [(Function.TANH, 2**15), (Function.GELU_NEW, 4096 + 64), (Function.GELU, 4096 + 64)],
    )
)
async def every_input(dut, function, ends):
    """All inputs; of the GELUs those of the table and a little more, where they are 0 and x."""
    await activation(
        dut, function, 0, torch.arange(-ends, ends).reshape(-1, harness.config().tokens)
    )


@cocotb.test()
@cocotb.parametrize(
    (
        ("function", "shift", "pause"),
        [
            (Function.GELU, -32, "both"),
            (Function.GELU_NEW, -3, "both"),
            (Function.TANH, 5, "stall"),
            (Function.TANH, 31, "idle"),
            (Function.NONE, -3, "both"),
        ],
    )
)
async def aligned(dut, function, shift, pause):
    generator = random.Random(shift)
    words = [
        [
            int(generator.uniform(-1, 1) * 2 ** generator.uniform(0, 15))
            for _ in range(harness.config().tokens)
        ]
        for _ in range(60)
    ]
    await activation(dut, function, shift, torch.tensor(words), pause)


@pytest.mark.parametrize(("lanes", "only"), [(64, "every_input"), (4, "aligned"), (3, "aligned")])
def test_activation(lanes, only):
    config = harness.small(tokens=lanes, rows=3 * 64 if lanes == 3 else 64)
    harness.run_bench(
        Activation(config, meta=3),
        "sim.bench.arith.test_gelu",
        f"gelu_{lanes}",
        config=config,
        only=only,
        large=only == "every_input",
    )
