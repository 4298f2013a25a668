# SPDX-License-Identifier: Apache-2.0
"""What drives NORM and checks it: buffers, the gather and the operation before, in Python."""

import itertools
import random

import cocotb
import torch
from amaranth import Module, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import ClockCycles, RisingEdge

from firmware.isa import Source, Target
from golden_model.fixed import ACT_BITS, Saturations, round_shift, saturate
from golden_model.hardware import ceil_div
from golden_model.layernorm import layernorm
from hw.array.layernorm import parameter_layout
from hw.array.norm import Norm
from hw.buffer import Buffer
from hw.rows.gather import Gather
from hw.shapes import ACT
from sim.bench import harness
from sim.bench.players import (
    Words,
    instruction,
    pulse,
    pulses,
    quiet,
    rows_of,
    slot_table,
    tiles_of,
    until,
)

SET, SHIFT, ALIGN = 1, 13, 2
CASES = [  # residual from (or None), normalize, target, features, slots, without SUM
    (Source.STATE, 1, Target.NORMED, 8, 0b101),
    (Source.NORMED, 1, Target.STATE, 8, 0b101),
    (Source.STATE, 1, Target.STATE, 7, 0b111),
    (None, 0, Target.STATE, 10, 0b010),
    (Source.STATE, 1, Target.NORMED, 9, 0b110, 1),
    (None, 1, Target.STATE, 1, 0b100),
    (None, 0, Target.NORMED, 5, 0b111),
    (Source.NORMED, 0, Target.NORMED, 9, 0b001),
    (Source.NORMED, 1, Target.STATE, 11, 0b110),
    (Source.NORMED, 0, Target.STATE, 6, 0b011, 1),
]
LONGEST = max(case[3] for case in CASES)


class Front(wiring.Component):
    """Norm and the buffer SUM that it reads, joined as in hw/datapath.py."""

    def __init__(self, config):
        self.norm = Norm(config, Gather(config).request)
        self.sum = Buffer(ACT, config.tokens, config.rows * LONGEST)
        members = {
            name: member
            for name, member in self.norm.signature.members.items()
            if not name.startswith("sum_")
        }
        super().__init__(
            members
            | {
                "sum_index": Out(16),
                "sum_write": In(1),
                "sum_write_address": In(32),
                "sum_write_data": In(self.sum.word),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.norm, m.submodules.sum = norm, buffer = self.norm, self.sum
        for name, member in norm.signature.members.items():
            if name in self.signature.members and member.is_port:
                m.d.comb += (
                    getattr(self, name).eq(getattr(norm, name))
                    if member.flow == Out
                    else getattr(norm, name).eq(getattr(self, name))
                )
            elif member.is_signature and name in self.signature.members:
                wiring.connect(m, getattr(norm, name), wiring.flipped(getattr(self, name)))
        wiring.connect(m, norm.sum_request, buffer.i)
        wiring.connect(m, buffer.o, norm.sum_words)
        m.d.comb += [
            buffer.hold.eq(norm.sum_hold),
            norm.sum_index.eq(buffer.index),
            self.sum_index.eq(buffer.index),
            buffer.write_lanes.eq(-1),
            *(
                getattr(buffer, name).eq(getattr(self, f"sum_{name}"))
                for name in ("write", "write_address", "write_data")
            ),
        ]
        return m


class Bench:
    def __init__(self, dut, pause):
        self.dut = dut
        self.config = harness.config()
        self.pause = pause
        generator = random.Random(9)
        config, self.generator = self.config, generator
        self.block = Front(config)
        self.t = config.tokens
        self.longest = LONGEST
        self.table = slot_table(config, 5, 3, config.rows - 9)
        self.values = {
            name: [
                [
                    generator.choice(
                        [generator.randint(-9000, 9000), generator.randint(-32768, 32767)]
                    )
                    for _ in range(self.longest)
                ]
                for _ in range(config.rows)
            ]
            for name in ("sum", "state", "normed")
        }
        self.pointers = [row * 16 for row in generator.sample(range(config.rows), config.rows)]
        self.features, self.source, self.stride = 1, 40, 23
        self.gather = harness.Sink(
            dut,
            "gather_request",
            self.block.gather_request.payload.shape(),
            harness.pauses(pause, 3)[1],
        )
        self.gathered = harness.Source(
            dut,
            "gather_words",
            self.block.gather_words.payload.shape(),
            harness.pauses(pause, 5)[0],
        )
        self.parameters = harness.Source(dut, "param_write", parameter_layout())
        quiet(dut, self.block)
        Words(
            dut,
            self.block,
            "normed",
            lambda address: self._word("normed", address, self.source, self.stride),
            pause,
        )
        self.done = pulses(dut, "done")
        self.normed, self.state = (
            pulses(dut, f"{name}_valid", name, getattr(self.block, name).shape())
            for name in ("normed_write", "state_write")
        )
        self.results = []
        self.counter = harness.Counter(dut, "saturated")
        self.saturations, self.early = (
            Saturations(),
            0,
        )  # words that were read of a tile that was not complete
        cocotb.start_soon(self._points())
        cocotb.start_soon(self._tags())

    async def _sum(self, tiles, pauses=(0,)):
        """The LINEAR before: two blocks of columns on every tile; then `follow` ends.

        Each word is claimed by `written` when it is there.
        """
        dut = self.dut
        shape = self.block.written.shape()
        half = ceil_div(self.features, 2)
        for final, words in ((0, range(half)), (1, range(half, self.features))):
            for tile, word in itertools.product(tiles, words):
                address = tile * self.features + word
                harness.drive(dut, "sum_write_address", unsigned(32), address)
                harness.drive(
                    dut,
                    "sum_write_data",
                    self.block.sum.word,
                    self._word("sum", address, 0, self.features),
                )
                await pulse(dut, "sum_write")
                harness.drive(
                    dut,
                    "written",
                    shape,
                    {
                        "tile": tile,
                        "words": word + 1,
                        "final": final,
                        "last": int(tile == tiles[-1]),
                    },
                )
                for _ in range(self.generator.choice(pauses)):
                    await RisingEdge(dut.clk)
                if tile == tiles[0]:
                    self.early = max(self.early, int(dut.sum_index.value))
        dut.follow.value = 0
        harness.drive(dut, "written", shape, {})

    def _word(self, name, address, base, stride):
        tile, feature = divmod(address - base, stride)
        return [self.values[name][tile * self.t + n][feature] for n in range(self.t)]

    async def _points(self):
        """The gather: pointers of the tile that is asked for, and its words where wanted."""
        while True:
            (request,) = await self.gather.receive(1)
            self.dut.pointed.value = 0
            await ClockCycles(self.dut.clk, self.generator.choice([1, 6]))
            first = request["tile"] * self.t
            harness.drive(
                self.dut,
                "pointers",
                data.ArrayLayout(32, self.t),
                self.pointers[first : first + self.t],
            )
            self.dut.pointed.value = 1
            if request["read"]:
                count = request["features"]
                self.gathered.send(
                    [
                        {
                            "values": [self.values["state"][first + n][i] for n in range(self.t)],
                            "last": int(i == count - 1),
                        }
                        for i in range(count)
                    ]
                )

    async def _tags(self):
        """Tile, live lanes and feature of each traced result.

        Values of lanes without a row may be undefined.
        """
        members = [self.block.result.shape()[name] for name in ("tile", "live", "feature")]
        while True:
            await RisingEdge(self.dut.clk)
            if self.dut.rst.value == 0 and self.dut.result_valid.value == 1:
                bits = str(self.dut.result.value)[::-1]
                self.results.append(
                    tuple(
                        int(bits[one.offset : one.offset + one.width][::-1], 2) for one in members
                    )
                )

    async def start(self):
        await harness.start(self.dut)
        base = SET * self.config.widest
        self.gamma, self.beta = (
            [self.generator.randint(-9000, 9000) for _ in range(self.longest)] for _ in range(2)
        )
        self.parameters.send(
            [
                {"address": base + i, "gamma": g, "beta": b}
                for i, (g, b) in enumerate(zip(self.gamma, self.beta, strict=True))
            ]
        )
        await self.parameters.wait()

    async def _follow(self, target, mask):
        """What `progress` claims has been written in an earlier cycle.

        Returns the most words of the last tile that it claimed until `done`.
        """
        tiles = dict(tiles_of(self.config, rows_of(self.table, mask)))
        shape = self.block.progress.shape()
        most = 0
        while self.dut.done.value == 0:
            claim = harness.read(self.dut, "progress", shape)
            tile, words = claim["tile"], claim["words"]
            if target == Target.NORMED:
                wanted, written = {70 + tile * 29 + i for i in range(words)}, self.normed
            else:
                rows = [tile * self.t + lane for lane in range(self.t) if tiles[tile] >> lane & 1]
                wanted = {self.pointers[row] + i for row in rows for i in range(words // self.t)}
                written = self.state
            assert wanted <= {word["address"] for word in written}
            assert claim["final"] and claim["last"] == (tile == max(tiles))
            most = max(most, words)
            await RisingEdge(self.dut.clk)
        return most

    def expected(self, source, normalize, features, mask, skip):
        """(rows, features) of the selected rows; counts their saturations."""
        rows = sorted(rows_of(self.table, mask))
        chosen = {
            name: torch.tensor(values)[rows, :features] for name, values in self.values.items()
        }
        residual = (
            round_shift(chosen["normed" if source == Source.NORMED else "state"], ALIGN)
            if source is not None
            else 0
        )
        total = saturate(chosen["sum"] * (not skip) + residual, ACT_BITS, self.saturations)
        if normalize:
            total = layernorm(
                total,
                torch.tensor(self.gamma[:features]),
                torch.tensor(self.beta[:features]),
                SHIFT,
                self.saturations,
            )
        return dict(zip(rows, total.tolist(), strict=True))

    async def run(self, source, normalize, target, features, mask, skip=0, follow=False):
        """One operation on the slots of `mask`, its writes, traced results and end checked.

        source : where the residual is, or None; skip : without SUM; follow : SUM is being written
        """
        dut, self.features = self.dut, features
        word = instruction(
            source=source or 0,
            residual=int(source is not None),
            normalize=normalize,
            target_buffer=target,
            skip_sum=skip,
            reduction=features,
            source_base=self.source,
            source_stride=self.stride,
            target_base=70,
            target_stride=29,
            norm_set=SET,
            shift=SHIFT,
            align=ALIGN,
        )
        for name, value in (("slots", self.table), ("mask", mask), ("instruction", word)):
            harness.drive(dut, name, getattr(self.block, name).shape(), value)
        tiles = [tile for tile, _ in tiles_of(self.config, rows_of(self.table, mask))]
        if follow:
            dut.follow.value = 1
            before = cocotb.start_soon(self._sum(tiles, [1, 2, 12]))
        elif not skip:
            await self._sum(tiles)
        await pulse(dut, "start")
        await until(dut, "sent")
        if follow:
            await before
        assert dut.reading.value == 0
        await pulse(dut, "taken")
        assert await self._follow(target, mask) >= features - self.t
        written = len(self.normed), len(self.state)
        want = self.expected(source, normalize, features, mask, skip)
        await ClockCycles(dut.clk, 20)
        assert len(self.done) == 1 and (len(self.normed), len(self.state)) == written, (
            "writes after done"
        )
        if target == Target.NORMED:
            self._check_normed(want, features, mask)
        else:
            self._check_state(want, features)
        tags = [
            (tile, live, i)
            for tile, live in tiles_of(self.config, rows_of(self.table, mask))
            for i in range(features)
        ]
        harness.assert_same("tags", self.results, tags)
        for found in (self.done, self.normed, self.state, self.results):
            found.clear()

    def _check_normed(self, want, features, mask):
        """NORMED's addresses, lanes and values; nothing went to STATE."""
        tiles = [
            (tile, live, i)
            for tile, live in tiles_of(self.config, rows_of(self.table, mask))
            for i in range(features)
        ]
        harness.assert_same(
            "addresses",
            [(word["address"], word["lanes"]) for word in self.normed],
            [(70 + tile * 29 + i, live) for tile, live, i in tiles],
        )
        for (tile, live, i), word in zip(tiles, self.normed, strict=True):
            for lane in range(self.t):
                if live >> lane & 1:
                    harness.assert_same(
                        f"row {tile * self.t + lane} feature {i}",
                        word["values"][lane],
                        want[tile * self.t + lane][i],
                    )
        assert not self.state

    def _check_state(self, want, features):
        """STATE's addresses and values; nothing went to NORMED."""
        blocks = ceil_div(features, self.t)
        harness.assert_same(
            "addresses",
            sorted(word["address"] for word in self.state),
            sorted(self.pointers[row] + i for row in want for i in range(blocks)),
        )
        memory = {word["address"]: word["values"] for word in self.state}
        for row, values in want.items():
            got = [value for i in range(blocks) for value in memory[self.pointers[row] + i]]
            harness.assert_same(
                f"row {row}", got[:features], values
            )  # what follows the last feature is filling
        assert not self.normed
