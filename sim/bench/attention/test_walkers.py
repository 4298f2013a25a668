# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""hw/attention/walkers.py: groups, requests and runs of random slots, and when they come."""

import random

import cocotb
import pytest
from cocotb.triggers import ClockCycles, RisingEdge

from golden_model.hardware import ceil_div
from hw.attention.walkers import KEYS, KeyWalker, ValueWalker
from hw.shapes import FEATURE, PLACE, STRIDE
from sim.bench import harness
from sim.bench.players import slot_table, tiles_of

VALUES = 1  # cycles from an item to its first group of values
TABLES = 8  # of slots; between two of them length and stride change
AHEAD = 3  # cycles from run to run where a tile and a group come between them
NEXT = 2  # where one of them does
GROUP = "o_group"
REQUEST = "o_request"
RUN = "o_run"
OUTPUTS = (GROUP, REQUEST, RUN)


def group(gap, base, lanes, last):
    """(gap, event): a group, `gap` cycles behind what was before it; `lanes` are numbers."""
    lanes = sum(1 << lane for lane in lanes)
    return gap, {"base": base, "lanes": lanes, "last": int(last)}


def run(gap, **fields):
    """(gap, event): a run and its request."""
    return gap, {name: int(value) for name, value in fields.items()}


def groups_of_keys(config, rows):
    """[(tiles, place of the first one's run, first row, row behind the last)] for a slot's rows."""
    t, p = config.tokens, config.columns
    tiles = [tile for tile, _ in tiles_of(config, rows)]
    if p >= t:
        parts = [tiles[i : i + p // t] for i in range(0, len(tiles), p // t)]
        return [(part, 0, part[0] * t, (part[0] + p // t) * t) for part in parts]
    parts = [
        ([tile], number, tile * t + number * p, tile * t + min(number * p + p, t))
        for tile in tiles
        for number in range(ceil_div(t, p))
    ]
    return [part for part in parts if set(range(*part[2:])) & set(rows)]


def key_walk(config, item, length, stride):
    """[(gap, event)] of the keys of an item."""
    rows = range(item["start"], item["start"] + item["count"])
    gap = KEYS + rows[0] // config.tokens
    tile = None  # of the last run
    events = []
    for tiles, first_place, first, end in groups_of_keys(config, rows):
        if tile is not None:
            gap = NEXT - 1 if tile == tiles[0] else AHEAD - 1
        lanes = [row - first for row in range(first, end) if row in rows]
        events.append(group(gap, first, lanes, rows[-1] < end))
        for place, tile in enumerate(tiles, first_place):
            events.append(
                run(
                    gap=NEXT if tile != tiles[0] else 1,
                    address=item["offset"] + tile * stride,
                    count=length,
                    values=0,
                    place=place,
                    closing=tile == tiles[-1],
                )
            )
    return events


def value_walk(config, item, length, _stride):
    """[(gap, event)] of the values of an item; place and closing are of keys alone."""
    p = config.columns
    parts = ceil_div(length, p)
    events = []
    for part in range(parts):
        gap = NEXT - 1 if part else VALUES
        lanes = range(min(p, length - part * p))
        events.append(group(gap, item["offset"] + part * p, lanes, part == parts - 1))
        address = (item["head"] * parts + part) * config.rows + item["start"]
        events.append(run(1, address=address, count=item["count"], values=1))
    return events


class Taker:
    """Takes groups, requests and runs, each with pauses of its own.

    events : (cycle, group, or run with its request) of what was taken
    begun : cycles in which the next item was there for the first time
    """

    def __init__(self, dut, walker, pause):
        self.events = []
        self.begun = []
        self._dut = dut
        self._shapes = {name: getattr(walker, name).payload.shape() for name in OUTPUTS}
        self._stalls = {name: harness.pauses(pause, n)[1] for n, name in enumerate(OUTPUTS)}
        self._held = {}  # what was offered and is not taken yet
        cocotb.start_soon(self._run())

    def _is(self, name):
        return getattr(self._dut, name).value == 1

    async def _run(self):
        cycle = 0
        waits = True  # for the next item
        while True:
            await RisingEdge(self._dut.clk)
            cycle += 1
            if self._dut.rst.value == 0:
                if waits and self._is("i__valid"):
                    self.begun.append(cycle)
                    waits = False
                waits |= self._is("i__valid") and self._is("i__ready")
                self._take(cycle)
            for name, stall in self._stalls.items():
                getattr(self._dut, f"{name}__ready").value = int(not (stall and next(stall)))

    def _take(self, cycle):
        """What is offered in this cycle; what is stalled must still be there, and the same."""
        offered = {
            name: harness.read_port(self._dut, f"{name}__payload", self._shapes[name])
            for name in OUTPUTS
            if self._is(f"{name}__valid")
        }
        ready = {name for name in OUTPUTS if self._is(f"{name}__ready")}
        for name, payload in self._held.items():
            harness.assert_same(f"held {name}", offered.get(name, payload), payload)
        if GROUP in self._held:
            assert GROUP in offered, "a group that nobody has taken is gone"
        # A request waits for room for its run, and a run for its request.
        if {REQUEST, RUN} & self._held.keys():
            assert (REQUEST in offered) == (RUN in ready)
            assert (RUN in offered) == (REQUEST in ready)
        taken = offered.keys() & ready
        assert (REQUEST in taken) == (RUN in taken), "a request without its run"
        if GROUP in taken:
            self.events.append((cycle, offered[GROUP]))
        if RUN in taken:
            self.events.append((cycle, offered[REQUEST] | offered[RUN]))
        self._held = {
            name: payload for name, payload in (self._held | offered).items() if name not in taken
        }


class Walk:
    """A walker, its items, and what must come of them."""

    def __init__(self, dut, walker, pause, expect):
        self.config = harness.config()
        self.generator = random.Random(self.config.tokens * 100 + self.config.columns)
        self.pause = pause
        self.walker = walker
        self._dut = dut
        self._expect = expect
        self._source = harness.Source(
            dut, "i", walker.i.payload.shape(), harness.pauses(pause, 7)[0]
        )
        self._taker = Taker(dut, walker, pause)

    def table(self):
        """Slots with up to all rows, that begin and end anywhere."""
        counts = []
        left = self.config.rows
        for _ in range(self.config.slots):
            most = min(left, self.config.positions)
            edge = self.config.tokens - (self.config.rows - left) % self.config.tokens
            some = self.generator.choice([1, self.generator.randint(0, most), edge, most])
            counts.append(min(some, most))
            left -= counts[-1]
        return slot_table(self.config, *counts)

    def item(self, table, slot, head, offset):
        """What a walker looks at, and noise in the other fields."""
        draw = self.generator.getrandbits
        return {
            "slot": slot,
            "start": table[slot]["start"],
            "count": table[slot]["count"],
            "head": head,
            "offset": offset,
            "tile": draw(1),
            "live": draw(self.config.tokens),
            "query": draw(32),
            "target": draw(PLACE.width),
            "last": draw(1),
        }

    async def check(self, items, length, stride=0):
        """Send items; compare events, when they come without stalls, and when items are taken."""
        for port, shape, value in (("length", FEATURE, length), ("stride", STRIDE, stride)):
            if hasattr(self.walker, port):
                harness.drive(self._dut, port, shape, value)
        taker = self._taker
        source = self._source
        done = len(source.cycles)
        source.send(items)
        await source.wait()
        await ClockCycles(self._dut.clk, KEYS + self.config.tiles + 4)  # nothing more comes
        events = taker.events.copy()
        taker.events.clear()
        for number, item in enumerate(items, done):
            cycle = taker.begun[number]
            for gap, want in self._expect(self.config, item, length, stride):
                assert events, f"item {number}: {want} is missing"
                came, got = events.pop(0)
                harness.assert_same(f"item {number}", {name: got.get(name) for name in want}, want)
                if self.pause in ("none", "idle"):
                    harness.assert_same(f"cycle of {want}", came, cycle + gap)
                cycle = came
            harness.assert_same(f"item {number} is taken", source.cycles[number], cycle)
        assert not events, f"more than asked for: {events}"


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def keys(dut, pause):
    """Slots that begin and end anywhere; offsets and strides up to the widest."""
    config = harness.config()
    walk = Walk(dut, KeyWalker(config), pause, key_walk)
    generator = walk.generator
    slots = walk.walker.slots.shape()
    harness.drive(dut, "slots", slots, slot_table(config))
    await harness.start(dut)
    for _ in range(TABLES):
        table = walk.table()
        harness.drive(dut, "slots", slots, table)
        used = [slot for slot in range(config.slots) if table[slot]["count"]]
        items = [
            walk.item(table, generator.choice(used), generator.randrange(config.heads), offset)
            for offset in (0, (1 << FEATURE.width) - 1, *(generator.getrandbits(9) for _ in "1234"))
        ]
        stride = generator.choice([1, generator.getrandbits(7), (1 << STRIDE.width) - 1])
        await walk.check(items, generator.choice([1, 5, generator.getrandbits(15) + 1]), stride)


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def values(dut, pause):
    """Heads in order, of a length that P divides or does not; after any head comes the first."""
    config = harness.config()
    walk = Walk(dut, ValueWalker(config), pause, value_walk)
    generator = walk.generator
    p = config.columns
    await harness.start(dut)
    some = [generator.randint(1, 3 * p + 2) for _ in range(3)]
    for length in (1, p - 1, p, p + 1, 2 * p, 600, *some):
        table = walk.table()
        used = [slot for slot in range(config.slots) if table[slot]["count"]]
        items = []
        for _ in range(3):
            slot = generator.choice(used)
            first = generator.choice([0, generator.getrandbits(15)])
            items += [
                walk.item(table, slot, head, first + head * length)
                for head in range(generator.randint(1, config.heads))
            ]
        await walk.check(items, length)


SIZES = [(4, 4), (4, 2), (4, 8), (3, 4), (4, 3), (3, 8), (8, 2), (8, 3)]


@pytest.mark.parametrize(("tokens", "columns"), SIZES)
def test_keys(tokens, columns):
    config = harness.small(tokens=tokens, columns=columns, slots=4, rows=24)
    harness.run_bench(
        KeyWalker(config),
        "sim.bench.attention.test_walkers",
        f"keys_{tokens}_{columns}",
        config=config,
        only="keys",
    )


@pytest.mark.parametrize("columns", [2, 3, 8])
def test_values(columns):
    config = harness.small(columns=columns, slots=4, heads=3)
    harness.run_bench(
        ValueWalker(config),
        "sim.bench.attention.test_walkers",
        f"values_{columns}",
        config=config,
        only="values",
    )
