# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""hw/attention/scoring.py: items of random slots; Python plays the gather and the row table.

Numerators and denominators are the golden model's. Scores of the next items wait from the start on,
so that any that is taken too early is found in the wrong item.
"""

import random

import cocotb
import pytest
import torch
from amaranth.lib import data
from cocotb.triggers import ClockCycles, RisingEdge

from golden_model import softmax as golden
from golden_model.formats import EXP_IN_FRAC
from hw.attention.scoring import ITEM, Scoring, positions
from hw.rows import gather
from hw.shapes import COLUMN, FEATURE, PLACE, POINTER, tile_values
from sim.bench import harness
from sim.bench.attention.span_numerators import numerator_codes, span_words
from sim.bench.players import pulse, pulses, slot_table, tiles_of

OPERATIONS = 4
TILES = 3  # query tiles of an operation, at most
FRACTIONS = (6, 8, 11, 13)  # bits of the scores


def block_of(config):
    scores = data.StructLayout({"values": tile_values(config), "destination": COLUMN})
    return Scoring(config, scores)


class Operation:
    """Items and their scores, and what comes of them."""

    def __init__(self, dut, pause):
        self.config = config = harness.config()
        self.pause = pause
        self.dut = dut
        self.block = block = block_of(config)
        self.generator = generator = random.Random(config.tokens)
        self.rows = torch.tensor(
            [generator.randrange(config.positions) for _ in range(config.rows)]
        )  # original positions
        self.spans = torch.tensor(
            [
                [generator.choice([256, 256, 100, 0]) for _ in range(config.positions)]
                for _ in range(config.heads)
            ]
        )
        pauses = [harness.pauses(pause, seed) for seed in (1, 3, 5)]
        self.items, self.scores, self._span = (
            harness.Source(dut, name, getattr(block, name).payload.shape(), idle)
            for name, (idle, _) in zip(("i", "scores", "span_write"), pauses, strict=True)
        )
        self.points, self.numerators, self.denominators = (
            harness.Sink(dut, name, getattr(block, name).payload.shape(), stall)
            for name, (_, stall) in zip(
                ("o_point", "o_numerators", "o_denominators"), pauses, strict=True
            )
        )
        self.taps = {
            name: pulses(dut, f"{name}_valid", name, getattr(block, name).shape())
            for name in ("score", "numerator", "denominator")
        }
        self._asked = []  # query tiles whose positions were asked for
        self._gathers = False  # the gather has the row table's port
        dut.pointed.value = 0
        harness.drive(dut, "positions", block.positions.shape(), [0] * config.tokens)
        harness.drive(dut, "align", block.align.shape(), 0)

    async def start(self):
        await harness.start(self.dut)
        self._span.send(span_words(self.spans))
        await self._span.wait()
        if "span" not in self.config.units:
            self.spans = torch.full_like(self.spans, 256)
        cocotb.start_soon(self._gather())
        cocotb.start_soon(self._table())

    async def _gather(self):
        """A query tile's positions, given as a pulse or until they are others."""
        dut = self.dut
        t = self.config.tokens
        shape = self.block.positions.shape()
        while True:
            (point,) = await self.points.receive(1)
            harness.assert_same("point", (point["read"], point["cls"]), (0, 0))
            self._asked.append(point["tile"])
            self._gathers = True
            dut.pointed.value = 0
            noise = [self.generator.randrange(self.config.positions) for _ in range(t)]
            harness.drive(dut, "positions", shape, noise)
            wait = gather.pointed(self.config) - 1
            if self.pause not in ("none", "idle"):
                wait = self.generator.choice([0, 1, wait, 40])
            if wait:
                await ClockCycles(dut.clk, wait)
            self._gathers = False
            harness.drive(dut, "positions", shape, self.queries(point["tile"]).tolist())
            if self.generator.random() < 0.5:
                await pulse(dut, "pointed")
            else:
                dut.pointed.value = 1

    async def _table(self):
        """The row table: an entry follows its address by a cycle; the gather's are noise here."""
        while True:
            await RisingEdge(self.dut.clk)
            row = self.generator.randrange(self.config.rows)
            if not self._gathers:
                row = min(self.dut.row_address.value.to_unsigned(), self.config.rows - 1)
            self.dut.row_position.value = int(self.rows[row])

    def queries(self, tile):
        """Original positions of a query tile."""
        t = self.config.tokens
        return self.rows[tile * t : tile * t + t]

    def _tiles(self):
        """[(slot, its fields, tile, live lanes)]: some query tiles of random slots."""
        config = self.config
        counts = []
        for _ in range(config.slots):
            most = min(config.positions, config.rows - sum(counts))
            some = self.generator.choice([1, config.positions, self.generator.randint(1, 9)])
            counts.append(min(some, most))
        tiles = [
            (slot, fields, tile, live)
            for slot, fields in enumerate(slot_table(config, *counts))
            for tile, live in tiles_of(
                config, range(fields["start"], fields["start"] + fields["count"])
            )
        ]
        chosen = self.generator.sample(range(len(tiles)), min(len(tiles), TILES))
        return [tiles[number] for number in sorted(chosen)]

    def _items(self):
        """[(item, its scores (T, keys))] of some query tiles; what others look at is noise."""
        draw = self.generator.getrandbits
        items = []
        for slot, fields, tile, live in self._tiles():
            for head in range(self.generator.randint(1, self.config.heads)):
                item = {
                    "slot": slot,
                    "start": fields["start"],
                    "count": fields["count"],
                    "tile": tile,
                    "live": live,
                    "head": head,
                    "offset": draw(FEATURE.width),
                    "query": draw(POINTER.width),
                    "target": draw(PLACE.width),
                    "last": draw(1),
                }
                width = self.generator.choice([100, 3000, 32767])
                scores = [
                    [self.generator.randint(-width, width) for _ in range(fields["count"])]
                    for _ in range(self.config.tokens)
                ]
                items.append((item, torch.tensor(scores)))
        return items

    async def check(self):
        """Run random items; compare all that comes, and when."""
        frac = self.generator.choice(FRACTIONS)
        harness.drive(self.dut, "align", self.block.align.shape(), frac - EXP_IN_FRAC)
        items = self._items()
        begin = len(self.scores.cycles)
        done = len(self.items.cycles)
        self.scores.send(
            [
                {"values": column, "destination": self.generator.getrandbits(COLUMN.width)}
                for _, scores in items
                for column in scores.T.tolist()
            ]
        )
        self.items.send([item for item, _ in items])
        for item, scores in items:
            await self._compare(item, scores, frac)
        await ClockCycles(self.dut.clk, 4)
        harness.assert_same(
            "query tiles", self._asked, [item["tile"] for item, _ in items if item["head"] == 0]
        )
        self._asked.clear()
        assert self.numerators.empty() and self.denominators.empty()
        assert not any(self.taps.values()), "a tap more"
        ends = self.denominators.cycles[done:]
        harness.assert_same("items are taken", self.items.cycles[done:], ends)
        if self.pause == "none":
            self._check_cycles(items, begin, ends)

    async def _compare(self, item, scores, frac):
        """An item's numerators, denominators and taps."""
        config = self.config
        rows = range(item["start"], item["start"] + item["count"])
        codes = numerator_codes(
            config,
            scores,
            self.queries(item["tile"]),
            self.rows[rows[0] : rows[-1] + 1],
            self.spans[item["head"]],
            frac,
        )
        totals = golden.denominator(codes, config.format).tolist()
        got = await self.numerators.receive(len(rows))
        (sums,) = await self.denominators.receive(1)
        harness.assert_same("numerators", [word["codes"] for word in got], codes.T)
        last = [int(row == rows[-1]) for row in rows]
        harness.assert_same("last", [word["last"] for word in got], last)
        harness.assert_same("denominators", sums, totals)
        await ClockCycles(self.dut.clk, 1)  # until the last tap is seen
        tap = {name: item[name] for name in ("slot", "head", "tile", "live")}
        columns = zip(rows, scores.T.tolist(), codes.T.tolist(), strict=True)
        for row, values, numbers in columns:
            key = {**tap, "key": row}
            harness.assert_same("score tap", self.taps["score"].pop(0), {**key, "values": values})
            harness.assert_same(
                "numerator tap", self.taps["numerator"].pop(0), {**key, "codes": numbers}
            )
        harness.assert_same(
            "denominator tap", self.taps["denominator"].pop(0), {**tap, "values": totals}
        )

    def _check_cycles(self, items, begin, ends):
        """Scores are taken a cycle each, the first as soon as the docstring says."""
        cycles = self.scores.cycles[begin:]
        for number, (item, _) in enumerate(items):
            mine, cycles = cycles[: item["count"]], cycles[item["count"] :]
            assert mine[-1] - mine[0] == item["count"] - 1, "not a score a cycle"
            if number:
                more = ITEM if item["head"] else positions(self.config)
                harness.assert_same("cycles to an item", mine[0] - ends[number - 1], 1 + more)


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def scoring(dut, pause):
    operation = Operation(dut, pause)
    await operation.start()
    for _ in range(OPERATIONS):
        await operation.check()


CONFIGS = {
    "4": harness.small(slots=4, rows=24, heads=3),
    "3": harness.small(tokens=3, slots=4, rows=24, heads=3),
    "plain": harness.small(tokens=2, slots=2, heads=3, units=frozenset()),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_scoring(name):
    harness.run_bench(
        block_of(CONFIGS[name]),
        "sim.bench.attention.test_scoring",
        f"scoring_{name}",
        config=CONFIGS[name],
    )
