# SPDX-License-Identifier: Apache-2.0
"""hw/bus/registers.py against the table.

Every register reads, writes and resets as firmware/registers.py says.
"""

import dataclasses
import random

import cocotb
import pytest
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge, Timer

from firmware.error_codes import Error
from firmware.registers import BY_NAME, COUNTERS, REGISTERS, SPAN, constants
from golden_model.hardware import HARDWARE
from hw.bus.registers import Registers
from sim.bench import harness
from sim.bench.axi import AxiLiteManager, AxiResp

INPUTS = {
    "status": 0b1010,
    "error": int(Error.WATCHDOG),
    "error_pc": 0x1234,
    "sentences_done": 0x55AA,
}
ONES = 0xFFFFFFFF


async def start(dut, stall=None):
    """The manager, after reset, with known values on all inputs."""
    for name in (
        "bus__awvalid",
        "bus__wvalid",
        "bus__arvalid",
        "bus__bready",
        "bus__rready",
        "irq_cause_set",
        "exit_threshold_load",
    ):
        getattr(dut, name).value = 0
    for name, value in INPUTS.items():
        getattr(dut, name).value = value
    for i, name in enumerate(COUNTERS if "counters" in harness.config().units else ()):
        getattr(dut, name.lower()).value = counter(i)
    await harness.start(dut)
    return AxiLiteManager(dut, "bus_", stall)


def counter(i):
    return (0x1111 * i + 1) << 32 | 0xF0000000 + i


async def read(manager, offset):
    value, response = await manager.read(offset)
    return value, AxiResp(response)


async def write(manager, offset, value, size=4):
    return await manager.write(offset, value, size)


def after_reset(register, config):
    """What a register reads before anything is written."""
    if register.name in constants(config):
        return constants(config)[register.name]
    if register.name.lower() in INPUTS:
        return INPUTS[register.name.lower()]
    for i, name in enumerate(COUNTERS):
        if register.name in (f"{name}_LO", f"{name}_HI"):
            value = counter(i) if "counters" in config.units else 0
            return value >> 32 if register.name.endswith("HI") else value & ONES
    return register.reset


@cocotb.test()
@cocotb.parametrize(stall=[None, 3])
async def reads(dut, stall):
    manager, config = await start(dut, stall), harness.config()
    for register in REGISTERS:
        value, response = await read(manager, register.offset)
        assert response == AxiResp.OKAY, register.name
        assert value == after_reset(register, config), (
            f"{register.name}: got {value:#x}, want {after_reset(register, config):#x}"
        )


@cocotb.test()
@cocotb.parametrize(stall=[None, 3])
async def writes(dut, stall):
    """Writable registers keep the bits that they have; writing a read-only one answers SLVERR."""
    manager, config = await start(dut, stall), harness.config()
    generator = random.Random(9)
    values = {
        register: generator.getrandbits(32) for register in REGISTERS if register.access == "rw"
    }
    for register, value in values.items():
        assert await write(manager, register.offset, value) == AxiResp.OKAY
    for register, value in values.items():
        value &= (1 << register.width) - 1
        harness.assert_same(register.name, (await read(manager, register.offset))[0], value)
        harness.assert_same(
            register.name.lower(), getattr(dut, register.name.lower()).value.to_unsigned(), value
        )
    for register in REGISTERS:
        if register.access == "ro":
            assert await write(manager, register.offset, ONES) == AxiResp.SLVERR, register.name
            assert (await read(manager, register.offset))[0] == after_reset(register, config), (
                register.name
            )


@cocotb.test()
async def refused(dut):
    manager, config = await start(dut), harness.config()
    known = {register.offset for register in REGISTERS}
    for offset in sorted(set(range(0, SPAN, 4)) - known):
        assert (await read(manager, offset))[1] == AxiResp.DECERR
        assert await write(manager, offset, ONES) == AxiResp.DECERR
    for register in REGISTERS:
        assert await write(manager, register.offset, 0xFF, size=1) == AxiResp.SLVERR
        assert await write(manager, register.offset + 1, 0xFF, size=1) == AxiResp.DECERR
        assert await write(manager, register.offset + 2, 0xFFFF, size=2) == AxiResp.DECERR
        if register.access in ("rw", "w1c"):
            assert (await read(manager, register.offset))[0] == after_reset(register, config)


@cocotb.test()
async def pulses(dut):
    """Each bit written to CONTROL is there for one cycle, and reads as 0."""
    manager = await start(dut)
    seen = []

    async def watch():
        while True:
            await RisingEdge(dut.clk)
            seen.append(dut.control.value.to_unsigned())

    cocotb.start_soon(watch())
    for value in (1, 2, 4, 7):
        seen.clear()
        await write(manager, BY_NAME["CONTROL"].offset, value)
        await ClockCycles(dut.clk, 4)
        assert [one for one in seen if one] == [value]
        assert (await read(manager, BY_NAME["CONTROL"].offset))[0] == 0


@cocotb.test()
async def causes(dut):
    """`irq` is cause and enable; writing 1 clears a cause, unless it is set in the same cycle."""
    manager = await start(dut)
    offset = BY_NAME["IRQ_CAUSE"].offset

    async def event(bits):
        dut.irq_cause_set.value = bits
        await RisingEdge(dut.clk)
        dut.irq_cause_set.value = 0
        await ClockCycles(dut.clk, 2)

    await event(0b101)
    assert dut.irq.value == 0 and (await read(manager, offset))[0] == 0b101
    await write(manager, BY_NAME["IRQ_ENABLE"].offset, 0b001)
    assert dut.irq.value == 1
    await write(manager, offset, 0b001)
    assert dut.irq.value == 0 and (await read(manager, offset))[0] == 0b100
    dut.irq_cause_set.value = 0b010
    await write(manager, offset, 0b111)
    assert dut.irq_cause.value == 0b010, "setting must win over clearing"


@cocotb.test()
async def loads(dut):
    manager = await start(dut)
    dut.exit_threshold_value.value = 0x2ABCD
    dut.exit_threshold_load.value = 1
    await RisingEdge(dut.clk)
    dut.exit_threshold_load.value = 0
    assert (await read(manager, BY_NAME["EXIT_THRESHOLD"].offset))[0] == 0x2ABCD


@cocotb.test()
async def counting(dut):
    """The words of a counter that moves are those of the moment; no read changes another one."""
    manager, config = await start(dut), harness.config()
    if "counters" not in config.units:
        return
    for value in (0x1_FFFFFFFF, 0x2_00000000):
        dut.cycles.value = value
        await read(manager, BY_NAME["PASSES_LO"].offset)
        low, _ = await read(manager, BY_NAME["CYCLES_LO"].offset)
        await read(manager, BY_NAME["PASSES_LO"].offset)
        high, _ = await read(manager, BY_NAME["CYCLES_HI"].offset)
        assert high << 32 | low == value


@cocotb.test()
async def ready_from_registers(dut):
    """AXI4-Lite: no output follows an input within the cycle; a bridge would close a loop."""
    await start(dut)
    outputs = [f"bus__{channel}ready" for channel in ("aw", "w", "ar")]
    outputs += [f"bus__{channel}valid" for channel in ("b", "r")]
    inputs = [f"bus__{channel}valid" for channel in ("aw", "w", "ar")]
    inputs += [f"bus__{channel}ready" for channel in ("b", "r")]
    generator = random.Random(4)
    for _ in range(200):
        await FallingEdge(dut.clk)
        before = [int(getattr(dut, name).value) for name in outputs]
        for name in inputs:
            getattr(dut, name).value = generator.getrandbits(1)
        await Timer(1, "ns")
        assert [int(getattr(dut, name).value) for name in outputs] == before


@pytest.mark.parametrize(
    "name, config",
    [
        ("ci", HARDWARE["ci"]),
        ("edgebert", HARDWARE["edgebert"]),
        ("bare", dataclasses.replace(HARDWARE["ci"], units=frozenset())),
    ],
)
def test_registers(name, config):
    harness.run_bench(
        Registers(config), "sim.bench.bus.test_registers", f"registers_{name}", config=config
    )
