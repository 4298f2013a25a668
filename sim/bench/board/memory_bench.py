# SPDX-License-Identifier: Apache-2.0
"""Runs of words into a board's memory and out again, for test_sdram and test_block_memory."""

from sim.bench import harness
from sim.bench.players import silence

__all__ = ["WORDS", "MemoryBench"]

WORDS = 1 << 12


class MemoryBench:
    """`write` and `read` of a `block` with the streams of `Sdram`, of `WORDS` words."""

    def __init__(self, dut, block, pause="none"):
        idle, _ = harness.pauses(pause)
        silence(dut, block)
        self.dut = dut
        self.runs = harness.Source(dut, "i", block.i.payload.shape(), idle)
        self.words = harness.Source(dut, "i_data", block.i_data.payload.shape(), idle)
        self.sink = harness.Sink(dut, "o", block.o.payload.shape())
        self.memory = [None] * WORDS

    def write(self, address, values, strobes=None):
        strobes = strobes or [15] * len(values)
        self.runs.send([{"write": 1, "address": address, "length": len(values) - 1}])
        self.words.send([{"data": d, "strobe": s} for d, s in zip(values, strobes, strict=True)])
        for i, (value, strobe) in enumerate(zip(values, strobes, strict=True)):
            mask = sum(255 << 8 * byte for byte in range(4) if strobe >> byte & 1)
            place = (address + i) % WORDS
            old = self.memory[place] or 0
            self.memory[place] = old & ~mask | value & mask

    async def read(self, address, count):
        self.runs.send([{"write": 0, "address": address, "length": count - 1}])
        got = await self.sink.receive(count)
        assert [word["last"] for word in got] == [0] * (count - 1) + [1]
        return [word["data"] for word in got]

    async def all_lengths(self, generator):
        """All lengths, rows far apart; parts of words; every order of the two kinds."""
        for length in (1, 2, 3, 64, 256):
            for row in (0, 1, 5):
                address = 256 * row + generator.randrange(257 - length)
                self.write(address, [generator.getrandbits(32) for _ in range(length)])
                found = await self.read(address, length)
                harness.assert_same("words", found, self.memory[address : address + length])
        strobes = [generator.randrange(16) for _ in range(40)]
        self.write(300, [generator.getrandbits(32) for _ in strobes])
        self.write(300, [generator.getrandbits(32) for _ in strobes], strobes)
        harness.assert_same("parts of words", await self.read(300, 40), self.memory[300:340])
        harness.assert_same("a part of a run", await self.read(310, 20), self.memory[310:330])
