# SPDX-License-Identifier: Apache-2.0
"""hw/rows/gather.py: pointers, positions and words of tiles.

By row and by [CLS] row, with any number of features.
"""

import itertools
import random

import cocotb
import pytest
from amaranth.lib import data
from cocotb.triggers import ClockCycles, RisingEdge

from golden_model.hardware import ceil_div
from hw.rows.gather import Gather
from sim.bench import harness
from sim.bench.players import RowPositions, WordPlayer, silence, until


def cases(config, generator):
    """(tile, cls, read, features): whole words and not, one feature, pointers alone in between."""
    for features in (config.hidden, 1, config.tokens, config.tokens + 1, 2 * config.tokens - 1):
        for cls in (0, 1):
            for read in (1, 0, 1):
                tiles = (
                    ceil_div(config.slots, config.tokens) if cls else config.rows // config.tokens
                )
                yield generator.randrange(tiles), cls, read, features


class Bench:
    """The row table and the residual stream, with random contents."""

    def __init__(self, dut, pause):
        self.dut = dut
        self.config = harness.config()
        self.generator = random.Random(6)
        config = self.config
        generator = self.generator
        t = self.config.tokens
        self.block, self.blocks = Gather(config), ceil_div(config.hidden, t)
        self.physical = generator.sample(range(config.rows), config.rows)
        self.position = [generator.randrange(1000) for _ in self.physical]
        self.state = [
            [generator.randrange(-32768, 32768) for _ in range(t)]
            for _ in range(config.rows * self.blocks)
        ]
        self.starts = [generator.randrange(config.rows) for _ in range(config.slots)]
        idle, stall = harness.pauses(pause)
        self.source, self.sink = (
            harness.Source(dut, "i", self.block.request, idle),
            harness.Sink(dut, "o", self.block.o.payload.shape(), stall),
        )
        silence(dut, self.block)
        RowPositions(dut, row_physical=self.physical, row_position=self.position)
        WordPlayer(dut, self.block, "state", lambda address: self.state[address], pause)
        harness.drive(dut, "starts", data.ArrayLayout(16, config.slots), self.starts)

    async def run(self, tile, cls, read, features):
        """One request: pointers, positions and, with `read`, words."""
        dut, t = self.dut, self.config.tokens
        self.source.send([{"tile": tile, "cls": cls, "read": read, "features": features}])
        await self.source.wait()
        await until(dut, "pointed")
        lanes = range(tile * t, tile * t + t)
        rows = (
            [self.starts[slot] for slot in lanes if slot < self.config.slots]
            if cls
            else list(lanes)
        )  # lanes without a slot: anything
        pointers, positions = (
            harness.read_port(dut, name, getattr(self.block, name).shape())
            for name in ("pointers", "positions")
        )
        harness.assert_same(
            "pointers", pointers[: len(rows)], [self.physical[row] * self.blocks for row in rows]
        )
        harness.assert_same(
            "positions", positions[: len(rows)], [self.position[row] for row in rows]
        )
        if read:
            got = await self.sink.receive(features)
            want = [
                [self.state[self.physical[row] * self.blocks + i // t][i % t] for row in rows]
                for i in range(features)
            ]
            harness.assert_same("words", [word["values"][: len(rows)] for word in got], want)
            harness.assert_same(
                "last",
                [word["last"] for word in got],
                [int(i == features - 1) for i in range(features)],
            )
            harness.assert_same(
                "pointers hold",
                harness.read_port(dut, "pointers", self.block.pointers.shape()),
                pointers,
            )


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def gather(dut, pause):
    test = Bench(dut, pause)
    await harness.start(dut)
    for case in cases(test.config, test.generator):
        await test.run(*case)
    assert test.sink.empty()


class Written:
    """The operation before writes the residual stream, tile after tile, block after block.

    What is not written is zero. Nothing may be asked for before `progress` says that it is there;
    behind the last block `follow` ends.
    """

    def __init__(self, test, cls):
        self.test = test
        self.dut = test.dut
        self.cls = cls
        self.shape = test.block.progress.shape()
        self.values = list(test.state)
        self.places = {}
        self.early = 0  # places: (tile, word) of an address
        test.state[:] = [[0] * test.config.tokens for _ in test.state]
        self.dut.follow.value = 1
        for task in (self._write(), self._watch()):
            cocotb.start_soon(task)

    async def _write(self):
        """Write all tiles at random intervals, each shown in `progress`; then end `follow`."""
        test, t = self.test, self.test.config.tokens
        for tile, block in itertools.product(range(test.config.rows // t), range(test.blocks)):
            await ClockCycles(self.dut.clk, test.generator.choice([1, 4, 20]))
            for row in range(tile * t, tile * t + t):
                address = test.physical[row] * test.blocks + block
                test.state[address], self.places[address] = self.values[address], (tile, block * t)
            last = int(tile == test.config.rows // t - 1)
            harness.drive(
                self.dut,
                "progress",
                self.shape,
                {"tile": tile, "words": block * t + t, "final": 1, "last": last},
            )
        await ClockCycles(self.dut.clk, 3)
        self.dut.follow.value = 0
        harness.drive(self.dut, "progress", self.shape, {})

    async def _watch(self):
        """Count the words asked for while `follow` holds; each must have been written before."""
        while True:
            await RisingEdge(self.dut.clk)
            if self.dut.state_request__valid.value == 1 and self.dut.follow.value == 1:
                request = harness.read_port(
                    self.dut,
                    "state_request__payload",
                    self.test.block.state_request.payload.shape(),
                )
                progress, (tile, word) = (
                    harness.read_port(self.dut, "progress", self.shape),
                    self.places[request["address"]],
                )
                assert tile < progress["tile"] or (
                    tile == progress["tile"] and word < progress["words"]
                ), "asked for before it is written"
                assert progress["last"] or not self.cls, "[CLS] rows before the last tile"
                self.early += 1


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES, cls=[0, 1])
async def follow(dut, pause, cls):
    test = Bench(dut, pause)
    await harness.start(dut)
    written = Written(test, cls)
    await RisingEdge(dut.clk)
    tiles = (
        ceil_div(test.config.slots, test.config.tokens)
        if cls
        else test.config.rows // test.config.tokens
    )
    for tile in range(tiles):
        await test.run(tile, cls, 1, test.config.hidden - 1)
    await test.run(0, cls, 1, test.config.hidden)
    assert written.early > test.config.tokens and test.sink.empty()


@pytest.mark.parametrize(("tokens", "slots"), [(4, 2), (3, 5)])
def test_gather(tokens, slots):
    config = harness.small(tokens=tokens, slots=slots)
    harness.run_bench(
        Gather(config), "sim.bench.rows.test_gather", f"gather_{tokens}", config=config
    )
