# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""hw/attention/span_mask.py against golden_model/softmax.py; queries that are no position too."""

import random

import cocotb
import pytest
import torch
from cocotb.triggers import ClockCycles

from golden_model.formats import EXP_FRAC, SPAN_FRAC
from golden_model.softmax import mask_numerator
from hw.attention.span_mask import LATENCY, SpanMask
from hw.shapes import HEAD, POSITION
from sim.bench import harness
from sim.bench.attention.span_numerators import span_words

TILES = 12


def spans(config, generator):
    """A table by head and distance, the extremes among its entries."""
    most = 1 << SPAN_FRAC
    return torch.tensor(
        [
            [
                generator.choice([0, most, generator.randint(0, most)])
                for _ in range(config.positions)
            ]
            for _ in range(config.heads)
        ]
    )


def keys(config, generator, count):
    """Words of random keys."""
    return [
        {
            "exponentials": [
                generator.choice([1 << EXP_FRAC, generator.randint(0, 1 << EXP_FRAC)])
                for _ in range(config.tokens)
            ],
            "position": generator.randrange(config.positions),
            "last": generator.getrandbits(1),
        }
        for _ in range(count)
    ]


def masked(config, word, queries, spans):
    """A key's word behind the mask; a distance that there cannot be counts as 0."""
    distances = [abs(query - word["position"]) for query in queries]
    span = spans[[distance if distance < config.positions else 0 for distance in distances]]
    return word | {
        "exponentials": mask_numerator(torch.tensor(word["exponentials"]), span).tolist()
    }


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def mask(dut, pause):
    """Tiles of all heads; half of the table is written again between them."""
    config = harness.config()
    block = SpanMask(config)
    generator = random.Random(config.tokens)
    idle, stall = harness.pauses(pause)
    source = harness.Source(dut, "i", block.i.payload.shape(), idle)
    sink = harness.Sink(dut, "o", block.o.payload.shape(), stall)
    writes = harness.Source(dut, "span_write", block.span_write.payload.shape())
    await harness.start(dut)
    table = spans(config, generator)
    writes.send(span_words(table))
    await writes.wait()
    assert writes.cycles[-1] - writes.cycles[0] == table.numel() - 1, "a write that waits"
    for tile in range(TILES):
        head = tile % config.heads
        far = [config.positions, 2 * config.positions - 1, (1 << POSITION.width) - 1]
        queries = [
            generator.choice([generator.randrange(config.positions)] * 4 + far)
            for _ in range(config.tokens)
        ]
        harness.drive(dut, "head", HEAD, head)
        harness.drive(dut, "query_positions", block.query_positions.shape(), queries)
        words = keys(config, generator, generator.randint(1, 20))
        source.send(words)
        got = await sink.receive(len(words))
        want = [masked(config, word, queries, table[head]) for word in words]
        harness.assert_same(f"tile {tile}", got, want)
        if pause in ("none", "idle"):
            taken, given = (player.cycles[-len(words) :] for player in (source, sink))
            harness.assert_same("cycles", given, [cycle + LATENCY for cycle in taken])
        if pause == "none":
            assert given[-1] - given[0] == len(words) - 1, "not a key a cycle"
        new = spans(config, generator)
        half = [word for word in span_words(new) if word["address"] % 2]
        writes.send(half)
        await writes.wait()
        table = torch.where(torch.arange(table.numel()).reshape(table.shape) % 2 == 1, new, table)
    await ClockCycles(dut.clk, LATENCY + 1)
    assert sink.empty()


@pytest.mark.parametrize(("tokens", "positions"), [(4, 16), (3, 13)])
def test_span_mask(tokens, positions):
    config = harness.small(tokens=tokens, positions=positions, heads=3)
    harness.run_bench(
        SpanMask(config),
        "sim.bench.attention.test_span_mask",
        f"span_mask_{tokens}",
        config=config,
    )
