# SPDX-License-Identifier: Apache-2.0
"""hw/attention.py alone: Python plays the gather, the buffers and the array; scores, numerators and denominators are the golden model's.

Every code that a lane receives is compared with the matrix it comes from, so the order of keys, values and destinations is checked however
T and P divide each other.
"""
import random

import cocotb
import pytest
import torch
from amaranth.lib import data
from cocotb.triggers import ClockCycles, RisingEdge

from golden_model import softmax as golden
from golden_model.adaptivfloat import decode_integer
from golden_model.fixed import ACT_BITS, round_shift, saturate
from golden_model.formats import EXP_IN_FRAC
from golden_model.hardware import ceil_div
from hw.attention import Attention
from hw.gather import Gather
from hw.mac_array import NOWHERE
from hw.store import Kind, Store
from sim import bench
from sim.engine import RowPositions, Words, instruction, pulse, pulses, quiet, rows_of, slot_table, tiles_of

HEADS, FRAC, SHIFT = 2, 9, 6


def block_of(config):
    return Attention(config, Store(config).scores.payload.shape(), Gather(config).request)


class Array:
    """Plays the column lanes: collects a group of dense columns."""

    def __init__(self, dut, block, config, pause):
        stalls = [bench.pauses(pause, seed)[1] for seed in (1, 3)]
        self.config = config
        self.commands = bench.Sink(dut, "o_command", block.o_command.payload.shape(), stalls[0])
        self.dense = bench.Sink(dut, "o_dense", block.o_dense.payload.shape(), stalls[1])

    async def group(self):
        """(command, destinations, codes of every lane) of the next group."""
        lanes, closed = [[] for _ in range(self.config.columns)], set()
        while len(closed) < len(lanes):
            entry, = await self.dense.receive(1)
            for lane in range(len(lanes)):
                if entry["lanes"] >> lane & 1:
                    assert lane not in closed, f"lane {lane} goes on after its last entry"
                    assert entry["k"] == len(lanes[lane]), f"lane {lane}: k is {entry['k']}, not {len(lanes[lane])}"
                    lanes[lane].append(entry["codes"][lane])
                    if entry["last"]:
                        closed.add(lane)
        command, = await self.commands.receive(1)
        assert command.pop("dense")
        base, chosen = command.pop("base"), command.pop("lanes")
        destinations = [base + lane if chosen >> lane & 1 else NOWHERE for lane in range(len(lanes))]
        return command, destinations, lanes


class Bench:
    def __init__(self, dut, pause, dimension):
        self.dut, self.config, self.dimension = dut, bench.config(), dimension
        config, generator = self.config, random.Random(dimension)
        self.block, self.generator = block_of(config), generator
        t, p, rows = config.tokens, config.columns, config.rows
        self.table = slot_table(config, 5, 2, rows - 9, 1)
        self.positions = [generator.randrange(config.positions) for _ in range(rows)]
        largest = 1 << config.format.bits
        self.query, self.key, self.value = (torch.tensor([[[generator.randrange(largest) for _ in range(dimension)] for _ in range(HEADS)]
                                                          for _ in range(rows)]) for _ in range(3))
        self.span = torch.tensor([[generator.choice([256, 256, 100, 0]) for _ in range(config.positions)] for _ in range(HEADS)])
        self.stride, self.source, self.target, self.target_stride = HEADS * dimension + 1, 30, 7, 51
        self.groups = ceil_div(dimension, p)  # words of a row's values, a head
        idle, _ = bench.pauses(pause, 9)
        self.array = Array(dut, self.block, config, pause)
        stalls = [bench.pauses(pause, seed)[1] for seed in (11, 13, 15, 17)]
        self.points, self.loads, self.numerators, self.denominators = (
            bench.Sink(dut, name, getattr(self.block, name).payload.shape(), stall)
            for name, stall in zip(("o_point", "o_load", "o_numerators", "o_denominators"), stalls, strict=True))
        self.scores = bench.Source(dut, "scores", self.block.scores.payload.shape(), idle)
        self.spans = bench.Source(dut, "span_write", self.block.span_write.payload.shape())
        quiet(dut, self.block)
        self.keys = Words(dut, self.block, "key", self._keys, pause)
        self.values = Words(dut, self.block, "value", self._values, pause)
        RowPositions(dut, row_position=self.positions)
        self.done = pulses(dut, "done")
        self.t = t

    def _keys(self, address):
        tile, word = divmod(address, self.stride)
        return [int(self.key[tile * self.t + n].flatten()[word]) for n in range(self.t)]

    def _values(self, address):
        group, row = divmod(address, self.config.rows)
        head, part = divmod(group, self.groups)
        first = part * self.config.columns
        row = self.value[row][head].tolist()
        return [row[i] if i < self.dimension else 0 for i in range(first, first + self.config.columns)]

    async def start(self):
        await bench.start(self.dut)
        self.spans.send([{"address": h * self.config.positions + d, "data": int(self.span[h, d])}
                         for h in range(HEADS) for d in range(self.config.positions)])
        await self.spans.wait()

    async def run(self, mask):
        dut = self.dut
        word = instruction(reduction=self.dimension, groups=HEADS, source_base=self.source, source_stride=self.stride,
                           target_base=self.target, target_stride=self.target_stride, score_align=FRAC - EXP_IN_FRAC)
        for name, value in (("slots", self.table), ("mask", mask), ("instruction", word)):
            bench.drive(dut, name, getattr(self.block, name).shape(), value)
        await pulse(dut, "start")
        for slot in range(self.config.slots):
            if mask >> slot & 1:
                for tile, live in tiles_of(self.config, rows_of(self.table, 1 << slot)):
                    await self._tile(slot, tile, live)
        await ClockCycles(dut.clk, 30)
        bench.assert_same("done", len(self.done), 1)
        self.done.clear()
        for sink in (self.array.commands, self.array.dense, self.loads, self.points, self.numerators, self.denominators):
            assert sink.empty()

    async def _tile(self, slot, tile, live):
        point, = await self.points.receive(1)
        bench.assert_same("point", (point["tile"], point["read"]), (tile, 0))
        await ClockCycles(self.dut.clk, self.generator.choice([1, 4]))
        positions = self.positions[tile * self.t:tile * self.t + self.t]
        bench.drive(self.dut, "positions", data.ArrayLayout(16, self.t), positions)
        await pulse(self.dut, "pointed")
        for head in range(HEADS):
            load, = await self.loads.receive(1)
            bench.assert_same("query", load, {"tile": tile, "address": self.source + tile * self.stride + head * self.dimension})
            where = {"tile": tile, "live": live, "slot": slot, "head": head, "offset": self.target + tile * self.target_stride}
            scores = await self._scores(slot, tile, head, where)
            await self._softmax(slot, head, positions, scores)
            await self._context(slot, head, where)

    async def _scores(self, slot, tile, head, where):
        """Check the key groups, send back their scores: {row: T scores}."""
        fmt = self.config.format
        query = decode_integer(self.query[tile * self.t:tile * self.t + self.t, head], fmt)
        mine, scores, last = rows_of(self.table, 1 << slot), {}, False
        while not last:
            command, destinations, lanes = await self.array.group()
            last = bool(command["free"])
            bench.assert_same("command", command["meta"], {"kind": Kind.SCORE.value, **where})
            bench.assert_same("command", (command["groups"], command["rewind"]), (1, 0))
            for row, codes in zip(destinations, lanes, strict=True):
                if row == NOWHERE:
                    assert len(codes) in (1, self.dimension)
                    continue
                bench.assert_same(f"key {row}", codes, self.key[row, head])
                total = (query * decode_integer(torch.tensor(codes), fmt)).sum(-1)
                scores[row] = saturate(round_shift(total, SHIFT), ACT_BITS).tolist()
                self.scores.send([{"values": scores[row], "meta": {"destination": row}}])
        bench.assert_same("keys", list(scores), sorted(mine))
        return scores

    async def _softmax(self, slot, head, positions, scores):
        rows = torch.tensor(list(scores))
        got, (total,) = await self.numerators.receive(len(rows)), await self.denominators.receive(1)
        keys = torch.tensor(self.positions)[rows]
        distance = (torch.tensor(positions)[:, None] - keys).abs()
        exponentials = golden.numerator(torch.tensor(list(scores.values())).T, FRAC)
        codes = golden.encode_numerator(golden.mask_numerator(exponentials, self.span[head][distance]), self.config.format)
        bench.assert_same("numerators", [word["codes"] for word in got], codes.T)
        bench.assert_same("last", [word["last"] for word in got], [int(n == len(rows) - 1) for n in range(len(rows))])
        bench.assert_same("denominators", total, golden.denominator(codes, self.config.format))

    async def _context(self, slot, head, where):
        rows = sorted(rows_of(self.table, 1 << slot))
        for group in range(self.groups):
            command, destinations, lanes = await self.array.group()
            bench.assert_same("command", command, {"groups": 1, "rewind": 0, "free": int(group == self.groups - 1),
                                                   "meta": {"kind": Kind.CONTEXT.value, **where}})
            for lane, (destination, codes) in enumerate(zip(destinations, lanes, strict=True)):
                feature = group * self.config.columns + lane
                inside = feature < self.dimension
                bench.assert_same("destination", destination, head * self.dimension + feature if inside else NOWHERE)
                assert len(codes) == len(rows)
                if inside:
                    bench.assert_same(f"value {feature}", codes, self.value[rows, head, feature])
        for _ in range(self.groups):
            await ClockCycles(self.dut.clk, self.generator.choice([1, 5, 30]))
            assert not self.done and self.points.empty() and self.loads.empty(), "goes on before its context is stored"
            await pulse(self.dut, "retired")
        await RisingEdge(self.dut.clk)


@cocotb.test()
@cocotb.parametrize((("pause", "dimension"), [("none", 5), ("both", 8)]))
async def attention(dut, pause, dimension):
    test = Bench(dut, pause, dimension)
    await test.start()
    await test.run(0b101)   # two slots with rows of others in their edge tiles
    await test.run(0b1000)  # one row
    await test.run(0b0010)


@pytest.mark.parametrize(("tokens", "columns"), [(4, 4), (4, 2), (4, 8), (3, 4), (4, 3), (3, 8)])
def test_attention(tokens, columns):
    config = bench.small(tokens=tokens, columns=columns, slots=4)
    bench.run(block_of(config), "sim.test_attention", f"attention_{tokens}_{columns}", config=config)
