# SPDX-License-Identifier: Apache-2.0
"""hw/board/sdram.py with a model of its chip, which notices what the chip would not forgive."""

import random

import cocotb
from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import ClockCycles, RisingEdge

from hw.board.sdram import Chip, Sdram, memory_run, memory_word, sdram_pins
from sim.bench import harness
from sim.bench.board.memory_bench import WORDS, MemoryBench
from sim.bench.board.sdram_model import FAULTS, SdramModel

CLOCK = 100e6
POWER_UP = 2000.0  # ns, for the bench to be short


class Pair(wiring.Component):
    """The controller and the chip."""

    def __init__(self):
        self._sdram = Sdram(CLOCK, Chip(power_up=POWER_UP))
        self._model = SdramModel(2 * WORDS, CLOCK)
        super().__init__(
            {
                "i": In(stream.Signature(memory_run())),
                "i_data": In(stream.Signature(memory_word())),
                "o": Out(stream.Signature(self._sdram.o.payload.shape())),
                "wrong": Out(FAULTS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.sdram = sdram = self._sdram
        m.submodules.model = model = self._model
        up = Signal(range(int(POWER_UP / 10) + 1))
        m.d.sync += up.eq(up + ~model.power_up)
        m.d.comb += [
            model.power_up.eq(up == int(POWER_UP / 10)),
            self.wrong.eq(model.wrong),
            self.o.valid.eq(sdram.o.valid),
            self.o.payload.eq(sdram.o.payload),
        ]
        for name, member in sdram_pins().items():
            ends = getattr(model.pins, name), getattr(sdram, name)
            target, source = ends if member.flow == Out else ends[::-1]
            m.d.comb += target.eq(source)
        wiring.connect(m, wiring.flipped(self.i), sdram.i)
        wiring.connect(m, wiring.flipped(self.i_data), sdram.i_data)
        return m


class Memory(MemoryBench):
    def __init__(self, dut, pause="none"):
        super().__init__(dut, Pair(), pause)

    def no_wrong(self):
        assert self.dut.wrong.value == 0, f"rules broken: {self.dut.wrong.value}"


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def runs(dut, pause):
    """See `MemoryBench`; banks, too."""
    test = Memory(dut, pause)
    await harness.start(dut)
    await test.all_lengths(random.Random(7))
    test.no_wrong()


@cocotb.test()
async def high_addresses(dut):
    """Rows and banks beyond the model's words come back to its own."""
    test = Memory(dut)
    await harness.start(dut)
    for address in ((1 << 23) - WORDS, 3 << 20, 1 << 22):
        test.write(address, [address])
        assert await test.read(address, 1) == [address]
    test.no_wrong()


@cocotb.test()
async def speed(dut):
    """Two cycles a word, and 9 around a run; a bit less with the refreshes."""
    test = Memory(dut)
    await harness.start(dut)
    test.write(0, [0])
    await test.read(0, 1)
    test.runs.send([{"write": 0, "address": 64 * n, "length": 63} for n in range(20)])
    await test.sink.receive(64 * 20)
    taken = test.sink.cycles[-1] - test.sink.cycles[-64 * 20]
    assert taken < 20 * (2 * 64 + 9) + 40, taken
    test.no_wrong()


@cocotb.test()
async def refreshes(dut):
    """They come when nobody asks for anything, and between runs without a gap."""
    test = Memory(dut)
    await harness.start(dut)
    test.write(8, [1, 2, 3])
    await test.read(8, 3)
    await ClockCycles(dut.clk, 6000)
    assert await test.read(8, 3) == [1, 2, 3]
    test.runs.send([{"write": 0, "address": 0, "length": 255}] * 12)
    await test.sink.receive(12 * 256)
    await RisingEdge(dut.clk)
    test.no_wrong()


def test_sdram():
    harness.run_bench(Pair(), "sim.bench.board.test_sdram", "sdram")
