# SPDX-License-Identifier: Apache-2.0
"""hw/buffer.py: runs of words read while others are written by lane; blocks turned, square and not."""
import random

import cocotb
import pytest
from amaranth import signed, unsigned

from hw.buffer import Buffer, Turn
from sim import bench
from sim.engine import pulse, quiet

SHAPE = signed(5)


async def write(dut, block, generator, contents, address=None):
    """One write of some lanes anywhere, or of all lanes of `address`."""
    lanes = (1 << block.lanes) - 1 if address is not None else generator.randrange(1 << block.lanes)
    address = generator.randrange(block.depth) if address is None else address
    values = [generator.randrange(-16, 16) for _ in range(block.lanes)]
    bench.drive(dut, "write_address", unsigned(32), address)
    bench.drive(dut, "write_data", block.word, values)
    bench.drive(dut, "write_lanes", unsigned(block.lanes), lanes)
    await pulse(dut, "write")
    contents[address] = [new if lanes >> n & 1 else old for n, (old, new) in enumerate(zip(contents[address], values, strict=True))]


@cocotb.test()
@cocotb.parametrize(pause=bench.PAUSES)
async def buffer(dut, pause):
    values, generator = bench.parameters(), random.Random(3)
    block = Buffer(SHAPE, values["lanes"], values["depth"])
    idle, stall = bench.pauses(pause)
    source = bench.Source(dut, "i", block.i.payload.shape(), idle)
    sink = bench.Sink(dut, "o", block.o.payload.shape(), stall)
    quiet(dut, block)
    await bench.start(dut)
    contents = [[0] * block.lanes for _ in range(block.depth)]
    for step in range(3 * block.depth):
        await write(dut, block, generator, contents, address=step if step < block.depth else None)
    for number in range(12):
        await write(dut, block, generator, contents)  # read from the next cycle on
        runs = [(0, block.depth)] if number == 0 else []
        for _ in range(6):
            count = 1 if number % 2 else generator.randint(1, block.depth)
            runs.append((generator.randint(0, block.depth - count), count))
        source.send([{"address": address, "count": count} for address, count in runs])
        want = [{"values": contents[address + i], "last": int(i == count - 1)} for address, count in runs for i in range(count)]
        bench.assert_same(f"runs {number}", await sink.receive(len(want)), want)
        if pause == "none":
            assert sink.cycles[-1] - sink.cycles[-len(want)] == len(want) - 1, "not one word a cycle"
    assert sink.empty()


@cocotb.test()
@cocotb.parametrize(pause=bench.PAUSES)
async def turn(dut, pause):
    values, generator = bench.parameters(), random.Random(4)
    block = Turn(SHAPE, values["width"], values["beats"])
    idle, stall = bench.pauses(pause)
    source, sink = bench.Source(dut, "i", block.i.payload.shape(), idle), bench.Sink(dut, "o", block.o.payload.shape(), stall)
    await bench.start(dut)
    words, want = [], []
    for _ in range(20):
        rows = [[generator.randrange(-16, 16) for _ in range(block.width)] for _ in range(block.beats)]
        words += rows
        want += [{"values": [row[j] for row in rows], "first": int(j == 0), "last": int(j == block.width - 1)} for j in range(block.width)]
    source.send(words)
    bench.assert_same("turned", await sink.receive(len(want)), want)
    if pause == "none" and block.width == block.beats:
        assert sink.cycles[-1] - sink.cycles[0] == len(want) - 1, "not one word a cycle"
    assert sink.empty()


@pytest.mark.parametrize(("lanes", "depth"), [(4, 16), (3, 11)])
def test_buffer(lanes, depth):
    bench.run(Buffer(SHAPE, lanes, depth), "sim.test_buffer", f"buffer_{lanes}", only="buffer", lanes=lanes, depth=depth)


@pytest.mark.parametrize(("width", "beats"), [(4, 4), (3, 5), (5, 3)])
def test_turn(width, beats):
    bench.run(Turn(SHAPE, width, beats), "sim.test_buffer", f"turn_{width}_{beats}", only="turn", width=width, beats=beats)
