# SPDX-License-Identifier: Apache-2.0
"""Operand: a tile from each source, encoded or passed on; the sources are Python."""

import random

import cocotb
import pytest
import torch
from amaranth import Module, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import ClockCycles, RisingEdge

from firmware.isa import Source
from golden_model.adaptivfloat import encode_act
from golden_model.config import INT8
from hw.array.linear import tile_request_layout
from hw.array.operand import HELD, Operand
from hw.buffer import Buffer
from hw.rows.gather import Gather
from hw.shapes import ACT, code
from sim.bench import harness
from sim.bench.players import WordPlayer, pulse, silence

FEATURES = (1, 11)
TILES = 4


class Front(wiring.Component):
    """Operand and the buffers that it reads, joined as in hw/datapath.py."""

    def __init__(self, config, depth):
        self.operand = Operand(config, Gather(config).request)
        self.buffers = {
            "normed": Buffer(ACT, config.tokens, depth),
            "codes": Buffer(code(config), config.tokens, depth),
        }
        members = {
            name: member
            for name, member in self.operand.signature.members.items()
            if name.split("_")[0] not in self.buffers
        }
        for name, buffer in self.buffers.items():
            members |= {
                f"{name}_write": In(1),
                f"{name}_write_address": In(32),
                f"{name}_write_data": In(buffer.word),
            }
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.operand = operand = self.operand
        for name, member in self.signature.members.items():
            if member.is_port and name.split("_")[0] not in self.buffers:
                m.d.comb += (
                    getattr(self, name).eq(getattr(operand, name))
                    if member.flow == Out
                    else getattr(operand, name).eq(getattr(self, name))
                )
            elif member.is_signature:
                wiring.connect(m, getattr(operand, name), wiring.flipped(getattr(self, name)))
        for name, buffer in self.buffers.items():
            m.submodules[name] = buffer
            wiring.connect(m, getattr(operand, f"{name}_request"), buffer.i)
            wiring.connect(m, buffer.o, getattr(operand, f"{name}_words"))
            m.d.comb += [
                buffer.hold.eq(getattr(operand, f"{name}_hold")),
                getattr(operand, f"{name}_index").eq(buffer.index),
                buffer.write.eq(getattr(self, f"{name}_write")),
                buffer.write_address.eq(getattr(self, f"{name}_write_address")),
                buffer.write_data.eq(getattr(self, f"{name}_write_data")),
                buffer.write_lanes.eq(-1),
            ]
        return m


async def watch_idle(dut, block):
    """`idle` exactly while no tile is under way."""
    tiles = 0
    while True:
        await RisingEdge(dut.clk)
        if dut.rst.value == 0:
            assert dut.idle.value == (tiles == 0), f"idle with {tiles} tiles"
            tiles += dut.i__valid.value == 1 and dut.i__ready.value == 1
            if dut.o__valid.value == 1 and dut.o__ready.value == 1:
                tiles -= harness.read_port(dut, "o__payload", block.o.payload.shape())["last"]


class Bench:
    def __init__(self, dut, pause):
        self.dut = dut
        self.config = harness.config()
        self.generator = random.Random(15)
        self.pause = pause
        self.block = Operand(self.config, Gather(self.config).request)
        idle, stall = harness.pauses(pause)
        self.source = harness.Source(dut, "i", tile_request_layout(), idle)
        self.sink = harness.Sink(dut, "o", self.block.o.payload.shape(), stall)
        idle, stall = harness.pauses(pause, 5)
        self.gather = harness.Sink(
            dut, "gather_request", self.block.gather_request.payload.shape(), stall
        )
        self.gathered = harness.Source(
            dut, "gather_words", self.block.gather_words.payload.shape(), idle
        )
        silence(dut, self.block)
        self.buffers = {
            source: WordPlayer(dut, self.block, name, self.word, pause)
            for source, name in ((Source.NORMED, "normed"), (Source.CODES, "codes"))
        }
        self.words = {}
        cocotb.start_soon(watch_idle(dut, self.block))

    def word(self, address):
        return self.words[address]

    async def load(self, source, count, offset):
        """One tile of `count` words from a source, encoded with `offset`."""
        dut = self.dut
        config = self.config
        t = self.config.tokens
        tile, address = self.generator.randrange(config.tiles), self.generator.randrange(2**16)
        low, high = (0, 2**config.format.bits) if source == Source.CODES else (-32768, 32768)
        words = [
            [
                self.generator.choice(
                    [
                        low,
                        high - 1,
                        self.generator.randrange(low, high),
                        self.generator.randrange(low, high) >> 7,
                    ]
                )
                for _ in range(t)
            ]
            for _ in range(count)
        ]
        self.words = {address + i: word for i, word in enumerate(words)}
        harness.drive(dut, "source", unsigned(4), source)
        harness.drive(dut, "features", unsigned(16), count)
        harness.drive(dut, "encode", signed(8), offset)
        self.source.send([{"tile": tile, "address": address}])
        if source in (Source.STATE, Source.CLS):
            want = {"tile": tile, "cls": int(source == Source.CLS), "read": 1, "features": count}
            harness.assert_same("gather", await self.gather.receive(1), [want])
            self.gathered.send(
                [{"values": word, "last": int(i == count - 1)} for i, word in enumerate(words)]
            )
        codes = (
            words
            if source == Source.CODES
            else encode_act(torch.tensor(words), 0, offset, config.format).tolist()
        )
        harness.assert_same(
            f"codes of {source.name}",
            await self.sink.receive(count),
            [{"codes": word, "last": int(i == count - 1)} for i, word in enumerate(codes)],
        )
        if source in self.buffers:
            harness.assert_same("request", self.buffers[source].asked, [(address, count)])
            self.buffers[source].asked.clear()
        assert self.gather.empty() and not any(buffer.asked for buffer in self.buffers.values())


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def operand(dut, pause):
    test = Bench(dut, pause)
    await harness.start(dut, 20_000)
    for offset in (0, 5, 11):
        for source in Source:
            for count in FEATURES:
                await test.load(source, count, offset)
    assert test.sink.empty()


@cocotb.test()
@cocotb.parametrize(name=HELD)
async def follow(dut, name):
    """Of a buffer's word `index` of a request, at any progress: held until it is written.

    The tile is that of the request, or of the next one.
    """
    block = Operand(harness.config(), Gather(harness.config()).request)
    generator = random.Random(16)
    shape = block.progress.shape()
    silence(dut, block)
    await harness.start(dut)
    harness.drive(dut, "source", unsigned(4), Source[name.upper()])
    ready, index, hold = (
        getattr(dut, f"{name}_{port}") for port in ("request__ready", "index", "hold")
    )
    dut.i__valid.value = 1
    asked = None  # the tile of the request that the source has taken
    waiting = []  # tiles of those that it has not
    for _ in range(400):
        offered, follow = generator.randrange(4), generator.choice([0, 1, 1, 1])
        progress = {
            "tile": generator.randrange(4),
            "words": generator.randrange(5),
            "final": generator.randrange(2),
        }
        number = 0 if asked is None else generator.randrange(4)
        ready.value = int(number == 0 and generator.random() < 0.3)
        index.value = number
        dut.follow.value = follow
        harness.drive(dut, "i__payload", tile_request_layout(), {"tile": offered})
        harness.drive(dut, "progress", shape, progress)
        await RisingEdge(dut.clk)
        tile = asked if number else waiting[0] if waiting else None
        written = tile is not None and (
            tile < progress["tile"]
            and progress["final"]
            or tile == progress["tile"]
            and number < progress["words"]
        )
        assert tile is None or hold.value == int(follow and not written), (
            f"word {number} of tile {tile}, {progress}"
        )
        if waiting and ready.value == 1:
            asked = waiting.pop(0)
        if dut.i__ready.value == 1:
            waiting.append(offered)


async def write(dut, block, name, words, parts, generator):
    """The operation before: `parts` of every tile, one word after the other.

    Each is claimed by `progress` when it is written.
    """
    for number, part in enumerate(parts):
        for tile, tile_words in enumerate(words):
            for word in part:
                await ClockCycles(dut.clk, generator.choice([1, 1, 1, 5]))
                harness.drive(
                    dut, f"{name}_write_address", unsigned(32), tile * len(tile_words) + word
                )
                harness.drive(dut, f"{name}_write_data", block.buffers[name].word, tile_words[word])
                await pulse(dut, f"{name}_write")
                harness.drive(
                    dut,
                    "progress",
                    block.progress.shape(),
                    {"tile": tile, "words": word + 1, "final": int(number == len(parts) - 1)},
                )
    await ClockCycles(dut.clk, 3)
    dut.follow.value = 0
    harness.drive(dut, "progress", block.progress.shape(), {})


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES, name=HELD, count=[1, 2, 11])
async def joined(dut, pause, name, count):
    """Tiles of a buffer, twice, while they are written, in one part or in two; then once more."""
    config = harness.config()
    generator = random.Random(f"{pause} {name} {count}")
    offset = 5
    block, coded = Front(config, TILES * max(FEATURES)), name == "codes"
    idle, stall = harness.pauses(pause)
    source = harness.Source(dut, "i", tile_request_layout(), idle)
    sink = harness.Sink(dut, "o", block.o.payload.shape(), stall)
    silence(dut, block)
    cocotb.start_soon(watch_idle(dut, block))
    await harness.start(dut, 20_000)
    low, high = (0, 2**config.format.bits) if coded else (-32768, 32768)
    words = [
        [[generator.randrange(low, high) for _ in range(config.tokens)] for _ in range(count)]
        for _ in range(TILES)
    ]
    parts = [range(count // 2), range(count // 2, count)] if coded else [range(count)]
    for port, value in (
        ("source", Source[name.upper()]),
        ("features", count),
        ("encode", offset),
        ("follow", 1),
    ):
        harness.drive(dut, port, getattr(block, port).shape(), value)
    cocotb.start_soon(write(dut, block, name, words, parts, generator))
    codes = words if coded else encode_act(torch.tensor(words), 0, offset, config.format).tolist()
    want = [
        {"codes": word, "last": int(i == count - 1)}
        for tile in codes
        for i, word in enumerate(tile)
    ]
    for times in (2, 1):
        source.send([{"tile": tile, "address": tile * count} for tile in range(TILES)] * times)
        harness.assert_same("codes", await sink.receive(times * len(want)), want * times)
    assert sink.empty() and dut.follow.value == 0


CONFIGS = {"af8": harness.small(), "int8": harness.small(tokens=3, format=INT8)}


@pytest.mark.parametrize("name", CONFIGS)
def test_operand(name):
    config = CONFIGS[name]
    harness.run_bench(
        Operand(config, Gather(config).request),
        "sim.bench.array.test_operand",
        f"operand_{name}",
        only="(operand|follow)",
        config=config,
    )


def test_joined():
    config = harness.small(tokens=2, format=INT8)
    harness.run_bench(
        Front(config, TILES * max(FEATURES)),
        "sim.bench.array.test_operand",
        "operand_joined",
        only="joined",
        config=config,
    )
