# SPDX-License-Identifier: Apache-2.0
"""hw/board/uart.py: a line that is looped back, one that is a little fast or slow, a broken one."""

import random

import cocotb
import pytest
from cocotb.triggers import ClockCycles, RisingEdge, Timer

from hw.board.uart import Uart
from sim.bench import harness

BYTES = [0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80, *random.Random(3).randbytes(20)]


def divisor():
    return harness.parameters()["divisor"]


def ports(dut, stall=None):
    block = Uart(divisor())
    dut.rx.value = 1
    return (
        harness.Source(dut, "o", block.o.payload.shape()),
        harness.Sink(dut, "i", block.i.payload.shape(), stall),
    )


async def frame(dut, byte, bit, stop=1):
    """A byte on the line, `bit` ns for each bit."""
    for level in (0, *(byte >> i & 1 for i in range(8)), stop):
        dut.rx.value = level
        await Timer(round(bit), "ns")
    dut.rx.value = 1


@cocotb.test()
async def looped(dut):
    """What is sent is received; a byte takes ten bits."""
    source, sink = ports(dut)

    async def loop():
        while True:
            await RisingEdge(dut.clk)
            dut.rx.value = dut.tx.value

    cocotb.start_soon(loop())
    await harness.start(dut)
    source.send(BYTES)
    assert await sink.receive(len(BYTES)) == BYTES
    spaces = {b - a for a, b in zip(source.cycles, source.cycles[1:], strict=False)}
    assert max(spaces) <= 10 * divisor() + 1


@cocotb.test()
async def held(dut):
    """A byte that came waits until it is taken; one given to a line at rest goes at once."""
    source, sink = ports(dut)
    await harness.start(dut)
    sink.hold = True
    await frame(dut, 0xA5, divisor() * harness.CLOCK_NS)
    await ClockCycles(dut.clk, 4 * divisor())
    sink.hold = False
    assert await sink.receive(1) == [0xA5]
    source.send([0x5A])
    await ClockCycles(dut.clk, 3)
    assert source.level == 0, "not taken"


@cocotb.test()
@cocotb.parametrize(slower=[-0.03, 0.0, 0.03])
async def other_clock(dut, slower):
    """The other end's clock may be some per cent off."""
    _, sink = ports(dut)
    await harness.start(dut)
    bit = divisor() * harness.CLOCK_NS * (1 + slower)
    for byte in BYTES:
        await frame(dut, byte, bit)
    assert await sink.receive(len(BYTES)) == BYTES


@cocotb.test()
async def broken(dut):
    """A glitch is no start bit; a byte without its stop bit is none."""
    _, sink = ports(dut)
    await harness.start(dut)
    bit = divisor() * harness.CLOCK_NS
    if divisor() >= 16:
        dut.rx.value = 0
        await Timer(bit // 4, "ns")
        dut.rx.value = 1
        await ClockCycles(dut.clk, 12 * divisor())
    await frame(dut, 0x00, bit, stop=0)
    await ClockCycles(dut.clk, 12 * divisor())
    await frame(dut, 0x5A, bit)
    assert await sink.receive(1) == [0x5A]


@pytest.mark.parametrize("divisor", [8, 16, 217])
def test_uart(divisor):
    harness.run_bench(
        Uart(divisor), "sim.bench.board.test_uart", f"uart_{divisor}", divisor=divisor
    )
