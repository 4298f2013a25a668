# SPDX-License-Identifier: Apache-2.0
"""What drives NORM and checks it: operations, their writes, progress and traced results."""

import cocotb
import torch
from cocotb.triggers import ClockCycles, RisingEdge

from firmware.isa import Source, Target
from golden_model.fixed import ACT_BITS, Saturations, round_shift, saturate
from golden_model.hardware import ceil_div
from golden_model.layernorm import layernorm
from sim.bench import harness
from sim.bench.array.norm_sources import Sources
from sim.bench.players import instruction_bits, pulse, pulses, rows_of, tiles_of, until

SET, SHIFT, ALIGN = 1, 13, 2


class Bench(Sources):
    """One operation after the other, each checked."""

    def __init__(self, dut, pause):
        super().__init__(dut, pause)
        self.done = pulses(dut, "done")
        self.normed, self.state = (
            pulses(dut, f"{name}_valid", name, getattr(self.block, name).shape())
            for name in ("normed_write", "state_write")
        )
        self.results = []
        self.counter = harness.Counter(dut, "saturated")
        self.saturations = Saturations()
        cocotb.start_soon(self._tags())

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
            claim = harness.read_port(self.dut, "progress", shape)
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
        word = instruction_bits(
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
