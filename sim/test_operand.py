# SPDX-License-Identifier: Apache-2.0
"""hw/operand.py: a tile from each source, encoded as golden_model/adaptivfloat.py does or passed on; the sources are Python."""
import random

import cocotb
import pytest
import torch
from amaranth import signed, unsigned

from firmware.isa import Source
from golden_model.adaptivfloat import encode_act
from golden_model.config import INT8
from hw.gather import Gather
from hw.linear import load_layout
from hw.operand import Operand
from sim import bench
from sim.engine import Words, quiet

FEATURES = (1, 11)


class Bench:
    def __init__(self, dut, pause):
        self.dut, self.config, self.generator, self.pause = dut, bench.config(), random.Random(15), pause
        self.block = Operand(self.config, Gather(self.config).request)
        idle, stall = bench.pauses(pause)
        self.source = bench.Source(dut, "i", load_layout(), idle)
        self.sink = bench.Sink(dut, "o", self.block.o.payload.shape(), stall)
        idle, stall = bench.pauses(pause, 5)
        self.gather = bench.Sink(dut, "gather_request", self.block.gather_request.payload.shape(), stall)
        self.gathered = bench.Source(dut, "gather_words", self.block.gather_words.payload.shape(), idle)
        quiet(dut, self.block)
        self.buffers = {source: Words(dut, self.block, name, self.word, pause) for source, name in
                        ((Source.NORMED, "normed"), (Source.CODES, "codes"))}
        self.words = {}

    def word(self, address):
        return self.words[address]

    async def load(self, source, count, offset):
        dut, config, t = self.dut, self.config, self.config.tokens
        tile, address = self.generator.randrange(config.tiles), self.generator.randrange(2**16)
        low, high = (0, 2**config.format.bits) if source == Source.CODES else (-32768, 32768)
        words = [[self.generator.choice([low, high - 1, self.generator.randrange(low, high), self.generator.randrange(low, high) >> 7])
                  for _ in range(t)] for _ in range(count)]
        self.words = {address + i: word for i, word in enumerate(words)}
        bench.drive(dut, "source", unsigned(4), source)
        bench.drive(dut, "features", unsigned(16), count)
        bench.drive(dut, "encode", signed(8), offset)
        self.source.send([{"tile": tile, "address": address}])
        if source in (Source.STATE, Source.CLS):
            want = {"tile": tile, "cls": int(source == Source.CLS), "read": 1, "features": count}
            bench.assert_same("gather", await self.gather.receive(1), [want])
            self.gathered.send([{"values": word, "last": int(i == count - 1)} for i, word in enumerate(words)])
        codes = words if source == Source.CODES else encode_act(torch.tensor(words), 0, offset, config.format).tolist()
        bench.assert_same(f"codes of {source.name}", await self.sink.receive(count),
                          [{"codes": word, "last": int(i == count - 1)} for i, word in enumerate(codes)])
        if source in self.buffers:
            bench.assert_same("request", self.buffers[source].asked, [(address, count)])
            self.buffers[source].asked.clear()
        assert self.gather.empty() and not any(buffer.asked for buffer in self.buffers.values())


@cocotb.test()
@cocotb.parametrize(pause=bench.PAUSES)
async def operand(dut, pause):
    test = Bench(dut, pause)
    await bench.start(dut, 20_000)
    for offset in (0, 5, 11):
        for source in Source:
            for count in FEATURES:
                await test.load(source, count, offset)
    assert test.sink.empty()


CONFIGS = {"af8": bench.small(), "int8": bench.small(tokens=3, format=INT8)}


@pytest.mark.parametrize("name", CONFIGS)
def test_operand(name):
    config = CONFIGS[name]
    bench.run(Operand(config, Gather(config).request), "sim.test_operand", f"operand_{name}", config=config)
