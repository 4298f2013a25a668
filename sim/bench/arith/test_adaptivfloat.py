# SPDX-License-Identifier: Apache-2.0
"""Encoder: every 16-bit input of several formats and offsets; decoder: every code."""

import random

import cocotb
import pytest
import torch
from amaranth import Module, Signal, signed
from amaranth.sim import Simulator

from golden_model.adaptivfloat import decode_integer, encode_fixed
from golden_model.config import NumberFormat
from hw.arith.adaptivfloat import Encoder, decode
from sim.bench import harness

FORMATS = [(8, 3), (8, 4), (4, 2), (4, 3), (6, 2), (8, 0)]


async def rtl_encode(dut, block, values, offset, pause="none"):
    """Codes of a list of values, T at a time."""
    idle, stall = harness.pauses(pause)
    lanes = block.i.payload.shape()["values"].shape.length
    source = harness.Source(dut, "i", block.i.payload.shape(), idle)
    sink = harness.Sink(dut, "o", block.o.payload.shape(), stall)
    harness.drive(dut, "offset", signed(8), offset)
    await harness.start(dut)
    words = [values[i : i + lanes] for i in range(0, len(values), lanes)]
    source.send(
        [
            {"values": word + [0] * (lanes - len(word)), "meta": i % 8}
            for i, word in enumerate(words)
        ]
    )
    got = await sink.receive(len(words))
    assert sink.empty()
    harness.assert_same("meta", [word["meta"] for word in got], [i % 8 for i in range(len(words))])
    return [code for word in got for code in word["codes"]][: len(values)]


@cocotb.test()
async def exhaustive(dut):
    config, offset = harness.config(), harness.parameters()["offset"]
    values = list(range(-(2**15), 2**15))
    want = encode_fixed(torch.tensor(values), offset, 0, config.format)
    harness.assert_same(
        "codes", await rtl_encode(dut, Encoder(config, meta=3), values, offset), want
    )


@cocotb.test()
@cocotb.parametrize(offset=[-128, -8, -3, 0, 5, 7, 12, 30, 127])
async def sampled(dut, offset, pause="both"):
    config, generator = harness.config(), random.Random(offset)
    values = [-32768, -32767, 32767, 0, 1, -1] + [
        int(generator.uniform(-1, 1) * 2 ** generator.uniform(0, 15)) for _ in range(60)
    ]
    want = encode_fixed(torch.tensor(values), offset, 0, config.format)
    harness.assert_same(
        "codes", await rtl_encode(dut, Encoder(config, meta=3), values, offset, pause), want
    )


@pytest.mark.parametrize(
    ("bits", "exponent", "offset"), [(8, 3, 4), (8, 4, 0), (4, 2, 10), (6, 2, 11), (8, 0, 6)]
)
def test_encoder_exhaustive(bits, exponent, offset):
    config = harness.small(tokens=64, format=NumberFormat(bits, exponent), positions=16, rows=64)
    harness.run_bench(
        Encoder(config, meta=3),
        "sim.bench.arith.test_adaptivfloat",
        f"encoder_{bits}_{exponent}",
        config=config,
        only="exhaustive",
        offset=offset,
    )


@pytest.mark.parametrize(
    ("bits", "exponent", "lanes"), [(8, 3, 4), (4, 3, 4), (8, 2, 3), (8, 0, 3)]
)
def test_encoder(bits, exponent, lanes):
    config = harness.small(tokens=lanes, format=NumberFormat(bits, exponent))
    harness.run_bench(
        Encoder(config, meta=3),
        "sim.bench.arith.test_adaptivfloat",
        f"encoder_{bits}_{exponent}_{lanes}",
        config=config,
        only="sampled",
    )


@pytest.mark.parametrize(("bits", "exponent"), FORMATS)
def test_decode_every_code(bits, exponent):
    """`decode` is combinational, so Amaranth's own simulator tells."""
    fmt, m = NumberFormat(bits, exponent), Module()
    code, decoded, got = Signal(bits), Signal(signed(fmt.decoded_bits)), []
    value = decode(code, fmt)
    assert value.shape() == decoded.shape()
    m.d.comb += decoded.eq(value)

    async def every(ctx):
        for x in range(1 << bits):
            ctx.set(code, x)
            await ctx.delay(1e-9)
            got.append(ctx.get(decoded))

    simulator = Simulator(m)
    simulator.add_testbench(every)
    simulator.run()
    harness.assert_same("decoded", got, decode_integer(torch.arange(1 << bits), fmt))
