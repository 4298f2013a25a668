# SPDX-License-Identifier: Apache-2.0
"""Softmax: numerators and denominators of whole query tiles."""

import random

import cocotb
import pytest
import torch
from amaranth import signed, unsigned

from golden_model import softmax as golden
from golden_model.config import INT8, NumberFormat
from golden_model.formats import EXP_IN_FRAC
from hw.attention.softmax import Softmax, latency
from sim.bench import harness
from sim.bench.attention.span_numerators import numerator_codes, span_words

HEADS, POSITIONS = 2, 16


def span_table():
    """A soft ramp, then a hard step."""
    ramp = [max(0, 256 - 20 * d) for d in range(POSITIONS)]
    return torch.tensor([ramp, [256 if d < 5 else 0 for d in range(POSITIONS)]])


def tiles(lanes):
    """(scores (keys, T), key positions, query positions, head, fraction bits) of query tiles."""
    generator, result = random.Random(lanes), []
    kinds = [
        lambda: 0,
        lambda: generator.choice([-32768, 32767]),
        lambda: generator.randint(-32768, 32767),
        lambda: generator.randint(-3000, 3000),
        lambda: generator.randint(20000, 20100),
    ]
    for length in (1, 2, POSITIONS, 5, 7, 11, POSITIONS):
        for kind in kinds:
            scores = torch.tensor([[kind() for _ in range(lanes)] for _ in range(length)])
            keys = sorted(generator.sample(range(POSITIONS), length))
            queries = [generator.choice(keys) for _ in range(lanes)]
            result.append(
                (
                    scores,
                    keys,
                    queries,
                    generator.randrange(HEADS),
                    generator.choice([6, 8, 11, 13]),
                )
            )
    return result


@cocotb.test()
@cocotb.parametrize(pause=["none", "both"])
async def softmax(dut, pause):
    """Numerators, `last` and denominators of tiles are the golden model's, at one key a cycle."""
    config = harness.config()
    block, t = Softmax(config), config.tokens
    idle, stall = harness.pauses(pause)
    scores = harness.Source(dut, "i", block.i.payload.shape(), idle)
    numerators = harness.Sink(dut, "o", block.o.payload.shape(), stall)
    denominators = harness.Sink(dut, "o_denominator", block.o_denominator.payload.shape(), stall)
    span = harness.Source(dut, "span_write", block.span_write.payload.shape())
    await harness.start(dut)
    table = span_table()
    if "span" in config.units:
        span.send(span_words(table))
        await span.wait()
    else:
        table = torch.full_like(table, 256)
    for tile, (values, keys, queries, head, frac) in enumerate(tiles(t)):
        harness.drive(dut, "length", block.length.shape(), len(keys))
        harness.drive(dut, "align", signed(6), frac - EXP_IN_FRAC)
        harness.drive(dut, "head", unsigned(8), head)
        harness.drive(dut, "query_positions", block.query_positions.shape(), queries)
        scores.send(
            [
                {"scores": row, "position": key}
                for row, key in zip(values.tolist(), keys, strict=True)
            ]
        )
        got, (total,) = await numerators.receive(len(keys)), await denominators.receive(1)
        codes = numerator_codes(
            config, values.T, torch.tensor(queries), torch.tensor(keys), table[head], frac
        )
        harness.assert_same(f"numerator {tile}", [word["codes"] for word in got], codes.T)
        harness.assert_same(
            "last",
            [word["last"] for word in got],
            [int(k == len(keys) - 1) for k in range(len(keys))],
        )
        harness.assert_same(f"denominator {tile}", total, golden.denominator(codes, config.format))
        if pause == "none" and len(keys) > 1:
            assert numerators.cycles[-1] - numerators.cycles[-len(keys)] == len(keys) - 1, (
                "not one key a cycle"
            )
            assert numerators.cycles[-len(keys)] - scores.cycles[-1] == latency(config)
    assert numerators.empty() and denominators.empty()


CONFIGS = {
    "af8_4": harness.small(),
    "af8_3": harness.small(tokens=3),
    "int8_4": harness.small(format=INT8),
    "wide_4": harness.small(format=NumberFormat(8, 4)),
    "plain_4": harness.small(units=frozenset({"drop"})),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_softmax(name):
    harness.run_bench(
        Softmax(CONFIGS[name]),
        "sim.bench.attention.test_softmax",
        f"softmax_{name}",
        config=CONFIGS[name],
        only="softmax",
    )
