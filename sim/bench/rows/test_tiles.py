# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""hw/rows/tiles.py against the rows of the slots."""

import random

import cocotb
import pytest
from amaranth.lib import data
from cocotb.triggers import FallingEdge, RisingEdge

from hw.rows.layouts import slot_layout
from hw.rows.tiles import TileIterator, tile_layout
from sim.bench import harness


def tiles(config, slots, mask):
    """What the iterator says."""
    live = {
        row
        for i, slot in enumerate(slots)
        if mask >> i & 1
        for row in range(slot["start"], slot["start"] + slot["count"])
    }
    found = sorted({row // config.tokens for row in live})
    return [
        {
            "tile": tile,
            "live": sum(
                1 << lane for lane in range(config.tokens) if tile * config.tokens + lane in live
            ),
            "last": int(tile == found[-1]),
        }
        for tile in found
    ]


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def iterator(dut, pause):
    """Random slots, random masks, among them masks without rows."""
    config = harness.config()
    idle, stall = harness.pauses(pause)
    generator = random.Random(config.tokens)
    source = harness.Source(dut, "i", config.slots, idle)
    sink = harness.Sink(dut, "o", tile_layout(config), stall)
    layout = data.ArrayLayout(slot_layout(config), config.slots)
    harness.drive(dut, "slots", layout, [{}] * config.slots)
    await harness.start(dut)
    for _ in range(20):
        slots, start = [], 0
        for _ in range(config.slots):
            count = min(
                generator.choice([0, 1, config.tokens, generator.randint(0, config.positions)]),
                config.rows - start,
            )
            slots.append({"start": min(start, config.rows - 1), "count": count})
            start += count
        generator.shuffle(slots)
        harness.drive(dut, "slots", layout, slots)
        masks = [
            (1 << config.slots) - 1,
            0,
            *(generator.getrandbits(config.slots) for _ in range(3)),
        ]
        source.send(masks)
        want = [tile for mask in masks for tile in tiles(config, slots, mask)]
        harness.assert_same("tiles", await sink.receive(len(want)), want)
        await source.wait()
        for _ in range(config.tiles + 4):  # a last mask without rows gives nothing
            await RisingEdge(dut.clk)
    assert sink.empty()


@cocotb.test()
async def iterator_speed(dut):
    """One tile per cycle, two cycles after the mask."""
    config = harness.config()
    source, sink = (
        harness.Source(dut, "i", config.slots),
        harness.Sink(dut, "o", tile_layout(config)),
    )
    layout = data.ArrayLayout(slot_layout(config), config.slots)
    harness.drive(
        dut, "slots", layout, [{"start": 0, "count": config.positions}] + [{}] * (config.slots - 1)
    )
    await harness.start(dut)
    source.send([1])
    await source.wait()
    taken = await cycles(dut)
    await sink.receive(-(-config.positions // config.tokens))
    assert taken == 1
    assert sink.cycles == list(range(sink.cycles[0], sink.cycles[0] + len(sink.cycles)))


async def cycles(dut):
    """Cycles from the one after the mask to the first tile."""
    for count in range(20):
        await FallingEdge(dut.clk)
        if dut.o__valid.value == 1:
            return count
    raise AssertionError("no tile")


CONFIGS = [harness.small(), harness.small(tokens=3, slots=1), harness.small(slots=8, rows=40)]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.tokens}_{config.slots}")
def test_tiles(config):
    harness.run_bench(
        TileIterator(config),
        "sim.bench.rows.test_tiles",
        f"tiles_{config.tokens}_{config.slots}",
        config=config,
    )
