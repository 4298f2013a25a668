# SPDX-License-Identifier: Apache-2.0
"""hw/gather.py: pointers, positions and words of tiles, by row and by [CLS] row, with any number of features."""
import random

import cocotb
import pytest
from amaranth.lib import data

from golden_model.hardware import ceil_div
from hw.gather import Gather
from sim import bench
from sim.engine import RowPositions, Words, quiet, until


def cases(config, generator):
    """(tile, cls, read, features): whole words and not, one feature, pointers alone in between."""
    for features in (config.hidden, 1, config.tokens, config.tokens + 1, 2 * config.tokens - 1):
        for cls in (0, 1):
            for read in (1, 0, 1):
                tiles = ceil_div(config.slots, config.tokens) if cls else config.rows // config.tokens
                yield generator.randrange(tiles), cls, read, features


@cocotb.test()
@cocotb.parametrize(pause=bench.PAUSES)
async def gather(dut, pause):
    config, generator = bench.config(), random.Random(6)
    block, t = Gather(config), config.tokens
    blocks = ceil_div(config.hidden, t)
    physical = generator.sample(range(config.rows), config.rows)
    position = [generator.randrange(1000) for _ in physical]
    state = [[generator.randrange(-32768, 32768) for _ in range(t)] for _ in range(config.rows * blocks)]
    starts = [generator.randrange(config.rows) for _ in range(config.slots)]
    idle, stall = bench.pauses(pause)
    source, sink = bench.Source(dut, "i", block.request, idle), bench.Sink(dut, "o", block.o.payload.shape(), stall)
    quiet(dut, block)
    RowPositions(dut, row_physical=physical, row_position=position)
    Words(dut, block, "state", lambda address: state[address], pause)
    bench.drive(dut, "starts", data.ArrayLayout(16, config.slots), starts)
    await bench.start(dut)
    for number, (tile, cls, read, features) in enumerate(cases(config, generator)):
        source.send([{"tile": tile, "cls": cls, "read": read, "features": features}])
        await source.wait()
        await until(dut, "pointed")
        lanes = range(tile * t, tile * t + t)
        rows = [starts[slot] for slot in lanes if slot < config.slots] if cls else list(lanes)  # lanes without a slot: anything
        pointers, positions = bench.read(dut, "pointers", block.pointers.shape()), bench.read(dut, "positions", block.positions.shape())
        bench.assert_same(f"pointers {number}", pointers[:len(rows)], [physical[row] * blocks for row in rows])
        bench.assert_same(f"positions {number}", positions[:len(rows)], [position[row] for row in rows])
        if read:
            got = await sink.receive(features)
            want = [[state[physical[row] * blocks + i // t][i % t] for row in rows] for i in range(features)]
            bench.assert_same(f"words {number}", [word["values"][:len(rows)] for word in got], want)
            bench.assert_same("last", [word["last"] for word in got], [int(i == features - 1) for i in range(features)])
            bench.assert_same("pointers hold", bench.read(dut, "pointers", block.pointers.shape()), pointers)
    assert sink.empty()


@pytest.mark.parametrize(("tokens", "slots"), [(4, 2), (3, 5)])
def test_gather(tokens, slots):
    config = bench.small(tokens=tokens, slots=slots)
    bench.run(Gather(config), "sim.test_gather", f"gather_{tokens}", config=config)
