# SPDX-License-Identifier: Apache-2.0
"""Linear: the order of loads and commands, the fields of each, and when everything is sent."""

import random
from itertools import pairwise

import cocotb
import pytest
from amaranth import unsigned
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge

from firmware.isa import Target
from hw.array.column import Kind
from hw.array.linear import NEXT_TILE, Linear
from sim.bench import harness
from sim.bench.players import instruction_bits, pulse, rows_of, silence, slot_table, tiles_of

BASES = {"source_base": 100, "source_stride": 37, "target_base": 50, "target_stride": 64}


def expected(config, table, mask, groups, block, cls, target, turn):
    """(loads, commands) of an operation."""
    rows = (
        {slot for slot in range(config.slots) if mask >> slot & 1} if cls else rows_of(table, mask)
    )
    tiles = tiles_of(config, rows)
    loads, commands = [], []
    for first in range(0, groups, block):
        for number, (tile, live) in enumerate(tiles):
            if len(tiles) > 1 or first == 0:
                loads.append(
                    {"tile": tile, "address": BASES["source_base"] + tile * BASES["source_stride"]}
                )
            offset = BASES["target_base"] + (
                0 if target == Target.VALUES else tile * BASES["target_stride"]
            )
            commands.append(
                {
                    "groups": min(block, groups - first),
                    "rewind": int(number != len(tiles) - 1),
                    "free": int(len(tiles) > 1 or first + block >= groups),
                    "dense": 0,
                    "base": 0,
                    "lanes": 0,
                    "meta": {
                        "kind": Kind.LINEAR.value,
                        "tile": tile,
                        "live": live,
                        "offset": offset,
                        "slot": 0,
                        "head": 0,
                        "turn": turn,
                        "final": int(first + block >= groups),
                        "end": int(number == len(tiles) - 1),
                    },
                }
            )
    return loads, commands


def cases(config):
    """(slot mask, groups, block, cls, target)."""
    every = (1 << config.slots) - 1
    for groups, block in ((5, 2), (4, 4), (1, 3), (3, 1)):
        yield every, groups, block, 0, Target.CODES
        yield 0b100, groups, block, 0, Target.VALUES  # one tile
        yield 0b001, groups, block, 0, Target.SUM
        yield every & ~0b010, groups, block, 1, Target.SCORES  # more slots than lanes
        yield 0b100, groups, block, 1, Target.CODES
        yield 1 << config.slots - 1, groups, block, 1, Target.CODES
    generator = random.Random(config.slots)
    for _ in range(12):
        mask = generator.randrange(1, every + 1)
        sizes = generator.randint(1, 9), generator.randint(1, 5)
        target = generator.choice((Target.CODES, Target.VALUES, Target.SUM, Target.SCORES))
        yield mask, *sizes, generator.randrange(2), target


@cocotb.test()
@cocotb.parametrize(pause=["none", "stall"])
async def linear(dut, pause):
    """All cases, one operation behind the other: loads, commands, `sent`."""
    config = harness.config()
    block = Linear(config)
    stalls = [harness.pauses(pause, seed)[1] for seed in (1, 5)]
    loads = harness.Sink(dut, "o_load", block.o_load.payload.shape(), stalls[0])
    commands = harness.Sink(dut, "o_command", block.o_command.payload.shape(), stalls[1])
    silence(dut, block)
    await harness.start(dut)
    table = slot_table(config, 6, 3, {"count": 1}, *[2] * (config.slots - 3))
    harness.drive(dut, "slots", block.slots.shape(), table)
    for number, (mask, groups, size, cls, target) in enumerate(cases(config)):
        harness.drive(dut, "mask", unsigned(config.slots), mask)
        harness.drive(
            dut,
            "instruction",
            unsigned(256),
            instruction_bits(groups=groups, block=size, cls=cls, target_buffer=target, **BASES),
        )
        turn = number % 2
        dut.turn.value = turn
        await pulse(dut, "start")
        want_loads, want_commands = expected(config, table, mask, groups, size, cls, target, turn)
        harness.assert_same(
            f"commands {number}", await commands.receive(len(want_commands)), want_commands
        )
        harness.assert_same(f"loads {number}", await loads.receive(len(want_loads)), want_loads)
        await ClockCycles(dut.clk, 8)
        assert dut.sent.value == 0, "sent before the last tile is loaded"
        dut.resting.value = 1
        await ClockCycles(dut.clk, 8)
        assert dut.sent.value == 1 and loads.empty() and commands.empty()
        await pulse(dut, "taken")
        dut.resting.value = 0
        await RisingEdge(dut.clk)
        assert dut.sent.value == 0
    if pause == "none":
        assert min(later - cycle for cycle, later in pairwise(commands.cycles)) == NEXT_TILE


@cocotb.test()
async def written(dut):
    """The store's pulse is the operation's end, in the same cycle."""
    silence(dut, Linear(harness.config()))
    await harness.start(dut)
    for value in (1, 0, 1, 1, 0):
        dut.written.value = value
        await FallingEdge(dut.clk)
        assert dut.done.value == value
        await RisingEdge(dut.clk)


@pytest.mark.parametrize(("tokens", "slots"), [(4, 5), (3, 7)])
def test_linear(tokens, slots):
    config = harness.small(tokens=tokens, slots=slots, rows=36)
    harness.run_bench(
        Linear(config), "sim.bench.array.test_linear", f"linear_{tokens}", config=config
    )
