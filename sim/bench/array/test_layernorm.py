# SPDX-License-Identifier: Apache-2.0
"""LayerNorm against golden_model.layernorm: values, bypass, and the count of saturations."""

import random
from itertools import pairwise

import cocotb
import pytest
import torch

from golden_model.fixed import Saturations
from golden_model.layernorm import layernorm
from hw.array.layernorm import LayerNorm, cycles, latency, parameter_layout
from sim.bench import harness


def cases(lanes, length):
    """Tiles of rows: constant (N = 0), extremes, one spike, seeded rows of every magnitude."""
    generator = random.Random(length)
    rows = [
        [5] * length,
        [0] * length,
        [32767] * length,
        [32767, -32768] * (length // 2) + [0] * (length % 2),
        [32767] + [0] * (length - 1),
        [1] + [0] * (length - 1),
    ]
    for _ in range(6 * lanes):
        size = 2 ** generator.uniform(1, 15)
        wide, deviation = size > 2**14, size / 3
        rows.append(
            [
                int(generator.gauss(0, deviation)) % 65536 - 32768
                if wide
                else int(generator.gauss(0, size)) % 20000
                for _ in range(length)
            ]
        )
    rows = rows[: len(rows) // lanes * lanes]
    return [rows[i : i + lanes] for i in range(0, len(rows), lanes)], generator


@cocotb.test()
@cocotb.parametrize(
    (
        ("pause", "length", "shift", "bypass"),
        [
            ("none", 32, 14, 0),
            ("both", 16, 12, 0),
            ("stall", 7, 20, 0),
            ("idle", 32, 5, 0),
            ("both", 9, 3, 1),
        ],
    )
)
async def values(dut, pause, length, shift, bypass):
    """Every value of several blocks, one behind the other, and the count of saturations."""
    config = harness.config()
    block, (tiles, generator) = LayerNorm(config), cases(config.tokens, length)
    parameters = [
        (generator.randrange(-32768, 32768), generator.randrange(-32768, 32768))
        for _ in range(length)
    ]
    idle, stall = harness.pauses(pause)
    source = harness.Source(dut, "i", block.i.payload.shape(), idle)
    sink = harness.Sink(dut, "o", block.o.payload.shape(), stall)
    writer = harness.Source(dut, "param_write", parameter_layout())
    counter = harness.Counter(dut, "saturated")
    for name, value in (("length", length), ("set", 2), ("shift", shift), ("bypass", bypass)):
        harness.drive(dut, name, getattr(block, name).shape(), value)
    await harness.start(dut)
    writer.send(
        [
            {"address": 2 * config.widest + i, "gamma": g, "beta": b}
            for i, (g, b) in enumerate(parameters)
        ]
    )
    await writer.wait()
    gamma, beta = (torch.tensor(column) for column in zip(*parameters, strict=True))
    want, saturations = [], Saturations()
    for tile in tiles:
        live = generator.randrange(1 << config.tokens)
        x = torch.tensor(tile)
        chosen = torch.tensor([bool(live >> n & 1) for n in range(config.tokens)])
        y = x if bypass else layernorm(x, gamma, beta, shift)
        if not bypass:
            layernorm(x[chosen], gamma, beta, shift, saturations)
        source.send([{"values": x[:, i].tolist(), "live": live} for i in range(length)])
        want += [{"values": y[:, i].tolist(), "live": live, "feature": i} for i in range(length)]
    harness.assert_same("layernorm", await sink.receive(len(want)), want)
    harness.assert_same("saturated", await counter.total(), saturations.count)
    assert sink.empty()
    if pause == "none":
        assert sink.cycles[0] - source.cycles[length - 1] == latency(config)
        ends = sink.cycles[length - 1 :: length]
        print(
            "cycles of a block behind another:", {here - before for before, here in pairwise(ends)}
        )
        assert all(here - before == cycles(config, length) for before, here in pairwise(ends))


@pytest.mark.parametrize(("lanes", "hidden"), [(4, 32), (3, 48)])
def test_layernorm(lanes, hidden):
    config = harness.small(tokens=lanes, hidden=hidden)
    harness.run_bench(
        LayerNorm(config), "sim.bench.array.test_layernorm", f"layernorm_{lanes}", config=config
    )
