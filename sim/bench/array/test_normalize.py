# SPDX-License-Identifier: Apache-2.0
"""Normalize: contexts of whole query tiles, what passes along, and the count of saturations."""

import random

import cocotb
import pytest
import torch

from golden_model import softmax as golden
from golden_model.config import INT8, NumberFormat
from golden_model.fixed import Saturations
from hw.array.normalize import Normalize
from hw.shapes import CONTEXT_SHIFT
from sim.bench import harness


def contexts(config, generator):
    """Sets of (denominators, words of accumulators, shift).

    No weighted mean is larger than the largest value.
    """
    fmt, t = config.format, config.tokens
    one = (1 << (fmt.top + fmt.mantissa)) if fmt.is_adaptivfloat else 127
    for length, shift in [(1, 24), (3, 20), (16, 16), (9, 12), (16, 30), (16, 46), (2, 8)]:
        totals = [generator.choice([one, generator.randint(one, length * one)]) for _ in range(t)]
        words = [
            [
                int(
                    generator.choice(
                        [1, -1, generator.uniform(-1, 1), generator.uniform(-0.01, 0.01), 0]
                    )
                    * fmt.largest
                    * total
                )
                for total in totals
            ]
            for _ in range(12)
        ]
        yield totals, words, shift
    yield [0] * t, [[0] * t] * 2, 20


@cocotb.test()
@cocotb.parametrize(pause=["none", "both"])
async def normalize(dut, pause):
    """Contexts of several sets of denominators, one behind the other."""
    config = harness.config()
    generator = random.Random(5)
    saturations = Saturations()
    block, t = Normalize(config, meta=3), config.tokens
    idle, stall = harness.pauses(pause)
    totals_in = harness.Source(dut, "i_denominators", block.i_denominators.payload.shape())
    source = harness.Source(dut, "i", block.i.payload.shape(), idle)
    sink = harness.Sink(dut, "o", block.o.payload.shape(), stall)
    counter = harness.Counter(dut, "saturated")
    await harness.start(dut)
    sets = list(contexts(config, generator))
    # Each waits until the words of the one before have left.
    totals_in.send([totals for totals, _, _ in sets])
    for number, (totals, words, shift) in enumerate(sets):
        harness.drive(dut, "shift", CONTEXT_SHIFT, shift)
        live = [generator.randrange(1 << t) for _ in words]
        source.send(
            [
                {
                    "accumulators": word,
                    "live": live[n],
                    "meta": n % 8,
                    "last": int(n == len(words) - 1),
                }
                for n, word in enumerate(words)
            ]
        )
        got = await sink.receive(len(words))
        want = golden.context(torch.tensor(words), torch.tensor(totals), shift, config.format)
        harness.assert_same(f"context {number}", [word["values"] for word in got], want)
        harness.assert_same("live", [word["live"] for word in got], live)
        harness.assert_same(
            "meta", [word["meta"] for word in got], [n % 8 for n in range(len(words))]
        )
        for word, flags in zip(words, live, strict=True):
            counted = [n for n in range(t) if flags >> n & 1]
            golden.context(
                torch.tensor(word)[counted],
                torch.tensor(totals)[counted],
                shift,
                config.format,
                saturations,
            )
    assert saturations.count > 0
    harness.assert_same("saturated", await counter.total(), saturations.count)
    assert sink.empty()


CONFIGS = {
    "af8_4": harness.small(),
    "af8_3": harness.small(tokens=3),
    "int8_4": harness.small(format=INT8),
    "wide_4": harness.small(format=NumberFormat(8, 4)),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_normalize(name):
    harness.run_bench(
        Normalize(CONFIGS[name], meta=3),
        "sim.bench.array.test_normalize",
        f"normalize_{name}",
        config=CONFIGS[name],
    )
