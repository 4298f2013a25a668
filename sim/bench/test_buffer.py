# SPDX-License-Identifier: Apache-2.0
"""Buffer: runs of words read while others are written by lane; Turn: blocks, square and not."""

import random

import cocotb
import pytest
from amaranth import signed, unsigned
from cocotb.triggers import RisingEdge

from hw.buffer import LATENCY, Buffer, Turn
from sim.bench import harness
from sim.bench.players import silence

SHAPE = signed(5)


def drive_write(dut, block, generator, contents, address=None):
    """A write in the next cycle, of some lanes anywhere, or of all lanes of `address`."""
    lanes = (1 << block.lanes) - 1 if address is not None else generator.randrange(1 << block.lanes)
    address = generator.randrange(block.depth) if address is None else address
    values = [generator.randrange(-16, 16) for _ in range(block.lanes)]
    harness.drive(dut, "write_address", unsigned(32), address)
    harness.drive(dut, "write_data", block.word, values)
    harness.drive(dut, "write_lanes", unsigned(block.lanes), lanes)
    dut.write.value = 1
    contents[address] = [
        new if lanes >> n & 1 else old
        for n, (old, new) in enumerate(zip(contents[address], values, strict=True))
    ]


async def write(dut, *arguments):
    """One write, as `drive_write`."""
    drive_write(dut, *arguments)
    await RisingEdge(dut.clk)
    dut.write.value = 0


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def buffer(dut, pause):
    """Runs of words give what was written last, one word a cycle, while lanes are written."""
    values, generator = harness.parameters(), random.Random(3)
    block = Buffer(SHAPE, values["lanes"], values["depth"])
    idle, stall = harness.pauses(pause)
    source = harness.Source(dut, "i", block.i.payload.shape(), idle)
    sink = harness.Sink(dut, "o", block.o.payload.shape(), stall)
    silence(dut, block)
    await harness.start(dut)
    contents = [[0] * block.lanes for _ in range(block.depth)]
    for step in range(3 * block.depth):
        await write(dut, block, generator, contents, step if step < block.depth else None)
    for number in range(12):
        await write(dut, block, generator, contents)  # read from the next cycle on
        runs = [(0, block.depth)] if number == 0 else []
        for _ in range(6):
            count = 1 if number % 2 else generator.randint(1, block.depth)
            runs.append((generator.randint(0, block.depth - count), count))
        source.send([{"address": address, "count": count} for address, count in runs])
        want = [
            {"values": contents[address + i], "last": int(i == count - 1)}
            for address, count in runs
            for i in range(count)
        ]
        harness.assert_same(f"runs {number}", await sink.receive(len(want)), want)
        if pause == "none":
            assert sink.cycles[-1] - sink.cycles[-len(want)] == len(want) - 1, (
                "not one word a cycle"
            )
            assert sink.cycles[-len(want)] - source.cycles[-len(runs)] == LATENCY
    assert sink.empty()


class Held:
    """Holds the buffer at random, follows what it reads by `i` and `index`, and writes each next
    word while it is held: a word that was read too early is an old one. `want` are the words that
    were read."""

    def __init__(self, dut, block, contents, runs, generator):
        self.dut = dut
        self.block = block
        self.contents = contents
        self.runs = list(runs)
        self.generator = generator
        self.address = 0
        self.place = 0
        self.count = 0
        self.want = []
        cocotb.start_soon(self._watch())

    async def _watch(self):
        before = held = taken = 0
        while True:
            await RisingEdge(self.dut.clk)
            index = self.dut.index.value.to_unsigned()
            if taken or index != before:
                assert not held, "read while it is held"
                self._read(taken)
            assert index == self.place, "index: not the words that were read"
            before, again, held = index, held, self.dut.hold.value == 1
            taken = self.dut.i__valid.value == 1 and self.dut.i__ready.value == 1
            self._drive(again and held)

    def _read(self, taken):
        assert taken == (self.place == 0), "not one request behind the other"
        if taken:
            self.address, self.count = self.runs.pop(0)
        last = self.place == self.count - 1
        self.want.append({"values": self.contents[self.address + self.place], "last": int(last)})
        self.place = 0 if last else self.place + 1

    def _drive(self, held):
        """`held`: nothing was read in this cycle, nor in the one before."""
        hold = self.generator.random() < 0.7
        self.dut.hold.value, self.dut.write.value = int(hold), 0
        if held and hold and (self.place or self.runs):
            address = self.address if self.place else self.runs[0][0]
            drive_write(self.dut, self.block, self.generator, self.contents, address + self.place)


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def hold(dut, pause):
    """No word is lost or read twice under `hold`, though the next one is written meanwhile."""
    values, generator = harness.parameters(), random.Random(5)
    block = Buffer(SHAPE, values["lanes"], values["depth"])
    idle, stall = harness.pauses(pause)
    source = harness.Source(dut, "i", block.i.payload.shape(), idle)
    sink = harness.Sink(dut, "o", block.o.payload.shape(), stall)
    silence(dut, block)
    await harness.start(dut)
    contents = [[0] * block.lanes for _ in range(block.depth)]
    for address in range(block.depth):
        await write(dut, block, generator, contents, address)
    runs = [(0, block.depth), (0, 1), (1, 1)]
    for count in (
        generator.choice([1, 1, 2, generator.randint(1, block.depth)]) for _ in range(40)
    ):
        runs.append((generator.randint(0, block.depth - count), count))
    held = Held(dut, block, contents, runs, generator)
    source.send([{"address": address, "count": count} for address, count in runs])
    got = await sink.receive(sum(count for _, count in runs))
    harness.assert_same("words", got, held.want)
    assert sink.empty() and not held.runs and dut.index.value == 0


async def cut(dut, lengths, width):
    """Cuts each block behind so many words."""
    place, left = 0, list(lengths)
    while left:
        dut.cut.value = int(place + 1 == left[0] < width)
        await RisingEdge(dut.clk)
        if dut.o__valid.value == 1 and dut.o__ready.value == 1:
            place += 1
            if place == left[0]:
                place = 0
                left.pop(0)


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def turn(dut, pause):
    """Blocks of `beats` words of `width` leave as columns, whole or cut short, one a cycle."""
    values, generator = harness.parameters(), random.Random(4)
    block = Turn(SHAPE, values["width"], values["beats"])
    idle, stall = harness.pauses(pause)
    source = harness.Source(dut, "i", block.i.payload.shape(), idle)
    sink = harness.Sink(dut, "o", block.o.payload.shape(), stall)
    await harness.start(dut)
    words, want = [], []
    lengths = [block.width] * 10 + [generator.randint(1, block.width) for _ in range(20)]
    for length in lengths:
        rows = [
            [generator.randrange(-16, 16) for _ in range(block.width)] for _ in range(block.beats)
        ]
        words += rows
        want += [
            {"values": [row[j] for row in rows], "last": int(j == length - 1)}
            for j in range(length)
        ]
    cocotb.start_soon(cut(dut, lengths, block.width))
    source.send(words)
    harness.assert_same("turned", await sink.receive(len(want)), want)
    if pause == "none" and block.width == block.beats:
        assert sink.cycles[10 * block.width - 1] - sink.cycles[0] == 10 * block.width - 1, (
            "not one word a cycle"
        )
    assert sink.empty()


@pytest.mark.parametrize(("lanes", "depth"), [(4, 16), (3, 11)])
def test_buffer(lanes, depth):
    harness.run_bench(
        Buffer(SHAPE, lanes, depth),
        "sim.bench.test_buffer",
        f"buffer_{lanes}",
        only="(buffer|hold)",
        lanes=lanes,
        depth=depth,
    )


@pytest.mark.parametrize(("width", "beats"), [(4, 4), (3, 5), (5, 3)])
def test_turn(width, beats):
    harness.run_bench(
        Turn(SHAPE, width, beats),
        "sim.bench.test_buffer",
        f"turn_{width}_{beats}",
        only="turn",
        width=width,
        beats=beats,
    )
