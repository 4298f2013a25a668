# SPDX-License-Identifier: Apache-2.0
"""hw/board/block_memory.py: the runs of the SDRAM's bench, and their cycles."""

import random

import cocotb
import pytest
from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.board.block_memory import BlockMemory
from sim.bench import harness
from sim.bench.board.memory_bench import WORDS, MemoryBench


class Watched(wiring.Component):
    """The memory, with an `o` whose ready is a port."""

    def __init__(self):
        self._memory = memory = BlockMemory(WORDS)
        super().__init__(
            {
                "i": In(stream.Signature(memory.i.payload.shape())),
                "i_data": In(stream.Signature(memory.i_data.payload.shape())),
                "o": Out(stream.Signature(memory.o.payload.shape())),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = self._memory
        wiring.connect(m, wiring.flipped(self.i), memory.i)
        wiring.connect(m, wiring.flipped(self.i_data), memory.i_data)
        m.d.comb += [
            self.o.valid.eq(memory.o.valid),
            self.o.payload.eq(memory.o.payload),
        ]
        return m


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def runs(dut, pause):
    """See `MemoryBench`; addresses beyond the last word come back."""
    test = MemoryBench(dut, Watched(), pause)
    await harness.start(dut)
    await test.all_lengths(random.Random(7))
    test.write(3 * WORDS + 5, [77])
    assert await test.read(5, 1) == [77]


@cocotb.test()
async def speed(dut):
    """A cycle a word, and one around a run."""
    test = MemoryBench(dut, Watched())
    await harness.start(dut)
    test.runs.send([{"write": 0, "address": 64 * n, "length": 63} for n in range(20)])
    await test.sink.receive(64 * 20)
    assert test.sink.cycles[-1] - test.sink.cycles[0] == 20 * 65 - 2


def test_block_memory():
    harness.run_bench(Watched(), "sim.bench.board.test_block_memory", "block_memory")


@pytest.mark.parametrize("words", [0, 1, 3, 1000])
def test_words(words):
    with pytest.raises(ValueError, match="Words must be"):
        BlockMemory(words)
