# SPDX-License-Identifier: Apache-2.0
"""Softmax and Normalize against golden_model.softmax: numerators, denominators and contexts of whole query tiles."""

import random

import cocotb
import pytest
import torch
from amaranth import signed, unsigned

from golden_model import softmax as golden
from golden_model.config import INT8, NumberFormat
from golden_model.fixed import Saturations
from golden_model.formats import EXP_IN_FRAC
from hw.attention.softmax import Normalize, Softmax
from sim.bench import harness

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
        span.send(
            [
                {"address": h * POSITIONS + d, "data": int(table[h, d])}
                for h in range(HEADS)
                for d in range(POSITIONS)
            ]
        )
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
        distance = (torch.tensor(queries)[:, None] - torch.tensor(keys)).abs()
        masked = golden.mask_numerator(
            golden.numerator(values.T, frac), table[head][distance]
        )  # (T, keys)
        codes = golden.encode_numerator(masked, config.format)
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
    assert numerators.empty() and denominators.empty()


def contexts(config, generator):
    """Sets of (denominators, words of accumulators, shift); no weighted mean is larger than the largest value."""
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
    config = harness.config()
    generator = random.Random(5)
    saturations = Saturations()
    block, t = Normalize(config, meta=3), config.tokens
    idle, stall = harness.pauses(pause)
    totals_in = harness.Source(dut, "i_denominators", block.i_denominators.payload.shape())
    source, sink = (
        harness.Source(dut, "i", block.i.payload.shape(), idle),
        harness.Sink(dut, "o", block.o.payload.shape(), stall),
    )
    counter = harness.Counter(dut, "saturated")
    await harness.start(dut)
    sets = list(contexts(config, generator))
    totals_in.send(
        [totals for totals, _, _ in sets]
    )  # each waits until the words of the one before have left
    for number, (totals, words, shift) in enumerate(sets):
        harness.drive(dut, "shift", unsigned(8), shift)
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
    "plain_4": harness.small(units=frozenset({"drop"})),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_softmax(name):
    harness.run(
        Softmax(CONFIGS[name]),
        "sim.bench.attention.test_softmax",
        f"softmax_{name}",
        config=CONFIGS[name],
        only="softmax",
    )


@pytest.mark.parametrize("name", ["af8_4", "af8_3", "int8_4", "wide_4"])
def test_normalize(name):
    harness.run(
        Normalize(CONFIGS[name], meta=3),
        "sim.bench.attention.test_softmax",
        f"normalize_{name}",
        config=CONFIGS[name],
        only="normalize",
    )
