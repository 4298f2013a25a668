# SPDX-License-Identifier: Apache-2.0
"""hw/attention/attention.py alone: Python plays the gather, the buffers and the array.

Scores, numerators and denominators are the golden model's.

Every code that a lane receives is compared with the matrix it comes from, so the order of keys,
values and destinations is checked however T and P divide each other.
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
from hw.array.column import Kind
from hw.array.drain import NOWHERE
from hw.array.store import Store
from hw.attention.attention import Attention
from sim.bench import harness
from sim.bench.attention.span_numerators import numerator_codes, span_words
from sim.bench.players import (
    RowPositions,
    WordPlayer,
    instruction_bits,
    pulse,
    pulses,
    rows_of,
    silence,
    slot_table,
    tiles_of,
)

FRAC, SHIFT = 9, 6
SOFTMAX = 20  # cycles of an item in the softmax, and two for each key


def block_of(config):
    return Attention(config, Store(config).scores.payload.shape())


class Array:
    """Plays the column lanes: collects a group of dense columns."""

    def __init__(self, dut, block, config, pause):
        stalls = [harness.pauses(pause, seed)[1] for seed in (1, 3)]
        self.config = config
        self.commands = harness.Sink(dut, "o_command", block.o_command.payload.shape(), stalls[0])
        self.dense = harness.Sink(dut, "o_dense", block.o_dense.payload.shape(), stalls[1])
        self._entries = 0
        self.begun, self._ended = [], True  # cycles of the turns' first entries

    async def group(self):
        """(command, destinations, codes of every lane) of the next group."""
        lanes = [[] for _ in range(self.config.columns)]
        closed = set()
        first = self._entries
        while len(closed) < len(lanes):
            (entry,) = await self.dense.receive(1)
            self._entries += 1
            for lane in range(len(lanes)):
                if entry["lanes"] >> lane & 1:
                    assert lane not in closed, f"lane {lane} goes on after its last entry"
                    assert entry["k"] == len(lanes[lane]), (
                        f"lane {lane}: k is {entry['k']}, not {len(lanes[lane])}"
                    )
                    lanes[lane].append(entry["codes"][lane])
                    if entry["last"]:
                        closed.add(lane)
        (command,) = await self.commands.receive(1)
        if self._ended:
            self.begun.append(self.dense.cycles[first])
        self._ended = command["free"]
        assert command.pop("dense")
        base, chosen = command.pop("base"), command.pop("lanes")
        return (
            command,
            [base + lane if chosen >> lane & 1 else NOWHERE for lane in range(len(lanes))],
            lanes,
        )


class Bench:
    """The turns of an operation, S0 S1 | C0 S2 | C1 S3 ..

    The array has two banks for operands and runs its turns in order, each when its operand is
    there: `loaded` and `worked` count the turns that have come so far and those that have left.
    """

    def __init__(self, dut, pause, dimension, heads):
        self.dut = dut
        self.config = harness.config()
        self.dimension = dimension
        self.heads = heads
        config, generator = self.config, random.Random(dimension)
        self.block = block_of(config)
        self.generator = generator
        self.pause = pause
        t = config.tokens
        p = config.columns
        rows = config.rows
        self.table = slot_table(config, 5, 2, rows - 9, 1)
        self.positions = [generator.randrange(config.positions) for _ in range(rows)]
        largest = 1 << config.format.bits
        self.query, self.key, self.value = (
            torch.tensor(
                [
                    [[generator.randrange(largest) for _ in range(dimension)] for _ in range(heads)]
                    for _ in range(rows)
                ]
            )
            for _ in range(3)
        )
        self.span = torch.tensor(
            [
                [generator.choice([256, 256, 100, 0]) for _ in range(config.positions)]
                for _ in range(heads)
            ]
        )
        self.stride = heads * dimension + 1
        self.source = 30
        self.target = 7
        self.target_stride = 51
        self.groups = ceil_div(dimension, p)  # words of a row's values, a head
        self.items = []
        self.loaded = 0
        self.worked = 0
        idle, _ = harness.pauses(pause, 9)
        self.array = Array(dut, self.block, config, pause)
        stalls = [harness.pauses(pause, seed)[1] for seed in (11, 13, 15, 17)]
        stalls[2] = self._bank(stalls[2])
        self.points, self.loads, self.numerators, self.denominators = (
            harness.Sink(dut, name, getattr(self.block, name).payload.shape(), stall)
            for name, stall in zip(
                ("o_point", "o_load", "o_numerators", "o_denominators"), stalls, strict=True
            )
        )
        self.scores = harness.Source(dut, "scores", self.block.scores.payload.shape(), idle)
        self.spans = harness.Source(dut, "span_write", self.block.span_write.payload.shape())
        silence(dut, self.block)
        self.keys = WordPlayer(dut, self.block, "key", self._keys, pause)
        self.values = WordPlayer(dut, self.block, "value", self._values, pause)
        RowPositions(dut, row_position=self.positions)
        self.done, self.t = pulses(dut, "done"), t

    def _bank(self, stall):
        """Pause of the numerators: until the turn before the last has left its bank."""
        while True:
            yield self.worked < self.loaded - 1 or bool(stall and next(stall))

    def _keys(self, address):
        tile, word = divmod(address, self.stride)
        return [int(self.key[tile * self.t + n].flatten()[word]) for n in range(self.t)]

    def _values(self, address):
        group, row = divmod(address, self.config.rows)
        head, part = divmod(group, self.groups)
        first = part * self.config.columns
        row = self.value[row][head].tolist()
        return [
            row[i] if i < self.dimension else 0 for i in range(first, first + self.config.columns)
        ]

    async def start(self):
        await harness.start(self.dut)
        self.spans.send(span_words(self.span))
        await self.spans.wait()

    async def run(self, mask):
        """Run one ATTEND over the slots in `mask`; `done` comes once, behind the last context."""
        dut = self.dut
        word = instruction_bits(
            reduction=self.dimension,
            groups=self.heads,
            source_base=self.source,
            source_stride=self.stride,
            target_base=self.target,
            target_stride=self.target_stride,
            score_align=FRAC - EXP_IN_FRAC,
        )
        for name, value in (("slots", self.table), ("mask", mask), ("instruction", word)):
            harness.drive(dut, name, getattr(self.block, name).shape(), value)
        tiles = [
            (slot, tile, live)
            for slot in range(self.config.slots)
            if mask >> slot & 1
            for tile, live in tiles_of(self.config, rows_of(self.table, 1 << slot))
        ]
        self.items = [
            Item(self, slot, tile, live, head)
            for slot, tile, live in tiles
            for head in range(self.heads)
        ]
        turns = [(False, item) for item in self.items[:1]]
        for item, ahead in zip(self.items, [*self.items[1:], None], strict=True):
            turns += [(False, ahead), (True, item)] if ahead else [(True, item)]
        self.loaded = self.worked = 0
        parts = [
            cocotb.start_soon(part)
            for part in (self._point(tiles), self._load(turns), self._work(turns), self._sum())
        ]
        await pulse(dut, "start")
        for part in parts:
            await part
        assert not self.done, "done before the last context is stored"
        await self._retire(1)
        await ClockCycles(dut.clk, 30)
        harness.assert_same("done", len(self.done), 1)
        self.done.clear()
        for sink in (
            self.array.commands,
            self.array.dense,
            self.loads,
            self.points,
            self.numerators,
            self.denominators,
        ):
            assert sink.empty()

    async def _wait(self, *choices):
        await ClockCycles(
            self.dut.clk, self.generator.choice(choices) if self.pause != "none" else choices[0]
        )

    async def _until(self, holds):
        while not holds():
            await RisingEdge(self.dut.clk)

    async def _point(self, tiles):
        """The gather: once for a query tile, when the tile before needs its positions no more."""
        for _, tile, _ in tiles:
            (point,) = await self.points.receive(1)
            harness.assert_same("point", (point["tile"], point["read"]), (tile, 0))
            await self._wait(1, 4)
            harness.drive(
                self.dut, "positions", data.ArrayLayout(16, self.t), self.positions_of(tile)
            )
            await pulse(self.dut, "pointed")

    def positions_of(self, tile):
        return self.positions[tile * self.t : tile * self.t + self.t]

    async def _load(self, turns):
        """Operands in the order of the turns: a numerator never comes inside a query tile."""
        for context, item in turns:
            if context:
                await self._numerators(item)
            else:
                (load,) = await self.loads.receive(1)
                harness.assert_same("query", load, {"tile": item.tile, "address": item.query})
                await self._until(lambda: self.worked >= self.loaded - 1)
                await self._wait(self.dimension, 1, 50)
                assert self.numerators.empty() and self.loads.empty()
                await pulse(self.dut, "loaded")
            self.loaded += 1

    async def _numerators(self, item):
        got = await self.numerators.receive(len(item.rows))
        harness.assert_same("numerators", [word["codes"] for word in got], item.codes.T)
        harness.assert_same(
            "last", [word["last"] for word in got], [int(row == item.rows[-1]) for row in item.rows]
        )

    async def _sum(self):
        for item in self.items:
            (total,) = await self.denominators.receive(1)
            harness.assert_same(
                "denominators", total, golden.denominator(item.codes, self.config.format)
            )

    async def _work(self, turns):
        """The array; the last context's last group is retired by `run`."""
        for number, (context, item) in enumerate(turns):
            await self._until(lambda number=number: self.loaded > number)
            await (self._context if context else self._scores)(item)
            self.worked += 1
            if context:
                await self._retire(self.groups - (item is self.items[-1]))

    async def _retire(self, count):
        for _ in range(count):
            await self._wait(1, 5, 30)
            await pulse(self.dut, "retired")
        await RisingEdge(self.dut.clk)

    async def _scores(self, item):
        """Check the key groups and send back their scores."""
        fmt = self.config.format
        scores = {}
        last = False
        query = decode_integer(
            self.query[item.tile * self.t : item.tile * self.t + self.t, item.head], fmt
        )
        while not last:
            command, destinations, lanes = await self.array.group()
            last = bool(command["free"])
            harness.assert_same(
                "command",
                command["meta"],
                {"kind": Kind.SCORE.value, "final": int(last), **item.where},
            )
            harness.assert_same("command", (command["groups"], command["rewind"]), (1, 0))
            assert any(row != NOWHERE for row in destinations), "a group without a key of the slot"
            for row, codes in zip(destinations, lanes, strict=True):
                if row == NOWHERE:
                    assert len(codes) in (1, self.dimension)
                    continue
                harness.assert_same(f"key {row}", codes, self.key[row, item.head])
                total = (query * decode_integer(torch.tensor(codes), fmt)).sum(-1)
                scores[row] = saturate(round_shift(total, SHIFT), ACT_BITS).tolist()
                self.scores.send([{"values": scores[row], "meta": {"destination": row}}])
        harness.assert_same("keys", list(scores), item.rows)
        item.softmax(scores)

    async def _context(self, item):
        """Check the command, destinations and codes of each group of an item's value columns."""
        for group in range(self.groups):
            command, destinations, lanes = await self.array.group()
            last = int(group == self.groups - 1)
            harness.assert_same(
                "command",
                command,
                {
                    "groups": 1,
                    "rewind": 0,
                    "free": last,
                    "meta": {"kind": Kind.CONTEXT.value, "final": last, **item.where},
                },
            )
            for lane, (destination, codes) in enumerate(zip(destinations, lanes, strict=True)):
                feature = group * self.config.columns + lane
                inside = feature < self.dimension
                harness.assert_same(
                    "destination",
                    destination,
                    item.head * self.dimension + feature if inside else NOWHERE,
                )
                assert len(codes) == len(item.rows)
                if inside:
                    harness.assert_same(
                        f"value {feature}", codes, self.value[item.rows, item.head, feature]
                    )


class Item:
    """A head of a query tile, and with its scores the golden model's numerators."""

    def __init__(self, test, slot, tile, live, head):
        self.test = test
        self.tile = tile
        self.head = head
        self.rows = sorted(rows_of(test.table, 1 << slot))
        self.query = test.source + tile * test.stride + head * test.dimension
        self.where = {
            "tile": tile,
            "live": live,
            "slot": slot,
            "head": head,
            "offset": test.target + tile * test.target_stride,
            "turn": 0,
            "end": 0,
        }

    def softmax(self, scores):
        test = self.test
        self.codes = numerator_codes(
            test.config,
            torch.tensor(list(scores.values())).T,
            torch.tensor(test.positions_of(self.tile)),
            torch.tensor(test.positions)[self.rows],
            test.span[self.head],
            FRAC,
        )


@cocotb.test()
@cocotb.parametrize(
    (
        ("pause", "dimension", "heads"),
        [("none", 5, 2), ("both", 8, 2), ("both", 5, 1), ("stall", 6, 3)],
    )
)
async def attention(dut, pause, dimension, heads):
    test = Bench(dut, pause, dimension, heads)
    await test.start()
    await test.run(0b101)  # two slots with rows of others in their edge tiles
    await test.run(0b1000)  # one row
    await test.run(0b0010)
    await test.run(0b1111)


@cocotb.test()
async def edges(dut):
    """Slots that begin and end anywhere in a tile.

    Whole groups, one row, both sides of a tile's border, a tile in the middle.
    """
    test = Bench(dut, "none", 3, 1)
    config = test.config
    t = config.tokens
    p = config.columns
    rows = config.rows
    await test.start()
    for table in ((p, 1), (1, p, rows - 2 - p, 1), (t - 1, 2, p), (t, p, 1), (p - 1, 2, t)):
        test.table = slot_table(config, *table)
        await test.run((1 << len(table)) - 1)


@cocotb.test()
async def throughput(dut):
    """In the steady state the dense port, or the softmax, never waits."""
    test = Bench(dut, "none", dimension := 12, 3)
    config, keys = test.config, min(test.config.positions, test.config.rows - 1)
    test.table = slot_table(config, keys)
    await test.start()
    await test.run(1)
    t, p = config.tokens, config.columns
    groups = (
        keys // t * ceil_div(t, p) + ceil_div(keys % t, p) if p < t else ceil_div(keys, p // t * t)
    )
    feed = (
        dimension * (groups if p < t else ceil_div(keys, t))
        + groups * (p > t and p % t > 0)
        + ceil_div(dimension, p) * keys
    )
    softmax = 2 * keys + SOFTMAX
    begins = test.array.begun[2:-2:2]  # the turns of scores behind the first context
    cycles = (begins[-1] - begins[0]) / (len(begins) - 1)
    print(f"T = {t}, P = {p}: {cycles:.1f} cycles an item; feed {feed}, softmax {softmax}")
    assert cycles <= max(feed, softmax) + 4


@pytest.mark.parametrize(
    ("tokens", "columns"), [(4, 4), (4, 2), (4, 8), (3, 4), (4, 3), (3, 8), (8, 2), (8, 3)]
)
def test_attention(tokens, columns):
    config = harness.small(tokens=tokens, columns=columns, slots=4, heads=3)
    harness.run_bench(
        block_of(config),
        "sim.bench.attention.test_attention",
        f"attention_{tokens}_{columns}",
        config=config,
    )
